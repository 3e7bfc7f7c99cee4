"""Carry-forward: rows of earlier snapshots that stand for pages which were not read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.history.first_pages import COMPARED, digest_of, first_page_digests
from crawler.history.pins import UNREADABLE, NoDigestsError, Pin, pinned
from crawler.models.api import PAGE_SIZE
from crawler.models.page import Match, Page
from crawler.models.rows import PageRows
from crawler.models.seller import SellerStatus
from crawler.store.journal import Journal
from crawler.store.layout import Layout
from crawler.store.schema import SEGMENT_SCHEMA, SORTING, VIDEO_SCHEMA

_BATCH = 65_536
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
        self._known: dict[str, tuple[int, int, date]] = {}
        self.warnings: list[str] = []
        unverifiable: list[str] = []
        seen: pa.Array[Any] = pa.array([], pa.string())
        for age in range(1, rule.max_age + 1):
            day = rule.crawl_date - timedelta(days=age)
            try:
                pin = pinned(journal, data, day)
                if pin is not None:
                    seen = self._learn(pin, seen, sorting)
            except NoDigestsError:
                unverifiable.append(day.isoformat())
            except UNREADABLE as error:
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
        digest, videos, source = known
        rows = self._read_rows(page.seller_id, page.body)
        columns = {name: pa.array(rows.values[name], VIDEO_SCHEMA.field(name).type) for name in COMPARED}
        seller = pa.array([page.seller_id] * len(rows.places), pa.string())
        told = first_page_digests(pa.table({"seller_id": seller, **columns}))
        if told.get(page.seller_id) != digest:
            return None
        return Match(source, videos, not self._rule.audits(page.seller_id))

    def _learn(self, pin: Pin, seen: pa.Array[Any], sorting: str) -> pa.Array[Any]:
        """Learn the sellers of one snapshot that no newer one has; returns all that are settled now."""
        paths, damages = pin.check("sellers")
        if damages:
            raise OSError("; ".join(damages))
        sellers = _read_sellers(paths)
        read = sellers.filter(pc.field("pages") > 0)
        new = read.filter(pc.invert(pc.is_in(read["seller_id"], value_set=seen)))
        complete = pc.field("status") == SellerStatus.COMPLETE.value
        deep = new.filter(complete & (pc.field("videos") > PAGE_SIZE))
        if len(deep) and _sorting(paths) == sorting:
            self._add(pin, deep)
        return pa.concat_arrays([seen, new["seller_id"].combine_chunks()])

    def _add(self, pin: Pin, sellers: pa.Table) -> None:
        oldest = self._rule.crawl_date - timedelta(days=self._rule.max_age)
        known: dict[str, tuple[int, int, date]] = {}
        paths, damages = pin.check("videos")
        self.warnings += [f"{damage}: {_COST}" for damage in damages]
        for of_range in _ranges(sellers):
            firsts, counted = _first_pages(paths, pin.day, of_range["seller_id"].combine_chunks(), oldest)
            told = (of_range[name].to_pylist() for name in ("seller_id", "videos"))
            videos = dict(zip(*told, strict=True))
            for seller_id, digest in first_page_digests(firsts).items():
                # Fewer rows than its seller is said to have: too old in part, in a damaged file, or missing.
                if counted.get(seller_id) == videos[seller_id]:
                    known[seller_id] = (digest, videos[seller_id], pin.day)
        self._known |= known


def _read_sellers(paths: list[Path]) -> pa.Table:
    names = ["seller_id", "status", "pages", "videos"]
    return pa.concat_tables(pq.ParquetFile(path).read(names) for path in paths)


def _sorting(paths: list[Path]) -> str:
    told = {(pq.read_metadata(path).metadata or {}).get(SORTING.encode(), b"") for path in paths}
    return told.pop().decode() if len(told) == 1 else ""


def _ranges(sellers: pa.Table) -> Iterator[pa.Table]:
    """Sellers in their order, so many at a time that their first pages fit in memory many times over."""
    ordered = sellers.sort_by("seller_id")
    return (ordered.slice(start, _RANGE_SELLERS) for start in range(0, len(ordered), _RANGE_SELLERS))


def _first_pages(
    paths: list[Path], day: date, sellers: pa.Array[Any], oldest: date
) -> tuple[pa.Table, dict[str, int]]:
    """First pages' rows in their order, and how many rows each seller has that may still be carried."""
    parts, counted = [], dict[str, int]()
    for rows in _batches(paths, sellers):
        age = pc.coalesce(rows["carried_from"], pa.scalar(day, pa.date32()))
        is_young: Any = pc.greater_equal(age, pa.scalar(oldest, pa.date32()))
        young = pc.value_counts(rows.filter(is_young)["seller_id"])
        for seller_id, count in zip(young.field(0).to_pylist(), young.field(1).to_pylist(), strict=True):
            counted[str(seller_id)] = counted.get(str(seller_id), 0) + (count or 0)
        parts.append(rows.filter(pc.field("page_num") == 1))
    firsts = pa.concat_tables(parts) if parts else SEGMENT_SCHEMA.empty_table()
    return firsts.sort_by([("seller_id", "ascending"), ("position", "ascending")]), counted


def _batches(paths: list[Path], sellers: pa.Array[Any]) -> Iterator[pa.Table]:
    """The rows of sellers in order: files are sorted by seller, so that little else of them is read."""
    import pyarrow.dataset as ds  # noqa: PLC0415 - heavy, and most runs carry nothing

    names = ["seller_id", *COMPARED, "page_num", "position", "carried_from"]
    inside = (ds.field("seller_id") >= sellers[0]) & (ds.field("seller_id") <= sellers[-1])
    for path in paths:
        source = ds.dataset(str(path), format="parquet")
        for batch in source.to_batches(columns=names, filter=inside, batch_size=_BATCH):
            rows = pa.Table.from_batches([batch])
            wanted: Any = pc.is_in(rows["seller_id"], value_set=sellers)
            yield rows.filter(wanted)
