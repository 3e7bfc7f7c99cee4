"""What earlier snapshots know: how many pages each seller had, and what each page was worth."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.history.first_pages import COMPARED, first_page_digests
from crawler.history.pins import UNREADABLE
from crawler.models.api import MAX_PAGE_NUM, PAGE_SIZE, SORT_COLUMNS, SortField
from crawler.models.seller import SellerStatus, StopReason
from crawler.store.layout import SELLERS, VIDEOS, Layout, parquet_files
from crawler.store.schema import SELLER_SCHEMA, SORTING, VIDEO_SCHEMA

DEPTH = 7
"""Snapshots that are looked at: a week, so that a budget of some nights still adds up to all sellers."""

_NAMES = ("seller_id", "status", "stop_reason", "pages", "videos", "credits")
_COLUMNS = pa.schema([SELLER_SCHEMA.field(name) for name in _NAMES])
_OTHER_CREDITS = "other_credits"
_SUM_FIELDS: list[pa.Field[Any]] = [
    pa.field("seller_id", pa.string()),
    pa.field("page_num", pa.int32()),
    pa.field("total", pa.float64()),
]
_SUMS = pa.schema(_SUM_FIELDS)
_FIRST = pa.schema([VIDEO_SCHEMA.field(name) for name in ("seller_id", *COMPARED, "page_num", "position")])
_SOURCES = pa.schema([VIDEO_SCHEMA.field(name) for name in ("seller_id", "carried_from")])
_ROWS = 131_072
_BATCH = 65_536
_MOST = 10**9
_DEEP = 10.0
_COMPLETE = pc.field("status") == SellerStatus.COMPLETE.value
_FAILED = pc.field("status") == SellerStatus.FAILED.value
_READ = pc.field("pages") > 0
_ENDED: Any = pc.field("stop_reason").isin(
    [reason.value for reason in StopReason if reason is not StopReason.REPEATED_PAGE]
)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Pair:
    """Sellers complete in two snapshots `days` apart: how many, and their videos before and after.

    `squares` sums the squares of each seller's videos before, `scatter` those of its distance, in videos,
    from the growth of all. `deep` had ten full pages or more, and `shrunk` of these have fewer now.
    """

    days: int
    sellers: int
    before: int
    after: int
    squares: float
    scatter: float
    deep: int = 0
    shrunk: int = 0


@dataclass(frozen=True, slots=True)
class LastSeen:
    """What is known of some sellers, each list in their order, None where it is not.

    `videos` and `ages`: of the newest snapshot that has the seller complete, and how many days old it
    is. Else `cut`: pages read of a seller that was cut off, and had more. Else `refused`: credits spent
    on a seller that failed without a page.
    """

    videos: Sequence[int | None]
    ages: Sequence[int | None]
    cut: Sequence[int | None]
    refused: Sequence[int | None]


class History:
    """The snapshots published for crawl dates before one; `warnings` tells what could not be read.

    Nothing is raised for files that are missing, damaged or foreign: their snapshot is left out.
    """

    def __init__(self, data: Path, before: date) -> None:
        self._data = data
        self._before = before
        self.dates = sorted(_dates(data, before), reverse=True)
        self.warnings: list[str] = []
        self._sellers: dict[date, pa.Table | None] = {}
        self._sortings: dict[date, str] = {}
        self._without_pages: set[date] = set()

    def sellers(self, most: int = DEPTH) -> list[tuple[date, pa.Table]]:
        """The newest `most` snapshots that can be read, newest first.

        Each with a table of `seller_id`, `status`, `stop_reason`, `pages`, `videos` and `credits`.
        """
        found: list[tuple[date, pa.Table]] = []
        for day in self.dates:
            if len(found) == most:
                break
            table = self._table(day)
            if table is not None:
                found.append((day, table))
        return found

    def ids(self) -> pa.Array[Any]:
        """Every seller of which the snapshots know something, once."""
        chunks = [_column(table, "seller_id") for _, table in self.sellers()]
        return pc.unique(pa.concat_arrays(chunks)) if chunks else pa.array([], pa.string())

    def last_seen(self, ids: pa.Array[Any]) -> LastSeen:
        """What is known of the sellers of an Arrow string array."""
        empty: pa.Array[Any] = pa.nulls(len(ids), pa.int64())
        videos, ages, cut, refused = empty, empty, empty, empty
        for day, table in self.sellers():
            complete = table.filter(_COMPLETE)
            age = pa.repeat(pa.scalar((self._before - day).days, pa.int64()), len(complete))
            ages = pc.coalesce(ages, _aligned(ids, complete, age))
            videos = pc.coalesce(videos, _aligned(ids, complete, _column(complete, "videos")))
            cut_off = table.filter(~_COMPLETE & _READ)
            cut = pc.coalesce(cut, _aligned(ids, cut_off, _column(cut_off, "pages")))
            failed = table.filter(_FAILED & ~_READ)
            refused = pc.coalesce(refused, _aligned(ids, failed, _column(failed, "credits")))
        cut = pc.if_else(pc.is_null(videos), cut, None)
        refused = pc.if_else(pc.is_null(pc.coalesce(videos, cut)), refused, None)
        return LastSeen(videos.to_pylist(), ages.to_pylist(), cut.to_pylist(), refused.to_pylist())

    def sorting(self, day: date) -> str:
        """What a snapshot's pages were sorted by, and which way; empty where that is not told."""
        return self._sortings.get(day, "")

    def pairs(self, left_out: Mapping[date, pa.Array[Any]] | None = None) -> list[Pair]:
        """How the sellers grew between each snapshot and the one before it, newest first.

        `left_out`: only its snapshots count, without those sellers of each.
        """
        complete = [(day, table.filter(_COMPLETE)) for day, table in self.sellers()]
        compared = (
            _pair(_without(newer, (left_out or {}).get(day)), older, (day - earlier).days)
            for (day, newer), (earlier, older) in pairwise(complete)
            if left_out is None or day in left_out
        )
        return [pair for pair in compared if pair is not None]

    def first_pages(self, day: date) -> dict[str, int]:
        """A digest of each seller's first page in a snapshot; none where it cannot be read."""
        is_first: Any = pc.field("page_num") == 1
        rows = self._videos(day, _FIRST, is_first)
        try:
            return first_page_digests(rows.sort_by([("seller_id", "ascending"), ("position", "ascending")]))
        except UNREADABLE as error:
            self._without_pages.add(day)
            self._warn(VIDEOS, day, error)
            return {}

    def older_than(self, day: date, oldest: date) -> set[str]:
        """The sellers of a snapshot with rows that were crawled for a date before the `oldest`."""
        is_old: Any = pc.field("carried_from") < pa.scalar(oldest, pa.date32())
        rows = self._videos(day, _SOURCES, is_old)
        return set(map(str, pc.unique(rows["seller_id"]).to_pylist()))

    def costs_per_page(self) -> list[float]:
        """Credits for each page received, by snapshot: more than 1 where requests were repeated."""
        sums = []
        for _, table in self.sellers():
            read = table.filter(_READ)
            pages = pc.sum(read["pages"]).as_py() or 0
            if pages:
                sums.append((pc.sum(read["credits"]).as_py() or 0) / pages)
        return sums

    def videos(self, ids: pa.Array[Any]) -> pa.Array[Any]:
        """How many videos each seller of an Arrow string array had when it was last read; null: never."""
        videos: pa.Array[Any] = pa.nulls(len(ids), pa.int64())
        for day in self._openable():
            if not videos.null_count:
                break
            try:
                older = videos
                # Each part is looked for in the whole list: a long one takes fewer and larger ones.
                for table in self._parts(day, max(_BATCH, len(ids) // 16)):
                    read = table.filter(_READ)
                    older = pc.coalesce(older, _aligned(ids, read, _column(read, "videos")))
                videos = older
            except UNREADABLE as error:
                self._warn(SELLERS, day, error)
        pa.default_memory_pool().release_unused()
        return videos

    def depths(self, least_pages: int) -> dict[str, int]:
        """How many full pages each seller had in its newest snapshot, of those with at least so many.

        Sellers whose list ended in a page that came again are left out: past its end an API may repeat it.
        """
        depths: dict[str, int] = {}
        # The oldest first, a part at a time: a week of snapshots weighs far more than its deep sellers.
        for day in reversed(self._openable()):
            try:
                newer = self._depths_of(day, least_pages, depths)
            except UNREADABLE as error:
                self._warn(SELLERS, day, error)
            else:
                depths |= newer
        pa.default_memory_pool().release_unused()
        return {seller_id: depth for seller_id, depth in depths.items() if depth}

    def _openable(self) -> list[date]:
        """The newest `DEPTH` snapshots whose files can be opened."""
        found: list[date] = []
        for day in self.dates:
            try:
                files = self._files(SELLERS, day)
                rows = sum(_naming(path, partial(pq.read_metadata, path)).num_rows for path in files)
            except UNREADABLE as error:
                self._warn(SELLERS, day, error)
            else:
                found += [day] if rows else []
            if len(found) == DEPTH:
                break
        return found

    def _depths_of(self, day: date, least_pages: int, known: Mapping[str, int]) -> dict[str, int]:
        """Depths in one snapshot of sellers that are deep there, and 0 of known ones that no longer are."""
        depths: dict[str, int] = {}
        deep: Any = (pc.field("videos") >= least_pages * PAGE_SIZE) & _ENDED
        formerly = pa.array(known, pa.string())
        for table in self._parts(day, _BATCH):
            read = table.filter(_READ)
            fallen = read.filter(pc.is_in(read["seller_id"], value_set=formerly))["seller_id"]
            depths |= dict.fromkeys(map(str, fallen.to_pylist()), 0)
            found = read.filter(deep)
            told = zip(*(found[name].to_pylist() for name in ("seller_id", "videos")), strict=True)
            depths |= {str(seller_id): (videos or 0) // PAGE_SIZE for seller_id, videos in told}
        return depths

    def _parts(self, day: date, least: int) -> Iterator[pa.Table]:
        """A snapshot's sellers, at least so many at a time."""
        waiting: list[pa.RecordBatch] = []
        for batch in self._batches(SELLERS, day, _BATCH, list(_NAMES)):
            waiting.append(batch)
            if sum(map(len, waiting)) >= least:
                yield _sellers(waiting)
                waiting = []
        if waiting:
            yield _sellers(waiting)

    def page_values(self, sort: SortField) -> dict[str, array[float]]:
        """What each page was worth, by what the API sorts by: the first page's sum first.

        From the newest snapshot that has a page of the seller; a page without rows is worth 0.
        """
        values: dict[str, array[float]] = {}
        seen: pa.Array[Any] = pa.array([], pa.string())
        for day, table in self.sellers():
            read = table.filter(_READ)
            read = read.filter(pc.invert(pc.is_in(read["seller_id"], value_set=seen)))
            sums = self._page_sums(day, SORT_COLUMNS[sort]) if len(read) else None
            if sums is not None:
                _add_pages(values, read, sums)
                seen = pa.concat_arrays([seen, _column(read, "seller_id")])
        return values

    def _table(self, day: date) -> pa.Table | None:
        if day not in self._sellers:
            self._sellers[day] = self._read(day)
        return self._sellers[day]

    def _read(self, day: date) -> pa.Table | None:
        try:
            paths = self._files(SELLERS, day)
            files = [_naming(path, partial(_with_columns, path, _NAMES)) for path in paths]
            read = (
                _naming(p, partial(f.read, [*_NAMES, _OTHER_CREDITS]))
                for p, f in zip(paths, files, strict=True)
            )
            parts = [_of_published_crawls(table) for table in read]
            told = {(file.metadata.metadata or {}).get(SORTING.encode(), b"") for file in files}
            self._sortings[day] = told.pop().decode() if len(told) == 1 else ""
            return _plausible(pa.concat_tables(parts))
        except UNREADABLE as error:
            self._warn(SELLERS, day, error)
            return None

    def _page_sums(self, day: date, column: str) -> pa.Table | None:
        """One row for each seller and page of a snapshot; None where it cannot be read."""
        if day in self._without_pages:
            return None
        parts = [_SUMS.empty_table()]
        try:
            for batch in self._batches(VIDEOS, day, _ROWS, [*_SUMS.names[:2], column]):
                named = pa.Table.from_batches([batch]).select([*_SUMS.names[:2], column])
                parts.append(_summed(named.rename_columns(_SUMS.names).cast(_SUMS, safe=False)))
        except UNREADABLE as error:
            self._without_pages.add(day)
            self._warn(VIDEOS, day, error)
            return None
        return _summed(pa.concat_tables(parts))

    def _videos(self, day: date, schema: pa.Schema, wanted: pc.Expression) -> pa.Table:
        """Some columns of a snapshot's rows that are wanted; none where they cannot be read."""
        parts = [schema.empty_table()]
        if day in self._without_pages:
            return parts[0]
        try:
            batches = self._batches(VIDEOS, day, _ROWS, schema.names)
            parts += [pa.Table.from_batches([b]).filter(wanted).select(schema.names) for b in batches]
            return pa.concat_tables(part.cast(schema) for part in parts)
        except UNREADABLE as error:
            self._without_pages.add(day)
            self._warn(VIDEOS, day, error)
            return schema.empty_table()

    def _batches(self, kind: str, day: date, size: int, names: list[str]) -> Iterator[pa.RecordBatch]:
        """Some columns of a snapshot. Raises `OSError`, which names the file, where one cannot be read."""
        for path in self._files(kind, day):
            batches = _naming(path, partial(_opened, path, size, names))
            while (batch := _naming(path, partial(next, batches, None))) is not None:
                yield batch

    def _files(self, kind: str, day: date) -> list[Path]:
        found = parquet_files(Layout(self._data).snapshot(kind, day))
        paths = [path for path in found if not path.name.startswith((".", "_"))]
        for path in paths:
            # To open a pipe would wait for ever.
            if not path.is_file():
                raise OSError(f"{path} is missing or is no file")
        return paths

    def _warn(self, kind: str, day: date, error: Exception) -> None:
        reason = " ".join(str(error).split())[:400]
        warning = f"{kind} of {day} cannot be read, so that snapshot is left out: {reason}"
        if warning not in self.warnings:
            self.warnings.append(warning)


def _opened(path: Path, size: int, names: list[str]) -> Iterator[pa.RecordBatch]:
    return iter(_with_columns(path, names).iter_batches(size, columns=names))


def _with_columns(path: Path, names: Iterable[str]) -> pq.ParquetFile:
    """A file that has some columns. Raises `LookupError` where it lacks one."""
    file = pq.ParquetFile(path)
    missing = set(names) - set(file.schema_arrow.names)
    if missing:
        raise LookupError(f"it has no column {', '.join(sorted(missing))}")
    return file


def _naming(path: Path, read: Callable[[], _T]) -> _T:
    """What `read` returns. Raises `OSError`, which names the file, where it cannot be read."""
    try:
        return read()
    except UNREADABLE as error:
        raise OSError(f"{path}: {error}") from None


def _dates(data: Path, before: date) -> Iterator[date]:
    dates = Layout(data).dates(SELLERS)
    return (day for day, folder in dates if day < before and parquet_files(folder))


def _sellers(batches: list[pa.RecordBatch]) -> pa.Table:
    return _plausible(pa.Table.from_batches(batches).select(_NAMES).cast(_COLUMNS))


def _of_published_crawls(read: pa.Table) -> pa.Table:
    """Sellers with the credits of the crawl whose rows are published; older snapshots know of no other."""
    table = read.select(_NAMES).cast(_COLUMNS)
    if _OTHER_CREDITS not in read.column_names:
        return table
    other: Any = pc.coalesce(read[_OTHER_CREDITS].cast(pa.int64()), pa.scalar(0, pa.int64()))
    own: Any = pc.subtract(table["credits"], other)
    return table.set_column(_NAMES.index("credits"), _COLUMNS.field("credits"), own)


def _column(table: pa.Table, name: str) -> pa.Array[Any]:
    return table[name].combine_chunks()


def _plausible(table: pa.Table) -> pa.Table:
    """The rows whose figures can be: nothing below is to be led to absurd sums, or out of memory."""
    kept: Any = pc.field("seller_id").is_valid()
    for name, most in (("pages", MAX_PAGE_NUM), ("videos", MAX_PAGE_NUM * PAGE_SIZE), ("credits", _MOST)):
        kept &= (pc.field(name) >= 0) & (pc.field(name) <= most)
    return table.filter(kept)


def _aligned(ids: pa.Array[Any], table: pa.Table, values: pa.Array[Any]) -> pa.Array[Any]:
    """Each ID's value in a table; null where it is not in it."""
    return values.take(pc.index_in(ids, value_set=_column(table, "seller_id")))


def _without(table: pa.Table, sellers: pa.Array[Any] | None) -> pa.Table:
    if sellers is None or not len(sellers):
        return table
    return table.filter(pc.invert(pc.is_in(table["seller_id"], value_set=sellers)))


def _pair(newer: pa.Table, older: pa.Table, days: int) -> Pair | None:
    """Compare two snapshots' complete sellers; None where they share no videos."""
    before = _aligned(_column(newer, "seller_id"), older, _column(older, "videos"))
    common = pc.is_valid(before)
    old = before.filter(common).cast(pa.float64())
    new = _column(newer, "videos").filter(common).cast(pa.float64())
    total, grown = pc.sum(old).as_py() or 0, pc.sum(new).as_py() or 0
    if not total:
        return None
    off: Any = pc.subtract(new, pc.multiply(old, grown / total))
    squares, scatter = (pc.sum(pc.multiply(values, values)).as_py() for values in (old, off))
    pages: Any = [pc.floor(pc.divide(values, PAGE_SIZE)) for values in (old, new)]
    is_deep: Any = pc.greater_equal(pages[0], pa.scalar(_DEEP))
    shrunk = pc.sum(pc.and_(is_deep, pc.less(pages[1], pages[0]))).as_py() or 0
    deep = pc.sum(is_deep).as_py() or 0
    return Pair(days, len(old), int(total), int(grown), squares, scatter, deep, shrunk)


def _summed(rows: pa.Table) -> pa.Table:
    return rows.group_by(_SUMS.names[:2]).aggregate([("total", "sum")]).rename_columns(_SUMS.names)


def _add_pages(values: dict[str, array[float]], read: pa.Table, sums: pa.Table) -> None:
    """Add the sellers of `read`, each with as many pages as were read of it."""
    ids, counts = read["seller_id"].to_pylist(), read["pages"].to_pylist()
    for seller_id, count in zip(map(str, ids), counts, strict=True):
        values[seller_id] = array("d", bytes(8 * (count or 0)))
    wanted = pc.is_in(sums["seller_id"], value_set=_column(read, "seller_id"))
    rows = sums.filter(wanted)
    for seller_id, page_num, total in zip(*(rows[name].to_pylist() for name in _SUMS.names), strict=True):
        pages = values[seller_id]
        if page_num is None or not 1 <= page_num <= MAX_PAGE_NUM:
            continue
        if page_num > len(pages):
            pages.frombytes(bytes(8 * (page_num - len(pages))))
        pages[page_num - 1] = total or 0.0
