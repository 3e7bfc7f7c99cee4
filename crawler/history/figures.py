"""What the `SELLERS` of snapshots say in figures: each seller's pages, videos, credits, depth and growth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.reader import BATCH_ROWS, SnapshotFiles, UnreadableError, columns_of
from crawler.models.api import MAX_PAGE_NUM, PAGE_SIZE
from crawler.models.seller import SellerStatus, StopReason
from crawler.store.layout import SELLERS
from crawler.store.schema import SELLER_SCHEMA

Snapshots = Sequence[tuple[date, pa.Table]]
"""Dates, newest first, each with its `seller_figures`."""

_MAX_CREDITS = 10**9
_DEEP_PAGES = 10.0
_FIGURES = columns_of(SELLER_SCHEMA, "seller_id", "status", "stop_reason", "pages", "videos", "credits")
_WITH_OTHER = pa.schema([*_FIGURES, SELLER_SCHEMA.field("other_credits")])
_WITH_STATUS = columns_of(SELLER_SCHEMA, "seller_id", "status")
_WITH_REASON = columns_of(SELLER_SCHEMA, "status", "stop_reason")
COMPLETE = pc.field("status") == SellerStatus.COMPLETE.value
READ = pc.field("pages") > 0
DEEP: Any = COMPLETE & (pc.field("videos") > PAGE_SIZE)
"""Sellers of which something is saved where they are carried."""
_FAILED = pc.field("status") == SellerStatus.FAILED.value
_PENDING = pc.field("status") == SellerStatus.PENDING.value
_OF_RUN = pa.array([reason.value for reason in [*StopReason][[*StopReason].index(StopReason.BUDGET) :]])
_ENDED = pa.array([reason.value for reason in StopReason if reason is not StopReason.REPEATED_PAGE])


def seller_figures(files: SnapshotFiles) -> pa.Table:
    """All sellers' figures. The credits are those of the crawl whose rows are published."""
    table = files.table(_WITH_OTHER, frozenset({"other_credits"}))
    other: Any = pc.coalesce(table["other_credits"], pa.scalar(0, pa.int64()))
    own: Any = pc.subtract(table["credits"], other)
    place = _FIGURES.get_field_index("credits")
    return _within_limits(table.select(_FIGURES.names).set_column(place, _FIGURES.field(place), own))


def _within_limits(table: pa.Table) -> pa.Table:
    """Drop rows whose counts exceed what the API can return, so that later sums cannot overflow."""
    kept: Any = pc.field("seller_id").is_valid()
    limits = {"pages": MAX_PAGE_NUM, "videos": MAX_PAGE_NUM * PAGE_SIZE, "credits": _MAX_CREDITS}
    for name, limit in limits.items():
        kept &= (pc.field(name) >= 0) & (pc.field(name) <= limit)
    return table.filter(kept)


def last_seen(snapshots: Snapshots, before: date, ids: pa.Array[Any]) -> pa.Table:
    """What snapshots before a date know of the sellers of an Arrow string array, in their order.

    `videos` and `age`: of the newest snapshot that has the seller complete, and how many days old it is. Else
    `cut`: pages read of a seller that was cut off, and had more. Else `refused`: credits spent on a seller
    that failed without a page. What is not known is null.
    """
    empty: pa.Array[Any] = pa.nulls(len(ids), pa.int64())
    videos, ages, cut, refused = empty, empty, empty, empty
    for day, table in snapshots:
        complete = table.filter(COMPLETE)
        age = pa.repeat(pa.scalar((before - day).days, pa.int64()), len(complete))
        ages = pc.coalesce(ages, _aligned(ids, complete, age))
        videos = pc.coalesce(videos, _aligned(ids, complete, column_of(complete, "videos")))
        cut_off = table.filter(~COMPLETE & READ)
        cut = pc.coalesce(cut, _aligned(ids, cut_off, column_of(cut_off, "pages")))
        failed = table.filter(_FAILED & ~READ)
        refused = pc.coalesce(refused, _aligned(ids, failed, column_of(failed, "credits")))
    cut = pc.if_else(pc.is_null(videos), cut, None)
    refused = pc.if_else(pc.is_null(pc.coalesce(videos, cut)), refused, None)
    return pa.table({"videos": videos, "age": ages, "cut": cut, "refused": refused})


def all_ids(snapshots: Snapshots) -> pa.Array[Any]:
    """Every seller of which the snapshots know something, once."""
    chunks = [column_of(table, "seller_id") for _, table in snapshots]
    return pc.unique(pa.concat_arrays(chunks)) if chunks else pa.array([], pa.string())


def costs_per_page(snapshots: Snapshots) -> list[float]:
    """Credits for each page received, by snapshot: more than 1 where requests were repeated."""
    read = [table.filter(READ) for _, table in snapshots]
    sums = [(pc.sum(table["credits"]).as_py() or 0, pc.sum(table["pages"]).as_py()) for table in read]
    return [credit / pages for credit, pages in sums if pages]


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
    found: list[Pair | None] = []
    complete = [(day, table.filter(COMPLETE)) for day, table in snapshots]
    for (day, newer), (earlier, older) in pairwise(complete):
        if left_out is None:
            found.append(_pair(newer, older, (day - earlier).days))
        elif day in left_out:
            counted = newer.filter(pc.invert(pc.is_in(newer["seller_id"], value_set=left_out[day])))
            found.append(_pair(counted, older, (day - earlier).days))
    return [pair for pair in found if pair is not None]


def _pair(newer: pa.Table, older: pa.Table, days: int) -> Pair | None:
    """Compare two snapshots' complete sellers; None where they share no videos."""
    before = _aligned(column_of(newer, "seller_id"), older, column_of(older, "videos"))
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


def filled_videos(
    ids: pa.Array[Any], known: pa.Array[Any], is_end_certain: bool, files: SnapshotFiles
) -> pa.Array[Any]:
    """The `known` videos of sellers, and where they are null those that the files have; see `History`."""
    # Each part is looked for in the whole list: a long one takes fewer and larger ones.
    for part in files.batches(_FIGURES, size=max(BATCH_ROWS, len(ids) // 16)):
        read = _within_limits(part).filter(READ)
        videos = column_of(read, "videos")
        if is_end_certain:
            is_certain = pc.is_in(column_of(read, "stop_reason"), value_set=_ENDED)
            videos = pc.if_else(is_certain, videos, pa.scalar(0, pa.int64()))
        known = pc.coalesce(known, _aligned(ids, read, videos))
    return known


def pending_in(data: Path, day: date) -> pa.Array[Any]:
    """The sellers that a published snapshot has as pending, but for files that cannot be read."""
    chunks: list[pa.Array[Any]] = [pa.array([], pa.string())]
    for file in SnapshotFiles.published(data, SELLERS, day).each():
        try:
            chunks += file.table(_WITH_STATUS).filter(_PENDING)["seller_id"].chunks
        except UnreadableError:
            continue
    return pa.concat_arrays(chunks)


def stop_reason_in(data: Path, day: date) -> StopReason | None:
    """Why the run that published a snapshot left sellers unfinished; None where none says so."""
    for file in SnapshotFiles.published(data, SELLERS, day).each():
        with suppress(UnreadableError):
            sellers = file.table(_WITH_REASON)
            unfinished = sellers.filter(_PENDING | pc.field("stop_reason").isin(_OF_RUN))
            for reason in pc.unique(column_of(unfinished, "stop_reason")).drop_null().to_pylist():
                return StopReason(str(reason))
    return None


def column_of(table: pa.Table, name: str) -> pa.Array[Any]:
    """A column in one piece."""
    return table[name].combine_chunks()


def _aligned(ids: pa.Array[Any], table: pa.Table, values: pa.Array[Any]) -> pa.Array[Any]:
    """Each ID's value in a table; null where it is not in it."""
    return values.take(pc.index_in(ids, value_set=column_of(table, "seller_id")))
