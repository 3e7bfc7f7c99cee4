"""The sums of `sellers/`: of each seller's videos, and of their changes. Open it to add one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.change_kinds import ChangeKind
from crawler.history.yardsticks import one_chunk
from crawler.store.schema import SELLER_SCHEMA, SUMMED_SELLER_SCHEMA, gain_of

SUMMED = {"views": "total_views_cnt", "sales": "total_video_sale_cnt", "gmv": "total_video_sale_gmv_amt"}
"""The sums of `sellers/`, and what each adds up."""

_COUNTED = {
    "published": (ChangeKind.PUBLISHED,),
    "discovered": (ChangeKind.DISCOVERED,),
    "gone": (ChangeKind.GONE,),
    "changed": (ChangeKind.CHANGED, ChangeKind.CORRECTED, ChangeKind.RETURNED),
}
"""The counts of `sellers/`, and the kinds that each counts."""


def summed_videos(rows: pa.Table) -> pa.Table:
    """The sums of the videos of each seller."""
    columns = {"seller_id": rows["seller_id"]} | {name: rows[column] for name, column in SUMMED.items()}
    return added(pa.table(columns), "seller_id")


def summed_changes(changes: pa.Table) -> pa.Table:
    """The sums of the changes of each seller."""
    columns: dict[str, Any] = {"seller_id": changes["seller_id"]}
    columns |= {f"{name}_gain": changes[gain_of(column)] for name, column in SUMMED.items()}
    for name, kinds in _COUNTED.items():
        is_counted = pc.is_in(changes["kind"], value_set=pa.array(kinds, pa.string()))
        columns[name] = is_counted.cast(pa.int64())
    return added(pa.table(columns), "seller_id")


def with_sums(
    sellers: pa.Table, read: pa.Array[Any], videos: Sequence[pa.Table], changes: Sequence[pa.Table]
) -> pa.Table:
    """Sellers with the sums of their videos and of their changes, each of which may come in several tables.

    Sums are null where no page was received, and of changes where a seller is not among those `read`.
    """
    ids = one_chunk(sellers["seller_id"])
    has_rows = pc.is_valid(one_chunk(sellers["first_crawled_at"]))
    is_read = pc.is_in(ids, value_set=read)
    columns: dict[str, Any] = {name: sellers[name] for name in SELLER_SCHEMA.names}
    for tables, is_known in ((videos, has_rows), (changes, is_read)):
        sums = added(pa.concat_tables(tables), "seller_id")
        place = pc.index_in(ids, value_set=one_chunk(sums["seller_id"]))
        for name in sums.column_names[1:]:
            columns[name] = _where(is_known, one_chunk(sums[name]).take(place))
    return pa.Table.from_arrays(
        [columns[each.name].cast(each.type) for each in SUMMED_SELLER_SCHEMA], schema=SUMMED_SELLER_SCHEMA
    )


def added(table: pa.Table, *keys: str) -> pa.Table:
    """The sums of all columns by the first ones, `keys`; under the same names."""
    names = table.column_names[len(keys) :]
    sums = table.group_by([*keys]).aggregate([(name, "sum") for name in names])
    return sums.select([*keys, *(f"{name}_sum" for name in names)]).rename_columns(table.column_names)


def _where(condition: Any, sums: Any) -> Any:
    """Sums, 0 where there was nothing to add up, and null where the condition is not met."""
    zero: Any = pa.scalar(0, sums.type)
    return pc.if_else(condition, pc.coalesce(sums, zero), pa.scalar(None, sums.type))
