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
from crawler.nightly.dates import DateRule, quoted, require_reached
from crawler.nightly.resources import allow_connections
from crawler.nightly.run import NightlyRun
from crawler.nightly.signals import Signals
from crawler.nightly.world import World
from crawler.report.progress import LOG, set_up_logging
from crawler.sellers import as_name, read_sellers
from crawler.settings import Loaded, Settings, flags_of, read_key
from crawler.store.journal import Journal, journal_path, latest_generation
from crawler.store.ledger import DateRecord, Ledger

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
    world = World(connections=_connections(settings))
    loaded, source, crawl_date = source_and_date(loaded, sellers, world.now())
    settings = loaded.settings
    listed = read_sellers(source, column=settings.run.column, skip_bad_ids=settings.run.skip_bad_ids)
    signals = Signals()
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


def source_and_date(loaded: Loaded, sellers: str | None, now: datetime) -> tuple[Loaded, str, date]:
    """The seller list and the crawl date of a run; with `--resume`, the latest unfinished one's.

    Where its list is left out, the settings returned have that list's column too. Raises `InputError` where
    there is no list, nothing to resume, or the date lies in the future.
    """
    settings = loaded.settings
    today = now.astimezone(ZoneInfo(settings.run.timezone)).date()
    if not settings.run.resume:
        if sellers is None:
            raise InputError("no seller list: name a CSV file, or - for standard input")
        crawl_date = settings.run.crawl_date or today
        require_reached(crawl_date, now)
        return loaded, sellers, crawl_date
    latest = _latest_unfinished(loaded, sellers, now)
    source, column = _list_of(settings.run.data, latest, sellers)
    if settings.run.column is None and column is not None:
        run = settings.run.model_copy(update={"column": column})
        loaded = replace(loaded, settings=settings.model_copy(update={"run": run}))
    return loaded, source, latest


def _latest_unfinished(loaded: Loaded, sellers: str | None, now: datetime) -> date:
    run = loaded.settings.run
    days: list[DateRecord] = []
    if (run.data / "state" / "ledger.sqlite").exists():
        with Ledger(run.data, only_read=True) as ledger:
            days = ledger.dates()
    rule = DateRule(now, run.late_after)
    if found := rule.unfinished(days, late=run.late, retry_failed=run.retry_failed):
        return found[0].crawl_date
    text = f"nothing to resume under {run.data}: "
    if not days:
        raise InputError(f"{text}no run was begun there; name another folder with --data")
    again = ["crawler", "run", *([sellers] if sellers else []), "--resume", *flags_of(loaded)]
    if run.retry_failed is False and (refused := rule.unfinished(days, late=run.late, retry_failed=True)):
        raise InputError(
            f"{text}every crawl date is finished; {refused[0].refused} sellers of {refused[0].crawl_date} "
            f"were refused for good, and are asked for again by: {quoted([*again, '--retry-failed'])}"
        )
    if closed := rule.unfinished(days, late=True, retry_failed=run.retry_failed):
        raise InputError(
            f"{text}every crawl date is finished or closed; crawl date {closed[0].crawl_date} "
            f"{rule.why_closed(closed[0])}; go on with it by: {quoted([*again, '--late'])}"
        )
    raise InputError(f"{text}every crawl date is finished")


def _list_of(data: Path, latest: date, sellers: str | None) -> tuple[str, str | None]:
    """The seller list of a date, as named or as its journal notes it, and in the latter case its column."""
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
    return source, column
