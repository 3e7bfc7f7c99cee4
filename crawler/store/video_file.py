"""The dataset's files: a night's rows in seller order in, one Parquet file out."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from crawler.store.layout import parquet_file
from crawler.store.parts import PartRows
from crawler.store.row_groups import RowGroups, video_writer
from crawler.store.schema import (
    LATE,
    REGION,
    REGION_FILE_SCHEMA,
    SNAPSHOT_DATE,
    VIDEO_FILE_SCHEMA,
    regions_of,
)

_MAX_FILE_BYTES = 512 * 1024 * 1024


class VideoFile:
    """Writes a night's rows to one file in `folder`, and to further ones beyond 512 MB; a context manager.

    A row is late where it was received after `late_from`. Memory holds what waits to become a row group. A
    night without rows gets one empty file.
    """

    def __init__(self, folder: Path, run_id: str, day: date, late_from: datetime | None) -> None:
        self._folder = folder
        self._run_id = run_id
        self._day: Any = pa.scalar(day, pa.date32())
        self._late_from = late_from
        self._groups = RowGroups()
        self._count = 0
        self._path = folder
        self._writer: Any = None
        self._open_next()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        try:
            if kind is None:
                for group in self._groups.rest():
                    self._write(group)
        finally:
            self._writer.close()

    def add(self, rows: PartRows) -> None:
        """Add rows behind those that there are."""
        for group in self._groups.add(rows.columns([*REGION_FILE_SCHEMA.names, "folder"])):
            self._write(group)

    def _write(self, rows: pa.Table) -> None:
        if self._path.stat().st_size >= _MAX_FILE_BYTES:
            self._writer.close()
            self._open_next()
        self._writer.write_table(self._as_published(rows))
        pa.default_memory_pool().release_unused()

    def _open_next(self) -> None:
        self._count += 1
        self._path = parquet_file(self._folder, self._run_id, self._count)
        self._writer = video_writer(self._path, VIDEO_FILE_SCHEMA)

    def _as_published(self, rows: pa.Table) -> pa.Table:
        own: dict[str, Any] = {
            REGION: regions_of(rows["folder"]),
            SNAPSHOT_DATE: pa.repeat(self._day, len(rows)),
            LATE: self._is_late(rows["crawled_at"]),
        }
        columns = [own[name] if name in own else rows[name] for name in VIDEO_FILE_SCHEMA.names]
        return pa.Table.from_arrays(columns, schema=VIDEO_FILE_SCHEMA)

    def _is_late(self, crawled_at: pa.ChunkedArray[Any]) -> Any:
        if self._late_from is None:
            return pa.repeat(pa.scalar(False), len(crawled_at))
        return pc.greater(crawled_at, pa.scalar(self._late_from, crawled_at.type))
