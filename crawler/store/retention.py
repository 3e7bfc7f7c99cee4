"""What is removed when it is of no more use: run folders, and journals of finished crawl dates."""

from __future__ import annotations

import shutil
import time
from collections.abc import Container
from datetime import timedelta
from pathlib import Path


def thin(data: Path, keep_days: int, unfinished: Container[str]) -> None:
    """Remove run folders and finished journals older than `keep_days`; what cannot be removed stays.

    The ledger and the snapshots stay for ever, and so do journals of unfinished crawl dates.
    """
    oldest = time.time() - timedelta(days=keep_days).total_seconds()
    for run in (data / "runs").glob("*"):
        if run.is_dir() and run.stat().st_mtime < oldest:
            shutil.rmtree(run, ignore_errors=True)
    folder = data / "state" / "journal"
    for journal in folder.glob("*.sqlite"):
        if journal.name.split(".")[0] not in unfinished and journal.stat().st_mtime < oldest:
            for path in folder.glob(f"{journal.name}*"):
                path.unlink(missing_ok=True)
    # After the journals: one that had lost its segments could not be published, nor known to be incomplete.
    for kind in ("segments", "carried"):
        for beside in folder.glob(f"*.{kind}"):
            if not beside.with_suffix(".sqlite").exists():
                shutil.rmtree(beside, ignore_errors=True)
