"""A run's seller list and crawl date; with `--resume`, those of the date that it goes on with."""

from __future__ import annotations

import os
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from crawler import events
from crawler.models.encodings import as_name
from crawler.models.errors import InputError
from crawler.nightly.dates import DateRule, require_reached
from crawler.nightly.shell import program, quoted, whole_path, with_whole_paths
from crawler.settings.load import Loaded
from crawler.settings.resume import as_then, flags_of, in_words, resumed
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles, Layout
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import DateRecord


def source_and_date(loaded: Loaded, sellers: str | None, now: datetime) -> tuple[Loaded, str, date]:
    """The seller list and the crawl date of a run; with `--resume`, the latest unfinished one's.

    With `--resume` the settings of that date's last run come back too, under what is given now; its column
    only for the same list. Raises `InputError` where there is no list, nothing to resume, or the date lies in
    the future.
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
    events.RUN_RESUMED(crawl_date=latest, list=source, settings=in_words(loaded)).log()
    return loaded, source, latest


def as_begun(loaded: Loaded, day: date) -> tuple[Loaded, str]:
    """The settings and the seller list of a date's last run; these settings where it has noted none.

    Raises `InputError` where they cannot be read.
    """
    source, options, _ = _begun_with(loaded.settings.run.data, day, None)
    return (loaded if options is None else as_then(loaded, options, os.environ)), source


def _latest_unfinished(loaded: Loaded, sellers: str | None, now: datetime) -> date:
    run = loaded.settings.run
    days: list[DateRecord] = []
    if Layout(run.data).ledger.exists():
        with Ledger(run.data, only_read=True) as ledger:
            days = ledger.dates()
    rule = DateRule.of(run, now)
    if found := rule.unfinished(days, late=run.late, retry_failed=run.retry_failed):
        return found[0].crawl_date
    text = f"nothing to resume under {run.data}: "
    if not days:
        raise InputError(f"{text}no run was begun there; name another folder with --data")
    named = [] if sellers is None else [sellers if sellers == "-" else whole_path(sellers)]
    again = [*program(), "run", *named, "--resume", *with_whole_paths(flags_of(loaded), run.data)]
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
        raise InputError(f"name the seller list of {latest}: its journal {path} does not name it")
    is_same = sellers is None or (source is not None and Path(sellers).absolute() == Path(source).absolute())
    return sellers or source or "", options, is_same
