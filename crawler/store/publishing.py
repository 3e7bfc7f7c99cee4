"""The snapshot of a crawl date: built beside the dataset from the journal alone, exchanged in whole."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.models.api import COUNT_COLUMNS, PAGE_SIZE
from crawler.models.errors import CarriedRowsLostError, OutputError
from crawler.models.seller import SellerStatus, StopReason
from crawler.store.digests import digests_of, forget_former_digests, keep_digests
from crawler.store.failpoints import reached
from crawler.store.files import fsync, fsync_tree, output_errors, remove, swap_in
from crawler.store.journal import Journal
from crawler.store.layout import (
    SELLERS,
    SNAPSHOT_KINDS,
    VIDEOS,
    Layout,
    RunFolder,
    StagedFolder,
    parquet_file,
    parquet_files,
)
from crawler.store.parts import Audit, CarriedRows, PartRows, deduplicated, rows_by_seller
from crawler.store.records import Segment, SellerSummary
from crawler.store.region_files import ROW_GROUP, RegionFiles
from crawler.store.schema import SELLER_SCHEMA, SORTING, VIDEO_SCHEMA
from crawler.store.segment_file import damage_of, reject_files

NOBODY: pa.Array[Any] = pa.array([], pa.string())
_LISTING_SECONDS = 0.5
"""Seconds between a reader's listing of the regions and that of their files, at most."""


@dataclass(slots=True)
class RowCounts:
    """Rows that the snapshot was built from: `received` + `carried` = `duplicate` + `rejected` + `written`.

    `carried` come from earlier snapshots, of `carried_sellers`, which saved `saved` credits. `certain` are
    worth more than anything that may be missing. `damages` of earlier snapshots cost their part of the audit.
    """

    received: int = 0
    duplicate: int = 0
    rejected: int = 0
    written: int = 0
    carried: int = 0
    certain: int = 0
    carried_sellers: int = 0
    saved: int = 0
    audit: Audit = field(default_factory=Audit)
    damages: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SnapshotPlan:
    """What to build and where.

    `pending` holds listed sellers that the journal does not know, `stop_reason` says why. `certain` is
    the column and the value above which no video is missing.
    """

    data: Path
    run_id: str
    crawl_date: date
    pending: pa.Array[Any]
    stop_reason: StopReason | None
    certain: tuple[str, float] | None = None


def publish(
    journal: Journal,
    plan: SnapshotPlan,
    carried_rows: CarriedRows,
    wait: Callable[[float], None] = time.sleep,
) -> RowCounts:
    """Build the date's snapshot and put it in place of the former one: `videos/` first, then `sellers/`.

    Every page must be in a segment. `wait` lets so many seconds pass. Raises `OutputError`; the former
    snapshot is then whole and still there. That is a `CarriedRowsLostError` where rows can no longer be
    carried: see `CarriedRows.lost`.
    """
    reached("publish.begin")
    journal.guard()
    damaged = damage_of(journal)
    if damaged is not None:
        raise OutputError(f"{damaged}: run the same command again, which asks again for what is lost")
    if carried_rows.lost:
        raise CarriedRowsLostError("; ".join(carried_rows.damages))
    staged = StagedFolder(plan.data, plan.run_id)
    live = Layout(plan.data)
    with output_errors(f"the snapshot under {plan.data}"):
        videos, sellers = (staged.snapshot(kind, plan.crawl_date) for kind in SNAPSHOT_KINDS)
        shutil.rmtree(staged.folder, ignore_errors=True)
        for folder in (videos, sellers, staged.aside):
            folder.mkdir(parents=True)
        counts = _build(journal, plan, videos, sellers, staged, carried_rows)
        # A file may have changed after it was verified, and before it was read.
        carried_rows.require_unchanged()
        _collect_rejects(journal, RunFolder(plan.data, plan.run_id))
        shutil.rmtree(staged.aside)
        reached("publish.staged")
        fsync_tree(staged.folder)
        reached("publish.synced")
        keep_digests(plan.data, plan.crawl_date, plan.run_id, digests_of(staged.folder, plan.crawl_date))
        reached("publish.digests")
        announced = _announce_regions(videos, live.snapshot(VIDEOS, plan.crawl_date), staged.announced)
        reached("publish.announced")
        if announced:
            wait(_LISTING_SECONDS)
        journal.guard()
        swap_in(videos, live.snapshot(VIDEOS, plan.crawl_date))
        reached("publish.videos")
        journal.guard()
        swap_in(sellers, live.snapshot(SELLERS, plan.crawl_date))
        reached("publish.sellers")
        fsync(plan.data)
        forget_former_digests(plan.data, plan.crawl_date, plan.run_id)
        shutil.rmtree(staged.folder)
    journal.note(published_mark=journal.reader.mark(), published_rows=orjson.dumps(asdict(counts)).decode())
    reached("publish.noted")
    return counts


def clean_staging(data: Path) -> None:
    """Remove what a killed run left half-built."""
    folder = Layout(data).staging
    with output_errors(str(folder)):
        remove(folder)


def _announce_regions(staged: Path, live: Path, folder: Path) -> bool:
    """Give what is live an empty file in each region that only the staged snapshot has; False: none lacked.

    A reader that lists the regions before the exchange and their files after it would miss such a
    region. The files bear the former snapshot's name, and are made durable in `folder`.
    """
    own = next((path.stem for path in parquet_files(live)), None)
    lacking = [region.name for region in staged.iterdir() if not os.path.lexists(live / region.name)]
    if own is None or not lacking:
        return False
    for region in lacking:
        (folder / region).mkdir(parents=True)
        pq.write_table(VIDEO_SCHEMA.empty_table(), parquet_file(folder / region, own), compression="zstd")
    fsync_tree(folder)
    for region in lacking:
        (folder / region).rename(live / region)
    fsync(live)
    return True


def _build(
    journal: Journal,
    plan: SnapshotPlan,
    videos: Path,
    sellers: Path,
    staged: StagedFolder,
    carried_rows: CarriedRows,
) -> RowCounts:
    """Memory holds one part of the rows, and what waits to become row groups."""
    counts = RowCounts(rejected=_rejected(journal))
    counts.damages = carried_rows.damages
    with (
        RegionFiles(videos, plan.run_id, staged.aside) as regions,
        pq.ParquetWriter(parquet_file(sellers, plan.run_id), SELLER_SCHEMA, compression="zstd") as writer,
    ):
        writer.add_key_value_metadata({SORTING: f"{journal.meta('sort')} {journal.meta('order')}"})
        for of_range, pieces in deduplicated(journal, staged.merged, carried_rows):
            seen = _Seen.expecting(of_range)
            for rows in pieces:
                for folder, own in rows.by_folder():
                    regions.add(folder, own)
                seen.add(rows)
                counts.certain += _count_above(rows, plan.certain)
            _count(counts, of_range, seen, carried_rows)
            writer.write_table(_seller_table(of_range, seen, plan.stop_reason))
        for start in range(0, len(plan.pending), ROW_GROUP):
            writer.write_table(_pending_table(plan.pending.slice(start, ROW_GROUP), plan.stop_reason))
    counts.duplicate = counts.received + counts.carried - counts.rejected - counts.written
    return counts


@dataclass(slots=True)
class _Seen:
    """What the rows of a range say of its sellers: how many each has, and how many were carried.

    `audited` might have been carried but were crawled in full; of them `crawled` holds what is compared.
    """

    audited: list[SellerSummary]
    videos: Counter[str] = field(default_factory=Counter)
    carried: Counter[str] = field(default_factory=Counter)
    crawled: list[pa.Table] = field(default_factory=list)

    @classmethod
    def expecting(cls, sellers: Iterable[SellerSummary]) -> _Seen:
        complete = (s for s in sellers if s.status is SellerStatus.COMPLETE)
        crawled = (s for s in complete if not (s.is_carried or s.is_published))
        return cls([seller for seller in crawled if seller.matched])

    def add(self, kept: PartRows) -> None:
        rows = kept.columns(["seller_id", "carried_from"])
        self.videos.update(rows_by_seller(rows))
        self.carried.update(rows_by_seller(rows.filter(pc.is_valid(rows["carried_from"]))))
        if self.audited:
            ids = pa.array([seller.seller_id for seller in self.audited], pa.string())
            inside: Any = pc.is_in(rows["seller_id"], value_set=ids)
            self.crawled.append(kept.columns(["seller_id", "video_id", *COUNT_COLUMNS]).filter(inside))


def _count(counts: RowCounts, sellers: list[SellerSummary], seen: _Seen, carried_rows: CarriedRows) -> None:
    carried = [seller for seller in sellers if seller.is_carried]
    counts.received += sum(seller.rows for seller in sellers)
    counts.written += seen.videos.total()
    counts.carried += seen.carried.total()
    counts.carried_sellers += len(carried)
    counts.saved += sum(max(0, s.matched_videos // PAGE_SIZE + 1 - s.pages) for s in carried)
    if seen.crawled:
        counts.audit += carried_rows.audit(seen.audited, pa.concat_tables(seen.crawled))


def _count_above(kept: PartRows, certain: tuple[str, float] | None) -> int:
    if certain is None:
        return 0
    column, above = certain
    higher: Any = pc.greater(kept.columns([column])[column], pa.scalar(above))
    return pc.sum(higher).as_py() or 0


def _seller_table(sellers: list[SellerSummary], seen: _Seen, reason: StopReason | None) -> pa.Table:
    rows = [
        (
            *(s.seller_id, *_ended_as(s, reason), s.pages, seen.videos[s.seller_id], s.credits),
            *(s.error if s.attempt is None else s.attempt.error, *s[6:9]),
            *(seen.carried[s.seller_id], s.overlap, s.drift),
            *(None if s.attempt is None else s.status, s.other_credits),
        )
        for s in sellers
    ]
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SELLER_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SELLER_SCHEMA)


def _ended_as(seller: SellerSummary, reason: StopReason | None) -> tuple[SellerStatus, StopReason | None]:
    """Status and stop reason of the crawl last tried, which need not be the one whose rows are published."""
    if seller.attempt is None:
        return seller.status, seller.stop_reason or reason
    has_failed = seller.attempt.status is SellerStatus.FAILED
    return SellerStatus.FAILED if has_failed else SellerStatus.PARTIAL, seller.attempt.stop_reason or reason


def _pending_table(sellers: pa.Array[Any], reason: StopReason | None) -> pa.Table:
    known = {
        "seller_id": sellers,
        "status": pa.repeat(pa.scalar(SellerStatus.PENDING.value), len(sellers)),
        "stop_reason": pa.repeat(pa.scalar(reason, pa.string()), len(sellers)),
        **{
            name: pa.repeat(pa.scalar(0, pa.int64()), len(sellers))
            for name in ("pages", "videos", "credits", "carried", "overlap", "drift", "other_credits")
        },
    }
    arrays = [known.get(field.name, pa.nulls(len(sellers), field.type)) for field in SELLER_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SELLER_SCHEMA)


def _collect_rejects(journal: Journal, run: RunFolder) -> None:
    run.folder.mkdir(parents=True, exist_ok=True)
    has_renewed = journal.previous.has_renewed
    for number, (segment, part) in enumerate(reject_files(journal)):
        with part.open("rb") as rejected, run.rejects.open("ab" if number else "wb") as kept:
            if has_renewed:
                kept.writelines(_shown_rejects(journal, segment, rejected))
            else:
                shutil.copyfileobj(rejected, kept)
    fsync_tree(run.folder)


def _rejected(journal: Journal) -> int:
    """How many rows of the crawls that are published could not be kept."""
    if not journal.previous.has_renewed:
        return sum(segment.rejected for segment in journal.segments())
    count = 0
    for segment, part in reject_files(journal):
        with part.open("rb") as rejected:
            count += sum(1 for _ in _shown_rejects(journal, segment, rejected))
    return count


def _shown_rejects(journal: Journal, segment: Segment, lines: Iterable[bytes]) -> Iterator[bytes]:
    return (
        line for line in lines if journal.previous.is_shown(orjson.loads(line)["seller_id"], segment.last_seq)
    )
