"""The kinds of changes: what became of each video since it was last observed, and what it gained.

Open it to change a kind or a gain; the rules are the table in docs/data.md. Times are epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.yardsticks import Baselines, Yardsticks, is_true, milliseconds, one_chunk
from crawler.models.api import COUNT_COLUMNS
from crawler.models.dataset import gain_of
from crawler.store.schema import CHANGES_SCHEMA

_DAY: Any = pa.scalar(timedelta(days=1) / timedelta(milliseconds=1))


class ChangeKind(StrEnum):
    """What became of a video since it was last observed."""

    PUBLISHED = "published"
    DISCOVERED = "discovered"
    CHANGED = "changed"
    CORRECTED = "corrected"
    GONE = "gone"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class Rules:
    """How far back a video is looked for, and how old the API's data may be, in milliseconds."""

    window: int
    lag: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen before: the `last` observation of each row, and the rows that are `gone` (`gone_rows`).

    `days`: of which crawl dates these observations are. `stayed`: which rows were in the snapshot before.
    """

    last: Yardsticks
    days: Any
    stayed: Any
    gone: Sequence[pa.Table]


def changes_of(
    rows: pa.Table,
    sellers: pa.Array[Any],
    ids: pa.Array[Any],
    baselines: Baselines,
    seen: Seen,
    rules: Rules,
) -> pa.Table:
    """What changed, by seller and video; `sellers`: the place of each row's seller among the readings.

    `ids` are the sellers that have pages, sorted.
    """
    changed = _changed_videos(rows, sellers, baselines, seen, rules)
    changes = pa.concat_tables([changed, *_gone_videos(seen.gone)]).combine_chunks()
    # Numbers are sorted faster than their texts.
    place = pc.index_in(one_chunk(changes["seller_id"]), value_set=ids)
    keys = pa.table({"seller": place, "video_id": changes["video_id"]})
    order = pc.sort_indices(keys, sort_keys=[("seller", "ascending"), ("video_id", "ascending")])
    return changes.take(order)


def _changed_videos(
    rows: pa.Table, sellers: pa.Array[Any], baselines: Baselines, seen: Seen, rules: Rules
) -> pa.Table:
    """The changes of the videos that the snapshot has; `sellers`: the place of each one's seller."""
    found = seen.last
    until, created = (one_chunk(milliseconds(rows[name])) for name in ("crawled_at", "create_time"))
    baseline: Any = baselines.first.take(sellers)
    # One that lies before the window of a row says nothing of it.
    oldest: Any = pc.subtract(until, pa.scalar(rules.window))
    baseline = pc.if_else(pc.greater_equal(baseline, oldest), baseline, pa.scalar(None, pa.int64()))
    is_known = pc.is_valid(found.times)
    differs, falls = _compared_counters(rows, found)
    # By the clock an observation may lie after the earliest begin of the date that followed.
    dates: Any = pc.if_else(
        pc.is_valid(baseline), baselines.dates.take(sellers), pa.scalar(None, pa.date32())
    )
    was_gone: Any = pc.coalesce(pc.less(seen.days, dates), pc.less(found.times, baseline))
    returns = pc.and_not(is_true(was_gone), seen.stayed)
    is_young = is_true(pc.greater(created, pc.subtract(baseline, pa.scalar(rules.lag))))
    is_published = pc.and_not(is_young, is_known)
    conditions = {
        ChangeKind.PUBLISHED: is_published,
        ChangeKind.DISCOVERED: pc.invert(is_known),
        ChangeKind.RETURNED: returns,
        ChangeKind.CORRECTED: falls,
        ChangeKind.CHANGED: differs,
    }
    met: Any = pc.make_struct(*conditions.values(), field_names=list(conditions))
    kinds: Any = pc.case_when(met, *(pa.scalar(kind.value) for kind in conditions))
    # Most videos have not changed: what follows is of the others alone.
    kept = pc.indices_nonzero(pc.is_valid(kinds))
    is_published, until, since = (each.take(kept) for each in (is_published, until, found.times))
    begin: Any = pc.if_else(is_published, created.take(kept), since)
    days: Any = pc.divide(pc.subtract(until, begin).cast(pa.float64()), _DAY)
    names = ("seller_id", "video_id", "region", "create_time", *COUNT_COLUMNS)
    columns: dict[str, Any] = {name: one_chunk(rows[name]).take(kept) for name in names}
    columns |= {"kind": kinds.take(kept), "since": since, "until": until, "days": days}
    for name, then in zip(COUNT_COLUMNS, found.counters, strict=True):
        now: Any = columns[name]
        zero: Any = pa.scalar(0, now.type)
        columns[gain_of(name)] = pc.subtract(now, pc.if_else(is_published, zero, then.take(kept)))
    return _as_changes(columns)


def _compared_counters(rows: pa.Table, found: Yardsticks) -> tuple[Any, Any]:
    """Whether any counter of a row differs from its yardstick's, and whether any fell; where it has one."""
    differs: Any = pa.repeat(pa.scalar(value=False), len(rows))
    falls: Any = differs
    for name, then in zip(COUNT_COLUMNS, found.counters, strict=True):
        now: Any = one_chunk(rows[name])
        if now.null_count or then.null_count > found.times.null_count:
            differs = pc.or_kleene(differs, pc.xor(pc.is_null(now), pc.is_null(then)))
        differs = pc.or_kleene(differs, pc.not_equal(now, then))
        falls = pc.or_kleene(falls, pc.less(now, then))
    return is_true(differs), is_true(falls)


def _gone_videos(gone: Sequence[pa.Table]) -> Iterator[pa.Table]:
    """The changes of the videos that the snapshot no longer has, each with its last observation."""
    if not gone:
        return
    rows = pa.concat_tables(gone).sort_by([("time", "descending")])
    numbered = rows.select(["seller_id", "video_id"]).append_column(
        "at", pa.array(range(len(rows)), pa.int64())
    )
    newest = numbered.group_by(["seller_id", "video_id"]).aggregate([("at", "min")])["at_min"]
    rows = rows.take(newest).combine_chunks()
    since, until = (one_chunk(rows[name]) for name in ("time", "end"))
    days: Any = pc.divide(pc.subtract(until, since).cast(pa.float64()), _DAY)
    kinds = pa.repeat(pa.scalar(ChangeKind.GONE.value), len(rows))
    columns: dict[str, Any] = {
        **{name: one_chunk(rows[name]) for name in ("seller_id", "video_id", "region", "create_time")},
        "kind": kinds,
        "since": since,
        "until": until,
        "days": days,
    }
    yield _as_changes(columns)


def _as_changes(columns: Mapping[str, Any]) -> pa.Table:
    """A table of `changes/`; columns that are missing are null."""
    length = len(columns["seller_id"])
    arrays = [
        columns[each.name].cast(each.type) if each.name in columns else pa.nulls(length, each.type)
        for each in CHANGES_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=CHANGES_SCHEMA)
