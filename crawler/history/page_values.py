"""What each page of a seller was worth in a snapshot, by one of its counts."""

from __future__ import annotations

from array import array
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.figures import column_of
from crawler.history.reader import SnapshotFiles, columns_of
from crawler.models.api import MAX_PAGE_NUM
from crawler.store.schema import VIDEO_SCHEMA

_SUM_FIELDS: list[pa.Field[Any]] = [
    pa.field("seller_id", pa.string()),
    pa.field("page_num", pa.int32()),
    pa.field("total", pa.float64()),
]
_SUMS = pa.schema(_SUM_FIELDS)
_ROWS = 131_072


def page_sums(files: SnapshotFiles, column: str) -> pa.Table:
    """The `total` of a column for each `seller_id` and `page_num`."""
    schema = columns_of(VIDEO_SCHEMA, *_SUMS.names[:2], column)
    batches = (rows.rename_columns(_SUMS.names) for rows in files.batches(schema, size=_ROWS))
    parts = [_summed(rows.cast(_SUMS, safe=False)) for rows in batches]
    return _summed(pa.concat_tables([_SUMS.empty_table(), *parts]))


def add_pages(values: dict[str, array[float]], read: pa.Table, sums: pa.Table) -> None:
    """Add the sellers of `read`, each with as many pages as were read of it."""
    ids, counts = read["seller_id"].to_pylist(), read["pages"].to_pylist()
    for seller_id, count in zip(map(str, ids), counts, strict=True):
        values[seller_id] = array("d", bytes(8 * (count or 0)))
    wanted = pc.is_in(sums["seller_id"], value_set=column_of(read, "seller_id"))
    rows = sums.filter(wanted)
    for seller_id, page_num, total in zip(*(rows[name].to_pylist() for name in _SUMS.names), strict=True):
        pages = values[seller_id]
        if page_num is None or not 1 <= page_num <= MAX_PAGE_NUM:
            continue
        if page_num > len(pages):
            pages.frombytes(bytes(8 * (page_num - len(pages))))
        pages[page_num - 1] = total or 0.0


def _summed(rows: pa.Table) -> pa.Table:
    return rows.group_by(_SUMS.names[:2]).aggregate([("total", "sum")]).rename_columns(_SUMS.names)
