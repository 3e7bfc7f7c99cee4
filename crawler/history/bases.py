"""What stands for sellers that are not read tonight: their rows as they were last published.

Open it to change which snapshot's rows are taken, or what is known of how old they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.reader import SnapshotFiles, UnreadableError, carried_before, columns_of
from crawler.models.seller import SellerStatus
from crawler.models.stretches import LastRead, oldest, read_in_part, read_whole
from crawler.store.bases import Bases
from crawler.store.parts import counted, rows_by_seller
from crawler.store.records import last_read_of, text_of
from crawler.store.schema import SUMMED_SELLER_SCHEMA, VIDEO_SCHEMA

KNOWN_SCHEMA = columns_of(
    SUMMED_SELLER_SCHEMA, "seller_id", "status", "kept_status", "pages", "videos", "carried", "stretches"
)
OPTIONAL_COLUMNS = frozenset({"carried", "kept_status"})
_SOURCES = columns_of(VIDEO_SCHEMA, "seller_id", "carried_from")
_ROWS_AT_A_TIME = 16_384


class IntactVideos(NamedTuple):
    """Those `VIDEOS` of a snapshot that are intact; `is_damaged`: some are not, or that is not known."""

    files: SnapshotFiles
    is_damaged: bool = False


@dataclass(frozen=True, slots=True)
class KnownSnapshot:
    """A published snapshot: its date, its `SELLERS`, and what verifies its `VIDEOS`, which reads them all."""

    day: date
    sellers: SnapshotFiles
    intact_videos: Callable[[], IntactVideos]


def bases(
    snapshots: Iterator[KnownSnapshot],
    listed: pa.Array[Any],
    crawl_date: date,
    max_age: int,
    sorting: str,
    leave_out: Callable[[date, UnreadableError], object],
    gone: Counter[str] | None = None,
) -> Bases:
    """What stands for each seller of a list: of the first snapshot that has pages of it.

    The snapshots come newest first; no more are asked for than are needed. The rates are not known yet.
    In another `sorting` than tonight's a stretch had other rows: each counts as old as the oldest.
    Another strategy publishes only what it read: of a seller that it cut off an older snapshot is taken that
    has all of it, and else the one of these with the most videos. A snapshot that cannot be read is left out,
    and `leave_out` gets the reason. `gone` learns how many rows each seller loses, since no page showed them
    again for long.
    """
    kept, left, cut_off = Bases(), listed, dict[str, _CutOff]()
    for snapshot in snapshots:
        try:
            known = _known_of(snapshot, left, sorting, max_age)
            lost = Counter[str]()
            if len(known):
                known, lost = _verified(known, snapshot, crawl_date - timedelta(max_age))
        except UnreadableError as error:
            leave_out(snapshot.day, error)
            continue
        kept.extend(known.found)
        if gone is not None:
            gone.update(lost)
        left = left.filter(pc.invert(pc.is_in(left, value_set=known.found.ids)))
        for seller_id, count, text in known.cut:
            if seller_id not in cut_off or count > cut_off[seller_id].videos:
                cut_off[seller_id] = _CutOff(snapshot.day, count, text)
        if not len(left):
            return kept
    for seller_id in map(str, left.to_pylist()) if cut_off else ():
        if seller_id in cut_off:
            kept.add(seller_id, *cut_off[seller_id])
    return kept


class _CutOff(NamedTuple):
    """A seller that another strategy cut off; see `Base`."""

    source: date
    videos: int
    stretches: str


@dataclass(slots=True)
class _Known:
    """What a snapshot says of sellers: of those that stand by it, and of those that it cut off.

    `carries` tells of each found one whether it has rows that were carried, of which it is known how old
    their pages are. Of one that was cut off there are the videos, and the text of its stretches.
    """

    found: Bases = field(default_factory=Bases)
    carries: bytearray = field(default_factory=bytearray)
    cut: list[tuple[str, int, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.found) + len(self.cut)

    @property
    def listed(self) -> list[str]:
        """All of them."""
        return [*map(str, self.found.ids.to_pylist()), *(seller_id for seller_id, _, _ in self.cut)]

    def only(self, videos: Mapping[str, int], day: date) -> _Known:
        """Those of which a snapshot of `day` has all videos, if it has so many of each."""
        there = _Known(cut=[each for each in self.cut if videos[each[0]] == each[1]])
        for (seller_id, base), carries in zip(self.found.items(), self.carries, strict=True):
            if videos[seller_id] == base.videos:
                there.found.add(seller_id, day, base.videos, text_of(base.last_read))
                there.carries.append(carries)
        return there


def _known_of(snapshot: KnownSnapshot, left: pa.Array[Any], sorting: str, max_age: int) -> _Known:
    """What a snapshot says of some sellers.

    A night that carries by `--strategy freshest` has no seller cut off that an older snapshot has.
    """
    known, night_carries = _Known(), False
    is_sorted = snapshot.sellers.sorting in {"", sorting}
    for table in snapshot.sellers.batches(KNOWN_SCHEMA, OPTIONAL_COLUMNS, _ROWS_AT_A_TIME):
        night_carries |= table["stretches"].null_count < len(table)
        rows = table.filter(pc.is_in(table["seller_id"], value_set=left))
        columns = [column.to_pylist() for column in rows.select(KNOWN_SCHEMA.names).columns]
        for seller_id, status, kept_status, pages, videos, carried, stretches in zip(*columns, strict=True):
            row = _Row(kept_status or status, pages or 0, videos or 0, carried, stretches)
            last_read = row.last_read(snapshot.day, max_age)
            if last_read is None:
                continue
            if not is_sorted:
                last_read = _of_any_stretch(last_read)
            text = text_of(last_read)
            if stretches is None and None in last_read:
                known.cut.append((seller_id, row.videos, text))
            else:
                known.found.add(seller_id, snapshot.day, row.videos, text)
                known.carries.append(bool(carried and stretches is not None))
    if night_carries:
        for seller_id, videos, text in known.cut:
            known.found.add(seller_id, snapshot.day, videos, text)
            known.carries.append(False)
        known.cut = []
    return known


class _Row(NamedTuple):
    """What a row of `sellers/` says."""

    status: str
    pages: int
    videos: int
    carried: int | None
    stretches: str | None

    def last_read(self, day: date, max_age: int) -> LastRead | None:
        """When each stretch was last read; None where no page of its seller is published."""
        if self.stretches is not None:
            return last_read_of(self.stretches)
        if self.carried:
            # By --carry-forward: how old the rows are is not known of each.
            return read_whole(self.videos, day - timedelta(max_age))
        if self.status == SellerStatus.COMPLETE:
            return read_whole(self.videos, day)
        return read_in_part(self.pages, day) if self.pages else None


def _of_any_stretch(last_read: LastRead) -> LastRead:
    """The same where any row may be in any stretch."""
    before = oldest(last_read)
    return [day and before for day in last_read]


def _verified(known: _Known, snapshot: KnownSnapshot, before: date) -> tuple[_Known, Counter[str]]:
    """What is left where not all files are intact, and how many rows each seller loses; see `_lose_gone`."""
    videos = snapshot.intact_videos()
    if videos.is_damaged:
        known = known.only(_rows_there(videos.files, known.listed), snapshot.day)
    return known, _lose_gone(known, videos.files, before)


def _lose_gone(known: _Known, videos: SnapshotFiles, before: date) -> Counter[str]:
    """Let rows go that nobody has seen for long, though every page was read since.

    Returns how many each seller loses.
    """
    found, places, since = known.found, list[int](), list[date]()
    for place, (base, carries) in enumerate(zip(found, known.carries, strict=True)):
        if carries and None not in base.last_read:
            places.append(place)
            since.append(min(before, base.oldest or before))
    ids, dates = found.ids.take(pa.array(places, pa.int64())), pa.array(since, pa.date32())
    lost = Counter[int]()
    for rows in carried_before(videos, before, _SOURCES) if places else ():
        at = pc.index_in(rows["seller_id"], value_set=ids)
        lost.update(counted(at.filter(pc.less(rows["carried_from"], dates.take(at)))))
    for number, count in lost.items():
        found.without_rows(places[number], count, since[number])
    return Counter({str(ids[number].as_py()): count for number, count in lost.items()})


def _rows_there(videos: SnapshotFiles, sellers: Sequence[str]) -> Counter[str]:
    """How many rows each seller has."""
    there = Counter[str]()
    for rows in videos.rows_of(pa.array(sellers, pa.string()), _SOURCES):
        there.update(rows_by_seller(rows))
    return there
