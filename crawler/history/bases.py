"""What stands for sellers that are not read tonight: their rows as they were last published.

Open it to change which snapshot's rows are taken, or what is known of how old they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.carried import Since
from crawler.history.reader import SnapshotFiles, UnreadableError, columns_of
from crawler.models.seller import SellerStatus
from crawler.models.stretches import read_in_part, read_whole
from crawler.store.parts import rows_by_seller
from crawler.store.records import Base, last_read_of
from crawler.store.schema import SUMMED_SELLER_SCHEMA, VIDEO_SCHEMA

KNOWN_SCHEMA = columns_of(
    SUMMED_SELLER_SCHEMA, "seller_id", "status", "kept_status", "pages", "videos", "carried", "stretches"
)
OPTIONAL_COLUMNS = frozenset({"carried", "kept_status"})
_SOURCES = columns_of(VIDEO_SCHEMA, "seller_id", "carried_from")


@dataclass(frozen=True, slots=True)
class KnownSnapshot:
    """A published snapshot: its date, its `SELLERS`, and those of its `VIDEOS` that are intact.

    `is_damaged`: some are not, or that is not known.
    """

    day: date
    sellers: SnapshotFiles
    videos: SnapshotFiles
    is_damaged: bool = False


def bases(
    snapshots: Iterator[KnownSnapshot],
    listed: pa.Array[Any],
    crawl_date: date,
    max_age: int,
    sorting: str,
    leave_out: Callable[[date, UnreadableError], object],
    gone: Counter[str] | None = None,
) -> Iterator[tuple[str, Base]]:
    """What stands for each seller of a list: of the first snapshot that has pages of it.

    The snapshots come newest first; no more are asked for than are needed. The rates are not known yet.
    In another `sorting` than tonight's a stretch had other rows: each counts as old as the oldest.
    Another strategy publishes only what it read: of a seller that it cut off an older snapshot is taken that
    has all of it, and else the one of these with the most videos. A snapshot that cannot be read is left out,
    and `leave_out` gets the reason. `gone` learns how many rows each seller loses, since no page showed them
    again for long.
    """
    left, cut_off = listed, dict[str, Base]()
    for snapshot in snapshots:
        try:
            found, cut, carrying = _known_of(snapshot, left, max_age)
            if snapshot.sellers.sorting not in {"", sorting}:
                found, cut = ([(name, _of_any_stretch(base)) for name, base in some] for some in (found, cut))
            kept = [*_without_gone(found, carrying, snapshot, crawl_date - timedelta(max_age))]
        except UnreadableError as error:
            leave_out(snapshot.day, error)
            continue
        for seller_id, base, lost in kept:
            yield seller_id, base
            if gone is not None and lost:
                gone[seller_id] += lost
        known = pa.array([seller_id for seller_id, _ in found], pa.string())
        left = left.filter(pc.invert(pc.is_in(left, value_set=known)))
        for seller_id, base in cut:
            if seller_id not in cut_off or base.videos > cut_off[seller_id].videos:
                cut_off[seller_id] = base
        if not len(left):
            return
    yield from ((seller_id, cut_off[seller_id]) for seller_id in left.to_pylist() if seller_id in cut_off)


_Bases = list[tuple[str, Base]]


def _known_of(snapshot: KnownSnapshot, left: pa.Array[Any], max_age: int) -> tuple[_Bases, _Bases, set[str]]:
    """What a snapshot says of some sellers: of those that stand by it, and of those that it cut off.

    Beside them which sellers have rows that were carried, of which it is known how old their pages are. A
    night that carries by `--strategy freshest` has no seller cut off that an older snapshot has.
    """
    found, cut, carries, carrying = _Bases(), _Bases(), False, set[str]()
    for table in snapshot.sellers.batches(KNOWN_SCHEMA, OPTIONAL_COLUMNS):
        carries |= table["stretches"].null_count < len(table)
        for row in table.filter(pc.is_in(table["seller_id"], value_set=left)).to_pylist():
            base = _base_of(row, snapshot.day, max_age)
            if base is not None:
                if row["carried"] and row["stretches"] is not None:
                    carrying.add(str(row["seller_id"]))
                is_cut = row["stretches"] is None and base.status is not SellerStatus.COMPLETE
                (cut if is_cut else found).append((str(row["seller_id"]), base))
    if carries:
        found, cut = [*found, *cut], []
    if snapshot.is_damaged:
        sellers = dict.fromkeys((seller_id for seller_id, _ in (*found, *cut)), date.min)
        there = _rows_since(snapshot, sellers)
        found, cut = ([each for each in some if there[each[0]] == each[1].videos] for some in (found, cut))
    return found, cut, carrying


def _base_of(row: Mapping[str, Any], day: date, max_age: int) -> Base | None:
    """What a row of `sellers/` says; None where no page of its seller is published."""
    videos, pages, status = row["videos"] or 0, row["pages"] or 0, row["kept_status"] or row["status"]
    if row["stretches"] is not None:
        last_read = last_read_of(row["stretches"])
    elif row["carried"]:
        # By --carry-forward: how old the rows are is not known of each.
        last_read = read_whole(videos, day - timedelta(max_age))
    elif status == SellerStatus.COMPLETE:
        last_read = read_whole(videos, day)
    elif pages:
        last_read = read_in_part(pages, day)
    else:
        return None
    return Base(day, videos, last_read, ())


def _of_any_stretch(base: Base) -> Base:
    """The base where any row may be in any stretch."""
    before = base.oldest
    return base._replace(last_read=[day and before for day in base.last_read])


def _without_gone(
    found: Sequence[tuple[str, Base]], carrying: AbstractSet[str], snapshot: KnownSnapshot, oldest: date
) -> Iterator[tuple[str, Base, int]]:
    """The bases without rows that nobody has seen for long, though every page was read since.

    Each with the number of these.
    """
    since = {
        seller_id: min(oldest, base.oldest or oldest)
        for seller_id, base in found
        if seller_id in carrying and None not in base.last_read
    }
    kept = _rows_since(snapshot, since)
    for seller_id, base in found:
        if seller_id in since and kept[seller_id] < base.videos:
            lost = base.videos - kept[seller_id]
            yield seller_id, base._replace(videos=kept[seller_id], since=since[seller_id]), lost
        else:
            yield seller_id, base, 0


def _rows_since(snapshot: KnownSnapshot, since: Mapping[str, date]) -> Counter[str]:
    """How many rows each seller has that were crawled for a date, or a later one."""
    kept = Counter[str]()
    wanted = Since.of(dict(sorted(since.items())))
    for rows in snapshot.videos.rows_of(wanted.ids, _SOURCES):
        kept.update(rows_by_seller(wanted.kept(rows, snapshot.day)))
    return kept
