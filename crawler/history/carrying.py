"""Which sellers are carried: their first page is as in an earlier snapshot, so the rest is not read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.first_pages import digest_of, first_page_digests, page_digest, read_first_pages
from crawler.history.pins import NoDigestsError, Pin, pinned
from crawler.history.reader import SnapshotFiles, UnreadableError, columns_of, reading
from crawler.models.api import PAGE_SIZE
from crawler.models.page import Match, Page, PageRows
from crawler.models.seller import SellerStatus
from crawler.store.journal import Journal
from crawler.store.layout import SELLERS, VIDEOS, Layout
from crawler.store.schema import SELLER_SCHEMA

_SELLER_COLUMNS = columns_of(SELLER_SCHEMA, "seller_id", "status", "pages", "videos")
_RANGE_SELLERS = 16_384
_COST = (
    "sellers with rows in it are not carried but crawled in full; restore it from a copy, or wait: the next "
    "night carries from tonight's snapshot"
)


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
        return digest_of(f"{self.crawl_date} {seller_id}") < self.audit * 2.0**64


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
        self._known: dict[str, _FirstPage] = {}
        self.warnings: list[str] = []
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
                self.warnings.append(
                    f"nothing is carried from {day}, its snapshot cannot be read ({reason}): {_COST}"
                )
        if unverifiable:
            self.warnings.append(
                f"nothing is carried from {', '.join(unverifiable)}: no digests of these files are kept "
                f"under {Layout(data).state} (they come from an earlier version, or from a copy without it), "
                "so that damage could not be noticed; the next snapshot has digests"
            )

    def match(self, page: Page) -> Match | None:
        """Compare a seller's first page with its last snapshot; None where they differ, or it has none."""
        known = self._known.get(page.seller_id)
        if known is None:
            return None
        if page_digest(page.seller_id, self._read_rows(page.seller_id, page.body)) != known.digest:
            return None
        return Match(known.day, known.videos, not self._rule.audits(page.seller_id))

    def _learn(self, pin: Pin, seen: pa.Array[Any], sorting: str) -> pa.Array[Any]:
        """Learn the sellers of one snapshot that no newer one has; returns all that are known now."""
        good, damages = pin.check(SELLERS)
        if damages:
            raise UnreadableError("; ".join(damages))
        files = SnapshotFiles(tuple(good))
        sellers = files.table(_SELLER_COLUMNS)
        read = sellers.filter(pc.field("pages") > 0)
        new = read.filter(pc.invert(pc.is_in(read["seller_id"], value_set=seen)))
        complete = pc.field("status") == SellerStatus.COMPLETE.value
        deep = new.filter(complete & (pc.field("videos") > PAGE_SIZE))
        if len(deep) and files.sorting == sorting:
            self._add(pin, deep)
        return pa.concat_arrays([seen, new["seller_id"].combine_chunks()])

    def _add(self, pin: Pin, sellers: pa.Table) -> None:
        oldest = self._rule.crawl_date - timedelta(days=self._rule.max_age)
        known: dict[str, _FirstPage] = {}
        good, damages = pin.check(VIDEOS)
        files = SnapshotFiles(tuple(good))
        self.warnings += [f"{damage}: {_COST}" for damage in damages]
        for of_range in _ranges(sellers):
            firsts, counted = read_first_pages(files, pin.day, of_range["seller_id"].combine_chunks(), oldest)
            columns = (of_range[name].to_pylist() for name in ("seller_id", "videos"))
            videos = dict(zip(*columns, strict=True))
            for seller_id, digest in first_page_digests(firsts).items():
                # Fewer rows than its seller is said to have: too old in part, in a damaged file, or missing.
                if counted.get(seller_id) == videos[seller_id]:
                    known[seller_id] = _FirstPage(digest, videos[seller_id], pin.day)
        self._known |= known


def _ranges(sellers: pa.Table) -> Iterator[pa.Table]:
    """Sellers in their order, so many at a time that their first pages fit in memory many times over."""
    ordered = sellers.sort_by("seller_id")
    return (ordered.slice(start, _RANGE_SELLERS) for start in range(0, len(ordered), _RANGE_SELLERS))
