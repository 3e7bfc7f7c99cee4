"""`crawler changes`: what moved in a night. Open it to change which columns are shown, or how."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import orjson
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from crawler.history.movers import NightChanges, dates_with_changes, night_changes
from crawler.history.reader import UnreadableError, published_dates
from crawler.models.api import SORT_COLUMNS, SortField
from crawler.models.dataset import gain_of
from crawler.models.encodings import printable
from crawler.models.errors import InputError, OutputError
from crawler.nightly.rebuilding import Rebuilt, rebuild
from crawler.nightly.shell import Commands
from crawler.nightly.world import World
from crawler.rules.dates import stamp
from crawler.settings.load import Loaded
from crawler.settings.resume import flags_of
from crawler.settings.values import read_crawl_date
from crawler.store.schema import CHANGES_SCHEMA

_LONGEST_TEXT = 24
_NAMES = {SortField.VIEWS: "views", SortField.SALES: "sales", SortField.GMV: "GMV"}
_LISTS = {"movers": "mover", "newcomers": "newcomer", "losses": "loss"}
_BORDER = 3
_FULLWIDTH = "\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}"
_FORMULA_BEGINS = (*"=+-@", *_FULLWIDTH, "\N{FULLWIDTH COMMERCIAL AT}")

Row = dict[str, Any]


def changes_command(loaded: Loaded, crawl_date: str | None, by: str, top: int, form: str | None) -> int:
    """Print the changes of a night, the newest that has some where no date is given; 0.

    `form` is `json`, `csv`, or None for tables. Raises `InputError` where there are no changes, `OutputError`
    where they cannot be read.
    """
    data = loaded.settings.run.data
    _require_folder(data)
    anew = Commands(data, flags_of(loaded, ["run.data"])).rebuild()
    day = _night(data, None if crawl_date is None else read_crawl_date(crawl_date), anew)
    try:
        found = night_changes(data, day, SortField(by), top)
    except UnreadableError as error:
        text = f"the changes of {day} cannot be used: {error}; make them anew by: {anew}"
        raise OutputError(text) from None
    if form == "json":
        _write_json(_document(found, by, top))
    elif form == "csv":
        _write_csv(found)
    else:
        _print(found, SortField(by))
    if found.outdated_by:
        dates = ", ".join(found.outdated_by)
        sys.stderr.write(f"crawler: changes of {day} are out of date since {dates} was published: {anew}\n")
    return 0


def rebuild_changes_command(loaded: Loaded, crawl_date: str | None, *, as_json: bool) -> int:
    """Make changes anew, of one date or of all that need it, and print of which; 0.

    Raises `CrawlerError` where that cannot be done, `OutputError` where it cannot be done for some dates.
    """
    settings = loaded.settings
    _require_folder(settings.run.data)
    made = rebuild(settings, World(), None if crawl_date is None else read_crawl_date(crawl_date))
    for note in made.notes:
        sys.stderr.write(f"crawler: {note}\n")
    if as_json:
        counted = {str(day): counts for day, counts in made.dates.items()}
        failed = {str(day): why for day, why in made.failed.items()}
        _write_json({"rebuilt": counted, "failed": failed, "notes": made.notes})
    else:
        _print_rebuilt(made)
    if made.failed:
        raise OutputError(
            "; ".join(f"no changes are made for {day}: {why}" for day, why in made.failed.items())
        )
    return 0


def _print_rebuilt(made: Rebuilt) -> None:
    for day, counts in made.dates.items():
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
        sys.stdout.write(f"changes of {day} made anew: {kinds or 'nothing moved'}\n")
    if not made.dates and not made.failed:
        sys.stdout.write("no changes had to be made anew\n")


def _require_folder(data: Path) -> None:
    if not data.is_dir():
        raise InputError(f"no data folder: {data} is no folder; name the one that a run writes with --data")


def _write_json(document: dict[str, Any]) -> None:
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")


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


def _document(found: NightChanges, by: str, top: int) -> dict[str, Any]:
    lists = {name: [_plain(row) for row in getattr(found, name).to_pylist()] for name in _LISTS}
    return {
        "crawl_date": found.crawl_date,
        "run_id": found.run_id,
        "rests_on": found.rests_on,
        "outdated_by": found.outdated_by,
        "by": by,
        "top": top,
        "totals": found.totals,
        **lists,
    }


def _write_csv(found: NightChanges) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["list", *CHANGES_SCHEMA.names])
    for name, one in _LISTS.items():
        for row in getattr(found, name).to_pylist():
            writer.writerow([one, *(_cell(value) for value in _plain(row).values())])


def _cell(value: Any) -> Any:
    """A cell of a CSV. A text that a spreadsheet would take for a formula gets an apostrophe."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA_BEGINS) else text


def _plain(row: Row) -> Row:
    return {name: stamp(value) if isinstance(value, datetime) else value for name, value in row.items()}


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of a table. Where room is short, those of the highest `spare` are left out; of 0 never."""

    head: str
    cell: Callable[[Row], str]
    spare: int = 0
    is_number: bool = True

    def width(self, rows: Sequence[Row]) -> int:
        """The cells that it takes, with its border."""
        return max(cell_len(self.head), *(cell_len(self.cell(row)) for row in rows)) + _BORDER


def _print(found: NightChanges, by: SortField) -> None:
    ordered_by, others = _NAMES[by], [field for field in SortField if field is not by]
    keys = [_words("seller_id", "seller_id"), _words("video_id", "video_id")]
    kind, region = _words("kind", "kind", 3), _words("region", "region", 4)
    created, since = _words("created", "create_time", 3), _words("last seen", "since", 1)
    days = _number("days", "days", 2)
    sums = [
        _number(f"{_NAMES[field]} gain", f"{field}_gain", field is not by, sign="+") for field in SortField
    ]
    movers = [*keys, kind, region, days, _count(by, 1), _gain(by), *(_gain(field, 5) for field in others)]
    newcomers = [*keys, kind, region, created, _count(by), *(_count(field, 5) for field in others)]
    losses = [*keys, region, created, since, days]
    totals = [{"kind": name, **total} for name, total in found.totals.items()]
    sys.stdout.write(f"Changes of crawl date {found.crawl_date}, run {found.run_id}\n")
    _show("Totals by kind", [_words("kind", "kind"), _number("videos", "videos"), *sums], totals)
    _show(f"Movers: the largest gains of {ordered_by}", movers, found.movers.to_pylist())
    _show(f"Newcomers by {ordered_by}", newcomers, found.newcomers.to_pylist())
    _show("Losses", losses, found.losses.to_pylist())


def _show(title: str, columns: Sequence[_Column], rows: Sequence[Row]) -> None:
    """Print the columns that the terminal has room for; those that are not `spare` always, and whole."""
    if not rows:
        sys.stdout.write(f"\n{title}: none\n")
        return
    console, shown = Console(file=sys.stdout, highlight=False, markup=False), list(columns)
    while (width := 1 + sum(column.width(rows) for column in shown)) > console.width:
        spare = max(shown, key=lambda column: column.spare)
        if not spare.spare:
            break
        shown.remove(spare)
    table = Table(title=title, title_justify="left")
    for column in shown:
        table.add_column(column.head, justify="right" if column.is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(column.cell(row) for column in shown))
    console.width = max(console.width, width)
    console.print(table)


def _words(head: str, name: str, spare: int = 0) -> _Column:
    def cell(row: Row) -> str:
        value = row[name]
        text = f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value or "-")
        shown = printable(text)
        is_whole = not spare or len(shown) <= _LONGEST_TEXT
        return shown if is_whole else f"{shown[: _LONGEST_TEXT - 1]}…"

    return _Column(head, cell, spare, is_number=False)


def _number(head: str, name: str, spare: int = 0, sign: str = "") -> _Column:
    def cell(row: Row) -> str:
        value = row[name]
        decimals = (".1f" if name == "days" else ".2f") if isinstance(value, float) else ""
        return "-" if value is None else f"{value:{sign},{decimals}}"

    return _Column(head, cell, spare)


def _count(field: SortField, spare: int = 0) -> _Column:
    return _number(_NAMES[field], SORT_COLUMNS[field], spare)


def _gain(field: SortField, spare: int = 0) -> _Column:
    return _number(f"{_NAMES[field]} gain", gain_of(SORT_COLUMNS[field]), spare, sign="+")
