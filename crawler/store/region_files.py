"""Region folders: rows in seller order in, one Parquet file for each region out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Self

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from crawler.store.files import fsync, fsync_tree
from crawler.store.layout import parquet_file, parquet_files, rows_aside, run_of
from crawler.store.parts import PartRows
from crawler.store.row_groups import ROW_GROUP, grouped, video_writer
from crawler.store.schema import (
    DESCRIBED_REGION_FILE_SCHEMA,
    NO_REGION,
    REGION_FILE_SCHEMA,
    fits_folder,
    region_of,
)

LISTING_SECONDS = 0.5
"""Seconds between a reader's listing of the regions and that of their files, at most."""

_MIN_GROUP_ROWS = 6144
"""Rows below which a region's are put aside rather than written: readers are slow on small row groups."""
_HELD_BYTES = 24 * 1024 * 1024
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

    def add(self, rows: PartRows) -> None:
        """Add rows to their regions, behind those that these have."""
        for folder, own in _by_folder(rows):
            region = self._region(folder)
            self._hold(region, own)
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
            region.writer = video_writer(region.file, DESCRIBED_REGION_FILE_SCHEMA)
        for group in grouped(rows):
            region.writer.write_table(group)
            # Free this group before the next one is read.
            del group
            pa.default_memory_pool().release_unused()

    def _close(self, region: _Region) -> None:
        if region.writer is not None:
            region.writer.close()
            region.writer = None
            self._open -= 1


def announce_regions(staged: Path, live: Path, folder: Path) -> bool:
    """Give what is live an empty file in each region that only the staged snapshot has; False: none lacked.

    A reader that lists the regions before the exchange and their files after it would miss such a
    region. The files have the name of the published ones, and are made durable in `folder`.
    """
    own = next(map(run_of, parquet_files(live)), None)
    lacking = [region.name for region in staged.iterdir() if not os.path.lexists(live / region.name)]
    if own is None or not lacking:
        return False
    for region in lacking:
        (folder / region).mkdir(parents=True)
        video_writer(parquet_file(folder / region, own), DESCRIBED_REGION_FILE_SCHEMA).close()
    fsync_tree(folder)
    for region in lacking:
        (folder / region).rename(live / region)
    fsync(live)
    return True


def _by_folder(rows: PartRows) -> Iterator[tuple[str, pa.Table]]:
    """The rows by partition folder; a region that fits none is kept in `extra`."""
    kept = rows.columns([*REGION_FILE_SCHEMA.names, "folder"])
    for folder in map(str, pc.unique(kept["folder"]).to_pylist()):
        inside: Any = pc.equal(kept["folder"], pa.scalar(folder))
        own = kept.select(REGION_FILE_SCHEMA.names).filter(inside)
        yield (folder, own) if fits_folder(folder) else (NO_REGION, _with_region(own, folder))


def _with_region(rows: pa.Table, folder: str) -> pa.Table:
    region = region_of(folder)
    extras = (orjson.loads(extra) if extra else {} for extra in rows["extra"].to_pylist())
    texts = [orjson.dumps({**extra, "region": region}).decode() for extra in extras]
    place = REGION_FILE_SCHEMA.get_field_index("extra")
    return rows.set_column(place, REGION_FILE_SCHEMA.field(place), pa.array(texts, pa.string()))


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
