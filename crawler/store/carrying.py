"""Carry-forward: rows of earlier snapshots that stand for pages which were not read again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.errors import InputError
from crawler.models import PAGE_SIZE, Match, Page, PageRows, SellerStatus
from crawler.store.failpoints import reached
from crawler.store.files import fsync_folder, fsync_tree, told_as_output_error
from crawler.store.journal import Journal
from crawler.store.schema import NO_REGION, SEGMENT_SCHEMA, SORTING, VIDEO_SCHEMA

COUNTS = (
    "total_views_cnt",
    "total_digg_cnt",
    "total_comments_cnt",
    "total_shares_cnt",
    "total_video_sale_cnt",
    "total_video_sale_gmv_amt",
)
_PARTITION = "crawl_date="
_BATCH = 65_536
_RANGE_SELLERS = 16_384
_UNREADABLE = (pa.ArrowException, OSError, LookupError, ValueError)


@dataclass(frozen=True, slots=True)
class CarryRule:
    """When a seller is carried: from snapshots of at most `max_age` days ago.

    Of those that could be, the share `audit` is crawled in full all the same.
    """

    crawl_date: date
    max_age: int
    audit: float

    def audits(self, seller_id: str) -> bool:
        """Whether a seller is crawled in full though it could be carried: always the same answer."""
        return _digest(f"{self.crawl_date} {seller_id}") < self.audit * 2.0**64


class Former:
    """What the snapshots before a crawl date say of first pages: a seller's newest one that has pages of it.

    The snapshots' files are pinned beside the journal, so that what was decided by them can be published
    from them, whatever becomes of the snapshots. One that cannot be read is left out, and told in
    `warnings`. Raises `OutputError` where it cannot be pinned.
    """

    def __init__(
        self,
        journal: Journal,
        data: Path,
        rule: CarryRule,
        sorting: str,
        read_rows: Callable[[str, bytes], PageRows],
    ) -> None:
        self._rule = rule
        self._read_rows = read_rows
        self._known: dict[str, tuple[int, int, date]] = {}
        self.warnings: list[str] = []
        seen: pa.Array[Any] = pa.array([], pa.string())
        for age in range(1, rule.max_age + 1):
            day = rule.crawl_date - timedelta(days=age)
            try:
                folder = _pinned(journal, data, day)
                if folder is not None:
                    seen = self._learn(folder, day, seen, sorting)
            except _UNREADABLE as error:
                reason = " ".join(str(error).split())[:200]
                self.warnings.append(f"nothing is carried from {day}: its snapshot cannot be read: {reason}")

    def match(self, page: Page) -> Match | None:
        """Compare a seller's first page with its last snapshot; None where they differ, or it has none."""
        known = self._known.get(page.seller_id)
        if known is None:
            return None
        digest, videos, source = known
        rows = self._read_rows(page.seller_id, page.body)
        columns = {name: pa.array(rows.values[name], VIDEO_SCHEMA.field(name).type) for name in COMPARED}
        seller = pa.array([page.seller_id] * len(rows.places), pa.string())
        told = first_page_digests(pa.table({"seller_id": seller, **columns}))
        if told.get(page.seller_id) != digest:
            return None
        return Match(source, videos, not self._rule.audits(page.seller_id))

    def _learn(self, folder: Path, day: date, seen: pa.Array[Any], sorting: str) -> pa.Array[Any]:
        """Learn the sellers of one snapshot that no newer one has; returns all that are settled now."""
        sellers = _read_sellers(folder)
        read = sellers.filter(pc.field("pages") > 0)
        new = read.filter(pc.invert(pc.is_in(read["seller_id"], value_set=seen)))
        complete = pc.field("status") == SellerStatus.COMPLETE.value
        deep = new.filter(complete & (pc.field("videos") > PAGE_SIZE))
        if len(deep) and _sorting(folder) == sorting:
            self._add(folder, day, deep)
        return pa.concat_arrays([seen, new["seller_id"].combine_chunks()])

    def _add(self, folder: Path, day: date, sellers: pa.Table) -> None:
        oldest = self._rule.crawl_date - timedelta(days=self._rule.max_age)
        known: dict[str, tuple[int, int, date]] = {}
        for of_range in _ranges(sellers):
            firsts, counted = _first_pages(folder, day, of_range["seller_id"].combine_chunks(), oldest)
            told = (of_range[name].to_pylist() for name in ("seller_id", "videos"))
            videos = dict(zip(*told, strict=True))
            for seller_id, digest in first_page_digests(firsts).items():
                # Fewer rows than its seller is said to have: too old in part, or no whole snapshot.
                if counted.get(seller_id) == videos[seller_id]:
                    known[seller_id] = (digest, videos[seller_id], day)
        self._known |= known


COMPARED = ("video_id", *COUNTS)
"""What a first page is known again by."""


class Carried:
    """The rows that a journal's sellers take from earlier snapshots, or are compared with.

    Raises `InputError` where a pinned file is missing or damaged.
    """

    def __init__(self, journal: Journal) -> None:
        self._pins = pins_folder(journal.path)

    def has(self, day: date) -> bool:
        """Whether a snapshot is pinned."""
        return (self._pins / f"{_PARTITION}{day.isoformat()}").is_dir()

    def rows(self, sellers: dict[date, list[str]]) -> pa.Table:
        """Rows of sellers, by the snapshot that they are in; each with the date it was crawled for."""
        return pa.concat_tables([SEGMENT_SCHEMA.empty_table(), *self.pieces(sellers)])

    def pieces(self, sellers: dict[date, list[str]]) -> Iterator[pa.Table]:
        """The same some rows at a time."""
        for day, ids in sellers.items():
            folder = self._pins / f"{_PARTITION}{day.isoformat()}"
            try:
                yield from _rows_of(folder, day, ids)
            except _UNREADABLE as error:
                raise _lost(folder, error) from None


@dataclass(slots=True)
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

    def compare(self, sellers: int, crawled: pa.Table, former: pa.Table) -> None:
        """Add the rows of so many sellers, as crawled and as carrying would have had them."""
        key, whole = ("seller_id", "video_id"), ("seller_id", *COMPARED)
        was_there = pc.is_in(_joined(crawled, key), value_set=_joined(former, key))
        same = pc.is_in(_joined(crawled, whole), value_set=_joined(former, whole))
        is_there = pc.is_in(_joined(former, key), value_set=_joined(crawled, key))
        changed = crawled.filter(pc.and_not(was_there, same))["seller_id"]
        missed = crawled.filter(pc.invert(was_there))["seller_id"]
        gone = former.filter(pc.invert(is_there))["seller_id"]
        self.audited += sellers
        self.changed, self.missed = self.changed + len(changed), self.missed + len(missed)
        self.gone += len(gone)
        self.wrong += len(
            pc.unique(pa.chunked_array([*changed.chunks, *missed.chunks, *gone.chunks], pa.string()))
        )


def require_pins(journal: Journal) -> None:
    """Raise `InputError` where a snapshot is missing or damaged that rows are carried from."""
    for day in journal.carried_from():
        folder = pins_folder(journal.path) / f"{_PARTITION}{day.isoformat()}"
        try:
            read = [pq.read_metadata(path) for path in _files(folder, "videos")]
        except _UNREADABLE as error:
            raise _lost(folder, error) from None
        if not read:
            raise _lost(folder, "it holds no file")


def pins_stand(journal: Journal) -> bool:
    """Whether every snapshot that rows are carried from is still there."""
    with suppress(InputError):
        require_pins(journal)
        return True
    return False


def _lost(folder: Path, reason: object) -> InputError:
    return InputError(
        f"{folder} is missing or damaged ({reason}): restore it, or pay for the crawl date again with --fresh"
    )


def pins_folder(journal: Path) -> Path:
    """Where the snapshots that a journal may carry rows from are pinned."""
    return journal.with_suffix(".carried")


def _pinned(journal: Journal, data: Path, day: date) -> Path | None:
    """A snapshot's files as they were when the journal first asked; None where there is none."""
    partition = f"{_PARTITION}{day.isoformat()}"
    folder = pins_folder(journal.path) / partition
    if folder.is_dir():
        return folder
    live = [data / kind / partition for kind in ("videos", "sellers")]
    if not all(path.is_dir() for path in live):
        return None
    half = folder.with_name(f".{partition}")
    with told_as_output_error(str(folder)):
        shutil.rmtree(half, ignore_errors=True)
        for path in live:
            shutil.copytree(path, half / path.parent.name, copy_function=_link)
        fsync_tree(half)
        reached("pins.built")
        half.rename(folder)
        fsync_folder(folder.parent)
        fsync_folder(folder.parent.parent)
    return folder


def _link(source: str, target: str) -> None:
    """The same file under a second name, where the file system can; else a copy."""
    with suppress(OSError):
        os.link(source, target)
        return
    shutil.copy2(source, target)


def _files(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / kind).rglob("*.parquet"))


def _read_sellers(folder: Path) -> pa.Table:
    names = ["seller_id", "status", "pages", "videos"]
    return pa.concat_tables(pq.ParquetFile(path).read(names) for path in _files(folder, "sellers"))


def _sorting(folder: Path) -> str:
    told = {
        (pq.read_metadata(path).metadata or {}).get(SORTING.encode(), b"")
        for path in _files(folder, "sellers")
    }
    return told.pop().decode() if len(told) == 1 else ""


def _ranges(sellers: pa.Table) -> Iterator[pa.Table]:
    """Sellers in their order, so many at a time that their first pages fit in memory many times over."""
    ordered = sellers.sort_by("seller_id")
    return (ordered.slice(start, _RANGE_SELLERS) for start in range(0, len(ordered), _RANGE_SELLERS))


def _first_pages(
    folder: Path, day: date, sellers: pa.Array[Any], oldest: date
) -> tuple[pa.Table, dict[str, int]]:
    """First pages' rows in their order, and how many rows each seller has that may still be carried."""
    parts, counted = [], dict[str, int]()
    for rows in _batches(folder, sellers):
        age = pc.coalesce(rows["carried_from"], pa.scalar(day, pa.date32()))
        is_young: Any = pc.greater_equal(age, pa.scalar(oldest, pa.date32()))
        young = pc.value_counts(rows.filter(is_young)["seller_id"])
        for seller_id, count in zip(young.field(0).to_pylist(), young.field(1).to_pylist(), strict=True):
            counted[str(seller_id)] = counted.get(str(seller_id), 0) + (count or 0)
        parts.append(rows.filter(pc.field("page_num") == 1))
    firsts = pa.concat_tables(parts) if parts else SEGMENT_SCHEMA.empty_table()
    return firsts.sort_by([("seller_id", "ascending"), ("position", "ascending")]), counted


def _batches(folder: Path, sellers: pa.Array[Any]) -> Iterator[pa.Table]:
    """The rows of sellers in order: files are sorted by seller, so that little else of them is read."""
    import pyarrow.dataset as ds  # noqa: PLC0415 - heavy, and most runs carry nothing

    names = ["seller_id", *COMPARED, "page_num", "position", "carried_from"]
    inside = (ds.field("seller_id") >= sellers[0]) & (ds.field("seller_id") <= sellers[-1])
    for path in _files(folder, "videos"):
        source = ds.dataset(str(path), format="parquet")
        for batch in source.to_batches(columns=names, filter=inside, batch_size=_BATCH):
            rows = pa.Table.from_batches([batch])
            wanted: Any = pc.is_in(rows["seller_id"], value_set=sellers)
            yield rows.filter(wanted)


def first_page_digests(rows: pa.Table) -> dict[str, int]:
    """A digest of each seller's videos and counts, from rows that lie together by seller, in their order."""
    if not len(rows):
        return {}
    counted = pc.value_counts(rows["seller_id"])
    ends = accumulate((count or 0 for count in counted.field(1).to_pylist()), initial=0)
    lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), _joined(rows, COMPARED).combine_chunks())
    texts: Any = pc.binary_join(lists, "\n")
    told = zip(map(str, counted.field(0).to_pylist()), map(str, texts.to_pylist()), strict=True)
    return {seller_id: _digest(text) for seller_id, text in told}


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _joined(rows: pa.Table, names: Iterable[str]) -> pa.ChunkedArray[Any]:
    """Each row's values of some columns, as one text."""
    texts: list[Any] = [rows[name].cast(pa.string()) for name in names]
    join: Any = pc.binary_join_element_wise
    joined: pa.ChunkedArray[Any] = join(*texts, "\x1f", null_handling="replace")
    return joined


def _rows_of(folder: Path, day: date, sellers: list[str]) -> Iterator[pa.Table]:
    """Rows of sellers in a pinned snapshot, as a segment would have them."""
    seller_id = pc.field("seller_id")
    inside = (seller_id >= min(sellers)) & (seller_id <= max(sellers))
    inside &= seller_id.isin(pa.array(sellers, pa.string()))
    for path in _files(folder, "videos"):
        yield from _rows_of_file(path, day, inside)


def _rows_of_file(path: Path, day: date, inside: pc.Expression) -> Iterator[pa.Table]:
    import pyarrow.dataset as ds  # noqa: PLC0415 - heavy, and most runs carry nothing

    source = ds.dataset(str(path), schema=VIDEO_SCHEMA, format="parquet")
    for batch in source.to_batches(filter=inside, batch_readahead=1, use_threads=False):
        rows = pa.Table.from_batches([batch], VIDEO_SCHEMA)
        crawled_for: Any = pc.coalesce(rows["carried_from"], pa.scalar(day, pa.date32()))
        place = VIDEO_SCHEMA.get_field_index("carried_from")
        rows = rows.set_column(place, VIDEO_SCHEMA.field(place), crawled_for)
        region = path.parent.name if path.parent.name.startswith("region=") else NO_REGION
        added: tuple[tuple[str, Any], ...] = (("folder", region), ("seq", 0))
        for name, value in added:
            field = SEGMENT_SCHEMA.field(name)
            rows = rows.append_column(field, pa.repeat(pa.scalar(value, field.type), len(rows)))
        yield rows
