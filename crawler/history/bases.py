"""What stands for sellers that are not read tonight: their rows as they were last published.

Open it to change which snapshot's rows are taken, or what is known of how old they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.carried import Since
from crawler.history.reader import SnapshotFiles, columns_of
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

    `is_damaged`: some are not.
    """

    day: date
    sellers: SnapshotFiles
    videos: SnapshotFiles
    is_damaged: bool = False


def bases(
    snapshots: Iterator[KnownSnapshot], listed: pa.Array[Any], crawl_date: date, max_age: int
) -> Iterator[tuple[str, Base]]:
    """What stands for each seller of a list: of the first snapshot that has pages of it.

    The snapshots come newest first; no more are asked for than are needed. The rates are not known yet.
    Raises `UnreadableError` where a file cannot be read.
    """
    left = listed
    for snapshot in snapshots:
        found = [
            (str(row["seller_id"]), base)
            for table in snapshot.sellers.batches(KNOWN_SCHEMA, OPTIONAL_COLUMNS)
            for row in table.filter(pc.is_in(table["seller_id"], value_set=left)).to_pylist()
            if (base := _base_of(row, snapshot.day, max_age)) is not None
        ]
        if snapshot.is_damaged:
            there = _rows_since(snapshot, dict.fromkeys((seller_id for seller_id, _ in found), date.min))
            found = [(seller_id, base) for seller_id, base in found if there[seller_id] == base.videos]
        yield from _without_gone(found, snapshot, crawl_date - timedelta(max_age))
        known = pa.array([seller_id for seller_id, _ in found], pa.string())
        left = left.filter(pc.invert(pc.is_in(left, value_set=known)))
        if not len(left):
            return


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


def _without_gone(
    found: Sequence[tuple[str, Base]], snapshot: KnownSnapshot, oldest: date
) -> Iterator[tuple[str, Base]]:
    """The bases without rows that nobody has seen for long, though every page was read since."""
    since = {
        seller_id: min(oldest, *(day for day in base.last_read if day is not None))
        for seller_id, base in found
        if len(base.last_read) > 1 and None not in base.last_read
    }
    kept = _rows_since(snapshot, since)
    for seller_id, base in found:
        if seller_id in since and kept[seller_id] < base.videos:
            yield seller_id, base._replace(videos=kept[seller_id], since=since[seller_id])
        else:
            yield seller_id, base


def _rows_since(snapshot: KnownSnapshot, since: Mapping[str, date]) -> Counter[str]:
    """How many rows each seller has that were crawled for a date, or a later one."""
    kept = Counter[str]()
    wanted = Since.of(dict(sorted(since.items())))
    for rows in snapshot.videos.rows_of(wanted.ids, _SOURCES):
        kept.update(rows_by_seller(wanted.kept(rows, snapshot.day)))
    return kept
