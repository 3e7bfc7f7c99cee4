"""The data contract as a document: docs/datacontract.yaml, in the Open Data Contract Standard.

`make tables` writes it; `make datacontract` lints it with the `datacontract` command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from crawler.models.dataset import DATASETS, SCHEMA_VERSION, VIDEOS, Column, Dataset, Type

_HEAD = "# Made by `make tables` from crawler/models/dataset.py: change it there.\n"
_LOGICAL: dict[Type, str] = {
    "string": "string",
    "JSON": "string",
    "boolean": "boolean",
    "int32": "integer",
    "int64": "integer",
    "float64": "number",
    "date": "date",
    "timestamp": "timestamp",
}
_PHYSICAL: dict[Type, str] = {
    "string": "VARCHAR",
    "JSON": "VARCHAR",
    "boolean": "BOOLEAN",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "date": "DATE",
    "timestamp": "TIMESTAMP_TZ",
}
_ARCHIVE = VIDEOS._replace(
    name="archive",
    meaning="The nights of a month that were compacted: `videos/` lacks them then.",
    keys=("snapshot_date", *VIDEOS.keys),
    dated=False,
)
_CRAWL_DATE = Column("crawl_date", "date", "the crawl date; it is in the folder's name, and in no file")


def contract() -> str:
    """The document."""
    document = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "tiktok-shop-videos",
        "name": "Nightly snapshots of TikTok Shop videos",
        "version": f"{SCHEMA_VERSION}.0.0",
        "status": "active",
        "description": {
            "purpose": "The figures of each video of the listed sellers, as of each crawl date.",
            "limitations": "A seller that is not `complete` in `sellers/` may lack videos that it has. "
            "Sales and GMV are estimates of the API, GMV in a currency that it does not name. Figures may be "
            "those of the day before (T+1), and may be corrected later.",
            "usage": "Read with `union_by_name` or a schema: files of older versions lack the newer columns, "
            "which are to be read as null.",
        },
        "servers": [
            {"server": "local", "type": "local", "path": "data/{model}/**/*.parquet", "format": "parquet"}
        ],
        "schema": [*map(_dataset, (*DATASETS, _ARCHIVE))],
    }
    return _HEAD + yaml.safe_dump(document, sort_keys=False, width=110, allow_unicode=True)


def _dataset(dataset: Dataset) -> dict[str, Any]:
    columns = [_CRAWL_DATE, *dataset.columns] if dataset.dated else [*dataset.columns]
    keys = ["crawl_date", *dataset.keys] if dataset.dated else [*dataset.keys]
    return {
        "name": dataset.name,
        "physicalName": dataset.name,
        "logicalType": "object",
        "physicalType": "table",
        "description": dataset.meaning,
        "properties": [dict(_property(column, keys)) for column in columns],
    }


def _property(column: Column, keys: list[str]) -> Iterator[tuple[str, Any]]:
    yield "name", column.name
    yield "logicalType", _LOGICAL[column.type]
    yield "physicalType", _PHYSICAL[column.type]
    yield "description", column.meaning
    yield "required", column.is_required
    if column.name in keys:
        yield "primaryKey", True
        yield "primaryKeyPosition", keys.index(column.name) + 1
    if column is _CRAWL_DATE:
        yield "partitioned", True
        yield "partitionKeyPosition", 1
    known = {
        "unit": column.unit,
        "nullWhere": column.nulls,
        "apiField": column.source,
        "unknown": column.unknown,
        "sinceVersion": column.since,
    }
    yield (
        "customProperties",
        [{"property": name, "value": value} for name, value in known.items() if value],
    )
