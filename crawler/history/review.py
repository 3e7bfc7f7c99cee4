"""What is to be published, and its review before anybody sees it: it is compared, and judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import pyarrow as pa

from crawler.history.changes import compare
from crawler.history.judging import Judge
from crawler.history.measuring import Measuring
from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.models.errors import OutputError
from crawler.models.seller import StopReason
from crawler.options import Settings
from crawler.store.journal import Journal
from crawler.store.layout import CHANGES, SELLERS, VIDEOS, StagedFolder, has_region_folders, parquet_file
from crawler.store.snapshot import Reviewed, RowCounts, SnapshotPlan


def plan_of(
    settings: Settings,
    run_id: str,
    crawl_date: date,
    pending: pa.Array[Any],
    reason: StopReason | None,
    late_from: datetime | None,
    *,
    certain: tuple[str, float] | None = None,
) -> SnapshotPlan:
    """What to build, compared and judged as the settings say; see `SnapshotPlan`."""
    window, lag = timedelta(days=settings.history.window), timedelta(hours=settings.history.data_lag)
    review = partial(review_staged, Judge(settings.plausibility))
    data, by_region = settings.run.data, has_region_folders(settings.run.data)
    return SnapshotPlan(
        *(data, run_id, crawl_date, pending, reason, certain, window, lag, review),
        late_from=late_from,
        max_age=settings.run.max_age,
        has_region_folders="region" in settings.output.partition_by if by_region is None else by_region,
    )


def review_staged(
    judge: Judge, journal: Journal, plan: SnapshotPlan, staged: StagedFolder, counts: RowCounts
) -> Reviewed:
    """Compare a snapshot with earlier ones and judge it, in one reading of them all.

    Writes its changes, and its sellers anew with their sums and the verdict. Raises `OutputError` where what
    was staged cannot be read.
    """
    day = plan.crawl_date
    changes, sellers = (parquet_file(staged.snapshot(kind, day), plan.run_id) for kind in (CHANGES, SELLERS))
    unsummed = staged.aside / sellers.name
    sellers.rename(unsummed)
    videos = SnapshotFiles.published(staged.folder, VIDEOS, day)
    verdicts: list[Reviewed] = []

    def judged(found: Measuring) -> Mapping[str, str]:
        verdict, metadata = judge.judged(journal, plan, videos, counts, found)
        verdicts.append(verdict)
        return metadata

    try:
        found = compare(
            *(plan.data, day, videos, SnapshotFiles((unsummed,)), changes, sellers, plan.run_id),
            *(plan.window, plan.data_lag, judged),
        )
    except UnreadableError as error:
        raise OutputError(f"what was just written cannot be read: {error}") from error
    return replace(verdicts[-1], changes=found.counts, warnings=found.warnings)
