"""What each reading of a seller, or of one of its stretches, brought: open it to change what is learnt from.

Everything is derived from what is published: gains from `changes/` and their sums in `sellers/`, and which
pages were read from `sellers/`. A reading that found nothing changed is in no change, but counts here.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.carrying import joined
from crawler.history.reader import FEW_TEXTS, SnapshotFiles, UnreadableError, columns_of
from crawler.history.yardsticks import one_chunk
from crawler.models.api import SORT_COLUMNS, SortField, Value
from crawler.models.dataset import SELLER_SUMS, gain_of
from crawler.models.seller import SellerStatus
from crawler.models.stretches import STRETCH_PAGES, stretches_of
from crawler.store.layout import CHANGES, SELLERS, VIDEOS
from crawler.store.schema import CHANGES_SCHEMA, SUMMED_SELLER_SCHEMA, VIDEO_SCHEMA

NIGHTS = 28
"""Published nights that are learnt from."""
_READ = ("seller_id", "status", "kept_status", "videos", "carried", "stretches", "last_crawled_at")
_OPTIONAL = frozenset({"carried", "kept_status", *SELLER_SUMS})
_PAGES = pa.schema(
    [
        pa.field("seller_id", FEW_TEXTS),
        *columns_of(VIDEO_SCHEMA, "video_id", "page_num", "carried_from"),
    ]
)
_ROWS_AT_A_TIME = 16_384
_PAGES_AT_A_TIME = 65_536
_MOVED_FIELDS: list[pa.Field[Any]] = [
    pa.field("seller", pa.int32()),
    pa.field("video_id", pa.string()),
    pa.field("gain", pa.float64()),
]
_MOVED = pa.schema(_MOVED_FIELDS)
_VIDEO = ("seller", "video_id")


class Reading(NamedTuple):
    """What a stretch had gained when it was read, `nights` after it was read before.

    `seller` is its seller's number in the list.
    """

    seller: int
    stretch: int
    gain: float
    nights: int


class GainHistory:
    """The readings of sellers on published nights; `unreadable` has what could not be read, by date.

    `totals` has what the videos of each seller, by its number, were worth when it was last read. What is kept
    of a seller are some numbers, and a list only where it has several stretches: there are many sellers.
    """

    def __init__(self, data: Path, value: Value, ids: pa.Array[Any]) -> None:
        self._data = data
        self._value = value
        self._ids = ids
        self.unreadable: dict[date, str] = {}
        self.totals = array("d", bytes(8 * len(ids)))
        # When the first stretch was last read, by the number of the seller: as the number of a date, or 0.
        self._last = array("i", bytes(4 * len(ids)))
        self._last_of_deep: dict[int, list[int]] = {}
        # What readings found that did not come to the end of a stretch: the next one that does counts it.
        self._found: dict[tuple[int, int], float] = {}

    def readings(self, days: Sequence[date]) -> Iterator[Reading]:
        """The readings of the sellers on these dates, oldest first, but for the first one of each stretch."""
        for day in sorted(days):
            try:
                yield from self._of_night(day)
            except UnreadableError as error:
                self.unreadable[day] = str(error)
            pa.default_memory_pool().release_unused()

    def _of_night(self, day: date) -> Iterator[Reading]:
        deep: dict[int, Sequence[int]] = {}
        night = day.toordinal()
        for number, read, total, gain in self._sellers_read(day):
            if read:
                self.totals[number] = total or 0
            last = self._last_of_deep.get(number)
            if last is not None or (read and read[-1]):
                last = self._last_of_deep.setdefault(number, [self._last[number]])
                last += [0] * ((read[-1] if read else 0) + 1 - len(last))
                deep[number] = read
                continue
            found = self._found.pop((number, 0), 0.0) + (gain or 0.0)
            if not read:
                self._found[number, 0] = found
                continue
            if before := self._last[number]:
                yield Reading(number, 0, found, night - before)
            self._last[number] = night
        if deep:
            yield from self._of_deep(day, deep)

    def _sellers_read(self, day: date) -> Iterator[tuple[int, Sequence[int], float | None, float | None]]:
        """Sellers with pages of a date: number, stretches read to their end, worth, and what was gained."""
        is_rows = self._value is Value.ROWS
        total, gain = ("videos", "published") if is_rows else (str(self._value), f"{self._value}_gain")
        schema = columns_of(SUMMED_SELLER_SCHEMA, *dict.fromkeys((*_READ, total, gain)))
        batches = SnapshotFiles.published(self._data, SELLERS, day).batches(schema, _OPTIONAL)
        read = [rows.filter(rows["last_crawled_at"].is_valid()) for rows in batches]
        rows = pa.concat_tables([schema.empty_table(), *read])
        # Once a night: it makes a hash table of all sellers.
        rows = rows.append_column("number", pc.index_in(rows["seller_id"], value_set=self._ids))
        for batch in rows.to_batches(_ROWS_AT_A_TIME):
            some = batch.filter(batch["number"].is_valid())
            numbers, totals, gains = (some[name].to_pylist() for name in ("number", total, gain))
            yield from zip(numbers, _stretches_read(some, day), totals, gains, strict=True)

    def _of_deep(self, day: date, deep: Mapping[int, Sequence[int]]) -> Iterator[Reading]:
        """The readings of stretches of sellers that have several."""
        numbers = pa.array([*deep], pa.int64())
        ids = self._ids.take(numbers)
        order = pc.sort_indices(ids)
        sorted_numbers: list[Any] = numbers.take(order).to_pylist()
        for (place, stretch), gain in self._gains_by_stretch(day, ids.take(order)).items():
            found = sorted_numbers[place], stretch
            self._found[found] = self._found.get(found, 0.0) + gain
        night = day.toordinal()
        for number, read in deep.items():
            last = self._last_of_deep[number]
            for stretch in read:
                before, last[stretch] = last[stretch], night
                gain = self._found.pop((number, stretch), 0.0)
                if before:
                    yield Reading(number, stretch, gain, night - before)

    def _gains_by_stretch(self, day: date, ids: pa.Array[Any]) -> Mapping[tuple[int, int], float]:
        """What the videos of some sellers had gained, by the stretch that they were found in.

        A seller is named by its place in `ids`, which are sorted.
        """
        moved = self._moved(day, ids)
        gains: defaultdict[tuple[int, int], float] = defaultdict(float)
        for pages in self._pages(day, ids) if moved else ():
            # Rows come by seller: only the changes of a few sellers need be searched at a time.
            ends, seller = pc.min_max(pages["seller"]), moved["seller"]
            is_near: Any = pc.and_(pc.greater_equal(seller, ends["min"]), pc.less_equal(seller, ends["max"]))
            near = moved.filter(is_near)
            place: Any = pc.index_in(joined(pages, _VIDEO), value_set=joined(near, _VIDEO).combine_chunks())
            found = pages.filter(pc.is_valid(place))
            of_found = near["gain"].take(pc.drop_null(place))
            for number, page_num, gain in _tuples(found["seller"], found["page_num"], of_found):
                gains[number, (page_num - 1) // STRETCH_PAGES] += gain
        return gains

    def _pages(self, day: date, ids: pa.Array[Any]) -> Iterator[pa.Table]:
        """The received rows of some sellers, each with its seller's place in `ids`, many at a time."""
        waiting, count = list[pa.Table](), 0
        for rows in SnapshotFiles.published(self._data, VIDEOS, day).batches(_PAGES):
            sellers: Any = one_chunk(rows["seller_id"])
            # Few sellers have many rows: each is looked up once.
            place = pc.index_in(sellers.dictionary, value_set=ids).take(sellers.indices)
            is_wanted: Any = pc.and_(pc.is_valid(place), pc.is_null(rows["carried_from"]))
            waiting.append(rows.set_column(0, "seller", place).drop_columns("carried_from").filter(is_wanted))
            count += len(waiting[-1])
            if count >= _PAGES_AT_A_TIME:
                yield pa.concat_tables(waiting)
                waiting, count = [], 0
        if count:
            yield pa.concat_tables(waiting)

    def _moved(self, day: date, ids: pa.Array[Any]) -> pa.Table:
        """The videos of some sellers that had gained: seller, by its place in `ids`, video and gain."""
        is_rows = self._value is Value.ROWS
        column = "kind" if is_rows else gain_of(SORT_COLUMNS[SortField(self._value)])
        schema = columns_of(CHANGES_SCHEMA, "seller_id", "video_id", column)
        tables = []
        for rows in SnapshotFiles.published(self._data, CHANGES, day).batches(schema):
            gain: Any = pc.equal(rows["kind"], pa.scalar("published")) if is_rows else rows[column]
            gain = pc.fill_null(gain.cast(pa.float64()), 0.0)
            columns = (pc.index_in(rows["seller_id"], value_set=ids), rows["video_id"], gain)
            table = pa.Table.from_arrays(columns, schema=_MOVED)
            has_moved = pc.and_(pc.is_valid(table["seller"]), pc.not_equal(gain, pa.scalar(0.0)))
            tables.append(table.filter(has_moved))
        return pa.concat_tables([_MOVED.empty_table(), *tables]).combine_chunks()


def _tuples(*columns: Any) -> Iterator[tuple[Any, ...]]:
    """The rows of some columns."""
    return zip(*(column.to_pylist() for column in columns), strict=True)


def _stretches_read(rows: pa.RecordBatch, day: date) -> Iterator[Sequence[int]]:
    """The stretches of each seller that were read for a date, by rows of `sellers/`."""
    text = day.isoformat()
    # Most texts are those of many sellers.
    stretches: Any = rows["stretches"].dictionary_encode()
    known = [
        [number for number, read in enumerate(orjson.loads(each)) if read == text]
        for each in stretches.dictionary.to_pylist()
    ]
    status, carried, videos = rows["status"], rows["carried"].fill_null(0), rows["videos"].fill_null(0)
    is_complete: Any = pc.equal(pc.coalesce(rows["kept_status"], status), pa.scalar(SellerStatus.COMPLETE))
    is_whole = pc.and_(is_complete, pc.equal(carried, pa.scalar(0)))
    for place, was_whole, count in _tuples(stretches.indices, is_whole, videos):
        if place is not None:
            yield known[place]
        else:
            yield range(stretches_of(count) if was_whole else 0)
