"""The columns of everything written as Parquet: videos, sellers, changes, and the journal's segments."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa

from crawler.models.api import API_COLUMNS, COUNT_COLUMNS
from crawler.store.layout import REGION_KEY

SORTING = "crawler.sorting"
"""The metadata key of `sellers/` files that holds what the pages were sorted by, and which way."""
REGION, SNAPSHOT_DATE, LATE = "region", "snapshot_date", "late"
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
NO_REGION = f"{REGION_KEY}{_NO_VALUE}"
_LONGEST_NAME = 255
_GAIN = "_gain"

_KINDS: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "seconds": pa.timestamp("ms", tz="UTC"),
}


def gain_of(column: str) -> str:
    """The column of `changes/` that holds the gain of a counter."""
    return f"{column}{_GAIN}"


_ROW_FIELDS: list[pa.Field[Any]] = [
    pa.field("seller_id", pa.string()),
    *(pa.field(c.name, _KINDS[c.kind]) for c in API_COLUMNS if c.name != REGION),
    pa.field("page_num", pa.int32()),
    pa.field("position", pa.int64()),
    pa.field("crawled_at", pa.timestamp("ms", tz="UTC")),
    pa.field("run_id", pa.string()),
    pa.field("request_id", pa.string()),
    pa.field("carried_from", pa.date32()),
    pa.field("extra", pa.string()),
]
REGION_FILE_SCHEMA = pa.schema(_ROW_FIELDS)
"""The columns of a file in a region folder, in their order; `crawl_date` and `region` are in its path."""
VIDEO_SCHEMA = pa.schema(
    [
        *REGION_FILE_SCHEMA,
        pa.field(REGION, pa.string()),
        pa.field(SNAPSHOT_DATE, pa.date32()),
        pa.field(LATE, pa.bool_()),
    ]
)
"""The columns of a file of a whole night; `crawl_date` is in its path."""
SEGMENT_SCHEMA = pa.schema(
    [*REGION_FILE_SCHEMA, pa.field("folder", pa.string()), pa.field("seq", pa.int64())]
)
"""The columns of a row as it waits: `folder` holds its region (`region_folder`), `seq` when its page was
received, as a number."""
_REQUIRED_OF_VIDEOS = (
    *("seller_id", "video_id", "page_num", "position", "crawled_at", "run_id"),
    *(SNAPSHOT_DATE, LATE),
)
_SELLER_FIELDS: list[pa.Field[Any]] = [
    pa.field("seller_id", pa.string()),
    pa.field("status", pa.string()),
    pa.field("stop_reason", pa.string()),
    pa.field("pages", pa.int64()),
    pa.field("videos", pa.int64()),
    pa.field("credits", pa.int64()),
    pa.field("error", pa.string()),
    pa.field("first_crawled_at", pa.timestamp("ms", tz="UTC")),
    pa.field("last_crawled_at", pa.timestamp("ms", tz="UTC")),
    pa.field("run_id", pa.string()),
    pa.field("carried", pa.int64()),
    pa.field("overlap", pa.int64()),
    pa.field("drift", pa.int64()),
    pa.field("kept_status", pa.string()),
    pa.field("other_credits", pa.int64()),
]
SELLER_SCHEMA = pa.schema(_SELLER_FIELDS)

_SUMS: dict[str, pa.DataType] = {"views": pa.int64(), "sales": pa.int64(), "gmv": pa.float64()}
_SUM_FIELDS: list[pa.Field[Any]] = [
    *(pa.field(name, kind) for name, kind in _SUMS.items()),
    *(pa.field(gain_of(name), kind) for name, kind in _SUMS.items()),
    *(pa.field(name, pa.int64()) for name in ("published", "discovered", "gone", "changed")),
]
SUMMED_SELLER_SCHEMA = pa.schema([*_SELLER_FIELDS, *_SUM_FIELDS])
"""The columns of a `sellers/` file with the sums of its videos and of their changes."""
_CHANGE_FIELDS: list[pa.Field[Any]] = [
    *(VIDEO_SCHEMA.field(name) for name in ("seller_id", "video_id", REGION, "create_time")),
    pa.field("kind", pa.string()),
    pa.field("since", pa.timestamp("ms", tz="UTC")),
    pa.field("until", pa.timestamp("ms", tz="UTC")),
    pa.field("days", pa.float64()),
    *(VIDEO_SCHEMA.field(name) for name in COUNT_COLUMNS),
    *(pa.field(gain_of(name), VIDEO_SCHEMA.field(name).type) for name in COUNT_COLUMNS),
]
CHANGES_SCHEMA = pa.schema(_CHANGE_FIELDS)
"""The columns of `changes/`."""
RUN = "crawler.run"
"""The metadata key of `changes/` files that holds the run whose snapshot they belong to."""
RESTS_ON = "crawler.rests_on"
"""The same for the snapshots that they were compared with: JSON, crawl date to run ID."""

OUTDATED_BY = "crawler.changes_outdated_by"
"""The metadata key of `sellers/` files that holds the snapshots that were published after the date's
changes were made, and may change them: JSON, crawl date to run ID."""


PLAUSIBILITY = "crawler.plausibility"
"""The metadata key of `sellers/` files that holds the verdict, with the night's measures: JSON."""
SCHEMA_VERSION = "crawler.schema_version"
"""The metadata key of files of `videos/` that holds the version of their schema."""


def _published(schema: pa.Schema, required: Collection[str]) -> pa.Schema:
    """A schema as files have it: columns have numbers, by which they are known when renamed."""
    fields = [
        field.with_nullable(field.name not in required).with_metadata({"PARQUET:field_id": str(number)})
        for number, field in enumerate(schema, 1)
    ]
    return pa.schema(fields, metadata={SCHEMA_VERSION: "2"})


VIDEO_FILE_SCHEMA = _published(VIDEO_SCHEMA, _REQUIRED_OF_VIDEOS)
"""`VIDEO_SCHEMA` as a file has it."""


@lru_cache(maxsize=4096)
def region_folder(region: str | None) -> str:
    """The partition folder of a region, which percent-encoding keeps in its place."""
    if not region:
        return NO_REGION
    return f"{REGION_KEY}{quote(region, safe='')}" if region != _NO_VALUE else f"{REGION_KEY}%5F{region[1:]}"


def fits_folder(folder: str) -> bool:
    """Whether there can be such a partition folder, and every reader takes it for this region."""
    return len(folder) <= _LONGEST_NAME and "%00" not in folder and unquote(folder) != NO_REGION


def region_of(folder: str) -> str | None:
    """The region of a partition folder; None where it has none, or is another folder."""
    if folder == NO_REGION or not folder.startswith(REGION_KEY):
        return None
    return unquote(folder.removeprefix(REGION_KEY))
