"""A crawl date that is open: what every step after the first is given."""

from __future__ import annotations

from dataclasses import dataclass

from crawler.nightly.account import Account
from crawler.nightly.dates import DateRule
from crawler.nightly.journal_opening import OpenJournal
from crawler.nightly.night import Night, Notes
from crawler.store.journal import Journal
from crawler.store.ledger import Ledger
from crawler.store.lock import Guard
from crawler.store.segments import SegmentWriter


@dataclass(frozen=True, slots=True)
class Opened:
    """A crawl date that is open for this run, which holds the lock.

    `initial_hold_s` is how many seconds must pass before the first request. `guard` raises where what is
    open is no longer at its path. `is_clock_doubtful`: nothing may be removed for its age.
    """

    night: Night
    run_id: str
    started_at: str
    dates: DateRule
    guard: Guard
    ledger: Ledger
    store: OpenJournal
    account: Account
    initial_hold_s: float
    is_clock_doubtful: bool
    notes: Notes

    @property
    def journal(self) -> Journal:
        """The journal of the crawl date."""
        return self.store.journal

    @property
    def segments(self) -> SegmentWriter:
        """Writes the journal and its segments."""
        return self.store.segments
