"""What moved in a night as tables for a terminal. Open it to change which columns are shown, or how."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from crawler.history.movers import NightChanges
from crawler.models.api import SORT_COLUMNS, SortField
from crawler.models.dataset import gain_of
from crawler.models.encodings import printable
from crawler.report.top_movers_words import sentences

_LONGEST_TEXT = 24
_NAMES = {SortField.VIEWS: "views", SortField.SALES: "sales", SortField.GMV: "GMV"}
_BORDER = 3

Row = dict[str, Any]


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


def print_changes(found: NightChanges, by: SortField) -> None:
    """Print the changes of a night: totals by kind, then the lists, which are ordered by `by`."""
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


def print_top_movers(found: Mapping[str, Any], by: SortField) -> None:
    """Print top movers, as a report has them, and what stands in their way."""
    columns = [
        *(_words(name, name) for name in ("seller_id", "video_id", "certainty")),
        _number(f"{_NAMES[by]} gain", "gain", sign="+"),
        _number(_NAMES[by], "value", 1),
        _number("place at worst", "worst_place", 2),
        _words("last seen", "since", 3),
    ]
    _show(f"Top movers: the {found['top']:,} that gained most {_NAMES[by]}", columns, found["rows"])
    sys.stdout.writelines(f"{sentence}\n" for sentence in sentences(found))


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
