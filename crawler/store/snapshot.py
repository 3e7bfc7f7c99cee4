"""A date's snapshot as files: its rows, and a row for each seller; open it to change these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.models.api import COUNT_COLUMNS, PAGE_SIZE
from crawler.models.seller import SellerStatus, StopReason
from crawler.store.journal import Journal
from crawler.store.layout import SNAPSHOT_KINDS, StagedFolder, parquet_file
from crawler.store.parts import Audit, CarriedRows, PartRows, deduplicated, rows_by_seller
from crawler.store.records import Base, SellerSummary
from crawler.store.region_files import RegionFiles
from crawler.store.row_groups import ROW_GROUP
from crawler.store.schema import SELLER_SCHEMA, SORTING
from crawler.store.video_file import VideoFile

NOBODY: pa.Array[Any] = pa.array([], pa.string())


@dataclass(slots=True)
class RowCounts:
    """Rows that the snapshot was built from: `received` + `carried` = `duplicate` + `rejected` + `written`.

    `carried` come from earlier snapshots, of `carried_sellers`, which saved `saved` credits. `certain` are
    worth more than anything that may be missing. `damages` of earlier snapshots cost their part of the audit,
    `raw_damages` answers that were to be kept.
    Of sellers that a base stands for, `oldest` is the age of the oldest pages in days, None where there are
    none, and `drift` what their videos are expected to have gained unseen. `stale` counts those of which
    pages were to be read again by now, by `max_age`, and were not.
    `changes` counts the rows of `changes/` by kind; `warnings` say what they are not compared with.
    `verdict` says whether they can be believed, and `reasons` why not; `fields` as `Reviewed` has them.
    """

    received: int = 0
    duplicate: int = 0
    rejected: int = 0
    written: int = 0
    carried: int = 0
    certain: int = 0
    carried_sellers: int = 0
    saved: int = 0
    oldest: int | None = None
    drift: float = 0.0
    stale: int = 0
    audit: Audit = field(default_factory=Audit)
    damages: list[str] = field(default_factory=list)
    raw_damages: list[str] = field(default_factory=list)
    changes: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    verdict: str | None = None
    reasons: list[str] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A verdict on a staged snapshot, and a sentence for each reason; `is_held`: it must not be published.

    `to_recheck` has the sellers whose answers made it implausible, `shown_by` what of their rows does.
    Its first ones, as many as `hits`, show it each by itself; 0: it is not known which do.
    `fields` names those of the API that the schema does not know or no row has, and counts misfits.
    `stale` counts the sellers of which pages were to be read again by now, by `max_age`, and were not.
    `changes` counts the rows of `changes/` by kind.
    """

    verdict: str | None = None
    reasons: list[str] = field(default_factory=list)
    is_held: bool = False
    to_recheck: list[pa.Array[Any]] = field(default_factory=list)
    hits: int = 0
    shown_by: Sequence[str] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


Review = Callable[[Journal, "SnapshotPlan", StagedFolder, RowCounts], Reviewed]
"""Compares a staged snapshot with earlier ones, and judges it.

Writes its `changes/`, and its `sellers/` anew with sums and the verdict.
"""


class HeldBackError(Exception):
    """A snapshot that was not published, since it was found implausible."""

    def __init__(self, counts: RowCounts, reviewed: Reviewed) -> None:
        super().__init__(*counts.reasons)
        self.counts = counts
        self.reviewed = reviewed


@dataclass(frozen=True, slots=True)
class SnapshotPlan:
    """What to build and where.

    `pending` holds listed sellers that the journal does not know, `stop_reason` says why. `certain` is
    the column and the value above which no video is missing. `window` is how far back a video's last
    observation may lie, `data_lag` how old the API's data may be. `review` says whether it may be published.
    A row that is received after `late_from` is late. Pages are stale that were not read for
    `max_age` days. `has_region_folders`: each region gets a folder.
    """

    data: Path
    run_id: str
    crawl_date: date
    pending: pa.Array[Any]
    stop_reason: StopReason | None
    certain: tuple[str, float] | None = None
    window: timedelta = timedelta(days=90)
    data_lag: timedelta = timedelta(hours=48)
    review: Review = lambda _journal, _plan, _staged, _counts: Reviewed()
    late_from: datetime | None = None
    max_age: int = 365
    has_region_folders: bool = False


def build_files(
    journal: Journal, plan: SnapshotPlan, staged: StagedFolder, carried_rows: CarriedRows
) -> RowCounts:
    """Write the snapshot's files; returns the counts of their rows, but for those rejected and duplicate.

    Memory holds one part of the rows, and what waits to become row groups.
    """
    counts = RowCounts(damages=carried_rows.damages)
    videos, sellers = (staged.snapshot(kind, plan.crawl_date) for kind in SNAPSHOT_KINDS)
    with (
        _video_files(plan, videos, staged.aside) as files,
        pq.ParquetWriter(parquet_file(sellers, plan.run_id), SELLER_SCHEMA, compression="zstd") as writer,
    ):
        writer.add_key_value_metadata({SORTING: f"{journal.meta('sort')} {journal.meta('order')}"})
        for of_part, pieces in deduplicated(journal, staged.merged, carried_rows):
            part = _Part(of_part, plan.crawl_date)
            for rows in pieces:
                files.add(rows)
                part.add(rows)
                counts.certain += _count_above(rows, plan.certain)
            part.count(counts, carried_rows)
            _count_freshness(counts, part, plan)
            writer.write_table(_seller_table(part, plan.stop_reason))
        for start in range(0, len(plan.pending), ROW_GROUP):
            writer.write_table(_pending_table(plan.pending.slice(start, ROW_GROUP), plan.stop_reason))
    return counts


def _video_files(plan: SnapshotPlan, folder: Path, aside: Path) -> VideoFile | RegionFiles:
    if plan.has_region_folders:
        return RegionFiles(folder, plan.run_id, aside)
    return VideoFile(folder, plan.run_id, plan.crawl_date, plan.late_from)


class _Part:
    """Some sellers, and what their rows say of them: how many each has, and how many were carried.

    `freshness` has what `_freshness` says of each. `audited` might have been carried but were crawled in
    full; of them `crawled` holds what is compared.
    """

    def __init__(self, sellers: list[SellerSummary], crawl_date: date) -> None:
        self.sellers = sellers
        self.freshness = [_freshness(seller.base, crawl_date) for seller in sellers]
        complete = (s for s in sellers if s.status is SellerStatus.COMPLETE and s.matched)
        self.audited = [s for s in complete if not (s.is_carried or s.is_published)]
        self.videos = Counter[str]()
        self.carried = Counter[str]()
        self.crawled: list[pa.Table] = []

    def add(self, kept: PartRows) -> None:
        rows = kept.columns(["seller_id", "carried_from"])
        self.videos.update(rows_by_seller(rows))
        self.carried.update(rows_by_seller(rows.filter(pc.is_valid(rows["carried_from"]))))
        if self.audited:
            ids = pa.array([seller.seller_id for seller in self.audited], pa.string())
            inside: Any = pc.is_in(rows["seller_id"], value_set=ids)
            self.crawled.append(kept.columns(["seller_id", "video_id", *COUNT_COLUMNS]).filter(inside))

    def count(self, counts: RowCounts, carried_rows: CarriedRows) -> None:
        carried = [seller for seller in self.sellers if seller.is_carried]
        counts.received += sum(seller.rows for seller in self.sellers)
        counts.written += self.videos.total()
        counts.carried += self.carried.total()
        counts.carried_sellers += len(carried)
        counts.saved += sum(max(0, s.matched_videos // PAGE_SIZE + 1 - s.pages) for s in carried)
        if self.crawled:
            counts.audit += carried_rows.audit(self.audited, pa.concat_tables(self.crawled))


def _count_above(kept: PartRows, certain: tuple[str, float] | None) -> int:
    if certain is None:
        return 0
    column, above = certain
    higher: Any = pc.greater(kept.columns([column])[column], pa.scalar(above))
    return pc.sum(higher).as_py() or 0


def _seller_table(part: _Part, reason: StopReason | None) -> pa.Table:
    rows = [
        (
            *(s.seller_id, *_ended_as(s, reason), s.pages, part.videos[s.seller_id], s.credits),
            s.error if s.attempt is None else s.attempt.error,
            *(s.first_crawled_at, s.last_crawled_at, s.run_id),
            *(part.carried[s.seller_id], s.overlap, s.drift),
            None if s.attempt is None else s.status,
            s.other_credits,
            *freshness,
        )
        for s, freshness in zip(part.sellers, part.freshness, strict=True)
    ]
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SELLER_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SELLER_SCHEMA)


def _count_freshness(counts: RowCounts, part: _Part, plan: SnapshotPlan) -> None:
    for seller, (age, drift, _) in zip(part.sellers, part.freshness, strict=True):
        if age is not None:
            counts.oldest = max(age, counts.oldest or 0)
        counts.drift += drift or 0.0
        counts.stale += _is_stale(seller, plan)


def _freshness(base: Base | None, crawl_date: date) -> tuple[int | None, float | None, str | None]:
    """The age of a seller's rows, their expected drift, and when its stretches were read; see `SELLERS`."""
    if base is None:
        return None, None, None
    ages = (0 if day is None else (crawl_date - day).days for day in base.last_read)
    drift = sum(rate * age for rate, age in zip(base.rates, ages, strict=False))
    age = None if base.oldest is None else (crawl_date - base.oldest).days
    return age, drift, orjson.dumps(base.last_read).decode()


def _is_stale(seller: SellerSummary, plan: SnapshotPlan) -> bool:
    """Whether pages of a seller that did not fail should have been read."""
    if seller.base is None or seller.attempt is not None:
        return False
    before = seller.base.oldest
    return before is not None and before <= plan.crawl_date - timedelta(plan.max_age)


def _ended_as(seller: SellerSummary, reason: StopReason | None) -> tuple[SellerStatus, StopReason | None]:
    """Status and stop reason of the crawl last tried, which need not be the one whose rows are published."""
    if seller.attempt is None:
        return seller.status, seller.stop_reason or reason
    has_failed = seller.attempt.status is SellerStatus.FAILED
    return SellerStatus.FAILED if has_failed else SellerStatus.PARTIAL, seller.attempt.stop_reason or reason


def _pending_table(sellers: pa.Array[Any], reason: StopReason | None) -> pa.Table:
    """Sellers that the journal does not know: every count is 0, and what else a seller has is null."""
    known = {
        "seller_id": sellers,
        "status": pa.repeat(pa.scalar(SellerStatus.PENDING.value), len(sellers)),
        "stop_reason": pa.repeat(pa.scalar(reason, pa.string()), len(sellers)),
        "age": pa.nulls(len(sellers), pa.int64()),
    }
    zeros = pa.repeat(pa.scalar(0, pa.int64()), len(sellers))
    arrays = [
        known.get(field.name, zeros if field.type == zeros.type else pa.nulls(len(sellers), field.type))
        for field in SELLER_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=SELLER_SCHEMA)
