"""A journal's rows part by part, each of a size that memory can hold, however many there are in all.

Each segment is sorted, so a part reads one range of sellers from all of them. A single seller that is larger
than a part is read in pieces.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from crawler.models.api import PAGE_SIZE
from crawler.models.errors import CarriedRowsLostError
from crawler.store.files import output_errors
from crawler.store.journal import Journal
from crawler.store.records import SellerSummary
from crawler.store.schema import SEGMENT_SCHEMA
from crawler.store.segment_file import SegmentRows

_PART_BYTES = 8 * 1024 * 1024
_PART_SELLERS = 16_384
_PLACED = ("seller_id", "page_num", "position")
_ALL = 2**63 - 1
_OF_ONE_SELLER = ["video_id", "position", "seq"]
_Way = Literal["ascending", "descending"]


@dataclass(frozen=True, slots=True)
class Audit:
    """How carrying would have fared with sellers that were crawled in full all the same.

    `wrong` of the `audited` sellers differ, in so many videos: with other counts (`changed`), not in the
    earlier snapshot (`missed`), no longer there (`gone`).
    """

    audited: int = 0
    wrong: int = 0
    changed: int = 0
    missed: int = 0
    gone: int = 0

    def __add__(self, other: Audit) -> Audit:
        return Audit(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


class CarriedRows(Protocol):
    """Rows of earlier snapshots, which `history` reads.

    `damages` says what is wrong with files; `lost` names the sellers whose rows are lost with them. Reading
    raises `CarriedRowsLostError` where a file is damaged.
    """

    damages: list[str]
    lost: list[str]

    def pieces(self, sellers: dict[date, list[str]], *, carried: bool = True) -> Iterator[pa.Table]:
        """Rows of sellers, some at a time; with `carried` each has the date that it was crawled for."""

    def expected(self, seller: SellerSummary) -> int:
        """How many rows `pieces` has of a seller that is carried."""

    def audit(self, sellers: list[SellerSummary], crawled: pa.Table) -> Audit:
        """Compare sellers' rows, as they were crawled, with those that would have been carried."""

    def require_unchanged(self) -> None:
        """Raise `CarriedRowsLostError` where a file has changed since it was verified."""


@dataclass(frozen=True, slots=True)
class PartRows:
    """Rows of some sellers, of which those numbered in `order` are kept, by seller and position."""

    rows: pa.Table
    order: pa.Array[Any]

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of the rows that are kept."""
        return self.rows.select(names).take(self.order)


def deduplicated(
    journal: Journal, folder: Path, carried: CarriedRows | None = None
) -> Iterator[tuple[list[SellerSummary], Iterator[PartRows]]]:
    """Range after range of sellers, with their rows: of each video the one received last.

    With `carried`, from which rows of snapshots come, each seller has the rows that are to be published;
    without it those that its crawl under way received. `folder` holds what lies between, and is removed.
    """
    shown = carried is not None
    with output_errors(str(folder)):
        folder.mkdir(parents=True)
        segments = SegmentRows(journal, folder)
    after, has_long_pages = "", journal.reader.has_long_pages
    summaries = journal.reader.summaries()
    for sellers in _parts((s.shown for s in summaries) if shown else summaries):
        last, size = sellers[-1].seller_id, sum(map(_weight, sellers))
        shifts = _shifts(journal.reader.page_sizes(after, last, shown=shown)) if has_long_pages else {}
        source = _Source(segments, shifts, carried, sellers, after, last)
        yield sellers, _kept(source, size)
        after = last
        # What is left of a part in the allocator adds up otherwise.
        pa.default_memory_pool().release_unused()
    shutil.rmtree(folder)


def by_source(sellers: Iterable[SellerSummary]) -> dict[date, list[str]]:
    """Sellers by the snapshot that they matched."""
    found: dict[date, list[str]] = {}
    for seller in sellers:
        if seller.matched is not None:  # pragma: no branch - none is carried without a match
            found.setdefault(seller.matched, []).append(seller.seller_id)
    return found


def rows_by_seller(rows: pa.Table) -> Counter[str]:
    """How many rows each seller has, in the order of the rows."""
    return counted(rows["seller_id"])


def counted(values: Any) -> Counter[Any]:
    """How often each value of a column is there, in its order."""
    found: Any = pc.value_counts(values)
    return Counter(dict(zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True)))


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the rows of the sellers above `after`, up to `last`, come from; may be read more than once."""

    segments: SegmentRows
    shifts: dict[tuple[str, int], int]
    carried: CarriedRows | None
    sellers: list[SellerSummary]
    after: str
    last: str

    def read(self, names: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """All rows, with some columns, or with all; those of snapshots come last."""
        if not self.shifts:
            yield from self._received(names)
        else:
            wanted = [*dict.fromkeys((*names, *_PLACED))] if names else ()
            for batch in self._received(wanted):
                yield _shifted(batch, self.shifts).select(names or batch.schema.names)
        if self.carried is not None:
            carried = [s for s in self.sellers if s.is_carried]
            missing = sum(map(self.carried.expected, carried))
            yield from _all_of(missing, self.carried.pieces(by_source(carried)), names)
            published = [s for s in self.sellers if s.is_published]
            missing = sum(s.matched_videos for s in published)
            yield from _all_of(missing, self.carried.pieces(by_source(published), carried=False), names)

    def _received(self, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Rows of pages that belong to the sellers' crawls, and not to other crawls of them."""
        bounded = [s for s in self.sellers if s.after or s.upto is not None]
        if not bounded:
            yield from self.segments.between(self.after, self.last, names)
            return
        ids = pa.array([s.seller_id for s in bounded], pa.string())
        lows = pa.array([s.after for s in bounded], pa.int64())
        highs = pa.array([_ALL if s.upto is None else s.upto for s in bounded], pa.int64())
        read = [*names, *({"seller_id", "seq"} - set(names))] if names else []
        for batch in self.segments.between(self.after, self.last, read):
            place: Any = pc.index_in(batch["seller_id"], value_set=ids)
            low: Any = pc.coalesce(lows.take(place), pa.scalar(0, pa.int64()))
            high: Any = pc.coalesce(highs.take(place), pa.scalar(_ALL, pa.int64()))
            inside: Any = pc.and_(pc.greater(batch["seq"], low), pc.less_equal(batch["seq"], high))
            rows = batch.filter(inside)
            if rows.num_rows:
                yield rows.select(list(names)) if names else rows


def _all_of(expected: int, pieces: Iterable[pa.Table], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Rows of snapshots; raises `CarriedRowsLostError` in the end where they are not as many as expected."""
    for rows in pieces:
        expected -= len(rows)
        yield from rows.select(names or rows.column_names).to_batches()
    if expected:
        raise CarriedRowsLostError(f"{expected} rows to be taken from earlier snapshots are not there")


def _shifts(sizes: Iterable[tuple[str, int, int]]) -> dict[tuple[str, int], int]:
    """How far each page's rows move on behind too long pages; `sizes`: seller, number and rows, sorted."""
    shifts: dict[tuple[str, int], int] = {}
    reader, end = "", 0
    for seller_id, page_num, rows in sizes:
        nominal = (page_num - 1) * PAGE_SIZE
        begin = max(nominal, end if seller_id == reader else 0)
        if begin > nominal:
            shifts[seller_id, page_num] = begin - nominal
        reader, end = seller_id, begin + rows
    return shifts


def _shifted(batch: pa.RecordBatch, shifts: dict[tuple[str, int], int]) -> pa.RecordBatch:
    """Rows of segments with the positions that take long pages into account."""
    pages: Any = zip(batch["seller_id"].to_pylist(), batch["page_num"].to_pylist(), strict=True)
    moved: Any = pc.add(batch["position"], pa.array([shifts.get(page, 0) for page in pages], pa.int64()))
    place = batch.schema.get_field_index("position")
    return batch.set_column(place, batch.schema.field(place), moved)


def _parts(sellers: Iterable[SellerSummary]) -> Iterator[list[SellerSummary]]:
    part: list[SellerSummary] = []
    total = 0
    for seller in sellers:
        weight = _weight(seller)
        if part and (total + weight > _PART_BYTES or len(part) >= _PART_SELLERS):
            yield part
            part, total = [], 0
        part.append(seller)
        total += weight
    if part:
        yield part


def _weight(seller: SellerSummary) -> int:
    """What a seller's rows weigh in bytes of JSON, at a guess where they are carried or have little text."""
    return max(seller.size, seller.rows * 400) + seller.matched_videos * 600


def _kept(source: _Source, size: int) -> Iterator[PartRows]:
    """A part's rows in pieces of a part's size."""
    if size <= _PART_BYTES:
        # Rows are taken from one chunk three times as fast as from dozens.
        rows = pa.Table.from_batches(source.read(), SEGMENT_SCHEMA).combine_chunks()
        yield PartRows(rows, _newest(rows, ["seller_id"]))
    else:
        yield from _kept_of_one(source, -(-size // _PART_BYTES))


def _kept_of_one(source: _Source, count: int) -> Iterator[PartRows]:
    """One seller's rows in `count` pieces: of all rows only the deciding columns are held."""
    schema = pa.schema([SEGMENT_SCHEMA.field(name) for name in _OF_ONE_SELLER])
    numbers = _newest(pa.Table.from_batches(source.read(_OF_ONE_SELLER), schema), [])
    step = max(1, -(-len(numbers) // count))
    for start in range(0, max(1, len(numbers)), step):
        yield _gathered(source, numbers.slice(start, step))
        pa.default_memory_pool().release_unused()


def _gathered(source: _Source, numbers: pa.Array[Any]) -> PartRows:
    """The rows of one seller that have these numbers."""
    found, first = [], 0
    for batch in source.read():
        own: Any = pc.subtract(numbers, pa.scalar(first))
        inside = pc.and_(pc.greater_equal(own, pa.scalar(0)), pc.less(own, pa.scalar(len(batch))))
        wanted = own.filter(inside)
        if len(wanted):
            found.append(batch.take(wanted))
        first += len(batch)
    rows = pa.Table.from_batches(found, SEGMENT_SCHEMA)
    return PartRows(rows, pc.cast(pc.sort_indices(rows, sort_keys=_up(["position", "video_id"])), pa.int64()))


def _newest(rows: pa.Table, sellers: list[str]) -> pa.Array[Any]:
    """Numbers of the rows received last of each video, by seller (the column in `sellers`) and position."""
    video = [*sellers, "video_id"]
    late_first: list[tuple[str, _Way]] = [("seq", "descending"), ("position", "descending")]
    newest_first = pc.sort_indices(rows, sort_keys=[*_up(video), *late_first])
    changed: Any = _changes(rows[video[0]].take(newest_first))
    for name in video[1:]:
        changed = pc.or_(changed, _changes(rows[name].take(newest_first)))
    kept = newest_first.filter(changed)
    places = rows.select([*video, "position"]).take(kept)
    by_place = pc.sort_indices(places, sort_keys=_up([*sellers, "position", "video_id"]))
    return pc.cast(kept.take(by_place), pa.int64())


def _up(names: Iterable[str]) -> list[tuple[str, _Way]]:
    return [(name, "ascending") for name in names]


def _changes(values: pa.ChunkedArray[Any]) -> pa.Array[Any]:
    """Whether each value differs from the one before it."""
    array = values.combine_chunks()
    if not len(array):
        return pa.array([], pa.bool_())
    return pa.concat_arrays([pa.array([True]), pc.not_equal(array.slice(1), array.slice(0, len(array) - 1))])
