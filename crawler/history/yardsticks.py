"""What the videos of some sellers are compared with: each one's last observation, and what is gone since.

Open it to change which earlier row a video is compared with. All times are epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.carrying import joined
from crawler.history.earlier import EarlierSnapshot, Keep
from crawler.models.api import COUNT_COLUMNS
from crawler.models.seller import SellerStatus

_KEY = ("seller_id", "video_id")


@dataclass(frozen=True, slots=True)
class Readings:
    """Sellers whose rows were received, sorted: when that began and ended, and whether all were read."""

    ids: pa.Array[Any]
    first: pa.Array[Any]
    last: pa.Array[Any]
    is_whole: pa.Array[Any]

    @classmethod
    def of(cls, sellers: pa.Table) -> Readings:
        """Those of rows with the columns of `READING_SCHEMA`. A seller that was carried has none."""
        zero: Any = pa.scalar(0, pa.int64())
        carried, drift = (pc.coalesce(sellers[name], zero) for name in ("carried", "drift"))
        received = pc.and_(pc.equal(carried, zero), pc.is_valid(sellers["last_crawled_at"]))
        received = pc.and_(received, pc.is_valid(sellers["first_crawled_at"]))
        status: Any = pc.coalesce(sellers["kept_status"], sellers["status"])
        whole: Any = pc.and_(pc.equal(status, pa.scalar(SellerStatus.COMPLETE.value)), pc.equal(drift, zero))
        columns = (
            sellers["seller_id"],
            *(milliseconds(sellers[f"{n}_crawled_at"]) for n in ("first", "last")),
        )
        whole = pc.fill_null(whole, False)
        return cls(*(one_chunk(each.filter(received)) for each in (*columns, whole)))


@dataclass(slots=True)
class Baselines:
    """For each reading the last whole one before it, within the window; null where there is none.

    `sources` are numbers of snapshots.
    """

    first: Any
    last: Any
    sources: Any

    @classmethod
    def find(cls, readings: Readings, earlier: Sequence[EarlierSnapshot], window: int) -> Baselines:
        """Look for them in snapshots, the last read first, until none can have a later one."""
        none = pa.nulls(len(readings.ids), pa.int64())
        found = cls(none, none, pa.nulls(len(readings.ids), pa.int32()))
        oldest: Any = pc.subtract(readings.first, pa.scalar(window))
        for number, snapshot in enumerate(earlier):
            is_open: Any = pc.and_(_may_follow(found.last, snapshot), _follows(readings.first, snapshot))
            is_open = pc.and_(is_open, pc.less_equal(oldest, pa.scalar(snapshot.last_read)))
            ids = readings.ids.filter(is_open)
            if len(ids):
                read = Readings.of(snapshot.sellers(ids[0].as_py(), ids[-1].as_py()))
                found._take(readings, read, oldest, number)
        return found

    def _take(self, readings: Readings, read: Readings, oldest: Any, number: int) -> None:
        place = pc.index_in(readings.ids, value_set=read.ids.filter(read.is_whole))
        first, last = (times.filter(read.is_whole).take(place) for times in (read.first, read.last))
        is_later: Any = pc.and_(pc.less(last, readings.first), pc.greater_equal(first, oldest))
        is_later = pc.and_kleene(is_later, pc.or_kleene(pc.is_null(self.last), pc.greater(last, self.last)))
        is_later = pc.fill_null(is_later, False)
        self.first, self.last = pc.if_else(is_later, first, self.first), pc.if_else(is_later, last, self.last)
        self.sources = pc.if_else(is_later, pa.scalar(number, pa.int32()), self.sources)


@dataclass(slots=True)
class Yardsticks:
    """The last earlier observation of each row: its time, its counters, and its snapshot's number.

    Null where there is none. `gone` holds observations since a seller's baseline of videos that it no longer
    has: rows of `OBSERVATION_SCHEMA` with `time` and `source`.
    """

    times: Any
    counters: list[Any]
    sources: Any
    gone: list[pa.Table] = field(default_factory=list)


class YardstickSearch:
    """Looks for the yardsticks of `rows`, which are observations of the sellers that `readings` has.

    A row's yardstick is the newest of its observations with an earlier time, at most `window` before it.
    """

    def __init__(self, rows: pa.Table, readings: Readings, baselines: Baselines, window: int) -> None:
        self._readings = readings
        self._baselines = baselines
        self._keys = one_chunk(joined(rows, _KEY))
        self._times: Any = one_chunk(milliseconds(rows["crawled_at"]))
        self._created: Any = one_chunk(milliseconds(rows["create_time"]))
        self._seller: Any = pc.index_in(one_chunk(rows["seller_id"]), value_set=readings.ids)
        self._oldest: Any = pc.subtract(self._times, pa.scalar(window))
        self._oldest_gone: Any = pc.coalesce(baselines.first, pc.subtract(readings.first, pa.scalar(window)))
        self._found = Yardsticks(
            pa.nulls(len(rows), pa.int64()),
            [pa.nulls(len(rows), rows.schema.field(name).type) for name in COUNT_COLUMNS],
            pa.nulls(len(rows), pa.int32()),
        )

    def run(self, earlier: Sequence[EarlierSnapshot], keep: Keep | None = None) -> Yardsticks:
        """Look for them in snapshots, the last read first: a row only where a later observation may be.

        Of the snapshots' rows those count that `keep` returns.
        """
        for number, snapshot in enumerate(earlier):
            sellers = self._needed(snapshot, keep)
            if len(sellers):
                rows = snapshot.videos(sellers[0].as_py(), sellers[-1].as_py(), keep)
                received: Any = pc.is_null(rows["carried_from"])
                if len(sellers) < len(self._readings.ids):
                    received = pc.and_(received, pc.is_in(rows["seller_id"], value_set=sellers))
                self._compare(rows.filter(received).combine_chunks(), number)
        return self._found

    def _needed(self, snapshot: EarlierSnapshot, keep: Keep | None) -> pa.Array[Any]:
        """The sellers of which a snapshot has later observations than those that were found, perhaps."""
        ids, last = self._readings.ids, pa.scalar(snapshot.last_read)
        may_lack: Any = pc.and_(self._readings.is_whole, pc.less_equal(self._oldest_gone, last))
        may_lack = pc.and_(may_lack, _follows(self._readings.first, snapshot))
        is_open: Any = pc.and_(_may_follow(self._found.times, snapshot), _follows(self._times, snapshot))
        is_open = pc.and_(is_open, pc.less_equal(self._oldest, last))
        # A video was not seen before it existed.
        is_open = pc.and_(is_open, pc.fill_null(pc.less_equal(self._created, last), True))
        # Of sellers of which all rows are read the open ones are among them.
        is_open = pc.and_not(is_open, may_lack.take(self._seller))
        open_sellers = ids.filter(pc.is_in(_numbers(ids), value_set=pc.unique(self._seller.filter(is_open))))
        if len(open_sellers):
            found = partial(_with_keys, self._keys.filter(is_open), keep)
            rows = snapshot.keys(open_sellers[0].as_py(), open_sellers[-1].as_py(), found)
            open_sellers = pc.unique(one_chunk(rows["seller_id"]))
        return ids.filter(pc.or_(may_lack, pc.is_in(ids, value_set=open_sellers)))

    def _compare(self, rows: pa.Table, number: int) -> None:
        keys = one_chunk(joined(rows, _KEY))
        times: Any = one_chunk(milliseconds(rows["crawled_at"]))
        place = pc.index_in(self._keys, value_set=keys)
        time: Any = times.take(place)
        found = self._found
        is_later: Any = pc.and_(pc.less(time, self._times), pc.greater_equal(time, self._oldest))
        is_later = pc.and_kleene(
            is_later, pc.or_kleene(pc.is_null(found.times), pc.greater(time, found.times))
        )
        is_later = pc.fill_null(is_later, False)
        found.times = pc.if_else(is_later, time, found.times)
        found.sources = pc.if_else(is_later, pa.scalar(number, pa.int32()), found.sources)
        for at, name in enumerate(COUNT_COLUMNS):
            found.counters[at] = pc.if_else(is_later, one_chunk(rows[name]).take(place), found.counters[at])
        lacking: Any = pc.invert(pc.is_in(_numbers(keys), value_set=pc.unique(place.drop_null())))
        self._add_gone(rows.filter(lacking), times.filter(lacking), number)

    def _add_gone(self, rows: pa.Table, times: Any, number: int) -> None:
        readings = self._readings
        seller = pc.index_in(one_chunk(rows["seller_id"]), value_set=readings.ids)
        is_gone: Any = pc.and_(
            readings.is_whole.take(seller),
            pc.and_(
                pc.greater_equal(times, self._oldest_gone.take(seller)),
                pc.less(times, readings.first.take(seller)),
            ),
        )
        rows, times = rows.filter(is_gone), times.filter(is_gone)
        if len(rows):
            source = pa.repeat(pa.scalar(number, pa.int32()), len(rows))
            self._found.gone.append(rows.append_column("time", times).append_column("source", source))


def _with_keys(keys: pa.Array[Any], keep: Keep | None, rows: pa.Table) -> pa.Table:
    """The rows of videos with these keys, of those that are kept."""
    rows = rows if keep is None else keep(rows)
    return rows.filter(pc.is_in(joined(rows, _KEY), value_set=keys))


def milliseconds(times: Any) -> Any:
    """Times of a column as numbers."""
    return times.cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64())


def one_chunk(column: Any) -> pa.Array[Any]:
    """A column in one piece."""
    combined: pa.Array[Any] = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return combined


def _may_follow(found: Any, snapshot: EarlierSnapshot) -> Any:
    """Whether a snapshot may have something later than what was found."""
    return pc.fill_null(pc.less(found, pa.scalar(snapshot.last_read)), True)


def _follows(times: Any, snapshot: EarlierSnapshot) -> Any:
    """Whether times are later than the first reading of a snapshot."""
    return pc.greater(times, pa.scalar(snapshot.first_read))


def _numbers(values: pa.Array[Any]) -> pa.Array[Any]:
    """The place of each value."""
    counted: Any = pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int32()), len(values)))
    places: pa.Array[Any] = pc.subtract(counted, pa.scalar(1, pa.int32()))
    return places
