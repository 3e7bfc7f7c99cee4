"""`crawler run`: the nightly job."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from crawler.api.proxies import proxy_for
from crawler.models.errors import InputError
from crawler.nightly.dates import DateRule, require_reached
from crawler.nightly.resources import allow_connections
from crawler.nightly.run import NightlyRun
from crawler.nightly.shell import program, quoted
from crawler.nightly.signals import Signals
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.report.progress import LOG, set_up_logging
from crawler.sellers.listing import as_name, as_text, read_sellers
from crawler.settings.key import read_key
from crawler.settings.load import Loaded
from crawler.settings.resume import flags_of, in_words, options_of, resumed
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles, Layout
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
    loaded, source, crawl_date = source_and_date(loaded, sellers, datetime.now(UTC))
    settings = loaded.settings
    key = read_key(settings, os.environ)
    proxy_for(settings.api.url)
    world = World(connections=_connections(settings))
    listed = read_sellers(source, column=settings.run.column, skip_bad_ids=settings.run.skip_bad_ids)
    signals = Signals()
    with signals.handled(), _rare_collections():
        # A pipe, as `<(…)` names one, can be read only once.
        kept = source if Path(source).is_file() else "-"
        flags, options = flags_of(loaded), options_of(loaded)
        run = NightlyRun(settings, key, listed, kept, crawl_date, signals, world, flags, options)
        report = run.go()
    if settings.run.json:
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

    The settings returned are those of the run that is gone on with, under what is given now (the column only
    for the same list). Raises `InputError` where
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
    source, options, is_same_list = _begun_with(settings.run.data, latest, sellers)
    if options is not None:
        loaded = resumed(loaded, options, os.environ, () if is_same_list else ("run.column",))
    LOG.info("crawl date %s goes on with %s under: %s", latest, as_text(source), in_words(loaded))
    return loaded, source, latest


def _latest_unfinished(loaded: Loaded, sellers: str | None, now: datetime) -> date:
    run = loaded.settings.run
    days: list[DateRecord] = []
    if Layout(run.data).ledger.exists():
        with Ledger(run.data, only_read=True) as ledger:
            days = ledger.dates()
    rule = DateRule(now, run.late_after)
    if found := rule.unfinished(days, late=run.late, retry_failed=run.retry_failed):
        return found[0].crawl_date
    text = f"nothing to resume under {run.data}: "
    if not days:
        raise InputError(f"{text}no run was begun there; name another folder with --data")
    again = [*program(), "run", *([sellers] if sellers else []), "--resume", *flags_of(loaded)]
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


def _begun_with(data: Path, latest: date, sellers: str | None) -> tuple[str, str | None, bool]:
    """A date's list, as named now or noted; the options noted with it; whether the list is the same."""
    path = Layout(data).latest_journal(latest)
    source, options = None, None
    if path.exists():
        with Journal(path, only_read=True) as journal:
            source, options = journal.meta("source"), journal.meta("options")
    source = None if source is None else as_name(source)
    if source == "-":
        source = str(JournalFiles(path).piped_list)
    if sellers is None and source is None:
        raise InputError(f"name the seller list of {latest}: its journal {path} does not tell it")
    is_same = sellers is None or (source is not None and Path(sellers).absolute() == Path(source).absolute())
    return sellers or source or "", options, is_same
