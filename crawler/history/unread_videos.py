"""The known videos that a night did not read, and the most that each of them can have gained.

Open it to change which videos are known, or which sellers hide none; `rules/movers.py` has what bounds the
others. A video is known by its row in the snapshot, where that was carried, or by an earlier snapshot.
Sellers are read range after range, each beside the earlier snapshots. All times are epoch milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial, reduce
from heapq import nlargest
from itertools import groupby
from math import inf
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.carrying import joined
from crawler.history.cursor import SellerCursor
from crawler.history.earlier import NEWER_SELLER_COLUMNS, NEWER_VIDEO_COLUMNS, READING_SCHEMA, EarlierSnapshot
from crawler.history.reader import FEW_TEXTS, SnapshotFiles
from crawler.history.yardsticks import Baselines, EarlierReadings, Readings, milliseconds, one_chunk
from crawler.models.seller import SellerStatus
from crawler.rules.movers import ReadRow, bound_of_unread
from crawler.store.schema import SELLER_SCHEMA, VIDEO_SCHEMA

_PART_ROWS = 32_768
"""How many rows of the snapshot are held at a time, and of earlier ones about as many."""
_ROWS_OF_OPEN = 512
"""How many rows of earlier snapshots a seller may have that was not read to its end: nobody has counted."""
_SELLERS = pa.schema([*READING_SCHEMA, SELLER_SCHEMA.field("run_id")])
_KEY = ("seller_id", "video_id")
_ZERO: Any = pa.scalar(0, pa.int64())


@dataclass(slots=True)
class Unread:
    """What unread videos can have gained: `largest` has the `kept` largest gains above `least`.

    `most` is what none of them exceeds; inf where nothing bounds some of them: these are counted, and their
    sellers. `above_least` counts all that may have gained more than `least`.
    """

    least: float
    kept: int
    largest: list[float] = field(default_factory=list)
    most: float = 0.0
    above_least: int = 0
    unbounded_videos: int = 0
    unbounded_sellers: int = 0

    def add(self, gains: pa.Array[Any], sellers: pa.Array[Any]) -> None:
        """Add the largest possible gains of all unread videos of some sellers, and whose they are."""
        self.at_most(pc.max(gains).as_py())
        above: Any = gains.filter(pc.greater(gains, pa.scalar(self.least)))
        self.above_least += len(above)
        self.largest = nlargest(self.kept, [*self.largest, *above.to_pylist()])
        is_unbounded: Any = pc.equal(gains, pa.scalar(inf))
        self.unbounded_videos += pc.sum(is_unbounded).as_py() or 0
        self.unbounded_sellers += len(pc.unique(sellers.filter(is_unbounded)))

    def at_most(self, gain: float | None) -> None:
        """Take note of what no unread video of some sellers exceeds; None where there are none."""
        self.most = max(self.most, gain or 0.0)


@dataclass(frozen=True, slots=True)
class _Sellers:
    """The sellers of a range: their IDs, sorted, and the most that an unread video of each can be worth.

    `is_open`: earlier snapshots may know videos of it that were not read.
    """

    ids: pa.Array[Any]
    bounds: pa.Array[Any]
    is_open: pa.Array[Any]


class UnreadVideos:
    """The videos that a snapshot did not read, with what they can have gained of the counter `column`.

    `earlier` are the snapshots before it within the `window`, the last read first; sellers that it did not
    come to count as read at `end`. With `is_sorted` its pages are sorted by the column, the highest first.
    """

    def __init__(
        self,
        sellers: SnapshotFiles,
        videos: SnapshotFiles,
        earlier: list[EarlierSnapshot],
        column: str,
        window: int,
        end: int,
        *,
        is_sorted: bool,
    ) -> None:
        self._sellers = sellers.table(_SELLERS, NEWER_SELLER_COLUMNS).sort_by("seller_id")
        self._earlier = earlier
        self._column = column
        self._window = window
        self._end = end
        self._is_sorted = is_sorted
        names = (*_KEY, "position", column, "carried_from")
        schema = pa.schema([*map(VIDEO_SCHEMA.field, names), pa.field("run_id", FEW_TEXTS)])
        self._videos = SellerCursor(videos, schema, NEWER_VIDEO_COLUMNS)

    def add_to(self, unread: Unread) -> None:
        """Add them all. Raises `UnreadableError`, or `DamagedSnapshotError` for an earlier snapshot."""
        for part in _parts(self._sellers):
            ids = one_chunk(part["seller_id"])
            rows = self._videos.rows(ids[0].as_py(), ids[-1].as_py())
            is_carried = pc.is_valid(rows["carried_from"])
            read, carried = (
                rows.filter(each).combine_chunks() for each in (pc.invert(is_carried), is_carried)
            )
            sellers = self._told_apart(part, read, carried)
            last = [carried, self._last_observed(unread, sellers, part, rows)]
            names = ["seller_id", self._column]
            self._add(unread, sellers, pa.concat_tables([each.select(names) for each in last]))

    def _told_apart(self, part: pa.Table, read: pa.Table, carried: pa.Table) -> _Sellers:
        ids = one_chunk(part["seller_id"])
        rows = _in_order(read, ids)
        is_whole = _is_whole(part, rows)
        # All that is known of a complete seller is in the snapshot that its rows are carried from.
        has_all: Any = pc.and_(pc.is_in(ids, value_set=one_chunk(carried["seller_id"])), _is_complete(part))
        bounds = pa.array(self._bounds(part, rows, is_whole), pa.float64())
        return _Sellers(ids, bounds, pc.and_not(pc.invert(is_whole), has_all))

    def _bounds(self, part: pa.Table, rows: pa.Table, is_whole: pa.Array[Any]) -> list[float]:
        """The bound of each seller; what it is of one that was read whole is of no use."""
        bounds = [inf] * len(part)
        if not self._is_sorted:
            return bounds
        cut = rows.filter(pc.invert(is_whole.take(one_chunk(rows["seller"]))))
        columns = [cut[name].to_pylist() for name in ("seller", "position", self._column, "run_id")]
        gaps = part["drift"].to_pylist()
        for number, of_seller in groupby(zip(*columns, strict=True), key=itemgetter(0)):
            bounds[number] = bound_of_unread((ReadRow(*row[1:]) for row in of_seller), gaps[number] or 0)
        return bounds

    def _add(self, unread: Unread, sellers: _Sellers, rows: pa.Table) -> None:
        """Add unread videos, by their last observations."""
        place: Any = pc.index_in(one_chunk(rows["seller_id"]), value_set=sellers.ids)
        gains: Any = pc.subtract(sellers.bounds.take(place), one_chunk(rows[self._column]).cast(pa.float64()))
        # Without a value then there is no gain.
        is_known = pc.is_valid(gains)
        unread.add(gains.filter(is_known), place.filter(is_known))

    def _last_observed(self, unread: Unread, sellers: _Sellers, part: pa.Table, rows: pa.Table) -> pa.Table:
        """The last observations of videos of open sellers that have no row.

        Not of sellers whose videos can all have gained no more than `least`: their bounds are noted.
        """
        is_low = pc.less_equal(sellers.bounds, pa.scalar(unread.least))
        unread.at_most(pc.max(sellers.bounds.filter(pc.and_(sellers.is_open, is_low))).as_py())
        wanted = pc.and_not(sellers.is_open, is_low)
        ids = sellers.ids.filter(wanted)
        if not len(ids) or not self._earlier:
            return _observations(self._column).empty_table()
        since: Any = one_chunk(milliseconds(part["first_crawled_at"])).filter(wanted)
        since = pc.coalesce(since, pa.scalar(self._end, pa.int64()))
        is_whole = pa.repeat(pa.scalar(value=False), len(ids))
        readings = Readings(ids, since, since, is_whole, pa.nulls(len(ids), pa.int64()))
        return self._in_earlier(readings, one_chunk(joined(rows, _KEY)))

    def _in_earlier(self, readings: Readings, seen: pa.Array[Any]) -> pa.Table:
        """The last observation, since its seller's last whole reading, of each video that is not `seen`."""
        ids = readings.ids
        known = EarlierReadings(self._earlier, ids[0].as_py(), ids[-1].as_py())
        baselines = Baselines.find(readings, self._earlier, self._window, known, lambda _: True)
        oldest: Any = pc.coalesce(baselines.first, pc.subtract(readings.first, pa.scalar(self._window)))
        found = [_observations(self._column).empty_table()]
        for snapshot in self._earlier:
            is_needed: Any = pc.and_(
                pc.less_equal(oldest, pa.scalar(snapshot.last_read)),
                pc.greater(readings.first, pa.scalar(snapshot.first_read)),
            )
            if len(needed := ids.filter(is_needed)):
                keep = partial(_unread_rows, needed, seen)
                others = snapshot.videos(needed[0].as_py(), needed[-1].as_py(), keep)
                found.append(_observed(others, self._column, readings, oldest))
        return _newest(pa.concat_tables(found))


def _parts(sellers: pa.Table) -> Iterator[pa.Table]:
    """Some sellers at a time, so that what is read of them fits in a part."""
    is_open = pc.not_equal(sellers["status"], pa.scalar(SellerStatus.COMPLETE.value)).to_pylist()
    start = rows = 0
    for at, (videos, more) in enumerate(zip(sellers["videos"].to_pylist(), is_open, strict=True)):
        own = max(1, videos or 0) + _ROWS_OF_OPEN * bool(more)
        if at > start and rows + own > _PART_ROWS:
            yield sellers.slice(start, at - start)
            start, rows = at, 0
        rows += own
    if len(sellers):
        yield sellers.slice(start)


def _in_order(read: pa.Table, ids: pa.Array[Any]) -> pa.Table:
    """Rows by seller and position, each with the place of its `seller`, and the position that is `due`."""
    place = pc.index_in(one_chunk(read["seller_id"]), value_set=ids)
    rows = read.append_column("seller", place).filter(pc.is_valid(place))
    rows = rows.sort_by([("seller", "ascending"), ("position", "ascending")]).combine_chunks()
    numbered = rows.select(["seller"]).append_column("at", pa.array(range(len(rows)), pa.int64()))
    begins = numbered.group_by("seller", use_threads=False).aggregate([("at", "min")])
    found = pc.index_in(one_chunk(rows["seller"]), value_set=one_chunk(begins["seller"]))
    follows: Any = pc.subtract(one_chunk(numbered["at"]), one_chunk(begins["at_min"]).take(found))
    return rows.append_column("due", pc.add(follows, pa.scalar(1, pa.int64())))


def _is_complete(part: pa.Table) -> pa.Array[Any]:
    status: Any = pc.coalesce(part["kept_status"], part["status"])
    return one_chunk(pc.fill_null(pc.equal(status, pa.scalar(SellerStatus.COMPLETE.value)), False))


def _is_whole(part: pa.Table, rows: pa.Table) -> pa.Array[Any]:
    """Which sellers one run read to their ends, without a break: what they lack is gone."""
    seller = one_chunk(rows["seller"])
    in_place: Any = pc.equal(rows["position"], rows["due"])
    last_run: Any = one_chunk(part["run_id"]).take(seller)
    in_place = pc.and_(in_place, pc.equal(one_chunk(rows["run_id"]).cast(pa.string()), last_run))
    counted: Any = pc.value_counts(seller.filter(one_chunk(pc.fill_null(in_place, False))))
    numbers = pa.array(range(len(part)), pa.int32())
    found: Any = counted.field(1).take(pc.index_in(numbers, value_set=counted.field(0)))
    conditions: list[Any] = [
        _is_complete(part),
        *(pc.equal(pc.coalesce(part[name], _ZERO), _ZERO) for name in ("carried", "drift")),
        pc.equal(pc.coalesce(found, _ZERO), part["videos"]),
    ]
    return one_chunk(pc.fill_null(reduce(pc.and_, conditions), False))


def _unread_rows(sellers: pa.Array[Any], seen: pa.Array[Any], rows: pa.Table) -> pa.Table:
    """The rows of some sellers, but for videos that have been seen."""
    rows = rows.filter(pc.is_in(rows["seller_id"], value_set=sellers))
    return rows.filter(pc.invert(pc.is_in(joined(rows, _KEY), value_set=seen)))


def _observations(column: str) -> pa.Schema:
    return pa.schema([*map(VIDEO_SCHEMA.field, (*_KEY, column)), pa.field("time", pa.int64())])


def _observed(rows: pa.Table, column: str, readings: Readings, oldest: pa.Array[Any]) -> pa.Table:
    """The observations that are old enough to be before this reading, and no older than `oldest`."""
    place = pc.index_in(one_chunk(rows["seller_id"]), value_set=readings.ids)
    times = one_chunk(milliseconds(rows["crawled_at"]))
    counts = pc.and_(pc.less(times, readings.first.take(place)), pc.greater_equal(times, oldest.take(place)))
    return rows.select([*_KEY, column]).append_column("time", times).filter(counts)


def _newest(rows: pa.Table) -> pa.Table:
    """The last observation of each video."""
    rows = rows.sort_by([("time", "descending")])
    numbered = rows.select(_KEY).append_column("at", pa.array(range(len(rows)), pa.int64()))
    newest = numbered.group_by(list(_KEY), use_threads=False).aggregate([("at", "min")])["at_min"]
    return rows.take(newest).combine_chunks()
