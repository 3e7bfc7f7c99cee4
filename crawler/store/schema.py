"""The columns of everything written as Parquet: videos, sellers, changes, and the journal's segments."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa

from crawler.models.api import API_COLUMNS, COUNT_COLUMNS
from crawler.store.layout import REGION_KEY

SORTING = "crawler.sorting"
"""The metadata key of `sellers/` files that holds what the pages were sorted by, and which way."""
NO_REGION = f"{REGION_KEY}__HIVE_DEFAULT_PARTITION__"
_LONGEST_NAME = 255
FEW_VALUES: Any = ["seller_id", "run_id", "folder"]
"""Columns whose values repeat: in the others a dictionary of nearly all values costs time and room."""
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


_VIDEO_FIELDS: list[pa.Field[Any]] = [
    pa.field("seller_id", pa.string()),
    *(pa.field(c.name, _KINDS[c.kind]) for c in API_COLUMNS if c.name != "region"),
    pa.field("page_num", pa.int32()),
    pa.field("position", pa.int64()),
    pa.field("crawled_at", pa.timestamp("ms", tz="UTC")),
    pa.field("run_id", pa.string()),
    pa.field("request_id", pa.string()),
    pa.field("carried_from", pa.date32()),
    pa.field("extra", pa.string()),
]
VIDEO_SCHEMA = pa.schema(_VIDEO_FIELDS)
"""The dataset's columns in their order; `crawl_date` and `region` are in the path."""
SEGMENT_SCHEMA = VIDEO_SCHEMA.append(pa.field("folder", pa.string())).append(pa.field("seq", pa.int64()))
"""The dataset's columns, the partition folder of each row, and when its page was received, as a number."""
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
    *(VIDEO_SCHEMA.field(name) for name in ("seller_id", "video_id")),
    pa.field("region", pa.string()),
    VIDEO_SCHEMA.field("create_time"),
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


@lru_cache(maxsize=4096)
def region_folder(region: str | None) -> str | None:
    """The partition folder of a region, which percent-encoding keeps in its place; None where none fits."""
    if not region:
        return NO_REGION
    name = f"{REGION_KEY}{quote(region, safe='')}"
    fits = len(name) <= _LONGEST_NAME and name != NO_REGION and "\0" not in region
    return name if fits else None


def region_of(folder: str) -> str | None:
    """The region of a partition folder; None where it has none."""
    return None if folder == NO_REGION else unquote(folder.removeprefix(REGION_KEY))
