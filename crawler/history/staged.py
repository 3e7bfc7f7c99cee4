"""The comparison as publishing asks for it: open it to change what is done before a snapshot is seen."""

from __future__ import annotations

from crawler.history.changes import compare
from crawler.history.outdated import NewSnapshot, mark_later
from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.models.errors import OutputError
from crawler.store.layout import CHANGES, SELLERS, VIDEOS, StagedFolder, parquet_file
from crawler.store.publishing import Compared
from crawler.store.rewriting import Rewriting
from crawler.store.snapshot import SnapshotPlan


def compare_staged(plan: SnapshotPlan, staged: StagedFolder) -> Compared:
    """Compare a snapshot before it is published: writes its changes, and its sellers anew with their sums.

    Raises `OutputError` where what was staged cannot be read.
    """
    day = plan.crawl_date
    changes, sellers = (parquet_file(staged.snapshot(kind, day), plan.run_id) for kind in (CHANGES, SELLERS))
    unsummed = staged.aside / sellers.name
    sellers.rename(unsummed)
    videos = SnapshotFiles.published(staged.folder, VIDEOS, day)
    try:
        found = compare(
            *(plan.data, day, videos, SnapshotFiles((unsummed,)), changes, sellers, plan.run_id),
            *(plan.window, plan.data_lag),
        )
    except UnreadableError as error:
        raise OutputError(f"what was just written cannot be read: {error}") from error
    return Compared(found.counts, found.warnings)


def mark_outdated(rewriting: Rewriting, plan: SnapshotPlan, staged: StagedFolder) -> None:
    """Mark the dates whose changes may be others once the staged snapshot is published.

    Raises `OutputError`.
    """
    sellers = SnapshotFiles.published(staged.folder, SELLERS, plan.crawl_date)
    try:
        mark_later(rewriting, NewSnapshot(plan.crawl_date, plan.run_id, sellers, plan.window))
    except UnreadableError as error:
        raise OutputError(f"what was just written cannot be read: {error}") from error
