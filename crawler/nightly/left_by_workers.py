"""What workers of a killed run have left beside a date's journal, and how it gets there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import date

from crawler import events
from crawler.rules.shares import TRANSFER_MARGIN
from crawler.rules.windows import window_of
from crawler.store.absorbing import absorb_all
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles
from crawler.store.segments import SegmentWriter

LEASE = "workers_lease_s"
"""The journal notes under it how long the leases of workers are, while a run has any."""
_UNKNOWN_LEASE_S = 10.0
"""Seconds of a lease where only logs say that there were workers."""


def remove_probe(journal: Journal) -> None:
    """Remove the file that shows workers whether they share the data folder, and the folder around it."""
    files = JournalFiles(journal.path)
    # What cannot be removed lies there until the date's journal goes.
    with suppress(OSError):
        files.attempt_probe.unlink(missing_ok=True)
        files.attempts.rmdir()


def is_left(journal: Journal) -> bool:
    """Whether there is anything to take in, or a worker that may still send."""
    return journal.meta(LEASE) is not None or bool(JournalFiles(journal.path).attempt_logs())


def take_in(
    segments: SegmentWriter, day: date, qps: float, wait: Callable[[float], None]
) -> events.Sentence | None:
    """Take into the journal what workers have written, once none of them can write or send any more.

    Returns what was found, if anything was. `wait` lets seconds pass. Raises what it raises, and
    `OutputError`; then all that was left can be taken in later.
    """
    journal = segments.journal
    if not is_left(journal):
        return None
    lease_s = journal.meta(LEASE)
    wait_s = float(lease_s or _UNKNOWN_LEASE_S) + window_of(qps) + TRANSFER_MARGIN
    events.WORKERS_AWAITED(crawl_date=day, wait_s=round(wait_s, 1)).log()
    wait(wait_s)
    found = absorb_all(segments)
    remove_probe(journal)
    if lease_s is not None:
        journal.forget(LEASE)
    if not found.attempts:
        return None
    return events.WORKERS_RECOVERED(attempts=found.attempts, crawl_date=day, pages=found.pages)
