"""`crawler run`: the nightly job."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from crawler.api.proxies import proxy_for
from crawler.errors import InputError
from crawler.nightly.resources import allow_connections
from crawler.nightly.run import NightlyRun
from crawler.nightly.signals import Signals
from crawler.nightly.world import World
from crawler.report.progress import LOG, set_up_logging
from crawler.sellers import as_name, read_sellers
from crawler.settings import Loaded, Settings, flags_of, read_key
from crawler.store.journal import Journal, journal_path, latest_generation
from crawler.store.ledger import Ledger

_MOST_ARENAS = -8
_YOUNG = 50_000
"""Objects that may come to be before cycles are looked for among them: some hundred pages' worth."""


def run_command(loaded: Loaded, sellers: str | None) -> int:
    """Run the nightly job; returns its exit code.

    Raises `CrawlerError` where nothing could be begun.
    """
    settings = loaded.settings
    _share_one_heap()
    set_up_logging(settings.log.format, quiet=settings.log.quiet)
    for warning in loaded.warnings:
        LOG.warning("%s", warning)
    key = read_key(settings, os.environ)
    proxy_for(settings.api.url)
    connections = _connections(settings)
    loaded, source, crawl_date = source_and_date(loaded, sellers)
    settings = loaded.settings
    listed = read_sellers(source, column=settings.run.column, skip_bad_ids=settings.run.skip_bad_ids)
    signals, world = Signals(), World(connections=connections)
    with signals.handled(), _rare_collections():
        run = NightlyRun(settings, key, listed, source, crawl_date, signals, world, flags_of(loaded))
        report = run.go()
    if settings.run.json_report:
        sys.stdout.buffer.write(report.as_json())
        sys.stdout.flush()
    return report.exit_code


def _connections(settings: Settings) -> int:
    allowed, workers = allow_connections(), settings.run.workers
    if workers != "auto" and workers > allowed:
        LOG.warning("%d workers at most: this process may not open more files (ulimit -n)", allowed)
    return allowed


def _share_one_heap() -> None:
    """Keep glibc from giving each thread a heap, of which each keeps what its thread once needed."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MOST_ARENAS, 1)


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for cycles less often, and not among what was loaded at the start: a crawl leaves hardly any."""
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_YOUNG, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def source_and_date(loaded: Loaded, sellers: str | None) -> tuple[Loaded, str, date]:
    """The seller list and the crawl date of a run; with `--resume`, the latest unfinished one's.

    Where its list is left out, the settings returned have that list's column too. Raises `InputError` where
    there is no list, or nothing to resume.
    """
    settings = loaded.settings
    today = datetime.now(ZoneInfo(settings.run.timezone)).date()
    if not settings.run.resume:
        if sellers is None:
            raise InputError("no seller list: name a CSV file, or - for standard input")
        return loaded, sellers, settings.run.crawl_date or today
    source, latest, column = _latest_unfinished(settings.run.data, sellers)
    if settings.run.column is None and column is not None:
        run = settings.run.model_copy(update={"column": column})
        loaded = replace(loaded, settings=settings.model_copy(update={"run": run}))
    return loaded, source, latest


def _latest_unfinished(data: Path, sellers: str | None) -> tuple[str, date, str | None]:
    found = set[str]()
    if (data / "state" / "ledger.sqlite").exists():
        with Ledger(data, only_read=True) as ledger:
            found = ledger.unfinished()
    if not found:
        raise InputError(f"nothing to resume under {data}: every crawl date is finished")
    latest = date.fromisoformat(max(found))
    path = journal_path(data, latest, latest_generation(data, latest))
    source, column = sellers, None
    if source is None and path.exists():
        with Journal(path, only_read=True) as journal:
            source, flags = journal.meta("source"), json.loads(journal.meta("flags") or "[]")
            column = flags[flags.index("--column") + 1] if "--column" in flags else None
            source = None if source is None else as_name(source)
            if source == "-":
                raise InputError(f"name the seller list of {latest}: it came from standard input")
    if source is None:
        raise InputError(f"name the seller list of {latest}: its journal {path} does not tell it")
    return source, latest, column
