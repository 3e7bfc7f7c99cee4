"""What stands out in the changes of a night: totals by kind, movers, newcomers, losses.

Open it to change what `crawler changes` lists, and in which order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.change_kinds import ChangeKind
from crawler.history.first_rows import first_rows
from crawler.history.outdated import outdated_by, replaced, rests_on
from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.models.api import SORT_COLUMNS, SortField
from crawler.models.dataset import gain_of
from crawler.store.layout import CHANGES, SELLERS, dated_folders, parquet_files, run_of
from crawler.store.schema import CHANGES_SCHEMA, RUN

_BATCH_ROWS = 8192
"""A batch of all columns: more, or columns that are read side by side, take more memory than publishing."""
_KEYS = ("seller_id", "video_id")
_NEW = (ChangeKind.PUBLISHED, ChangeKind.DISCOVERED)
_SUMS = {f"{field}_gain": gain_of(column) for field, column in SORT_COLUMNS.items()}

Totals = Mapping[str, float | None]
"""Of one kind: how many `videos`, and the sums of their gains, null where they have none."""


@dataclass(frozen=True, slots=True)
class NightChanges:
    """The changes of a snapshot; the lists have `CHANGES_SCHEMA`, and so many rows as were asked for.

    `movers` gained most, of those that were seen before; `newcomers` have most, of those that were published
    or discovered; `losses` are gone. `outdated_by`: dates published since, that were not compared.
    """

    crawl_date: date
    run_id: str
    rests_on: Mapping[str, str]
    outdated_by: Sequence[str]
    totals: Mapping[str, Totals]
    movers: pa.Table
    newcomers: pa.Table
    losses: pa.Table


def dates_with_changes(data: Path) -> list[date]:
    """The dates that have changes."""
    return [day for day, folder in dated_folders(data, CHANGES) if parquet_files(folder)]


def night_changes(data: Path, day: date, by: SortField, top: int) -> NightChanges:
    """The changes of a date that has some.

    Raises `UnreadableError` where they cannot be read, or belong to another snapshot than the published one.
    """
    files = SnapshotFiles.published(data, CHANGES, day)
    run_id = files.metadata.get(RUN, "")
    published = _run_of(data, day)
    if published is not None and published != run_id:
        raise UnreadableError(f"they are those of run {run_id or '?'}, and run {published} is published now")
    compared, marked = rests_on(files), outdated_by(SnapshotFiles.published(data, SELLERS, day))
    outdated = sorted(replaced(data, compared).union(marked))
    lists = _Lists(by, top)
    for rows in files.batches(CHANGES_SCHEMA, size=_BATCH_ROWS, use_threads=False):
        lists.add(rows)
    return NightChanges(day, run_id, compared, outdated, lists.totals, *lists.tables)


def _run_of(data: Path, day: date) -> str | None:
    """The run whose snapshot of a date is published; None where there is none."""
    paths = SnapshotFiles.published(data, SELLERS, day).paths
    return run_of(paths[0]) if paths else None


class _Lists:
    """The totals and the three lists, from some rows after others."""

    def __init__(self, by: SortField, top: int) -> None:
        self._column, self._top = SORT_COLUMNS[by], top
        self.totals: dict[str, dict[str, float | None]] = {
            kind.value: {"videos": 0, **dict.fromkeys(_SUMS)} for kind in ChangeKind
        }
        self.tables: Sequence[pa.Table] = [CHANGES_SCHEMA.empty_table()] * 3

    def add(self, rows: pa.Table) -> None:
        """Add rows."""
        self._add_up(rows)
        gain, kinds = gain_of(self._column), rows["kind"]
        is_new = pc.is_in(kinds, value_set=pa.array(_NEW, pa.string()))
        is_mover = pc.and_not(pc.greater(rows[gain], pa.scalar(0, rows[gain].type)), is_new)
        is_gone = pc.is_in(kinds, value_set=pa.array([ChangeKind.GONE], pa.string()))
        movers, newcomers, losses = self.tables
        self.tables = (
            self._first(movers, rows.filter(is_mover), gain),
            self._first(newcomers, rows.filter(is_new), self._column),
            self._first(losses, rows.filter(is_gone), None),
        )

    def _add_up(self, rows: pa.Table) -> None:
        # `group_by` would import the plans of Arrow, which are heavy.
        for kind, totals in self.totals.items():
            of_kind = rows.filter(pc.is_in(rows["kind"], value_set=pa.array([kind])))
            totals["videos"] = (totals["videos"] or 0) + len(of_kind)
            for name, column in _SUMS.items():
                if (gained := pc.sum(of_kind[column]).as_py()) is not None:
                    totals[name] = (totals[name] or 0) + gained

    def _first(self, so_far: pa.Table, more: pa.Table, by: str | None) -> pa.Table:
        return first_rows(pa.concat_tables([so_far, more]), self._top, by, _KEYS)
