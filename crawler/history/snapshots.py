"""The snapshots before a date, for what can do without some of them: a plan, and the order of a run."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from crawler import events
from crawler.history.carrying import FIRST_PAGE_SCHEMA, first_pages
from crawler.history.figures import READ, column_of, filled_videos, seller_figures
from crawler.history.reader import SnapshotFiles, UnreadableError, columns_of, published_dates, reading
from crawler.history.seller_sums import added
from crawler.models.api import MAX_PAGE_NUM, SORT_COLUMNS, SortField
from crawler.store.layout import SELLERS, VIDEOS, Layout
from crawler.store.schema import VIDEO_SCHEMA

DEPTH = 7
"""Snapshots that are looked at: a week, so that a budget of some nights still adds up to all sellers."""

_SOURCES = columns_of(VIDEO_SCHEMA, "seller_id", "carried_from")
_SUM_FIELDS: list[pa.Field[Any]] = [
    pa.field("seller_id", pa.string()),
    pa.field("page_num", pa.int32()),
    pa.field("total", pa.float64()),
]
_SUMS = pa.schema(_SUM_FIELDS)
_SUMMED_ROWS = 131_072
_REASON_LENGTH = 400
_T = TypeVar("_T")


class History:
    """The snapshots published for crawl dates before one, newest first in `dates`.

    Nothing is raised for files that are missing, damaged or foreign: their snapshot is left out, and
    `warnings` says so.
    """

    def __init__(self, data: Path, before: date) -> None:
        self._data = data
        self.dates = [day for day in published_dates(data) if day < before]
        self.warnings: list[events.Sentence] = []
        self._sellers: dict[date, tuple[pa.Table, str] | None] = {}
        self._unreadable: set[tuple[str, date]] = set()

    def sellers(self, most: int = DEPTH) -> list[tuple[date, pa.Table]]:
        """The newest `most` snapshots that can be read, newest first.

        Each with a table of `seller_id`, `status`, `stop_reason`, `pages`, `videos` and `credits`.
        """
        return list(islice(self._readable(), most))

    def _readable(self) -> Iterator[tuple[date, pa.Table]]:
        for day in self.dates:
            if day not in self._sellers:
                self._sellers[day] = self._read(SELLERS, day, lambda f: (seller_figures(f), f.sorting))
            read = self._sellers[day]
            if read is not None:
                yield day, read[0]

    def sorting(self, day: date) -> str:
        """What the pages of one of `sellers` were sorted by, and which way; empty where that is not known."""
        read = self._sellers.get(day)
        return "" if read is None else read[1]

    def first_pages(self, day: date) -> dict[str, int]:
        """A digest of each seller's first page in a snapshot; none where it cannot be read."""
        return self._read(VIDEOS, day, lambda files: first_pages(files.batches(FIRST_PAGE_SCHEMA))) or {}

    def older_than(self, day: date, oldest: date) -> set[str]:
        """The sellers of a snapshot with rows that were crawled for a date before the `oldest`."""
        return self._read(VIDEOS, day, partial(_carried_before, oldest)) or set()

    def page_values(self, sort: SortField) -> dict[str, array[float]]:
        """What each page was worth, by what the API sorts by: the first page's sum first.

        From the newest snapshot that has a page of the seller; a page without rows is worth 0.
        """
        values: dict[str, array[float]] = {}
        seen: pa.Array[Any] = pa.array([], pa.string())
        for day, table in self.sellers():
            read = table.filter(READ)
            read = read.filter(pc.invert(pc.is_in(read["seller_id"], value_set=seen)))
            if not len(read):
                continue
            sums = self._read(VIDEOS, day, partial(_page_sums, SORT_COLUMNS[sort]))
            if sums is not None:
                _add_pages(values, read, sums)
                seen = pa.concat_arrays([seen, column_of(read, "seller_id")])
        return values

    def videos(self, ids: pa.Array[Any], *, is_end_certain: bool = False) -> pa.Array[Any]:
        """How many videos each seller of an Arrow string array had when it was last read; null: never.

        Of the newest `DEPTH` snapshots whose files can be opened, and have rows. With `is_end_certain` 0
        where a seller's list ended in a page that came again: past its end an API may repeat it.
        """
        videos: pa.Array[Any] = pa.nulls(len(ids), pa.int64())
        with_rows = (day for day in self.dates if self._read(SELLERS, day, lambda files: files.row_count))
        for day in islice(with_rows, DEPTH):
            if not videos.null_count:
                break
            newer = self._read(SELLERS, day, partial(filled_videos, ids, videos, is_end_certain))
            videos = videos if newer is None else newer
        pa.default_memory_pool().release_unused()
        return videos

    def _read(self, kind: str, day: date, read: Callable[[SnapshotFiles], _T]) -> _T | None:
        """What `read` makes of a snapshot's files; None, and a warning once, where they cannot be read."""
        if (kind, day) in self._unreadable:
            return None
        try:
            with reading(Layout(self._data).snapshot(kind, day)):
                return read(SnapshotFiles.published(self._data, kind, day))
        except UnreadableError as error:
            self._unreadable.add((kind, day))
            reason = " ".join(str(error).split())[:_REASON_LENGTH]
            self.warnings.append(events.SNAPSHOT_LEFT_OUT(kind=kind, crawl_date=day, reason=reason))
            return None


def _carried_before(oldest: date, files: SnapshotFiles) -> set[str]:
    is_old: Any = pc.field("carried_from") < pa.scalar(oldest, pa.date32())
    found: set[str] = set()
    for rows in files.batches(_SOURCES):
        found.update(map(str, pc.unique(rows.filter(is_old)["seller_id"]).to_pylist()))
    return found


def _page_sums(column: str, files: SnapshotFiles) -> pa.Table:
    """The `total` of a column for each `seller_id` and `page_num`."""
    schema = columns_of(VIDEO_SCHEMA, *_SUMS.names[:2], column)
    batches = (rows.rename_columns(_SUMS.names) for rows in files.batches(schema, size=_SUMMED_ROWS))
    parts = [added(rows.cast(_SUMS, safe=False), *_SUMS.names[:2]) for rows in batches]
    return added(pa.concat_tables([_SUMS.empty_table(), *parts]), *_SUMS.names[:2])


def _add_pages(values: dict[str, array[float]], read: pa.Table, sums: pa.Table) -> None:
    """Add the sellers of `read`, each with as many pages as were read of it."""
    ids, counts = read["seller_id"].to_pylist(), read["pages"].to_pylist()
    for seller_id, count in zip(map(str, ids), counts, strict=True):
        values[seller_id] = array("d", bytes(8 * (count or 0)))
    rows = sums.filter(pc.is_in(sums["seller_id"], value_set=column_of(read, "seller_id")))
    for seller_id, page_num, total in zip(*(rows[name].to_pylist() for name in _SUMS.names), strict=True):
        pages = values[seller_id]
        if page_num is None or not 1 <= page_num <= MAX_PAGE_NUM:
            continue
        if page_num > len(pages):
            pages.frombytes(bytes(8 * (page_num - len(pages))))
        pages[page_num - 1] = total or 0.0
