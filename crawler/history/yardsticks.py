"""What the videos of some sellers are compared with: each one's last observation, and what is gone since.

Open it to change which earlier row a video is compared with. All times are epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.carrying import joined
from crawler.history.cursor import Keep
from crawler.history.earlier import EarlierSnapshot
from crawler.models.api import COUNT_COLUMNS
from crawler.models.seller import SellerStatus
from crawler.models.stretches import LastRead, oldest
from crawler.store.records import last_read_of

_KEY = ("seller_id", "video_id")
_EARLIEST_BEGIN = 14 * 3_600_000
"""A crawl date may begin so much before its midnight in UTC: where it begins first on earth."""
_MOMENT = pa.timestamp("ms", tz="UTC")


@dataclass(frozen=True, slots=True)
class Readings:
    """Sellers whose rows were received, sorted: when that began and ended, and whether all were read.

    `covered_since`: every page was read at that time or later, in one night or in stretches; null where some
    never were, or that is not known.
    """

    ids: pa.Array[Any]
    first: pa.Array[Any]
    last: pa.Array[Any]
    is_whole: pa.Array[Any]
    covered_since: pa.Array[Any]

    @property
    def oldest_stretches(self) -> Any:
        """For which date the stretch was read that was read longest ago; null where all was read at once."""
        midnights: Any = pc.add(self.covered_since, pa.scalar(_EARLIEST_BEGIN))
        return pc.if_else(self.is_whole, pa.scalar(None, _MOMENT), midnights.cast(_MOMENT)).cast(pa.date32())

    @classmethod
    def of(cls, sellers: pa.Table) -> Readings:
        """Those of rows with the columns of `READING_SCHEMA`.

        A seller that was carried has none, but where some of its stretches were read.
        """
        zero: Any = pa.scalar(0, pa.int64())
        carried, drift = (pc.coalesce(sellers[name], zero) for name in ("carried", "drift"))
        is_own: Any = pc.equal(carried, zero)
        received = pc.or_(is_own, pc.is_valid(sellers["stretches"]))
        for name in ("first_crawled_at", "last_crawled_at"):
            received = pc.and_(received, pc.is_valid(sellers[name]))
        status: Any = pc.coalesce(sellers["kept_status"], sellers["status"])
        whole: Any = pc.and_(pc.equal(status, pa.scalar(SellerStatus.COMPLETE.value)), pc.equal(drift, zero))
        whole = pc.and_(pc.and_(whole, is_own), pc.is_null(sellers["stretches"]))
        whole = pc.fill_null(whole, False)
        first, last = (milliseconds(sellers[f"{name}_crawled_at"]) for name in ("first", "last"))
        covered_since = dates_of(one_chunk(sellers["stretches"]), oldest_of_all)
        in_stretches: Any = milliseconds(covered_since.cast(_MOMENT))
        in_stretches = pc.subtract(in_stretches, pa.scalar(_EARLIEST_BEGIN))
        covered: Any = pc.if_else(whole, first, in_stretches)
        columns = (sellers["seller_id"], first, last, whole, covered)
        return cls(*(one_chunk(each.filter(received)) for each in columns))


def dates_of(stretches: pa.Array[Any], of: Callable[[LastRead], date | None]) -> pa.Array[Any]:
    """A date of each list of stretches; null where there is none."""
    found: Any = stretches.dictionary_encode()
    dates = [of(last_read_of(text)) for text in found.dictionary.to_pylist()]
    return pa.array(dates, pa.date32()).take(found.indices)


def oldest_of_all(last_read: LastRead) -> date | None:
    """The oldest date of stretches; None where not each has one."""
    return None if None in last_read else oldest(last_read)


Chosen = Callable[[EarlierSnapshot], bool]
"""Which snapshots count."""


class EarlierReadings:
    """What earlier snapshots read of a range of sellers: of each snapshot once, when it is first wanted."""

    def __init__(self, earlier: Sequence[EarlierSnapshot], first: str, last: str) -> None:
        self._earlier = earlier
        self._range = (first, last)
        self._sellers: dict[int, pa.Table] = {}
        self._known: dict[int, Readings] = {}

    def sellers(self, number: int) -> pa.Table:
        """The sellers of a snapshot of which pages are published."""
        if number not in self._sellers:
            self._sellers[number] = self._earlier[number].sellers(*self._range)
        return self._sellers[number]

    def of(self, number: int) -> Readings:
        """The readings of a snapshot."""
        if number not in self._known:
            self._known[number] = Readings.of(self.sellers(number))
        return self._known[number]


@dataclass(slots=True)
class Baselines:
    """For each reading the last one before it, within the window, by which every page was read.

    Null where there is none. `sources` are numbers of snapshots. `dates` has the crawl date since which every
    page was read, where that was in stretches.
    """

    first: Any
    last: Any
    sources: Any
    dates: Any

    @classmethod
    def find(
        cls,
        readings: Readings,
        earlier: Sequence[EarlierSnapshot],
        window: int,
        known: EarlierReadings,
        counts: Chosen,
        *,
        only_whole: bool = False,
    ) -> Baselines:
        """Look for them in snapshots that count, the last read first, until none can have a later one."""
        none = pa.nulls(len(readings.ids), pa.int64())
        found = cls(none, none, *(pa.nulls(len(readings.ids), kind) for kind in (pa.int32(), pa.date32())))
        oldest: Any = pc.subtract(readings.first, pa.scalar(window))
        for number, snapshot in enumerate(earlier):
            if not counts(snapshot):
                continue
            is_open: Any = pc.and_(_may_follow(found.last, snapshot), _follows(readings.first, snapshot))
            is_open = pc.and_(is_open, pc.less_equal(oldest, pa.scalar(snapshot.last_read)))
            if pc.any(is_open).as_py():
                found._take(readings, known.of(number), oldest, number, only_whole=only_whole)
        return found

    def _take(
        self, readings: Readings, read: Readings, oldest: Any, number: int, *, only_whole: bool
    ) -> None:
        covers: Any = read.is_whole if only_whole else pc.is_valid(read.covered_since)
        place = pc.index_in(readings.ids, value_set=read.ids.filter(covers))
        of_read = (read.covered_since, read.last, read.oldest_stretches)
        first, last, dates = (each.filter(covers).take(place) for each in of_read)
        is_later: Any = pc.and_(pc.less(last, readings.first), pc.greater_equal(first, oldest))
        is_later = pc.and_kleene(is_later, pc.or_kleene(pc.is_null(self.last), pc.greater(last, self.last)))
        is_later = pc.fill_null(is_later, False)
        self.first, self.last = pc.if_else(is_later, first, self.first), pc.if_else(is_later, last, self.last)
        self.sources = pc.if_else(is_later, pa.scalar(number, pa.int32()), self.sources)
        self.dates = pc.if_else(is_later, dates, self.dates)


@dataclass(slots=True)
class Yardsticks:
    """The last earlier observation of each row: its time, its counters, and its snapshot's number.

    Null where there is none.
    """

    times: Any
    counters: list[Any]
    sources: Any

    @classmethod
    def none_of(cls, rows: pa.Table) -> Yardsticks:
        """Nothing found yet."""
        counters = [pa.nulls(len(rows), rows.schema.field(name).type) for name in COUNT_COLUMNS]
        return cls(pa.nulls(len(rows), pa.int64()), counters, pa.nulls(len(rows), pa.int32()))

    @property
    def zeros(self) -> int:
        """How many of the observations found have no counter above 0."""
        zero: Any = pa.scalar(0)
        is_zero: Any = pc.is_valid(self.times)
        for values in self.counters:
            is_zero = pc.and_(is_zero, pc.equal(pc.coalesce(values, zero), zero))
        return int(pc.sum(is_zero).as_py() or 0)

    def take(self, rows: pa.Table, times: Any, place: Any, number: int) -> None:
        """Take over the `rows` of a snapshot that are at `place`, where that is not null."""
        then = [one_chunk(rows[name]).take(place) for name in COUNT_COLUMNS]
        is_new: Any = pc.is_valid(place)
        has_none = self.sources.null_count == len(self.sources)
        self.sources = pc.if_else(is_new, pa.scalar(number, pa.int32()), self.sources)
        if has_none:
            self.times, self.counters = times.take(place), then
            return
        self.times = pc.if_else(is_new, times.take(place), self.times)
        for at, values in enumerate(then):
            self.counters[at] = pc.if_else(is_new, values, self.counters[at])


class YardstickSearch:
    """Looks for the yardsticks of `rows`, which are observations of the sellers that `readings` has.

    A row's yardstick is the newest of its observations with an earlier time, at most `window` before it.
    `gone` has observations since a seller's baseline of videos that it no longer has; see `gone_rows`.
    `sellers` has the place of each row's seller among the readings. `known_gone`: the date up to which it is
    known otherwise what is gone of each reading's seller; null where it is not.
    """

    def __init__(
        self,
        rows: pa.Table,
        sellers: pa.Array[Any],
        readings: Readings,
        baselines: Baselines,
        window: int,
        known_gone: Any,
    ) -> None:
        self._rows = rows
        self._readings = readings
        self._videos = one_chunk(rows["video_id"])
        self._times: Any = one_chunk(milliseconds(rows["crawled_at"]))
        self._seller = sellers
        self._oldest: Any = pc.subtract(self._times, pa.scalar(window))
        self._oldest_gone: Any = pc.coalesce(baselines.first, pc.subtract(readings.first, pa.scalar(window)))
        self._known_gone = known_gone
        self.found = Yardsticks.none_of(rows)
        self.gone: list[pa.Table] = []

    def needed(self, snapshot: EarlierSnapshot, keep: Keep | None) -> pa.Array[Any]:
        """The sellers of which a snapshot has later observations than those that were found, perhaps.

        Of its rows those count that `keep` returns.
        """
        ids, last = self._readings.ids, pa.scalar(snapshot.last_read)
        may_lack: Any = pc.and_(self._may_lose(snapshot.day), pc.less_equal(self._oldest_gone, last))
        may_lack = pc.and_(may_lack, _follows(self._readings.first, snapshot))
        if pc.all(may_lack).as_py():
            return ids
        is_open: Any = pc.and_(_may_follow(self.found.times, snapshot), _follows(self._times, snapshot))
        is_open = pc.and_(is_open, pc.less_equal(self._oldest, last))
        # A video was not seen before it existed.
        created: Any = milliseconds(one_chunk(self._rows["create_time"]))
        is_open = pc.and_(is_open, pc.fill_null(pc.less_equal(created, last), True))
        # Of sellers of which all rows are read the open ones are among them.
        is_open = pc.and_not(is_open, may_lack.take(self._seller))
        open_sellers = ids.filter(pc.is_in(_numbers(ids), value_set=pc.unique(self._seller.filter(is_open))))
        if len(open_sellers):
            keys = one_chunk(joined(self._rows, _KEY)).filter(is_open)
            found = partial(_with_keys, keys, keep)
            rows = snapshot.keys(open_sellers[0].as_py(), open_sellers[-1].as_py(), found)
            open_sellers = pc.unique(one_chunk(rows["seller_id"]))
        return ids.filter(pc.or_(may_lack, pc.is_in(ids, value_set=open_sellers)))

    def compare(self, rows: pa.Table, number: int, day: date) -> None:
        """Compare with the received rows of a snapshot of a date, those of the sellers that were needed."""
        times: Any = one_chunk(milliseconds(rows["crawled_at"]))
        seller = pc.index_in(one_chunk(rows["seller_id"]), value_set=self._readings.ids)
        place = self._place_in(rows, seller)
        time: Any = times.take(place)
        is_later: Any = pc.and_(pc.less(time, self._times), pc.greater_equal(time, self._oldest))
        if self.found.times.null_count < len(self.found.times):
            is_first: Any = pc.is_null(self.found.times)
            is_later = pc.and_kleene(is_later, pc.or_kleene(is_first, pc.greater(time, self.found.times)))
        self.found.take(rows, times, pc.if_else(is_later, place, pa.scalar(None, place.type)), number)
        is_there = pc.is_in(_numbers(seller), value_set=place)
        is_gone = pc.and_not(self._is_gone(seller, times, day), is_there)
        self.gone += gone_rows(rows, times, self._readings.last.take(seller), number, is_gone)

    def _place_in(self, rows: pa.Table, seller: pa.Array[Any]) -> pa.Array[Any]:
        """Where among `rows` each video is; null where it is not."""
        place: pa.Array[Any] = pc.index_in(self._videos, value_set=one_chunk(rows["video_id"]))
        is_same: Any = pc.equal(seller.take(place), self._seller)
        if pc.all(pc.or_(pc.fill_null(is_same, False), pc.is_null(place))).as_py():
            return place
        # Several sellers have the same video.
        keys, others = (one_chunk(joined(each, _KEY)) for each in (self._rows, rows))
        return pc.index_in(keys, value_set=others)

    def _may_lose(self, day: date) -> Any:
        """The readings that show what is gone of the videos that were seen on a date."""
        is_later: Any = pc.less(self._known_gone, pa.scalar(day, pa.date32()))
        return pc.and_(self._readings.is_whole, pc.fill_null(is_later, True))

    def _is_gone(self, seller: Any, times: Any, day: date) -> Any:
        """Which observations of a date count as gone if tonight's rows lack them."""
        since = pc.greater_equal(times, self._oldest_gone.take(seller))
        is_between = pc.and_(since, pc.less(times, self._readings.first.take(seller)))
        return pc.and_(self._may_lose(day).take(seller), is_between)


def _with_keys(keys: pa.Array[Any], keep: Keep | None, rows: pa.Table) -> pa.Table:
    """The rows of videos with these keys, of those that are kept."""
    rows = rows if keep is None else keep(rows)
    return rows.filter(pc.is_in(joined(rows, _KEY), value_set=keys))


def gone_rows(rows: pa.Table, times: Any, ends: Any, number: int, is_gone: Any) -> list[pa.Table]:
    """The rows of the snapshot of a number that are gone, as one table or none.

    It has the columns `time`, `source` and `end`: the end of the reading by which that is known.
    """
    source = pa.repeat(pa.scalar(number, pa.int32()), len(rows))
    for name, column in (("time", times), ("end", ends), ("source", source)):
        rows = rows.append_column(name, column)
    rows = rows.filter(is_gone)
    return [rows] if len(rows) else []


def received(rows: pa.Table) -> pa.Table:
    """The rows that were not carried."""
    carried = rows["carried_from"]
    return rows if carried.null_count == len(rows) else rows.filter(pc.is_null(carried)).combine_chunks()


def milliseconds(times: Any) -> Any:
    """Times of a column as numbers."""
    return times.cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64())


def is_true(condition: Any) -> Any:
    """A condition that does not hold where it is null."""
    return pc.fill_null(condition, False)


def one_chunk(column: Any) -> pa.Array[Any]:
    """A column in one piece."""
    if isinstance(column, pa.ChunkedArray):
        # To combine one chunk would copy it.
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    whole: pa.Array[Any] = column
    return whole


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
