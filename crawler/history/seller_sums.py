"""The sums of `sellers/`: of each seller's videos, and of their changes. Open it to add one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.change_kinds import ChangeKind
from crawler.history.yardsticks import one_chunk
from crawler.models.api import COUNT_COLUMNS
from crawler.models.dataset import gain_of
from crawler.rules.plausibility import FIGURES, ROWS
from crawler.store.schema import SELLER_SCHEMA, SUMMED_SELLER_SCHEMA

SUMMED = {"views": "total_views_cnt", "sales": "total_video_sale_cnt", "gmv": "total_video_sale_gmv_amt"}
"""The sums of `sellers/`, and what each adds up."""

SAMPLED = {"low": "min", "high": "max"}
"""The ends of the range of a seller's hashes, and how each is found."""
_MULTIPLIER: Any = pa.scalar(0x9E3779B97F4A7C15, pa.uint64())
_BY_REGION = ["seller_id", "region"]
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

    Sums are null where no page was received, and of changes where a seller is not among those `read`: but for
    `gone`, where rows have left that nobody read.
    """
    ids = one_chunk(sellers["seller_id"])
    has_rows = may_have_rows(sellers)
    is_read = pc.is_in(ids, value_set=read)
    columns: dict[str, Any] = {name: sellers[name] for name in SELLER_SCHEMA.names}
    for tables, is_known in ((videos, has_rows), (changes, is_read)):
        sums = _all_added(tables, "seller_id")
        place = pc.index_in(ids, value_set=one_chunk(sums["seller_id"]))
        for name in sums.column_names[1:]:
            has_sum = pc.or_(is_known, pc.is_valid(place)) if name == ChangeKind.GONE else is_known
            columns[name] = _where(has_sum, one_chunk(sums[name]).take(place))
    return pa.Table.from_arrays(
        [columns[each.name].cast(each.type) for each in SUMMED_SELLER_SCHEMA], schema=SUMMED_SELLER_SCHEMA
    )


def may_have_rows(sellers: pa.Table) -> pa.Array[Any]:
    """Whether a page of each seller is published: one that was received for this date, or is carried."""
    received, carried = (one_chunk(sellers[name]) for name in ("first_crawled_at", "stretches"))
    return pc.or_(pc.is_valid(received), pc.is_valid(carried))


def summed_figures(rows: pa.Table) -> pa.Table:
    """The sums of `FIGURES` over rows by seller and region: a null counter is 0.

    `low` and `high` are the ends of the range of its videos' hashes: two that are picked by chance.
    """
    region: Any = one_chunk(rows["region"])
    columns: dict[str, Any] = {"seller_id": rows["seller_id"], "region": region.indices}
    columns[ROWS] = pa.repeat(pa.scalar(1.0), len(rows))
    columns |= {name: rows[name].cast(pa.float64()) for name in COUNT_COLUMNS}
    columns |= dict.fromkeys(SAMPLED, _hashes(one_chunk(rows["video_id"])))
    sums = added(pa.table(columns), *_BY_REGION)
    zero: Any = pa.scalar(0.0)
    filled = [pc.coalesce(sums[name], zero) for name in FIGURES]
    named = region.dictionary.take(one_chunk(sums["region"]))
    columns = {"seller_id": sums["seller_id"], "region": named, **dict(zip(FIGURES, filled, strict=True))}
    return pa.table(columns | {name: sums[name] for name in SAMPLED})


def _hashes(ids: pa.Array[Any]) -> Any:
    """A hash of each ID that is a number."""
    try:
        numbers: Any = ids.cast(pa.uint64())
    except pa.ArrowInvalid:
        is_number: Any = pc.match_substring_regex(ids, "^[0-9]{1,19}$")
        numbers = pc.if_else(is_number, ids, pa.scalar(None, pa.string())).cast(pa.uint64())
    # Products wrap around, so that the order is not the one of the IDs, which is that of creation.
    return pc.multiply(numbers, _MULTIPLIER)


def sums_by_seller(tables: Sequence[pa.Table]) -> pa.Table:
    """Sums by seller and region, added up by seller: `region` is that of most of its rows."""
    found = _all_added(tables, *_BY_REGION)
    by_rows = found.take(pc.sort_indices(found, sort_keys=[(ROWS, "descending")]))
    sums = added(found.drop_columns(["region"]), "seller_id")
    of_most = pc.index_in(one_chunk(sums["seller_id"]), value_set=one_chunk(by_rows["seller_id"]))
    return sums.append_column("region", one_chunk(by_rows["region"]).take(of_most))


def _all_added(tables: Sequence[pa.Table], *keys: str) -> pa.Table:
    """Tables that were added up, as one."""
    return tables[0] if len(tables) == 1 else added(pa.concat_tables(tables), *keys)


def added(table: pa.Table, *keys: str) -> pa.Table:
    """The sums of all columns by the first ones, `keys`; under the same names. Of `SAMPLED` the ends."""
    how: dict[str, Any] = {name: SAMPLED.get(name, "sum") for name in table.column_names[len(keys) :]}
    sums = table.group_by([*keys], use_threads=False).aggregate(list(how.items()))
    names = [*keys, *(f"{name}_{function}" for name, function in how.items())]
    return sums.select(names).rename_columns(table.column_names)


def _where(condition: Any, sums: Any) -> Any:
    """Sums, 0 where there was nothing to add up, and null where the condition is not met."""
    zero: Any = pa.scalar(0, sums.type)
    return pc.if_else(condition, pc.coalesce(sums, zero), pa.scalar(None, sums.type))
