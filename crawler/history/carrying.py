"""Which sellers are carried: their first page is as in an earlier snapshot, so the rest is not read again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crawler import events
from crawler.api.rows import read_rows
from crawler.history.figures import DEEP, READ
from crawler.history.pins import NoDigestsError, Pin, pinned
from crawler.history.reader import SnapshotFiles, UnreadableError, columns_of, reading
from crawler.models.api import COUNT_COLUMNS
from crawler.models.page import KnownFirstPage, Match, Page
from crawler.store.journal import Journal
from crawler.store.layout import SELLERS, VIDEOS, Layout
from crawler.store.parts import rows_by_seller
from crawler.store.schema import SELLER_SCHEMA, VIDEO_SCHEMA

COMPARED = ("video_id", *COUNT_COLUMNS)
"""What a first page is known again by."""

FIRST_PAGE_SCHEMA = columns_of(VIDEO_SCHEMA, "seller_id", *COMPARED, "page_num", "position")
"""The columns that it is found and compared by."""

_ROWS_SCHEMA = pa.schema([*FIRST_PAGE_SCHEMA, VIDEO_SCHEMA.field("carried_from")])
_SELLER_COLUMNS = columns_of(SELLER_SCHEMA, "seller_id", "status", "pages", "videos")
_RANGE_SELLERS = 16_384


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
        return _digest_of(f"{self.crawl_date} {seller_id}") < self.audit * 2.0**64


class _FirstPage(NamedTuple):
    """The digest of a seller's first page in the snapshot of a day, and how many videos it has there."""

    digest: int
    videos: int
    day: date


class CarryMatcher:
    """What the snapshots before a crawl date say of first pages: a seller's newest one that has pages of it.

    The snapshots' files are pinned beside the journal, so that what was decided by them can be published
    from them, whatever becomes of the snapshots. Each file is verified before it is read: `warnings` says
    what is damaged, and nothing is carried from it. Raises `OutputError` where it cannot be pinned.
    """

    def __init__(self, journal: Journal, data: Path, rule: CarryRule, sorting: str) -> None:
        self._rule = rule
        self._known: dict[str, _FirstPage] = {}
        self.warnings: list[events.Sentence] = []
        unverifiable: list[str] = []
        seen: pa.Array[Any] = pa.array([], pa.string())
        for age in range(1, rule.max_age + 1):
            day = rule.crawl_date - timedelta(days=age)
            try:
                pin = pinned(journal, data, day)
                if pin is not None:
                    with reading(pin.folder):
                        seen = self._learn(pin, seen, sorting)
            except NoDigestsError:
                unverifiable.append(day.isoformat())
            except UnreadableError as error:
                reason = " ".join(str(error).split())[:400]
                self.warnings.append(events.CARRY_UNREADABLE(crawl_date=day, reason=reason))
        if unverifiable:
            state = Layout(data).state
            self.warnings.append(events.CARRY_UNVERIFIABLE(crawl_dates=unverifiable, folder=state))

    def known_first_page(self, seller_id: str) -> KnownFirstPage | None:
        """What a seller's last snapshot has of its first page; None where it has nothing to carry."""
        known = self._known.get(seller_id)
        if known is None:
            return None
        match = Match(known.day, known.videos, not self._rule.audits(seller_id))
        return KnownFirstPage(known.digest, match)

    def _learn(self, pin: Pin, seen: pa.Array[Any], sorting: str) -> pa.Array[Any]:
        """Learn the sellers of one snapshot that no newer one has; returns all that are known now."""
        good, damages = pin.check(SELLERS)
        if damages:
            raise UnreadableError("; ".join(damages))
        files = SnapshotFiles(tuple(good))
        sellers = files.table(_SELLER_COLUMNS)
        read = sellers.filter(READ)
        new = read.filter(pc.invert(pc.is_in(read["seller_id"], value_set=seen)))
        deep = new.filter(DEEP)
        if len(deep) and files.sorting == sorting:
            self._add(pin, deep)
        return pa.concat_arrays([seen, new["seller_id"].combine_chunks()])

    def _add(self, pin: Pin, sellers: pa.Table) -> None:
        oldest = self._rule.crawl_date - timedelta(days=self._rule.max_age)
        good, damages = pin.check(VIDEOS)
        self.warnings += [events.CARRY_DAMAGED(damage=damage) for damage in damages]
        ordered = sellers.sort_by("seller_id")
        for start in range(0, len(ordered), _RANGE_SELLERS):
            of_range = ordered.slice(start, _RANGE_SELLERS)
            ids = of_range["seller_id"].combine_chunks()
            counted = Counter[str]()
            rows = SnapshotFiles(tuple(good)).rows_of(ids, _ROWS_SCHEMA, use_threads=True)
            digests = first_pages(_counting(rows, pin.day, oldest, counted))
            videos = dict(zip(ids.to_pylist(), of_range["videos"].to_pylist(), strict=True))
            for seller_id, digest in digests.items():
                # Fewer rows than its seller is said to have: too old in part, in a damaged file, or missing.
                if counted[seller_id] == videos[seller_id]:
                    self._known[seller_id] = _FirstPage(digest, counted[seller_id], pin.day)


def _counting(
    parts: Iterable[pa.Table], day: date, oldest: date, counted: Counter[str]
) -> Iterator[pa.Table]:
    """Rows as they come; `counted` learns how many each seller has that may still be carried."""
    for rows in parts:
        crawled_for = pc.coalesce(rows["carried_from"], pa.scalar(day, pa.date32()))
        is_young: Any = pc.greater_equal(crawled_for, pa.scalar(oldest, pa.date32()))
        counted.update(rows_by_seller(rows.filter(is_young)))
        yield rows.select(FIRST_PAGE_SCHEMA.names)


def digest_of(page: Page) -> int | None:
    """The digest of a seller's first page as it was received; None where it has no rows."""
    return page_digest(page.seller_id, page.body)


def page_digest(seller_id: str, body: bytes) -> int | None:
    """See `digest_of`."""
    rows = read_rows(seller_id, body)
    columns = {name: pa.array(rows.values[name], VIDEO_SCHEMA.field(name).type) for name in COMPARED}
    seller = pa.array([seller_id] * len(rows.places), pa.string())
    return first_page_digests(pa.table({"seller_id": seller, **columns})).get(seller_id)


def first_pages(parts: Iterable[pa.Table]) -> dict[str, int]:
    """The digest of each seller's first page, from rows with `FIRST_PAGE_SCHEMA` in any order."""
    is_first: Any = pc.field("page_num") == 1
    rows = pa.concat_tables([FIRST_PAGE_SCHEMA.empty_table(), *(part.filter(is_first) for part in parts)])
    return first_page_digests(rows.sort_by([("seller_id", "ascending"), ("position", "ascending")]))


def first_page_digests(rows: pa.Table) -> dict[str, int]:
    """A digest of each seller's videos and counts, from rows that lie together by seller, in their order."""
    if not len(rows):
        return {}
    counted = rows_by_seller(rows)
    ends = pa.array(accumulate(counted.values(), initial=0), pa.int32())
    texts: Any = pc.binary_join(pa.ListArray.from_arrays(ends, joined(rows, COMPARED).combine_chunks()), "\n")
    return {seller_id: _digest_of(text) for seller_id, text in zip(counted, texts.to_pylist(), strict=True)}


def _digest_of(text: str) -> int:
    """A number of 64 bits, equal in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def joined(rows: pa.Table, names: Iterable[str]) -> pa.ChunkedArray[Any]:
    """Each row's values of some columns, as one text."""
    texts: list[Any] = [rows[name].cast(pa.string()) for name in names]
    join: Any = pc.binary_join_element_wise
    as_text: pa.ChunkedArray[Any] = join(*texts, "\x1f", null_handling="replace")
    return as_text
