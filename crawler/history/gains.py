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
_PAGES = columns_of(VIDEO_SCHEMA, "seller_id", "video_id", "page_num")


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
            before += [None] * (max(read) + 1 - len(before))
            if len(read) > 1 or len(before) > 1:
                deep[seller_id] = number, read
                continue
            if gain is not None and before[0] is not None:
                yield Reading(number, 0, gain, (day - before[0]).days)
            before[0] = day
        if deep:
            yield from self._of_deep(day, deep, last)

    def _sellers_read(
        self, day: date, ids: pa.Array[Any]
    ) -> Iterator[tuple[int, str, list[int], float | None]]:
        """The sellers read for a date: number, ID, which of their stretches were, and what they gained."""
        is_rows = self._value is Value.ROWS
        total, gain = ("videos", "published") if is_rows else (str(self._value), f"{self._value}_gain")
        schema = columns_of(SUMMED_SELLER_SCHEMA, *dict.fromkeys((*_READ, total, gain)))
        for table in SnapshotFiles.published(self._data, SELLERS, day).batches(schema, _OPTIONAL):
            rows = table.filter(pc.is_valid(table["last_crawled_at"]))
            rows = rows.append_column("number", pc.index_in(rows["seller_id"], value_set=ids))
            for row in rows.filter(pc.is_valid(rows["number"])).to_pylist():
                if read := _stretches_read(row, day):
                    self.totals[row["number"]] = float(row[total] or 0)
                    yield row["number"], str(row["seller_id"]), read, row[gain]

    def _of_deep(
        self,
        day: date,
        deep: Mapping[str, tuple[int, list[int]]],
        last: dict[int, list[date | None]],
    ) -> Iterator[Reading]:
        """The readings of stretches of sellers that have several."""
        gains = self._gains_by_stretch(day, pa.array(sorted(deep), pa.string()))
        for seller_id, (number, read) in deep.items():
            for stretch in read:
                before = last[number][stretch]
                if before is not None:
                    yield Reading(number, stretch, gains[seller_id, stretch], (day - before).days)
                last[number][stretch] = day

    def _gains_by_stretch(self, day: date, ids: pa.Array[Any]) -> Mapping[tuple[str, int], float]:
        """What the videos of some sellers had gained, by seller and the stretch that they were found in."""
        column = "video_id" if self._value is Value.ROWS else gain_of(SORT_COLUMNS[SortField(self._value)])
        schema = pa.schema([*columns_of(CHANGES_SCHEMA, "seller_id", "video_id", "kind")])
        if column not in schema.names:
            schema = schema.append(CHANGES_SCHEMA.field(column))
        moved: dict[tuple[str, str], float] = {}
        inside = pc.field("seller_id").isin(ids)
        for table in SnapshotFiles.published(self._data, CHANGES, day).batches(schema):
            rows = table.filter(inside)
            for row in rows.to_pylist():
                gain = float(row["kind"] == "published") if self._value is Value.ROWS else row[column]
                if gain:
                    moved[row["seller_id"], row["video_id"]] = gain
        gains: defaultdict[tuple[str, int], float] = defaultdict(float)
        for pages in SnapshotFiles.published(self._data, VIDEOS, day).rows_of(ids, _PAGES):
            for seller_id, video_id, page_num in zip(
                *(pages[n].to_pylist() for n in _PAGES.names), strict=True
            ):
                gain = moved.get((seller_id, video_id))
                if gain is not None:
                    gains[seller_id, (page_num - 1) // STRETCH_PAGES] += gain
        return gains


def _stretches_read(row: Mapping[str, Any], day: date) -> list[int]:
    """The stretches of a seller that were read for a date, by its row of `sellers/`."""
    if row["stretches"] is not None:
        text = day.isoformat()
        return [number for number, read in enumerate(orjson.loads(row["stretches"])) if read == text]
    if row["carried"] or (row["kept_status"] or row["status"]) != SellerStatus.COMPLETE:
        return []
    return list(range(len(read_whole(row["videos"] or 0, day))))
