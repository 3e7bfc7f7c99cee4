"""The ledger: every credit ever reserved, by run, crawl date and day. It forgets nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Self

from crawler.store.database import (
    database_errors,
    open_database,
    read_database,
    transaction,
    transaction_without_growing,
)
from crawler.store.failpoints import reached

FORMAT = 2
FINISHED = frozenset({0, 4})
"""Exit codes that leave nothing to go on with."""
CHECK = "-check"
"""How the ID of a `check --online` ends: it spends a credit for a crawl date, and leaves nothing of it."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    run_id TEXT PRIMARY KEY,
    crawl_date TEXT NOT NULL,
    started_at TEXT NOT NULL,
    reserved INTEGER NOT NULL DEFAULT 0,
    finished_at TEXT,
    exit_code INTEGER
);
CREATE INDEX IF NOT EXISTS run_of_date ON run (crawl_date);
CREATE TABLE IF NOT EXISTS lease (
    run_id TEXT NOT NULL,
    day TEXT NOT NULL,
    credits INTEGER NOT NULL,
    PRIMARY KEY (run_id, day)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lease_of_day ON lease (day);
-- format 1 had no leases: a run's credits count for the day on which it began
INSERT INTO lease
    SELECT run_id, substr(started_at, 1, 10), reserved FROM run
    WHERE reserved > 0 AND run_id NOT IN (SELECT run_id FROM lease)
"""

# Never an earlier day than one that is there: a clock that was set back over a month's border would
# otherwise charge the month that is over, and leave the new one its whole budget.
_ADD_LEASE = """
INSERT INTO lease
    SELECT
        run_id,
        max(coalesce(:day, substr(started_at, 1, 10)), coalesce((SELECT max(day) FROM lease), '')),
        :credits
    FROM run WHERE run_id = :run_id
ON CONFLICT (run_id, day) DO UPDATE SET credits = credits + excluded.credits
"""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A past run; `finished_at` is None where it was killed or still goes on."""

    run_id: str
    crawl_date: str
    started_at: str
    reserved: int
    finished_at: str | None
    exit_code: int | None

    @property
    def is_check(self) -> bool:
        """Whether this was a `check --online`, so no run that left anything."""
        return self.run_id.endswith(CHECK)


@dataclass(frozen=True, slots=True)
class BillingMonth:
    """The clock's part of a lease: when its month began, what that may cost, and the lease's own day."""

    began: date
    budget: int | None
    lease_day: date


class Ledger:
    """Credits reserved on disk before they are spent; what a killed run had reserved counts as spent.

    Raises `OutputError` where the file cannot be written, `InputError` where it is of a newer format.
    """

    def __init__(self, data: Path, *, only_read: bool = False) -> None:
        self._path = data / "state" / "ledger.sqlite"
        reading = read_database(self._path, FORMAT) if only_read else None
        self._db = reading or open_database(self._path, _SCHEMA, FORMAT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._db.close()

    def begin(self, run_id: str, crawl_date: date, started_at: str) -> None:
        """Open a run's account."""
        with database_errors(self._path), transaction(self._db) as db:
            db.execute(
                "INSERT INTO run (run_id, crawl_date, started_at) VALUES (?, ?, ?)",
                (run_id, crawl_date.isoformat(), started_at),
            )

    def reserve(
        self,
        run_id: str,
        crawl_date: date,
        budget: int | None,
        lease: Callable[[int | None], int],
        month: BillingMonth | None = None,
    ) -> int:
        """Reserve what `lease` wants of what both the date's and the month's budget have left.

        Returns it, 0 for nothing. Without a month it counts for the day on which the run began.
        """
        reached("lease.reserve")
        day = None if month is None else month.lease_day.isoformat()
        with database_errors(self._path), transaction(self._db) as db:
            size = lease(self._left(crawl_date, budget, month))
            if size > 0:
                db.execute("UPDATE run SET reserved = reserved + ? WHERE run_id = ?", (size, run_id))
                db.execute(_ADD_LEASE, {"run_id": run_id, "day": day, "credits": size})
        reached("lease.reserved")
        return size

    def _left(self, crawl_date: date, budget: int | None, month: BillingMonth | None) -> int | None:
        """What may still be reserved: the least that any budget has left, None where there is none."""
        left = [] if budget is None else [budget - self.spent_for(crawl_date)]
        if month is not None and month.budget is not None:
            left.append(month.budget - self.spent_since(month.began))
        return max(0, min(left)) if left else None

    def settle(self, run_id: str, spent: int) -> None:
        """Return what a run reserved and did not spend: of its latest days first, as that was leased last."""
        reached("ledger.settle")
        query = "SELECT day, credits FROM lease WHERE run_id = ? ORDER BY day DESC"
        with database_errors(self._path), transaction_without_growing(self._db) as db:
            days = db.execute(query, (run_id,)).fetchall()
            unspent = sum(credit for _, credit in days) - spent
            for day, credit in days:
                back = min(unspent, credit)
                unspent -= back
                db.execute(
                    "UPDATE lease SET credits = ? WHERE run_id = ? AND day = ?", (credit - back, run_id, day)
                )
            db.execute("UPDATE run SET reserved = ? WHERE run_id = ?", (spent, run_id))

    def finish(self, run_id: str, finished_at: str, exit_code: int) -> None:
        """Note how a run ended."""
        with database_errors(self._path), transaction_without_growing(self._db) as db:
            db.execute(
                "UPDATE run SET finished_at = ?, exit_code = ? WHERE run_id = ?",
                (finished_at, exit_code, run_id),
            )

    def spent_for(self, crawl_date: date) -> int:
        """Credits reserved or spent for a crawl date by all its runs, and by checks."""
        query = "SELECT coalesce(sum(reserved), 0) FROM run WHERE crawl_date = ?"
        return int(self._db.execute(query, (crawl_date.isoformat(),)).fetchone()[0])

    def spent_by_runs(self, crawl_date: date) -> int:
        """The part of it that the crawl date's runs reserved or spent, for its sellers' pages."""
        return sum(
            run.reserved
            for run in self.runs()
            if run.crawl_date == crawl_date.isoformat() and not run.is_check
        )

    def spent_since(self, day: date) -> int:
        """Credits reserved or spent for that day and all later ones.

        There is no last day: where the clock was set back, what counts for days that it has not reached
        again may have been spent in the month that it now tells.
        """
        query = "SELECT coalesce(sum(credits), 0) FROM lease WHERE day >= ?"
        return int(self._db.execute(query, (day.isoformat(),)).fetchone()[0])

    def first_day(self) -> date | None:
        """The earliest day that any credit counts for."""
        found = self._db.execute("SELECT min(day) FROM lease").fetchone()[0]
        return None if found is None else date.fromisoformat(found)

    def unfinished(self) -> set[str]:
        """Crawl dates whose latest run left something to do."""
        return {day for day, code in self._latest().items() if code not in FINISHED}

    def latest_exit_code(self, crawl_date: date) -> int | None:
        """How the date's latest run ended; None where it was killed, or there was none."""
        return self._latest().get(crawl_date.isoformat())

    def _latest(self) -> dict[str, int | None]:
        latest: dict[str, int | None] = {}
        for run in self.runs():
            if not run.is_check:
                latest.setdefault(run.crawl_date, run.exit_code)
        return latest

    def runs(self) -> list[RunRecord]:
        """All runs, the latest first."""
        query = "SELECT run_id, crawl_date, started_at, reserved, finished_at, exit_code FROM run"
        return [RunRecord(*row) for row in self._db.execute(f"{query} ORDER BY rowid DESC")]
