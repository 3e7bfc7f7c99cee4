"""Publishing: a date's snapshot is built beside the dataset from its journal alone, and exchanged whole."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import orjson

from crawler.models.errors import CarriedRowsLostError, OutputError
from crawler.store.digests import digests_of, forget_previous_digests, keep_digests
from crawler.store.failpoints import reached
from crawler.store.files import fsync, fsync_tree, output_errors, remove, remove_replaced, swap_in, withdraw
from crawler.store.journal import Journal
from crawler.store.layout import (
    CHANGES,
    PUBLISHED_KINDS,
    RAW,
    VIDEOS,
    Layout,
    RunFolder,
    StagedFolder,
    parquet_file,
)
from crawler.store.lock import exchange_lock
from crawler.store.parts import CarriedRows
from crawler.store.raw_pages import publish_pages, published_raw
from crawler.store.region_files import LISTING_SECONDS, announce_regions
from crawler.store.segment_file import damage_of, reject_files
from crawler.store.snapshot import HeldBackError, RowCounts, SnapshotPlan, build_files


def publish(
    journal: Journal,
    plan: SnapshotPlan,
    carried_rows: CarriedRows,
    wait: Callable[[float], None] = time.sleep,
    before_exchange: Callable[[SnapshotPlan, StagedFolder], None] = lambda _plan, _staged: None,
) -> RowCounts:
    """Build the date's snapshot and put it in place of the published one.

    The date's old `changes/` are taken away first; `videos/`, `sellers/`, the new `changes/` and `raw/`
    follow. Every page must be in a segment. `wait` lets so many seconds pass. `before_exchange` is called
    once the snapshot is sure to be published. Raises `OutputError`; the published snapshot is then whole and
    still there. That is a `CarriedRowsLostError` where rows can no longer be carried: see `CarriedRows.lost`.
    Raises `HeldBackError` where the plan's review holds it back.
    """
    reached("publish.begin")
    journal.guard()
    damage = damage_of(journal)
    if damage is not None:
        raise OutputError(f"{damage}: run the same command again, which asks again for what is lost")
    if carried_rows.lost:
        raise CarriedRowsLostError("; ".join(carried_rows.damages))
    staged = StagedFolder(plan.data, plan.run_id)
    with output_errors(f"the snapshot under {plan.data}"):
        counts = _stage(journal, plan, staged, carried_rows)
        keep_digests(plan.data, plan.crawl_date, plan.run_id, digests_of(staged.folder, plan.crawl_date))
        reached("publish.digests")
        before_exchange(plan, staged)
        _announce(plan, staged, wait)
        with exchange_lock(plan.data):
            _exchange(journal, plan, staged)
            forget_previous_digests(plan.data, plan.crawl_date, plan.run_id)
        remove_replaced(staged.folder, staged.snapshot(VIDEOS, plan.crawl_date), wait)
    journal.note(published_mark=journal.mark(), published_rows=orjson.dumps(asdict(counts)).decode())
    reached("publish.noted")
    return counts


def _stage(
    journal: Journal, plan: SnapshotPlan, staged: StagedFolder, carried_rows: CarriedRows
) -> RowCounts:
    """Build the snapshot in its folder, and make it durable there."""
    shutil.rmtree(staged.folder, ignore_errors=True)
    for folder in (*(staged.snapshot(kind, plan.crawl_date) for kind in PUBLISHED_KINDS), staged.aside):
        folder.mkdir(parents=True)
    counts = build_files(journal, plan, staged, carried_rows)
    # A file may have changed after it was verified, and before it was read.
    carried_rows.require_unchanged()
    counts.rejected = _copy_rejects(journal, RunFolder(plan.data, plan.run_id))
    counts.duplicate = counts.received + counts.carried - counts.rejected - counts.written
    reached("publish.built")
    reviewed = plan.review(journal, plan, staged, counts)
    counts.verdict, counts.reasons = reviewed.verdict, reviewed.reasons
    counts.fields = dict(reviewed.fields)
    reached("publish.judged")
    if reviewed.is_held:
        shutil.rmtree(staged.folder)
        raise HeldBackError(counts, reviewed)
    counts.changes, counts.warnings = dict(reviewed.changes), [*reviewed.warnings]
    raw = parquet_file(staged.snapshot(RAW, plan.crawl_date), plan.run_id)
    counts.raw_damages = publish_pages(journal, raw, published_raw(plan.data, plan.crawl_date))
    shutil.rmtree(staged.aside)
    reached("publish.staged")
    fsync_tree(staged.folder)
    reached("publish.synced")
    return counts


def _announce(plan: SnapshotPlan, staged: StagedFolder, wait: Callable[[float], None]) -> None:
    """Let readers of region folders find the regions that are new."""
    new, live = (Layout(root).snapshot(VIDEOS, plan.crawl_date) for root in (staged.folder, plan.data))
    if plan.has_region_folders and announce_regions(new, live, staged.announced):
        wait(LISTING_SECONDS)
    reached("publish.announced")


def _exchange(journal: Journal, plan: SnapshotPlan, staged: StagedFolder) -> None:
    """Exchange the staged folders for the published ones."""
    live = Layout(plan.data)
    journal.guard()
    withdraw(live.snapshot(CHANGES, plan.crawl_date), staged.withdrawn)
    reached("publish.withdrawn")
    for kind in PUBLISHED_KINDS:
        journal.guard()
        swap_in(staged.snapshot(kind, plan.crawl_date), live.snapshot(kind, plan.crawl_date))
        reached(f"publish.{kind}")
    raw, new_raw = live.snapshot(RAW, plan.crawl_date), staged.snapshot(RAW, plan.crawl_date)
    if new_raw.is_dir():
        swap_in(new_raw, raw)
    else:
        withdraw(raw, staged.withdrawn_raw)
    reached("publish.raw")
    fsync(plan.data)


def clean_staging(data: Path) -> None:
    """Remove what a killed run left half-built."""
    folder = Layout(data).staging
    with output_errors(str(folder)):
        remove(folder)


def _copy_rejects(journal: Journal, run: RunFolder) -> int:
    """Write the rejected rows of the published crawls beside the report; returns how many they are."""
    run.folder.mkdir(parents=True, exist_ok=True)
    count, has_renewed, is_shown = 0, journal.previous.has_renewed, journal.previous.is_shown
    for number, (segment, part) in enumerate(reject_files(journal)):
        with part.open("rb") as rejected, run.rejects.open("ab" if number else "wb") as kept:
            for line in rejected:
                if not has_renewed or is_shown(orjson.loads(line)["seller_id"], segment.last_seq):
                    kept.write(line)
                    count += 1
    fsync_tree(run.folder)
    return count
