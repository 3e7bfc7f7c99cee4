"""Snapshots read side by side: a cursor gives a snapshot's rows of one range of sellers after another.

Open it to change what of a snapshot is held in memory, or which of its row groups are read.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.history.footers import column_number
from crawler.history.reader import SnapshotFiles, columns_to_read, conformed, reading, require_file

Keep = Callable[[pa.Table], pa.Table]
"""What is held of a batch of rows."""

_BATCH_ROWS = 8192
_BUFFER_BYTES = 32 * 1024


class _Group(NamedTuple):
    """A row group: its number, and its first and last seller, None where the file does not say."""

    number: int
    first: str | None
    last: str | None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is read of a file: its columns, those that may be missing, and those of which a row has one."""

    schema: pa.Schema
    optional: frozenset[str]
    valid: tuple[str, ...]

    def rows_of(self, rows: pa.Table) -> pa.Table:
        """The rows that have a value in one of the columns `valid`."""
        there = [rows[name] for name in self.valid if name in rows.column_names]
        if not all(column.null_count for column in there):
            return rows
        has_value: list[Any] = [pc.is_valid(column) for column in there]
        return rows.filter(reduce(pc.or_, has_value))


class SellerCursor:
    """The rows of a snapshot by ranges of sellers, each range above the one before; a file is read once.

    The files must be sorted by `seller_id`, but for rows without a value in any of the columns `valid`,
    which are left out. Memory holds a batch of each file. Raises `UnreadableError` where a file is missing,
    damaged, foreign or not sorted.
    """

    def __init__(
        self,
        files: SnapshotFiles,
        schema: pa.Schema,
        optional: frozenset[str],
        valid: tuple[str, ...] = ("seller_id",),
    ) -> None:
        self._schema = schema
        wanted = _Wanted(schema, optional, valid)
        self._files = [_FileCursor(path, wanted) for path in files.paths]

    def __len__(self) -> int:
        return len(self._files)

    def rows(self, first: str, last: str, keep: Keep | None = None) -> pa.Table:
        """The rows of the sellers from `first` to `last`, file after file, as one chunk.

        Of each batch only what `keep` returns is held.
        """
        parts: Iterable[pa.Table] = (part for file in self._files for part in file.rows(first, last))
        parts = parts if keep is None else map(keep, parts)
        return pa.concat_tables([self._schema.empty_table(), *parts]).combine_chunks()

    def mark(self) -> Callable[[], None]:
        """Returns what moves the cursor back to where it is now."""
        marks = [file.mark() for file in self._files]

        def move_back() -> None:
            for move in marks:
                move()

        return move_back

    def close(self) -> None:
        """Close the files; the next rows open them again."""
        for file in self._files:
            file.close()


class _FileCursor:
    """One file's part of a `SellerCursor`: the place of the next batch, and the batch that was begun."""

    def __init__(self, path: Path, wanted: _Wanted) -> None:
        self._path = path
        self._wanted = wanted
        self._groups: list[_Group] | None = None
        self._group = 0
        self._offset = 0
        self._begun: pa.Table | None = None
        self._last = ""
        self._file: pq.ParquetFile | None = None
        self._batches: Iterator[pa.RecordBatch] | None = None

    def rows(self, first: str, last: str) -> Iterator[pa.Table]:
        """The rows of a range, batch by batch."""
        while (batch := self._next(first, last)) is not None:
            ids = batch["seller_id"].combine_chunks()
            low, high = _place(ids, first, after=False), _place(ids, last, after=True)
            if low < high:
                yield batch.slice(low, high - low)
            if high < len(batch):
                self._begun = batch.slice(high)
                return

    def mark(self) -> Callable[[], None]:
        place = (self._group, self._offset, self._begun, self._last)

        def move_back() -> None:
            self.close()
            self._group, self._offset, self._begun, self._last = place

        return move_back

    def close(self) -> None:
        self._stop_group()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next(self, first: str, last: str) -> pa.Table | None:
        """The batch that was begun, or the next one that may have rows of the range."""
        if self._begun is not None:
            begun, self._begun = self._begun, None
            return begun
        with reading(self._path):
            groups = self._groups_of()
            while self._group < len(groups):
                group = groups[self._group]
                if group.first is not None and group.first > last:
                    return None
                if group.last is None or group.last >= first:
                    batch = self._read(group)
                    if batch is not None:
                        return batch
                self._stop_group()
                self._group, self._offset = self._group + 1, 0
        return None

    def _read(self, group: _Group) -> pa.Table | None:
        """The next rows of a group; None at its end."""
        if self._batches is None:
            self._batches = self._opened(group)
        for batch in self._batches:
            self._offset += len(batch)
            table = self._wanted.rows_of(pa.Table.from_batches([batch]))
            if len(table):
                self._require_sorted(table["seller_id"].combine_chunks())
                return conformed(table, self._wanted.schema, self._path)
        return None

    def _opened(self, group: _Group) -> Iterator[pa.RecordBatch]:
        """The batches of a group from the place that was reached in it."""
        file = self._parquet()
        names = columns_to_read(file, self._wanted.schema, self._wanted.optional)
        passed = self._offset
        for batch in file.iter_batches(
            _BATCH_ROWS, row_groups=[group.number], columns=names, use_threads=False
        ):
            if passed < len(batch):
                yield batch.slice(passed)
            passed = max(0, passed - len(batch))

    def _require_sorted(self, ids: pa.Array[Any]) -> None:
        ascending: Any = pc.less_equal(ids.slice(0, len(ids) - 1), ids.slice(1))
        if ids[0].as_py() < self._last or ids.null_count or pc.all(ascending).as_py() is False:
            raise LookupError("its rows are not sorted by seller_id")
        self._last = ids[-1].as_py()

    def _groups_of(self) -> list[_Group]:
        if self._groups is None:
            metadata = self._parquet().metadata
            ids = column_number(metadata, "seller_id")
            numbers = [column_number(metadata, name) for name in self._wanted.valid]
            valid = [number for number in numbers if number is not None]
            self._groups = []
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                if all(_is_null(group, column) for column in valid):
                    continue
                ends: Any = None if ids is None else group.column(ids).statistics
                known = ends is not None and ends.has_min_max
                self._groups.append(
                    _Group(number, ends.min, ends.max) if known else _Group(number, None, None)
                )
        return self._groups

    def _parquet(self) -> pq.ParquetFile:
        if self._file is None:
            require_file(self._path)
            self._file = pq.ParquetFile(self._path, buffer_size=_BUFFER_BYTES)
        return self._file

    def _stop_group(self) -> None:
        self._batches = None


def _is_null(group: Any, column: int) -> bool:
    """Whether a column of a row group is known to have no value."""
    counted = group.column(column).statistics
    return counted is not None and counted.has_null_count and counted.null_count == group.num_rows


def _place(ids: pa.Array[Any], seller_id: str, *, after: bool) -> int:
    """Where a seller's rows begin among sorted ones, or where they end."""
    find = bisect_right if after else bisect_left
    return find(ids, seller_id, key=lambda value: value.as_py())


def between(column: str, low: Any, high: Any, rows: pa.Table) -> pa.Table:
    """The rows with a value from `low` on and before `high`, as far as there are such bounds."""
    bounds = ((pc.greater_equal, low), (pc.less, high))
    inside: list[Any] = [at(rows[column], pa.scalar(bound)) for at, bound in bounds if bound is not None]
    return rows.filter(reduce(pc.and_, inside)) if inside else rows


def by_videos(read: Callable[[Keep], pa.Table], step: int, count: int) -> list[Keep]:
    """What keeps the rows of each of `count` ranges of videos, about equally many; fewer of few videos.

    `read` gives all rows that are kept of them; one of `step` is looked at.
    """
    sample: list[Any] = read(partial(_every_nth, step))["video_id"].sort().to_pylist()
    bounds = sorted({sample[len(sample) * number // count] for number in range(1, count)})
    pairs = zip([None, *bounds], [*bounds, None], strict=True)
    return [partial(between, "video_id", low, high) for low, high in pairs]


def _every_nth(step: int, rows: pa.Table) -> pa.Table:
    return rows.take(pa.array(range(0, len(rows), step), pa.int64()))
