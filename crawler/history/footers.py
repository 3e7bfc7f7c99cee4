"""What the footer of a published Parquet file says: open it to learn more of a file without reading its rows.

A publication asks several questions about every date there is, so a footer is read once, and again only where
the file has changed.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crawler.store.schema import COLUMNS, SCHEMA_VERSION

ALL_TIME = (-(2**62), 2**62)
_OF_COLUMNS = {b"ARROW:schema", COLUMNS.encode(), SCHEMA_VERSION.encode()}
"""What each file says of its columns, and what is written anew says by itself."""
_FIRST, _LAST = "first_crawled_at", "last_crawled_at"
_MAX_KEPT = 8192


@dataclass(frozen=True, slots=True)
class Footer:
    """A file's columns, its count of rows and its metadata by key.

    `span` is when the sellers of a `SELLERS` file were read first and last, in epoch milliseconds: none where
    it has no such times, all of time where it does not say.
    """

    columns: frozenset[str]
    rows: int
    metadata: dict[str, str]
    span: tuple[int, int] | None


def footer_of(path: Path) -> Footer:
    """The footer of a file. Raises what pyarrow raises where it is damaged."""
    found = path.stat()
    return _footer(path, (found.st_ino, found.st_mtime_ns, found.st_size))


@lru_cache(_MAX_KEPT)
def _footer(path: Path, _identity: tuple[int, int, int]) -> Footer:
    with closing(pq.ParquetFile(path)) as file:
        noted = file.metadata.metadata or {}
        return Footer(
            columns=frozenset(file.schema_arrow.names),
            rows=file.metadata.num_rows,
            metadata={
                key.decode(): value.decode(errors="replace")
                for key, value in noted.items()
                if key not in _OF_COLUMNS
            },
            span=_span(file),
        )


def column_number(metadata: pq.FileMetaData, name: str) -> int | None:
    """The number of a column, which has no parts of its own."""
    names = metadata.schema.names
    return names.index(name) if name in names else None


def union(spans: list[tuple[int, int]]) -> tuple[int, int] | None:
    """The span that holds all of some."""
    return (min(span[0] for span in spans), max(span[1] for span in spans)) if spans else None


def _span(file: pq.ParquetFile) -> tuple[int, int] | None:
    metadata = file.metadata
    columns = column_number(metadata, _FIRST), column_number(metadata, _LAST)
    if not all(_in_milliseconds(file.schema_arrow, name) for name in (_FIRST, _LAST)):
        columns = None, None
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    return union([span for group in groups for span in _span_of(group, *columns)])


def _span_of(group: Any, low: int | None, high: int | None) -> list[tuple[int, int]]:
    """The span of a row group; none where it has no values."""
    if low is None or high is None:
        return [ALL_TIME] * (group.num_rows > 0)
    ends: tuple[Any, ...] = tuple(group.column(column).statistics for column in (low, high))
    if any(end is not None and end.has_null_count and end.null_count == group.num_rows for end in ends):
        return []
    if not all(end is not None and end.has_min_max for end in ends):
        return [ALL_TIME]
    return [(ends[0].min_raw, ends[1].max_raw)]


def _in_milliseconds(schema: pa.Schema, name: str) -> bool:
    """Whether the numbers of a column are milliseconds. A time made of them would make Arrow load pandas."""
    return name in schema.names and schema.field(name).type == pa.timestamp("ms", tz="UTC")
