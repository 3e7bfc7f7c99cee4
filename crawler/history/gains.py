"""What each reading of a seller, or of one of its stretches, brought: open it to change what is learnt from.

Everything is derived from what is published: gains from `changes/` and their sums in `sellers/`, and which
pages were read from `sellers/`. A reading that found nothing changed is in no change, but counts here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.carrying import joined
from crawler.history.reader import SnapshotFiles, UnreadableError, columns_of
from crawler.models.api import SORT_COLUMNS, SortField, Value
from crawler.models.dataset import SELLER_SUMS, gain_of
from crawler.models.seller import SellerStatus
from crawler.models.stretches import STRETCH_PAGES, read_whole
from crawler.store.layout import CHANGES, SELLERS, VIDEOS
from crawler.store.schema import CHANGES_SCHEMA, SUMMED_SELLER_SCHEMA, VIDEO_SCHEMA

NIGHTS = 28
"""Published nights that are learnt from."""
_READ = ("seller_id", "status", "kept_status", "videos", "carried", "stretches", "last_crawled_at")
_OPTIONAL = frozenset({"carried", "kept_status", *SELLER_SUMS})
_PAGES = columns_of(VIDEO_SCHEMA, "seller_id", "video_id", "page_num", "carried_from")
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
    """The readings of published nights; `unreadable` has what could not be read of them, by date.

    `totals` has what the videos of each seller, by its number, were worth when it was last read.
    """

    def __init__(self, data: Path, value: Value) -> None:
        self._data = data
        self._value = value
        self.unreadable: dict[date, str] = {}
        self.totals: dict[int, float] = {}
        # What readings found that did not come to the end of a stretch: the next one that does counts it.
        self._found: defaultdict[tuple[int, int], float] = defaultdict(float)

    def readings(self, days: Sequence[date], ids: pa.Array[Any]) -> Iterator[Reading]:
        """The readings of sellers on these dates, oldest first, but for the first one of each stretch."""
        last: dict[int, list[date | None]] = {}
        for day in sorted(days):
            try:
                yield from self._of_night(day, ids, last)
            except UnreadableError as error:
                self.unreadable[day] = str(error)

    def _of_night(
        self, day: date, ids: pa.Array[Any], last: dict[int, list[date | None]]
    ) -> Iterator[Reading]:
        deep: dict[str, tuple[int, list[int]]] = {}
        for number, seller_id, read, gain in self._sellers_read(day, ids):
            before = last.setdefault(number, [])
            before += [None] * (max(read, default=0) + 1 - len(before))
            if len(before) > 1:
                deep[seller_id] = number, read
                continue
            self._found[number, 0] += gain or 0.0
            if read:
                yield from self._reading(number, 0, before, day)
        if deep:
            yield from self._of_deep(day, deep, last)

    def _sellers_read(
        self, day: date, ids: pa.Array[Any]
    ) -> Iterator[tuple[int, str, list[int], float | None]]:
        """Sellers with pages of a date: number, ID, the stretches read to their end, and what was gained."""
        is_rows = self._value is Value.ROWS
        total, gain = ("videos", "published") if is_rows else (str(self._value), f"{self._value}_gain")
        schema = columns_of(SUMMED_SELLER_SCHEMA, *dict.fromkeys((*_READ, total, gain)))
        for table in SnapshotFiles.published(self._data, SELLERS, day).batches(schema, _OPTIONAL):
            rows = table.filter(pc.is_valid(table["last_crawled_at"]))
            rows = rows.append_column("number", pc.index_in(rows["seller_id"], value_set=ids))
            for row in rows.filter(pc.is_valid(rows["number"])).to_pylist():
                read = _stretches_read(row, day)
                if read:
                    self.totals[row["number"]] = float(row[total] or 0)
                yield row["number"], str(row["seller_id"]), read, row[gain]

    def _reading(self, seller: int, stretch: int, last: list[date | None], day: date) -> Iterator[Reading]:
        """The reading of a stretch on a date, where it was read before; it counts as read then."""
        before, last[stretch] = last[stretch], day
        gain = self._found.pop((seller, stretch), 0.0)
        if before is not None:
            yield Reading(seller, stretch, gain, (day - before).days)

    def _of_deep(
        self,
        day: date,
        deep: Mapping[str, tuple[int, list[int]]],
        last: dict[int, list[date | None]],
    ) -> Iterator[Reading]:
        """The readings of stretches of sellers that have several."""
        ids = pa.array(sorted(deep), pa.string())
        numbers = [number for _, (number, _) in sorted(deep.items())]
        for (place, stretch), gain in self._gains_by_stretch(day, ids).items():
            self._found[numbers[place], stretch] += gain
        for number, read in deep.values():
            for stretch in read:
                yield from self._reading(number, stretch, last[number], day)

    def _gains_by_stretch(self, day: date, ids: pa.Array[Any]) -> Mapping[tuple[int, int], float]:
        """What the videos of some sellers had gained, by the stretch that they were found in.

        A seller is named by its place in `ids`, which are sorted.
        """
        moved = self._moved(day, ids)
        gains: defaultdict[tuple[int, int], float] = defaultdict(float)
        for rows in SnapshotFiles.published(self._data, VIDEOS, day).rows_of(ids, _PAGES) if moved else ():
            pages = rows.filter(pc.is_null(rows["carried_from"]))
            if not len(pages):
                continue
            pages = pages.append_column("seller", pc.index_in(pages["seller_id"], value_set=ids))
            # Rows come by seller: only the changes of a few sellers need be searched at a time.
            ends = pc.min_max(pages["seller"])
            seller = pc.field("seller")
            near = moved.filter((seller >= ends["min"]) & (seller <= ends["max"]))
            place: Any = pc.index_in(joined(pages, _VIDEO), value_set=joined(near, _VIDEO).combine_chunks())
            found = pages.filter(pc.is_valid(place))
            of_found = near["gain"].take(pc.drop_null(place))
            for number, page_num, gain in _tuples(found["seller"], found["page_num"], of_found):
                gains[number, (page_num - 1) // STRETCH_PAGES] += gain
        return gains

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


def _stretches_read(row: Mapping[str, Any], day: date) -> list[int]:
    """The stretches of a seller that were read for a date, by its row of `sellers/`."""
    if row["stretches"] is not None:
        text = day.isoformat()
        return [number for number, read in enumerate(orjson.loads(row["stretches"])) if read == text]
    if row["carried"] or (row["kept_status"] or row["status"]) != SellerStatus.COMPLETE:
        return []
    return list(range(len(read_whole(row["videos"] or 0, day))))
