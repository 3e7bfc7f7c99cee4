"""`crawler changes`: what moved in a night. Open it to change what it prints as JSON or CSV."""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path

from crawler.commands.changes_anew import require_folder
from crawler.commands.changes_forms import changes_document, write_csv, write_json
from crawler.commands.changes_text import print_changes, print_top_movers
from crawler.history.movers import dates_with_changes, night_changes
from crawler.history.reader import UnreadableError, published_dates
from crawler.history.top_movers import TopMovers, top_movers
from crawler.models.api import SortField
from crawler.models.errors import InputError, OutputError
from crawler.nightly.shell import Commands
from crawler.options import Settings
from crawler.settings.load import Loaded
from crawler.settings.resume import flags_of
from crawler.settings.values import read_crawl_date


def changes_command(
    loaded: Loaded, crawl_date: str | None, by: str, top: int, most_moved: int | None, form: str | None
) -> int:
    """Print the changes of a night, the newest that has some where no date is given; 0.

    `most_moved` is how many top movers are wanted besides, if any; `form` is `json`, `csv`, or None for
    tables. Raises `InputError` where there are no changes, `OutputError` where they cannot be read.
    """
    data = loaded.settings.run.data
    require_folder(data)
    anew = Commands(data, flags_of(loaded, ["run.data"])).rebuild()
    day = _night(data, None if crawl_date is None else read_crawl_date(crawl_date), anew)
    try:
        found = night_changes(data, day, SortField(by), top)
    except UnreadableError as error:
        text = f"the changes of {day} cannot be used: {error}; make them anew by: {anew}"
        raise OutputError(text) from None
    movers = None if most_moved is None else _top_movers(loaded.settings, day, SortField(by), most_moved)
    if form == "json":
        write_json(changes_document(found, by, top, movers))
    elif form == "csv":
        write_csv(found, movers)
    else:
        print_changes(found, SortField(by))
        if movers is not None:
            print_top_movers(movers.as_document(), SortField(by))
    if found.outdated_by:
        dates = ", ".join(found.outdated_by)
        sys.stderr.write(f"crawler: changes of {day} are out of date since {dates} was published: {anew}\n")
    return 0


def _top_movers(settings: Settings, day: date, by: SortField, top: int) -> TopMovers:
    try:
        return top_movers(settings.run.data, day, by, top, timedelta(days=settings.history.window))
    except UnreadableError as error:
        raise OutputError(f"the top movers of {day} cannot be found: {error}") from None


def _night(data: Path, wanted: date | None, anew: str) -> date:
    there = dates_with_changes(data)
    day = wanted or max(there, default=None)
    if day in there:
        return day
    published = published_dates(data)
    if not published:
        raise InputError(f"no snapshot is published under {data}, so there are no changes")
    if day is not None and day not in published:
        raise InputError(f"no snapshot of {day} is published under {data}: the newest is of {published[0]}")
    raise InputError(f"no changes of {day or 'any date'} under {data}; make them by: {anew}")
