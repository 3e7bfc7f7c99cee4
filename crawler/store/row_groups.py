"""Row groups, and how a Parquet file of `videos/` is written: open it to change the form of these files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 32_768
_GROUP_BYTES = 32 * 1024 * 1024
_FEW_VALUES: Any = ["seller_id", "user_id", "nick_name", "avatar", "region", "snapshot_date", "run_id"]
"""Columns whose values repeat: in the others a dictionary of nearly all values costs time and room."""
_BY_PLACE = ("seller_id", "position")


class RowGroups:
    """Cuts rows into tables of a row group's size; smaller ones where rows are very long."""

    def __init__(self) -> None:
        self._waiting: list[pa.Table] = []
        self._rows = 0
        self._bytes = 0

    def add(self, rows: pa.Table) -> Iterator[pa.Table]:
        """Take rows; returns the row groups that are full now."""
        self._hold([rows] if len(rows) else [])
        while self._rows >= ROW_GROUP:
            whole = pa.concat_tables(self._waiting)
            self._waiting, self._rows, self._bytes = [], 0, 0
            self._hold([whole.slice(ROW_GROUP)])
            yield whole.slice(0, ROW_GROUP)
        if self._bytes >= _GROUP_BYTES:
            yield from self.rest()

    def rest(self) -> Iterator[pa.Table]:
        """The rows that wait, as the last row group."""
        waiting, rows = self._waiting, self._rows
        self._waiting, self._rows, self._bytes = [], 0, 0
        if rows:
            yield pa.concat_tables(waiting)

    def _hold(self, tables: list[pa.Table]) -> None:
        self._waiting += tables
        self._rows += sum(map(len, tables))
        self._bytes += sum(table.nbytes for table in tables)


def grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Rows in tables of a row group's size."""
    groups = RowGroups()
    for table in tables:
        yield from groups.add(table)
    yield from groups.rest()


def video_writer(
    path: Path,
    schema: pa.Schema,
    sorted_by: Sequence[str] = _BY_PLACE,
    *,
    use_dictionary: Any = _FEW_VALUES,
    write_page_checksum: bool = False,
) -> pq.ParquetWriter:
    """What writes a file of rows that come in the order of some columns, else by seller and position."""
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=use_dictionary,
        sorting_columns=[pq.SortingColumn(schema.get_field_index(name)) for name in sorted_by],
        write_page_index=True,
        write_page_checksum=write_page_checksum,
    )
