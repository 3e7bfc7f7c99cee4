"""The changes of a night for programs: as JSON, and as CSV. Open it to change what these have."""

from __future__ import annotations

import csv
import sys
from datetime import datetime
from typing import Any

import orjson

from crawler.history.movers import NightChanges
from crawler.history.top_movers import TopMovers
from crawler.models.encodings import printable
from crawler.rules.dates import stamp
from crawler.store.schema import CHANGES_SCHEMA

_LISTS = {"movers": "mover", "newcomers": "newcomer", "losses": "loss"}
_FULLWIDTH = "\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}"
_FORMULA_BEGINS = (*"=+-@", *_FULLWIDTH, "\N{FULLWIDTH COMMERCIAL AT}")

Row = dict[str, Any]


def write_json(document: dict[str, Any]) -> None:
    """Print a document."""
    sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")


def changes_document(found: NightChanges, by: str, top: int, movers: TopMovers | None) -> dict[str, Any]:
    """The changes of a night, and the top movers where they are asked for."""
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
        **({} if movers is None else {"top_movers": movers.as_document()}),
    }


def write_csv(found: NightChanges, movers: TopMovers | None) -> None:
    """Write the lists; with top movers these too, and a column that has the certainty of each."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["list", *CHANGES_SCHEMA.names, *(["certainty"] * (movers is not None))])
    for name, one in _LISTS.items():
        for row in getattr(found, name).to_pylist():
            writer.writerow([one, *_cells(row), *([""] * (movers is not None))])
    if movers is not None:
        for row, certainty in zip(movers.movers.to_pylist(), movers.certainties, strict=True):
            writer.writerow(["top_mover", *_cells(row), certainty.value])


def _cells(row: Row) -> list[Any]:
    return [_cell(value) for value in _plain(row).values()]


def _cell(value: Any) -> Any:
    """A cell of a CSV. A text that a spreadsheet would take for a formula gets an apostrophe."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA_BEGINS) else text


def _plain(row: Row) -> Row:
    return {name: stamp(value) if isinstance(value, datetime) else value for name, value in row.items()}
