"""The ledger: every credit ever reserved, by run, crawl date and day. It forgets nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from datetime import date, timedelta

from crawler.store import ledger_sql as sql
from crawler.store.checksums import with_checksum
from crawler.store.failpoints import reached
from crawler.store.ledger_records import FAR_DAYS, BillingMonth, Outcome
from crawler.store.ledger_runs import LedgerRuns
from crawler.store.sqlite import database_errors, transaction, transaction_without_growing


class Ledger(LedgerRuns):
    """Credits reserved on disk before they are spent; what a killed run had reserved counts as spent.

    Raises `OutputError` where the file cannot be written, `InputError` where it is of a newer format.
    """

    def begin(self, run_id: str, crawl_date: date, started_at: str) -> None:
        """Open a run's account."""
        with database_errors(self.path), transaction(self._db) as db:
            db.execute(
                "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?)",
                with_checksum((run_id, crawl_date.isoformat(), started_at, 0, None, None)),
            )
            # So that `finish` needs no new room on a full disk.
            db.execute("INSERT INTO outcome (run_id) VALUES (?)", (run_id,))

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
        with database_errors(self.path):
            with transaction(self._db) as db:
                size = lease(self._left(crawl_date, budget, month))
                if size > 0:
                    _update_run(db, run_id, "reserved = reserved + ?", size)
                    values = {"run_id": run_id, "day": day, "credits": size, "far": f"+{FAR_DAYS} days"}
                    db.execute(sql.ADD_LEASE, values)
            # Damage in the log costs all that follows it, damage in the main file only the row that it hits.
            self._db.execute("PRAGMA wal_checkpoint")
        reached("lease.reserved")
        return size

    def _left(self, crawl_date: date, budget: int | None, month: BillingMonth | None) -> int | None:
        """What may still be reserved: the least that any budget has left, None where there is none."""
        left = [] if budget is None else [budget - self.spent_for(crawl_date)]
        if month is not None and month.budget is not None:
            left.append(month.budget - self.spent_since(month.began, month.lease_day))
        return max(0, min(left)) if left else None

    def return_unused_credits(self, run_id: str, spent: int) -> None:
        """Return what a run reserved and did not spend: of its latest days first, as that was leased last."""
        reached("ledger.settle")
        query = "SELECT day, credits FROM lease WHERE run_id = ? ORDER BY day DESC"
        with database_errors(self.path), transaction_without_growing(self._db) as db:
            days = db.execute(query, (run_id,)).fetchall()
            unspent = sum(credit for _, credit in days) - spent
            for day, credit in days:
                back = min(unspent, credit)
                unspent -= back
                row = with_checksum((run_id, day, credit - back))
                db.execute("REPLACE INTO lease VALUES (?, ?, ?, ?)", row)
            _update_run(db, run_id, "reserved = ?", spent)

    def finish(self, run_id: str, finished_at: str, exit_code: int, outcome: Outcome | None = None) -> None:
        """Note how a run ended, and what it left."""
        with database_errors(self.path), transaction_without_growing(self._db) as db:
            _update_run(db, run_id, "finished_at = ?, exit_code = ?", finished_at, exit_code)
            if outcome is not None:
                db.execute(sql.SET_OUTCOME, {**asdict(outcome), "run_id": run_id})

    def close(self, crawl_date: date, closed_at: str) -> None:
        """Note that a crawl date is closed; once closed, it keeps its first time."""
        with database_errors(self.path), transaction(self._db) as db:
            db.execute("INSERT OR IGNORE INTO closed VALUES (?, ?)", (crawl_date.isoformat(), closed_at))

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

    def spent_since(self, day: date, today: date | None = None) -> int:
        """Credits reserved or spent for that day and all later ones.

        There is no last day: where the clock was set back, what counts for days that it has not reached
        again may have been spent in the month that it now shows. Days more than `FAR_DAYS` after `today`
        come of a clock that was wrong: they count only where no run for a day before `day` came later.
        """
        far = date.max if today is None else today + timedelta(days=FAR_DAYS)
        values = {"since": day.isoformat(), "far": far.isoformat()}
        return int(self._db.execute(sql.SPENT_SINCE, values).fetchone()[0])

    def first_day(self) -> date | None:
        """The earliest day that any credit counts for."""
        found = self._db.execute("SELECT min(day) FROM lease").fetchone()[0]
        return None if found is None else date.fromisoformat(found)


def _update_run(db: sqlite3.Connection, run_id: str, change: str, *values: object) -> None:
    db.execute(f"UPDATE run SET {change} WHERE run_id = ?", (*values, run_id))  # noqa: S608 - our own words
    db.execute(f"{sql.CHECK_RUN} WHERE run_id = ?", (run_id,))
