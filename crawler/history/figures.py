"""What the `SELLERS` of snapshots say in figures: pages, videos, credits and depths of each seller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.reader import BATCH_ROWS, SnapshotFiles, columns_of
from crawler.models.api import MAX_PAGE_NUM, PAGE_SIZE
from crawler.models.seller import SellerStatus, StopReason
from crawler.store.schema import SELLER_SCHEMA

Snapshots = Sequence[tuple[date, pa.Table]]
"""Dates, newest first, each with its `seller_figures`."""

_MAX_CREDITS = 10**9
_FIGURES = columns_of(SELLER_SCHEMA, "seller_id", "status", "stop_reason", "pages", "videos", "credits")
_OTHER_CREDITS = "other_credits"
_WITH_OTHER = pa.schema([*_FIGURES, SELLER_SCHEMA.field(_OTHER_CREDITS)])
COMPLETE = pc.field("status") == SellerStatus.COMPLETE.value
READ = pc.field("pages") > 0
_FAILED = pc.field("status") == SellerStatus.FAILED.value
_ENDED: Any = pc.field("stop_reason").isin(
    [reason.value for reason in StopReason if reason is not StopReason.REPEATED_PAGE]
)


def seller_figures(files: SnapshotFiles) -> pa.Table:
    """All sellers' figures. The credits are those of the crawl whose rows are published."""
    table = files.table(_WITH_OTHER, frozenset({_OTHER_CREDITS}))
    other: Any = pc.coalesce(table[_OTHER_CREDITS], pa.scalar(0, pa.int64()))
    own: Any = pc.subtract(table["credits"], other)
    place = _FIGURES.get_field_index("credits")
    return _within_limits(table.select(_FIGURES.names).set_column(place, _FIGURES.field(place), own))


def seller_parts(files: SnapshotFiles, at_least: int) -> Iterator[pa.Table]:
    """The sellers' figures, at least so many sellers at a time."""
    waiting: list[pa.Table] = []
    for batch in files.batches(_FIGURES):
        waiting.append(batch)
        if sum(map(len, waiting)) >= at_least:
            yield _within_limits(pa.concat_tables(waiting))
            waiting = []
    if waiting:
        yield _within_limits(pa.concat_tables(waiting))


def _within_limits(table: pa.Table) -> pa.Table:
    """Drop rows whose counts exceed what the API can return, so that later sums cannot overflow."""
    kept: Any = pc.field("seller_id").is_valid()
    limits = (("pages", MAX_PAGE_NUM), ("videos", MAX_PAGE_NUM * PAGE_SIZE), ("credits", _MAX_CREDITS))
    for name, most in limits:
        kept &= (pc.field(name) >= 0) & (pc.field(name) <= most)
    return table.filter(kept)


@dataclass(frozen=True, slots=True)
class LastSeen:
    """What is known of some sellers, each list in their order, None where it is not.

    `videos` and `ages`: of the newest snapshot that has the seller complete, and how many days old it
    is. Else `cut`: pages read of a seller that was cut off, and had more. Else `refused`: credits spent
    on a seller that failed without a page.
    """

    videos: Sequence[int | None]
    ages: Sequence[int | None]
    cut: Sequence[int | None]
    refused: Sequence[int | None]


def last_seen(snapshots: Snapshots, before: date, ids: pa.Array[Any]) -> LastSeen:
    """What snapshots before a date know of the sellers of an Arrow string array."""
    empty: pa.Array[Any] = pa.nulls(len(ids), pa.int64())
    videos, ages, cut, refused = empty, empty, empty, empty
    for day, table in snapshots:
        complete = table.filter(COMPLETE)
        age = pa.repeat(pa.scalar((before - day).days, pa.int64()), len(complete))
        ages = pc.coalesce(ages, aligned(ids, complete, age))
        videos = pc.coalesce(videos, aligned(ids, complete, column_of(complete, "videos")))
        cut_off = table.filter(~COMPLETE & READ)
        cut = pc.coalesce(cut, aligned(ids, cut_off, column_of(cut_off, "pages")))
        failed = table.filter(_FAILED & ~READ)
        refused = pc.coalesce(refused, aligned(ids, failed, column_of(failed, "credits")))
    cut = pc.if_else(pc.is_null(videos), cut, None)
    refused = pc.if_else(pc.is_null(pc.coalesce(videos, cut)), refused, None)
    return LastSeen(videos.to_pylist(), ages.to_pylist(), cut.to_pylist(), refused.to_pylist())


def all_ids(snapshots: Snapshots) -> pa.Array[Any]:
    """Every seller of which the snapshots know something, once."""
    chunks = [column_of(table, "seller_id") for _, table in snapshots]
    return pc.unique(pa.concat_arrays(chunks)) if chunks else pa.array([], pa.string())


def costs_per_page(snapshots: Snapshots) -> list[float]:
    """Credits for each page received, by snapshot: more than 1 where requests were repeated."""
    sums = []
    for _, table in snapshots:
        read = table.filter(READ)
        pages = pc.sum(read["pages"]).as_py() or 0
        if pages:
            sums.append((pc.sum(read["credits"]).as_py() or 0) / pages)
    return sums


def filled_videos(ids: pa.Array[Any], known: pa.Array[Any], files: SnapshotFiles) -> pa.Array[Any]:
    """The `known` videos of sellers, and where they are null those that the files have."""
    # Each part is looked for in the whole list: a long one takes fewer and larger ones.
    for table in seller_parts(files, max(BATCH_ROWS, len(ids) // 16)):
        read = table.filter(READ)
        known = pc.coalesce(known, aligned(ids, read, column_of(read, "videos")))
    return known


def depths_in(least_pages: int, known: Mapping[str, int], files: SnapshotFiles) -> dict[str, int]:
    """Full pages of sellers that are deep in a snapshot, and 0 of known ones that no longer are."""
    depths: dict[str, int] = {}
    deep: Any = (pc.field("videos") >= least_pages * PAGE_SIZE) & _ENDED
    earlier = pa.array(known, pa.string())
    for table in seller_parts(files, BATCH_ROWS):
        read = table.filter(READ)
        fallen = read.filter(pc.is_in(read["seller_id"], value_set=earlier))["seller_id"]
        depths |= dict.fromkeys(map(str, fallen.to_pylist()), 0)
        found = read.filter(deep)
        videos = zip(*(found[name].to_pylist() for name in ("seller_id", "videos")), strict=True)
        depths |= {str(seller_id): (count or 0) // PAGE_SIZE for seller_id, count in videos}
    return depths


def column_of(table: pa.Table, name: str) -> pa.Array[Any]:
    """A column in one piece."""
    return table[name].combine_chunks()


def aligned(ids: pa.Array[Any], table: pa.Table, values: pa.Array[Any]) -> pa.Array[Any]:
    """Each ID's value in a table; null where it is not in it."""
    return values.take(pc.index_in(ids, value_set=column_of(table, "seller_id")))
