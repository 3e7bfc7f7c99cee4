"""Which fields the rows of a snapshot have: nulls by column, and fields that the schema does not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.history.reader import SnapshotFiles, columns_of, is_in_region_folder, reading
from crawler.history.yardsticks import one_chunk
from crawler.models.api import API_COLUMNS
from crawler.rules.plausibility import REGION, Share
from crawler.store.schema import VIDEO_SCHEMA, region_of

_MAX_FIELDS = 100
_SAMPLED = 200
_EXTRA = columns_of(VIDEO_SCHEMA, "extra")
_KNOWN = frozenset({"seller_id", *(column.name for column in API_COLUMNS)})
_NAMES_COLUMN = f'"({"|".join(sorted(_KNOWN))})":'
"""What a text of `extra` holds where a value did not fit its column; some others do too."""
_FILLED = [column.name for column in API_COLUMNS if column.name not in ("seller_id", "video_id")]
"""The columns of the files of which nulls are counted."""


def nulls_by_column(videos: SnapshotFiles) -> dict[str, Share]:
    """The nulls of each column, by what the files' footers say."""
    nulls, rows = Counter[str](), Counter[str]()
    for path in videos.paths:
        with reading(path):
            metadata = pq.read_metadata(path)
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            for at in range(group.num_columns):
                column: Any = group.column(at)
                if column.path_in_schema in _FILLED and column.statistics is not None:
                    nulls[column.path_in_schema] += column.statistics.null_count or 0
                    rows[column.path_in_schema] += group.num_rows
        if is_in_region_folder(path):
            rows[REGION] += metadata.num_rows
            nulls[REGION] += metadata.num_rows if region_of(path.parent.name) is None else 0
    return {name: Share(nulls[name], rows[name]) for name in _FILLED if rows[name]}


def sellers_with_nulls(videos: SnapshotFiles, names: Collection[str]) -> Iterator[pa.Array[Any]]:
    """The sellers of which a row has a null in one of these columns."""
    columns = [name for name in _FILLED if name in names]
    for rows in videos.batches(columns_of(VIDEO_SCHEMA, "seller_id", *columns)):
        is_hit: Any = pa.repeat(pa.scalar(False), rows.num_rows)
        for name in columns:
            is_hit = pc.or_(is_hit, pc.is_null(rows[name]))
        yield one_chunk(rows["seller_id"].filter(is_hit)).unique()


class ExtraFields(NamedTuple):
    """What `extra` holds: fields that no column has, and rows by the column that a value did not fit."""

    unknown: frozenset[str]
    misfits: dict[str, int]


def extra_fields(videos: SnapshotFiles) -> ExtraFields:
    """What `extra` holds of all rows; fields that no column has are looked for in some rows of each batch."""
    unknown, misfits = set[str](), Counter[str]()
    for rows in videos.batches(_EXTRA):
        texts = rows["extra"].drop_null()
        some: list[Any] = pc.unique(texts).slice(0, _SAMPLED).to_pylist()
        for text in some:
            unknown.update(orjson.loads(text).keys() - _KNOWN)
        odd: list[Any] = texts.filter(pc.match_substring_regex(texts, _NAMES_COLUMN)).to_pylist()
        for text in odd:
            misfits.update(orjson.loads(text).keys() & _KNOWN)
    return ExtraFields(frozenset(sorted(unknown)[:_MAX_FIELDS]), dict(sorted(misfits.items())))
