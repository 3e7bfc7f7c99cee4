"""Sellers of which the snapshot before has rows of several nights, and which of these rows have left.

Open it to change when a video that `--strategy freshest` carried is gone. Times are epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.carrying import joined
from crawler.history.earlier import EarlierSnapshot, NightSpan
from crawler.history.yardsticks import (
    EarlierReadings,
    Readings,
    dates_of,
    gone_rows,
    is_true,
    milliseconds,
    oldest_of_all,
    one_chunk,
)
from crawler.models.seller import SellerStatus

_KEY = ("seller_id", "video_id")


@dataclass(frozen=True, slots=True)
class BasesBefore:
    """The newest snapshot before that has all of a seller: `numbers` and `days`, by `ids`, which are sorted.

    Null where it has only rows that it received: what is gone follows from observations then. `covered` is
    the date of the stretch that was read longest ago, where every page was ever read. Of tonight: `is_whole`
    is what was read to its end; `is_carried` what has its rows of before where it was not read. `first` and
    `last` are when each was read: null, and the end of the night, where none of it was.
    """

    ids: pa.Array[Any]
    numbers: pa.Array[Any]
    days: pa.Array[Any]
    covered: pa.Array[Any]
    may_differ: pa.Array[Any]
    is_whole: pa.Array[Any]
    is_carried: pa.Array[Any]
    first: pa.Array[Any]
    last: pa.Array[Any]

    @classmethod
    def find(
        cls,
        sellers: pa.Table,
        readings: Readings,
        earlier: Sequence[EarlierSnapshot],
        known: EarlierReadings,
        night: NightSpan,
    ) -> BasesBefore:
        """Look for them among the snapshots of earlier dates, the newest first."""
        ids = one_chunk(sellers["seller_id"])
        is_carried: Any = one_chunk(pc.is_valid(sellers["stretches"]))
        place = pc.index_in(ids, value_set=readings.ids)
        is_open: Any = pc.or_(pc.is_valid(place), is_carried)
        numbers: Any = pa.nulls(len(ids), pa.int32())
        stretches: Any = pa.nulls(len(ids), pa.string())
        videos: Any = pa.nulls(len(ids), sellers["videos"].type)
        before = [number for number, each in enumerate(earlier) if each.day < night.day]
        for number in sorted(before, key=lambda number: earlier[number].day, reverse=True):
            if not pc.any(is_open).as_py():
                break
            then = known.sellers(number)
            then = then.filter(_has_all(then))
            at: Any = pc.index_in(ids, value_set=one_chunk(then["seller_id"]))
            at = pc.if_else(is_open, at, pa.scalar(None, at.type))
            is_open = pc.and_(is_open, pc.is_null(at))
            stretches = pc.coalesce(stretches, one_chunk(then["stretches"]).take(at))
            videos = pc.coalesce(videos, one_chunk(then["videos"]).take(at))
            numbers = pc.if_else(pc.is_valid(at), pa.scalar(number, pa.int32()), numbers)
        numbers = pc.if_else(pc.is_valid(stretches), numbers, pa.scalar(None, pa.int32()))
        days = pa.array([each.day for each in earlier], pa.date32()).take(numbers)
        # Where nothing was read, and there are as many rows as before, these are the same.
        may_differ: Any = pc.or_(
            pc.is_valid(place), is_true(pc.not_equal(videos, one_chunk(sellers["videos"])))
        )
        is_whole: Any = is_true(readings.is_whole.take(place))
        last: Any = pc.coalesce(readings.last.take(place), pa.scalar(night.last))
        known_since = (numbers, days, dates_of(stretches, oldest_of_all))
        return cls(ids, *known_since, may_differ, is_whole, is_carried, readings.first.take(place), last)

    def needed(self, number: int) -> pa.Array[Any]:
        """The sellers of which the rows in the snapshot of a number must be looked at."""
        is_base: Any = pc.equal(self.numbers, pa.scalar(number, pa.int32()))
        return self.ids.filter(pc.and_(is_true(is_base), self.may_differ))

    def days_of(self, sellers: pa.Array[Any]) -> Any:
        """The date of the snapshot before of each of some sellers."""
        return self.days.take(pc.index_in(sellers, value_set=self.ids))


@dataclass(slots=True)
class LeavingRows:
    """The rows of the snapshots before that tonight's `rows` lack; `all_rows` has those that are carried too.

    `gone` has these; see `gone_rows`. `stayed`: which of `rows` are in the snapshots before.
    """

    bases: BasesBefore
    rows: pa.Table
    all_rows: pa.Table
    gone: list[pa.Table] = field(default_factory=list)
    stayed: Any = field(init=False)

    def __post_init__(self) -> None:
        self.stayed = pa.repeat(pa.scalar(value=False), len(self.rows))

    def compare(self, before: pa.Table, number: int, day: date) -> None:
        """Compare with the rows of the sellers that are needed of the snapshot of a number."""
        bases, keys = self.bases, joined(before, _KEY)
        is_there: Any = pc.is_in(joined(self.rows, _KEY), value_set=keys)
        self.stayed = one_chunk(pc.or_(self.stayed, is_there))
        lacks: Any = pc.invert(pc.is_in(keys, value_set=joined(self.all_rows, _KEY)))
        rows = before.filter(lacks).combine_chunks()
        place: Any = pc.index_in(one_chunk(rows["seller_id"]), value_set=bases.ids)
        crawled_for: Any = pc.coalesce(one_chunk(rows["carried_from"]), pa.scalar(day, pa.date32()))
        # Each page was read again since, and none had it.
        is_outlived = pc.and_(bases.is_carried.take(place), pc.less(crawled_for, bases.covered.take(place)))
        times = one_chunk(milliseconds(rows["crawled_at"]))
        is_missed = pc.and_(bases.is_whole.take(place), pc.less(times, bases.first.take(place)))
        # A date may be crawled before an earlier one.
        until = pc.max_element_wise(bases.last.take(place), times)
        self.gone += gone_rows(rows, times, until, number, pc.or_kleene(is_missed, is_outlived))


def _has_all(sellers: pa.Table) -> Any:
    """Which sellers stand in a snapshot with all that is known of them; see `history/bases.py`."""
    status: Any = pc.coalesce(sellers["kept_status"], sellers["status"])
    is_complete: Any = pc.equal(status, pa.scalar(SellerStatus.COMPLETE.value))
    return pc.or_(is_true(is_complete), pc.is_valid(sellers["stretches"]))
