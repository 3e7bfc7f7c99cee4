"""The sums of `sellers/`: of each seller's videos, and of their changes. Open it to add one."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.change_kinds import ChangeKind
from crawler.history.compared_parts import SUMMED, Part
from crawler.history.yardsticks import one_chunk
from crawler.store.schema import SELLER_SCHEMA, SUMMED_SELLER_SCHEMA, gain_of

_COUNTED = {
    "published": (ChangeKind.PUBLISHED,),
    "discovered": (ChangeKind.DISCOVERED,),
    "gone": (ChangeKind.GONE,),
    "changed": (ChangeKind.CHANGED, ChangeKind.CORRECTED, ChangeKind.RETURNED),
}
"""The counts of `sellers/`, and the kinds that each counts."""


def with_sums(part: Part) -> pa.Table:
    """The sellers of a part with the sums of their videos and of their changes.

    Sums are null where no page was received, and what changed where no row was: nothing is known of it.
    """
    ids = one_chunk(part.sellers["seller_id"])
    has_rows = pc.is_valid(part.sellers["first_crawled_at"])
    is_read = pc.is_in(ids, value_set=part.readings.ids)
    columns: dict[str, Any] = {name: part.sellers[name] for name in SELLER_SCHEMA.names}
    place = pc.index_in(ids, value_set=one_chunk(part.sums["seller_id"]))
    for name, column in SUMMED.items():
        columns[name] = _where(has_rows, one_chunk(part.sums[f"{column}_sum"]).take(place))
    changes = part.changes.select(["seller_id", *map(gain_of, SUMMED.values())])
    for name, kinds in _COUNTED.items():
        is_counted = pc.is_in(part.changes["kind"], value_set=pa.array(kinds, pa.string()))
        changes = changes.append_column(name, is_counted.cast(pa.int64()))
    sums = changes.group_by("seller_id").aggregate([(name, "sum") for name in changes.column_names[1:]])
    place = pc.index_in(ids, value_set=one_chunk(sums["seller_id"]))
    named = {f"{name}_gain": gain_of(column) for name, column in SUMMED.items()} | {n: n for n in _COUNTED}
    for name, column in named.items():
        columns[name] = _where(is_read, one_chunk(sums[f"{column}_sum"]).take(place))
    return pa.Table.from_arrays(
        [columns[each.name].cast(each.type) for each in SUMMED_SELLER_SCHEMA], schema=SUMMED_SELLER_SCHEMA
    )


def _where(condition: Any, sums: Any) -> Any:
    """Sums, 0 where there was nothing to add up, and null where the condition is not met."""
    zero: Any = pa.scalar(0, sums.type)
    return pc.if_else(condition, pc.coalesce(sums, zero), pa.scalar(None, sums.type))
