"""What publishing a snapshot does to the changes of other dates, and published changes that are made anew."""

from __future__ import annotations

from datetime import date, timedelta

from crawler.history.changes import Comparison, compare
from crawler.history.outdated import NewSnapshot, mark_later, require_intact
from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.models.errors import OutputError
from crawler.store.files import output_errors, remove
from crawler.store.layout import CHANGES, SELLERS, VIDEOS, StagedFolder, parquet_file
from crawler.store.months import file_of_archived
from crawler.store.rewriting import Rewriting
from crawler.store.snapshot import SnapshotPlan


def mark_outdated(rewriting: Rewriting, plan: SnapshotPlan, staged: StagedFolder) -> None:
    """Mark the dates whose changes may be others once the staged snapshot is published.

    Raises `OutputError`.
    """
    sellers = SnapshotFiles.published(staged.folder, SELLERS, plan.crawl_date)
    try:
        mark_later(rewriting, NewSnapshot(plan.crawl_date, plan.run_id, sellers, plan.window))
    except UnreadableError as error:
        raise OutputError(f"what was just written cannot be read: {error}") from error


def remake_changes(rewriting: Rewriting, day: date, window: timedelta, lag: timedelta) -> Comparison:
    """Make the changes of a published snapshot anew, and the sums of its sellers.

    Raises `UnreadableError` where its files are damaged or not of one run, `OutputError` where those cannot
    be written.
    """
    data, staged = rewriting.data, rewriting.staged
    videos, sellers = (SnapshotFiles.published(data, kind, day) for kind in (VIDEOS, SELLERS))
    if not videos.paths and (month := file_of_archived(data, day)) is not None:
        raise UnreadableError(f"its rows are in {month}: changes are made of nights in videos/ alone")
    runs = sellers.runs
    if len(runs) != 1 or not videos.runs <= runs:
        raise UnreadableError(
            "its videos/ and sellers/ are of different runs, one of which was killed; the next run of that "
            "date publishes both together, with their changes"
        )
    require_intact(data, day, sellers)
    (run_id,) = runs
    with output_errors(f"the changes of {day} under {data}"):
        remove(staged.folder)
        files = [parquet_file(staged.snapshot(kind, day), run_id) for kind in (CHANGES, SELLERS)]
        for file in files:
            file.parent.mkdir(parents=True)
        found = compare(data, day, videos, sellers, files[0], files[1], run_id, window, lag)
    rewriting.put_in_place(day)
    return found
