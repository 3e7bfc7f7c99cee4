"""What is removed when it is of no more use: run folders, and journals of finished crawl dates."""

from __future__ import annotations

import shutil
import time
from collections.abc import Container
from datetime import timedelta
from pathlib import Path

from crawler.store.layout import JournalFiles, Layout, journals_below, left_by_journals


def prune(data: Path, keep_days: int, unfinished: Container[str]) -> None:
    """Remove run folders and finished journals older than `keep_days`; what cannot be removed stays.

    The ledger and the snapshots stay for ever, and so do journals of unfinished crawl dates.
    """
    oldest = time.time() - timedelta(days=keep_days).total_seconds()
    for run in Layout(data).runs.glob("*"):
        if run.is_dir() and run.stat().st_mtime < oldest:
            shutil.rmtree(run, ignore_errors=True)
    folder = Layout(data).journals
    for journal in journals_below(folder):
        if JournalFiles(journal).crawl_date not in unfinished and journal.stat().st_mtime < oldest:
            for path in JournalFiles(journal).databases():
                path.unlink(missing_ok=True)
    # After the journals: one that had lost its segments could not be published, nor known to be incomplete.
    for beside in left_by_journals(folder):
        shutil.rmtree(beside, ignore_errors=True)
