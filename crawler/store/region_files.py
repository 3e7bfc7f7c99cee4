"""The dataset's files: rows in seller order in, one Parquet file for each region out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from crawler.store.layout import parquet_file, rows_aside
from crawler.store.schema import FEW_VALUES, NO_REGION, VIDEO_SCHEMA

ROW_GROUP = 65_536
_MIN_GROUP_ROWS = 6144
"""Rows below which a region's are put aside rather than written: readers are slow on small row groups."""
_HELD_BYTES = 24 * 1024 * 1024
_GROUP_BYTES = 32 * 1024 * 1024
_MAX_OPEN_FILES = 32


@dataclass(slots=True)
class _Region:
    """A region's rows in their order: those written, then those put `aside`, then those that wait."""

    file: Path
    aside: Path
    is_aside: bool = False
    writer: Any = None
    rows: int = 0
    waiting: list[pa.Table] = field(default_factory=list)


class RegionFiles:
    """Writes each region's rows to one file below `folder`; a context manager, at whose end all are whole.

    Memory holds what waits to become row groups, up to a limit. Where that is reached the region with the
    most rows writes them; where they are too few, all that wait are put aside on disk until the end. A
    snapshot without rows gets one empty file.
    """

    def __init__(self, folder: Path, run_id: str, aside: Path) -> None:
        self._folder = folder
        self._run_id = run_id
        self._aside = aside
        self._regions: dict[str, _Region] = {}
        self._held = 0
        self._open = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            for region in self._regions.values():
                self._close(region)

    def add(self, folder: str, rows: pa.Table) -> None:
        """Add rows to the region of a partition folder, behind those that it has."""
        region = self._region(folder)
        self._hold(region, rows)
        if region.rows >= ROW_GROUP and self._may_write(region):
            waiting = pa.concat_tables(self._taken(region))
            whole = len(waiting) // ROW_GROUP * ROW_GROUP
            self._write(region, [waiting.slice(0, whole)])
            self._hold(region, waiting.slice(whole))
        if self._held > _HELD_BYTES:
            self._make_room()

    def _region(self, folder: str) -> _Region:
        region = self._regions.get(folder)
        if region is None:
            (self._folder / folder).mkdir()
            aside = rows_aside(self._aside, len(self._regions))
            region = _Region(parquet_file(self._folder / folder, self._run_id), aside)
            self._regions[folder] = region
        return region

    def _may_write(self, region: _Region) -> bool:
        return not region.is_aside and (region.writer is not None or self._open < _MAX_OPEN_FILES)

    def _make_room(self) -> None:
        largest = max(self._regions.values(), key=lambda region: region.rows)
        if largest.rows >= _MIN_GROUP_ROWS and self._may_write(largest):
            self._write(largest, self._taken(largest))
            return
        for region in self._regions.values():
            if region.rows:
                _append(region.aside, pa.concat_tables(self._taken(region)))
                region.is_aside = True

    def _hold(self, region: _Region, rows: pa.Table) -> None:
        region.waiting.append(rows)
        region.rows += len(rows)
        self._held += rows.nbytes

    def _taken(self, region: _Region) -> list[pa.Table]:
        rows, region.waiting, region.rows = region.waiting, [], 0
        self._held -= sum(table.nbytes for table in rows)
        return rows

    def _finish(self) -> None:
        if not self._regions:
            self._region(NO_REGION)
        for region in self._regions.values():
            self._write(region, chain(_stored(region), self._taken(region)))
            self._close(region)
            region.aside.unlink(missing_ok=True)

    def _write(self, region: _Region, rows: Iterable[pa.Table]) -> None:
        if region.writer is None:
            self._open += 1
            region.writer = pq.ParquetWriter(
                region.file, VIDEO_SCHEMA, compression="zstd", use_dictionary=FEW_VALUES
            )
        for group in _groups(rows):
            region.writer.write_table(group, row_group_size=ROW_GROUP)
            # Free this group before the next one is read.
            del group
            pa.default_memory_pool().release_unused()

    def _close(self, region: _Region) -> None:
        if region.writer is not None:
            region.writer.close()
            region.writer = None
            self._open -= 1


def _groups(rows: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Rows in tables of a row group's size; smaller ones where rows are very long."""
    waiting: list[pa.Table] = []
    count = size = 0
    for table in rows:
        waiting.append(table)
        count, size = count + len(table), size + table.nbytes
        while count >= ROW_GROUP:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, ROW_GROUP)
            rest = whole.slice(ROW_GROUP)
            waiting, count, size = [rest], len(rest), rest.nbytes
        if size >= _GROUP_BYTES:
            yield pa.concat_tables(waiting)
            waiting, count, size = [], 0, 0
    if any(map(len, waiting)):
        yield pa.concat_tables(waiting)


def _append(path: Path, rows: pa.Table) -> None:
    """Append rows to a file, as one Arrow stream after another."""
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with path.open("ab") as file, pa.ipc.new_stream(file, rows.schema, options=options) as stream:
        stream.write_table(rows)


def _stored(region: _Region) -> Iterator[pa.Table]:
    """What was put aside, in its order."""
    if not region.is_aside:
        return
    end = region.aside.stat().st_size
    options = pa.ipc.IpcReadOptions(use_threads=False)
    with pa.OSFile(str(region.aside), "rb") as file:
        while file.tell() < end:
            for batch in pa.ipc.open_stream(file, options=options):
                yield pa.Table.from_batches([batch])
