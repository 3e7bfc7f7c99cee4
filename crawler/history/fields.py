"""Which fields the rows of a snapshot have: nulls by column, and fields that the schema does not know.

Only rows that were received for its date count: those that were carried say nothing of tonight's API.
"""

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
_CARRIED = "carried_from"
_KNOWN = frozenset({"seller_id", *(column.name for column in API_COLUMNS)})
_NAMES_COLUMN = f'"({"|".join(sorted(_KNOWN))})":'
"""What a text of `extra` holds where a value did not fit its column; some others do too."""
_FILLED = [column.name for column in API_COLUMNS if column.name not in ("seller_id", "video_id")]
"""The columns of the files of which nulls are counted."""


def nulls_by_column(videos: SnapshotFiles) -> dict[str, Share]:
    """The nulls of each column, by what the files' footers say; only what these leave open is read."""
    nulls, rows = Counter[str](), Counter[str]()
    for path in videos.paths:
        with reading(path), pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                received, found = _nulls_received(file, number)
                if is_in_region_folder(path):
                    found[REGION] = received if region_of(path.parent.name) is None else 0
                nulls.update(found)
                rows.update(dict.fromkeys(found, received))
    return {name: Share(nulls[name], rows[name]) for name in _FILLED if rows[name]}


def _nulls_received(file: pq.ParquetFile, number: int) -> tuple[int, dict[str, int]]:
    """How many rows of a row group were received, and the nulls among them by column."""
    group = file.metadata.row_group(number)
    columns: list[Any] = [group.column(at) for at in range(group.num_columns)]
    known = {c.path_in_schema: c.statistics.null_count or 0 for c in columns if c.statistics is not None}
    received = known.get(_CARRIED, group.num_rows)
    found = {name: min(known[name], received) for name in _FILLED if name in known}
    open_ = [name for name in found if 0 < known[name] < group.num_rows]
    if open_ and 0 < received < group.num_rows:
        read = file.read_row_group(number, [*open_, _CARRIED], use_threads=False)
        rows = read.filter(pc.is_null(read[_CARRIED]))
        found |= {name: rows[name].null_count for name in open_}
    return received, found


def _received(videos: SnapshotFiles, *names: str) -> Iterator[pa.Table]:
    """Some columns of the rows that were received."""
    for rows in videos.batches(columns_of(VIDEO_SCHEMA, *names, _CARRIED)):
        yield rows.filter(pc.is_null(rows[_CARRIED]))


def sellers_with_nulls(videos: SnapshotFiles, names: Collection[str]) -> Iterator[pa.Array[Any]]:
    """The sellers of which a row has a null in one of these columns."""
    columns = [name for name in _FILLED if name in names]
    for rows in _received(videos, "seller_id", *columns):
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
    for rows in _received(videos, "extra"):
        texts = rows["extra"].drop_null()
        some: list[Any] = pc.unique(texts).slice(0, _SAMPLED).to_pylist()
        for text in some:
            unknown.update(orjson.loads(text).keys() - _KNOWN)
        odd: list[Any] = texts.filter(pc.match_substring_regex(texts, _NAMES_COLUMN)).to_pylist()
        for text in odd:
            misfits.update(orjson.loads(text).keys() & _KNOWN)
    return ExtraFields(frozenset(sorted(unknown)[:_MAX_FIELDS]), dict(sorted(misfits.items())))
