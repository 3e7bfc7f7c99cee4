"""The columns of everything written as Parquet: videos, sellers, changes, and the journal's segments."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

import orjson
import pyarrow as pa

from crawler.models.dataset import (
    CHANGES,
    NIGHTS,
    RAW,
    SELLER_SUMS,
    SELLERS,
    VIDEOS,
    Column,
    Dataset,
    Type,
)
from crawler.models.dataset import SCHEMA_VERSION as VERSION
from crawler.store.layout import REGION_KEY

SORTING = "crawler.sorting"
"""The metadata key of `sellers/` files that holds what the pages were sorted by, and which way."""
SCHEMA_VERSION = "crawler.schema_version"
"""The metadata key of all files that holds the version of their columns."""
COLUMNS = "crawler.columns"
"""The metadata key of all files that says of each column what it is: JSON, by its name."""
REGION, SNAPSHOT_DATE, LATE = "region", "snapshot_date", "late"
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
NO_REGION = f"{REGION_KEY}{_NO_VALUE}"
_LONGEST_NAME = 255

_TYPES: dict[Type, pa.DataType] = {
    "string": pa.string(),
    "JSON": pa.string(),
    "boolean": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("ms", tz="UTC"),
}


def _schema_of(columns: Iterable[Column]) -> pa.Schema:
    fields: list[pa.Field[Any]] = [pa.field(each.name, _TYPES[each.type]) for each in columns]
    return pa.schema(fields)


VIDEO_SCHEMA = _schema_of(VIDEOS.columns)
"""The columns of a file of a whole night, in their order; `crawl_date` is in its path."""
REGION_FILE_SCHEMA = _schema_of(
    each for each in VIDEOS.columns if each.name not in (REGION, SNAPSHOT_DATE, LATE)
)
"""The columns of a file in a region folder; `crawl_date` and `region` are in its path."""
EITHER_FORM_SCHEMA = pa.schema([*REGION_FILE_SCHEMA, VIDEO_SCHEMA.field(REGION)])
"""What is known of a row from files of both forms."""
SEGMENT_SCHEMA = pa.schema(
    [*REGION_FILE_SCHEMA, pa.field("folder", pa.string()), pa.field("seq", pa.int64())]
)
"""The columns of a row as it waits: `folder` holds its region (`region_folder`), `seq` when its page was
received, as a number."""
SUMMED_SELLER_SCHEMA = _schema_of(SELLERS.columns)
"""The columns of a `sellers/` file with the sums of its videos and of their changes."""
SELLER_SCHEMA = _schema_of(each for each in SELLERS.columns if each.name not in SELLER_SUMS)
"""Those without the sums."""
CHANGES_SCHEMA = _schema_of(CHANGES.columns)
"""The columns of `changes/`."""
NEWER_COLUMNS = frozenset(each.name for each in VIDEOS.columns + SELLERS.columns if each.since > 1)
"""Columns that files of earlier versions lack."""
NIGHTS_SCHEMA = _schema_of(NIGHTS.columns)
"""The columns of `nights/`."""
RAW_SCHEMA = _schema_of(RAW.columns)
"""The columns of `raw/`, a row a page, in the order received."""
RUN = "crawler.run"
"""The metadata key of `changes/` files that holds the run whose snapshot they belong to."""
RESTS_ON = "crawler.rests_on"
"""The same for the snapshots that they were compared with: JSON, crawl date to run ID."""

OUTDATED_BY = "crawler.changes_outdated_by"
"""The metadata key of `sellers/` files that holds the snapshots that were published after the date's
changes were made, and may change them: JSON, crawl date to run ID."""


PLAUSIBILITY = "crawler.plausibility"
"""The metadata key of `sellers/` files that holds the verdict, with the night's measures: JSON."""


def _published(dataset: Dataset, schema: pa.Schema, *, marks_required: bool = False) -> pa.Schema:
    """A schema as files have it: with numbers for columns, by which they are known when renamed."""
    numbers = {each.name: str(number) for number, each in enumerate(dataset.columns, 1)}
    required = {each.name for each in dataset.columns if marks_required and each.is_required}
    fields = [
        field.with_nullable(field.name not in required).with_metadata(
            {"PARQUET:field_id": numbers[field.name]}
        )
        for field in schema
    ]
    said = {each.name: _said_of(each) for each in dataset.columns if each.name in schema.names}
    return pa.schema(fields, {SCHEMA_VERSION: str(VERSION), COLUMNS: orjson.dumps(said).decode()})


def _said_of(column: Column) -> dict[str, Any]:
    """What a file says of a column."""
    said = {
        "description": column.meaning,
        "unit": column.unit,
        "source": column.source,
        "null": column.nulls,
        "unknown": column.unknown,
        "since": column.since,
    }
    return {key: value for key, value in said.items() if value}


VIDEO_FILE_SCHEMA = _published(VIDEOS, VIDEO_SCHEMA, marks_required=True)
"""`VIDEO_SCHEMA` as a file has it."""
DESCRIBED_REGION_FILE_SCHEMA = _published(VIDEOS, REGION_FILE_SCHEMA)
"""`REGION_FILE_SCHEMA` as a file has it."""
SELLER_FILE_SCHEMA = _published(SELLERS, SUMMED_SELLER_SCHEMA)
"""`SUMMED_SELLER_SCHEMA` as a file has it."""
CHANGES_FILE_SCHEMA = _published(CHANGES, CHANGES_SCHEMA)
"""`CHANGES_SCHEMA` as a file has it."""
NIGHTS_FILE_SCHEMA = _published(NIGHTS, NIGHTS_SCHEMA, marks_required=True)
"""`NIGHTS_SCHEMA` as a file has it."""
RAW_FILE_SCHEMA = _published(RAW, RAW_SCHEMA)
"""`RAW_SCHEMA` as a file has it."""


@lru_cache(maxsize=4096)
def region_folder(region: str | None) -> str:
    """The partition folder of a region, which percent-encoding keeps in its place."""
    if not region:
        return NO_REGION
    return f"{REGION_KEY}{quote(region, safe='')}" if region != _NO_VALUE else f"{REGION_KEY}%5F{region[1:]}"


def folders_of(regions: Any) -> Any:
    """The partition folder of each region of a column."""
    whole = regions.combine_chunks() if isinstance(regions, pa.ChunkedArray) else regions
    encoded = whole.dictionary_encode()
    named = pa.array(map(region_folder, encoded.dictionary.to_pylist()), pa.string())
    return named.take(encoded.indices).fill_null(NO_REGION)


def fits_folder(folder: str) -> bool:
    """Whether there can be such a partition folder, and every reader takes it for this region."""
    return len(folder) <= _LONGEST_NAME and "%00" not in folder and unquote(folder) != NO_REGION


def region_of(folder: str) -> str | None:
    """The region of a partition folder; None where it has none, or is another folder."""
    if folder == NO_REGION or not folder.startswith(REGION_KEY):
        return None
    return unquote(folder.removeprefix(REGION_KEY))


def regions_of(folders: Any) -> Any:
    """The region of each partition folder of a column."""
    encoded = folders.combine_chunks().dictionary_encode()
    return pa.array(map(region_of, encoded.dictionary.to_pylist()), pa.string()).take(encoded.indices)
