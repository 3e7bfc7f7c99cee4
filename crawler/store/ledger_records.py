"""What the ledger knows of runs, crawl dates and months, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from crawler.exit_codes import COMPLETE, SELLERS_FAILED
from crawler.models.night import NO_FACTS, RunFacts

FINISHED = frozenset({COMPLETE.number, SELLERS_FAILED.number})
"""Exit codes that leave nothing to go on with."""
CHECK = "-check"
"""How the ID of a `check --online` ends: it spends a credit for a crawl date, and leaves nothing of it."""
ACCEPT = "-accept"
"""How the ID of a `crawler publish --accept` ends."""
FAR_DAYS = 35
"""Days by which a lease lies ahead of the clock before one of the two must be wrong."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left: published rows, and listed sellers by how they ended; `failed` holds the `refused`."""

    rows: int
    sellers: int
    complete: int
    failed: int
    refused: int


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A past run, with the figures of its `Outcome` and its facts.

    None is what a killed run or an earlier format lacks.
    """

    run_id: str
    crawl_date: str
    started_at: str
    reserved: int
    finished_at: str | None
    exit_code: int | None
    rows: int | None = None
    sellers: int | None = None
    complete: int | None = None
    failed: int | None = None
    refused: int | None = None
    facts: RunFacts = NO_FACTS

    @property
    def is_check(self) -> bool:
        """Whether this was a `check --online`, so no run that left anything."""
        return self.run_id.endswith(CHECK)

    @property
    def is_accepted(self) -> bool:
        """Whether this was a person who published a night that had been held back."""
        return self.run_id.endswith(ACCEPT)


@dataclass(frozen=True, slots=True)
class DateRecord:
    """A crawl date: when its first run began, its latest run, and when it was closed by hand, if it was."""

    crawl_date: date
    began: datetime
    latest: RunRecord
    closed_at: str | None

    @property
    def refused(self) -> int:
        """Sellers that only `--retry-failed` asks for again."""
        return self.latest.refused or 0

    @property
    def retriable(self) -> int:
        """Failed sellers that any later run of the date asks for again."""
        return max(0, (self.latest.failed or 0) - self.refused)

    @property
    def pending(self) -> int:
        """Listed sellers that have not ended, as far as the ledger knows."""
        run = self.latest
        return max(0, (run.sellers or 0) - (run.complete or 0) - (run.failed or 0))

    @property
    def is_published(self) -> bool:
        """Whether the latest run ended in a way that leaves nothing unpublished."""
        return self.closed_at is not None or self.latest.exit_code in FINISHED

    @property
    def leaves_work(self) -> bool:
        """Whether a later run of the date would ask for anything, as far as the ledger knows."""
        return self.latest.exit_code not in FINISHED or self.retriable > 0


@dataclass(frozen=True, slots=True)
class BillingMonth:
    """The clock's part of a lease: when its month began, what that may cost, and the lease's own day."""

    began: date
    budget: int | None
    lease_day: date


@dataclass(frozen=True, slots=True)
class KeyAccount:
    """The key that a lease is for: its name, what it may cost a day and a billing month, and the UTC day."""

    name: str
    daily_budget: int | None
    monthly_budget: int | None
    today: date
