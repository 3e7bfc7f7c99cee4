"""What a snapshot is compared with: all other published ones that were read before it, within a window.

Open it to change which snapshots count, which of their columns are read, or what damage does to them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from crawler.history.cursor import Keep, SellerCursor
from crawler.history.reader import FEW_TEXTS, SnapshotFiles, UnreadableError, columns_of, published_dates
from crawler.models.api import COUNT_COLUMNS
from crawler.store.layout import SELLERS, VIDEOS, run_of
from crawler.store.schema import SELLER_SCHEMA, VIDEO_SCHEMA

READING_SCHEMA = columns_of(
    SELLER_SCHEMA,
    *("seller_id", "status", "pages", "first_crawled_at", "last_crawled_at", "carried", "drift"),
    *("kept_status", "stretches", "videos"),
)
NEWER_SELLER_COLUMNS = frozenset({"carried", "overlap", "drift", "kept_status", "other_credits"})
"""Columns that `sellers/` files of early versions do not have."""

_KEYS: list[pa.Field[pa.DataType]] = [
    *(VIDEO_SCHEMA.field(name) for name in ("seller_id", "video_id", "create_time")),
    pa.field("region", FEW_TEXTS),
]
OBSERVATION_SCHEMA = pa.schema(
    [*_KEYS, *(VIDEO_SCHEMA.field(name) for name in (*COUNT_COLUMNS, "crawled_at", "carried_from"))]
)
NEWER_VIDEO_COLUMNS = frozenset({"carried_from"})
_MAX_OPEN_FILES = 16
_REASON_LENGTH = 400
_HAS_PAGES = ("first_crawled_at", "stretches")
"""A seller of which a page is published has one of these."""


class DamagedSnapshotError(Exception):
    """An earlier snapshot that cannot be read; `day` is its crawl date."""

    def __init__(self, day: date, cause: UnreadableError) -> None:
        reason = " ".join(str(cause).split())[:_REASON_LENGTH]
        super().__init__(f"the snapshot of {day} cannot be read: {reason}")
        self.day = day


@dataclass(frozen=True, slots=True)
class EarlierSnapshot:
    """A published snapshot: its sellers and rows by ranges of sellers, and when it was read.

    Times are epoch milliseconds; where nothing was read they are its date's midnight. What it reads raises
    `DamagedSnapshotError`.
    """

    day: date
    run_id: str
    sorting: str
    first_read: int
    last_read: int
    is_kept_open: bool
    _sellers: SellerCursor
    _videos: SellerCursor
    _keys: SellerCursor

    def sellers(self, first: str, last: str) -> pa.Table:
        """The sellers of a range of which pages are published, carried ones too, with `READING_SCHEMA`."""
        return self._read(self._sellers, first, last)

    def videos(self, first: str, last: str, keep: Keep | None = None) -> pa.Table:
        """The rows of a range of sellers, carried ones too, with `OBSERVATION_SCHEMA`; see `SellerCursor`."""
        return self._read(self._videos, first, last, keep)

    def keys(self, first: str, last: str, keep: Keep) -> pa.Table:
        """The sellers and videos of such rows, which take a fraction of the time."""
        return self._read(self._keys, first, last, keep)

    def mark(self) -> Callable[[], None]:
        """Returns what moves back to where the rows are now."""
        marks = self._videos.mark(), self._keys.mark()

        def move_back() -> None:
            for move in marks:
                move()

        return move_back

    def close(self) -> None:
        """Close its files until they are read again."""
        self._sellers.close()
        self._videos.close()
        self._keys.close()

    def _read(self, cursor: SellerCursor, first: str, last: str, keep: Keep | None = None) -> pa.Table:
        try:
            rows = cursor.rows(first, last, keep)
        except UnreadableError as error:
            raise DamagedSnapshotError(self.day, error) from None
        if not self.is_kept_open:
            cursor.close()
        return rows


def midnight_of(day: date) -> int:
    """When a date begins in UTC, in epoch milliseconds."""
    return (day - date(1970, 1, 1)) // timedelta(milliseconds=1)


class NightSpan(NamedTuple):
    """A crawl date, and when its sellers were read first and last; its midnight where nobody was."""

    day: date
    first: int
    last: int

    @classmethod
    def of(cls, day: date, sellers: SnapshotFiles) -> NightSpan:
        """That of a date's `SELLERS`."""
        return cls(day, *(sellers.read_span or (midnight_of(day), midnight_of(day))))


def reading_cursor(files: SnapshotFiles) -> SellerCursor:
    """A cursor over `SELLERS` that leaves out those of which no page is published."""
    return SellerCursor(files, READING_SCHEMA, NEWER_SELLER_COLUMNS, _HAS_PAGES)


def observation_cursor(files: SnapshotFiles) -> SellerCursor:
    """A cursor over `VIDEOS`."""
    return SellerCursor(files, OBSERVATION_SCHEMA, NEWER_VIDEO_COLUMNS)


def earlier_snapshots(
    data: Path, after: int, before: int, left_out: Collection[date]
) -> list[EarlierSnapshot]:
    """The snapshots that were read between two times, but for some dates', the last read first.

    One in which all is carried counts as read at its date's midnight. The first ones keep their files open
    from range to range. Raises `DamagedSnapshotError`.
    """
    found: list[tuple[NightSpan, str, SnapshotFiles]] = []
    for other in published_dates(data):
        if other in left_out:
            continue
        sellers = SnapshotFiles.published(data, SELLERS, other)
        try:
            span = NightSpan.of(other, sellers)
            if span.first < before and span.last >= after:
                found.append((span, sellers.sorting, sellers))
        except UnreadableError as error:
            raise DamagedSnapshotError(other, error) from None
    snapshots, open_files = [], 0
    newest_first = sorted(found, key=lambda each: (each[0].last, each[0].day), reverse=True)
    for (other, first, last), sorting, sellers in newest_first:
        videos = SnapshotFiles.published(data, VIDEOS, other)
        # It was compacted, or its videos are lost: its sellers would look as if they had none.
        if not videos.paths:
            continue
        open_files += len(videos.paths) + len(sellers.paths)
        keys = SellerCursor(videos, columns_of(VIDEO_SCHEMA, "seller_id", "video_id"), frozenset())
        cursors = reading_cursor(sellers), observation_cursor(videos), keys
        run_id = run_of(sellers.paths[0])
        is_kept_open = open_files <= _MAX_OPEN_FILES
        snapshots.append(EarlierSnapshot(other, run_id, sorting, first, last, is_kept_open, *cursors))
    return snapshots
