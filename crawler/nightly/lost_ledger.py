"""What journals know of spent credits that a lost ledger does not: it is counted again."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import date
from pathlib import Path

from crawler.models.errors import CrawlerError
from crawler.nightly.night import Night, Notes
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles, Layout, journals_below
from crawler.store.ledger import Ledger


def recover(ledger: Ledger, journal: Journal, night: Night, run_id: str, now: str, notes: Notes) -> None:
    """Let a ledger that was lost know of all credits that the journals know were spent."""
    others = _recover_others(ledger, night.data, night.crawl_date, run_id)
    if others:
        notes.add(
            f"the ledger had lost {others} credits that the journals of other crawl dates know; "
            "they count again"
        )
    unknown = journal.reader.credits() - ledger.spent_by_runs(night.crawl_date)
    if unknown > 0:
        _count_again(ledger, f"{run_id}-recovered", night.crawl_date, now, unknown, exit_code=1)
        notes.add(
            f"the ledger had lost {unknown} credits that the journal knows were spent; they count again"
        )


def _recover_others(ledger: Ledger, data: Path, crawl_date: date, run_id: str) -> int:
    """Tell a ledger without any run of what the journals of other dates know; returns how many credits.

    They count for the day on which the journal's last page came. A journal that cannot be read is left out.
    """
    total = 0
    if ledger.runs():
        return total
    for path in sorted(journals_below(Layout(data).journals)):
        with suppress(ValueError, CrawlerError, sqlite3.Error):
            day = date.fromisoformat(JournalFiles(path).crawl_date)
            if day == crawl_date:
                continue
            with Journal(path, only_read=True) as journal:
                moment, unknown = journal.reader.last_received, journal.reader.credits()
                is_published = journal.meta("published_mark") == journal.reader.mark()
            if moment is not None:
                name = f"{run_id}-recovered-{path.stem}"
                _count_again(ledger, name, day, moment, unknown, exit_code=0 if is_published else 1)
                total += unknown
    return total


def _count_again(
    ledger: Ledger, run_id: str, crawl_date: date, moment: str, unknown: int, *, exit_code: int
) -> None:
    ledger.begin(run_id, crawl_date, moment)
    ledger.reserve(run_id, crawl_date, None, lambda _left: unknown)
    ledger.finish(run_id, moment, exit_code)
