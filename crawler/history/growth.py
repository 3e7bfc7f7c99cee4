"""How sellers grew from one snapshot to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.figures import COMPLETE, Snapshots, aligned, column_of
from crawler.models.api import PAGE_SIZE

_DEEP_PAGES = 10.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Sellers complete in two snapshots `days` apart: how many, and their videos before and after.

    `squares` sums the squares of each seller's videos before, `scatter` those of its distance, in videos,
    from the growth of all. `deep` had ten full pages or more, and `shrunk` of these have fewer now.
    """

    days: int
    sellers: int
    before: int
    after: int
    squares: float
    scatter: float
    deep: int = 0
    shrunk: int = 0


def pairs(snapshots: Snapshots, left_out: Mapping[date, pa.Array[Any]] | None = None) -> list[Pair]:
    """How the sellers grew between each snapshot and the one before it, newest first.

    `left_out`: only its snapshots count, without those sellers of each.
    """
    complete = [(day, table.filter(COMPLETE)) for day, table in snapshots]
    compared = (
        _pair(_without(newer, (left_out or {}).get(day)), older, (day - earlier).days)
        for (day, newer), (earlier, older) in pairwise(complete)
        if left_out is None or day in left_out
    )
    return [pair for pair in compared if pair is not None]


def _without(table: pa.Table, sellers: pa.Array[Any] | None) -> pa.Table:
    if sellers is None or not len(sellers):
        return table
    return table.filter(pc.invert(pc.is_in(table["seller_id"], value_set=sellers)))


def _pair(newer: pa.Table, older: pa.Table, days: int) -> Pair | None:
    """Compare two snapshots' complete sellers; None where they share no videos."""
    before = aligned(column_of(newer, "seller_id"), older, column_of(older, "videos"))
    common = pc.is_valid(before)
    old = before.filter(common).cast(pa.float64())
    new = column_of(newer, "videos").filter(common).cast(pa.float64())
    total, grown = pc.sum(old).as_py() or 0, pc.sum(new).as_py() or 0
    if not total:
        return None
    off: Any = pc.subtract(new, pc.multiply(old, grown / total))
    squares, scatter = (pc.sum(pc.multiply(values, values)).as_py() for values in (old, off))
    pages: Any = [pc.floor(pc.divide(values, PAGE_SIZE)) for values in (old, new)]
    is_deep: Any = pc.greater_equal(pages[0], pa.scalar(_DEEP_PAGES))
    shrunk = pc.sum(pc.and_(is_deep, pc.less(pages[1], pages[0]))).as_py() or 0
    deep = pc.sum(is_deep).as_py() or 0
    return Pair(days, len(old), int(total), int(grown), squares, scatter, deep, shrunk)
