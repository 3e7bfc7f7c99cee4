"""The ledger: every credit ever reserved, by run, crawl date and day. It forgets nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Self

from crawler.models.night import RunFacts
from crawler.store import ledger_sql as sql
from crawler.store.checksums import corrected, row_checksum, with_checksum
from crawler.store.copying import copy_database
from crawler.store.failpoints import reached
from crawler.store.layout import Layout
from crawler.store.ledger_records import (
    FAR_DAYS,
    BillingMonth,
    DateRecord,
    KeyAccount,
    Outcome,
    RunRecord,
)
from crawler.store.sqlite import (
    damaged,
    database_errors,
    open_database,
    read_database,
    transaction,
    transaction_without_growing,
)


class Ledger:
    """Credits reserved on disk before they are spent; what a killed run had reserved counts as spent.

    Raises `OutputError` where the file cannot be written, `InputError` where it is of a newer format.
    """

    def __init__(self, data: Path, *, only_read: bool = False) -> None:
        self.path = Layout(data).ledger
        opening = read_database if only_read else open_database
        self._db = opening(self.path, sql.DATABASE)
        _correct_rows(self.path, self._db, repair=not only_read)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._db.close()

    def begin(self, run_id: str, crawl_date: date, started_at: str, facts: RunFacts | None = None) -> None:
        """Open a run's account, with what is known of it already."""
        with database_errors(self.path), transaction(self._db) as db:
            db.execute(
                "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?)",
                with_checksum((run_id, crawl_date.isoformat(), started_at, 0, None, None)),
            )
            # So that `finish` needs no new room on a full disk.
            known = None if facts is None else facts.as_json()
            db.execute("INSERT INTO outcome (run_id, facts) VALUES (?, ?)", (run_id, known))

    def reserve(
        self,
        run_id: str,
        crawl_date: date,
        budget: int | None,
        lease: Callable[[int | None], int],
        month: BillingMonth | None = None,
        key: KeyAccount | None = None,
    ) -> int:
        """Reserve what `lease` wants of the rest, and return it; without a month, for the run's first day.

        With a key it is reserved for that key too, and no more than its own budgets leave.
        """
        reached("lease.reserve")
        day = None if month is None else month.lease_day.isoformat()
        with database_errors(self.path):
            with transaction(self._db) as db:
                size = lease(self._left(crawl_date, budget, month, key))
                if size > 0:
                    _update_run(db, run_id, "reserved = reserved + ?", size)
                    values = {"run_id": run_id, "day": day, "credits": size, "far": f"+{FAR_DAYS} days"}
                    db.execute(sql.ADD_LEASE, values)
                    if key is not None:
                        db.execute(sql.ADD_KEY_LEASE, {**values, "key": key.name})
            # Damage in the log costs all that follows it, damage in the main file only the row that it hits.
            self._db.execute("PRAGMA wal_checkpoint")
        reached("lease.reserved")
        return size

    def _left(
        self, crawl_date: date, budget: int | None, month: BillingMonth | None, key: KeyAccount | None
    ) -> int | None:
        """What may still be reserved: the smallest remaining budget, None where there is none."""
        left = [] if budget is None else [budget - self.spent_for(crawl_date)]
        if month is not None and month.budget is not None:
            left.append(month.budget - self.spent_since(month.began, month.lease_day))
        if month is not None and key is not None:
            left += self.left_of_key(key, month)
        return max(0, min(left)) if left else None

    def left_of_key(self, key: KeyAccount, month: BillingMonth) -> list[int]:
        """What is left of each budget that a key has; below 0 where a budget was lowered.

        A day has no last lease, as a month has none: what is leased shortly before midnight counts for both.
        """
        limits = ((key.daily_budget, key.today), (key.monthly_budget, month.began))
        return [
            limit - self.spent_since(since, month.lease_day, key.name)
            for limit, since in limits
            if limit is not None
        ]

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

    def return_unused_of_key(self, run_id: str, key: str, spent: int) -> None:
        """Return what a run reserved for a key and did not spend; all in all it has reserved so much less."""
        reached("ledger.settle")
        query = "SELECT day, credits FROM key_lease WHERE run_id = ? AND key = ? ORDER BY day DESC"
        with database_errors(self.path), transaction_without_growing(self._db) as db:
            days = db.execute(query, (run_id, key)).fetchall()
            unspent = sum(credit for _, credit in days) - spent
            for day, credit in days:
                back = min(unspent, credit)
                unspent -= back
                row = with_checksum((run_id, day, key, credit - back))
                db.execute("REPLACE INTO key_lease VALUES (?, ?, ?, ?, ?)", row)
                db.execute(sql.LOWER_LEASE, {"run_id": run_id, "day": day, "back": back})
                _update_run(db, run_id, "reserved = reserved - ?", back)

    def finish(self, run_id: str, finished_at: str, exit_code: int, outcome: Outcome | None = None) -> None:
        """Note how a run ended, and what it left."""
        with database_errors(self.path), transaction_without_growing(self._db) as db:
            _update_run(db, run_id, "finished_at = ?, exit_code = ?", finished_at, exit_code)
            if outcome is not None:
                db.execute(sql.SET_OUTCOME, {**asdict(outcome), "run_id": run_id})

    def note(self, run_id: str, facts: RunFacts) -> None:
        """Note what else is known of a run, in the place of what was noted before."""
        with database_errors(self.path), transaction(self._db) as db:
            db.execute("UPDATE outcome SET facts = ? WHERE run_id = ?", (facts.as_json(), run_id))

    def close(self, crawl_date: date, closed_at: str) -> None:
        """Note that a crawl date is closed; once closed, it keeps its first time."""
        with database_errors(self.path), transaction(self._db) as db:
            db.execute("INSERT OR IGNORE INTO closed VALUES (?, ?)", (crawl_date.isoformat(), closed_at))

    def copy_to(self, target: Path) -> None:
        """Write the ledger as it is now to another file. Raises `OSError` or `sqlite3.Error`."""
        copy_database(self._db, target)

    def spent_for(self, crawl_date: date) -> int:
        """Credits reserved or spent for a crawl date by all its runs, and by checks."""
        query = "SELECT coalesce(sum(reserved), 0) FROM run WHERE crawl_date = ?"
        return int(self._db.execute(query, (crawl_date.isoformat(),)).fetchone()[0])

    def spent_by_runs(self, crawl_date: date) -> int:
        """The part of it that the crawl date's runs reserved or spent, for its sellers' pages."""
        day = crawl_date.isoformat()
        return sum(run.reserved for run in self.runs() if run.crawl_date == day and not run.is_check)

    def spent_since(self, day: date, today: date | None = None, key: str | None = None) -> int:
        """Credits reserved or spent for that day and all later ones; with `key`, by the key of that name.

        There is no last day: where the clock was set back, what counts for days that it has not reached
        again may have been spent in the month that it now shows. Days more than `FAR_DAYS` after `today`
        come of a clock that was wrong: they count only where no run for a day before `day` came later.
        """
        far = date.max if today is None else today + timedelta(days=FAR_DAYS)
        values = {"since": day.isoformat(), "far": far.isoformat(), "key": key}
        query = sql.SPENT_SINCE if key is None else sql.KEY_SPENT_SINCE
        return int(self._db.execute(query, values).fetchone()[0])

    def key_names(self) -> list[str]:
        """The names of all keys that anything was ever reserved for, in their order."""
        with database_errors(self.path):
            found = self._db.execute("SELECT DISTINCT CAST(key AS TEXT) FROM key_lease ORDER BY 1").fetchall()
        return [name for (name,) in found]

    def first_day(self) -> date | None:
        """The earliest day that any credit counts for."""
        found = self._db.execute("SELECT min(day) FROM lease").fetchone()[0]
        return None if found is None else date.fromisoformat(found)

    def runs(self) -> list[RunRecord]:
        """All runs, the latest first."""
        with database_errors(self.path):
            rows = self._db.execute(sql.RUNS).fetchall()
        read = ((*row[:6], *map(_count_or_none, row[6:11]), RunFacts.from_json(row[11])) for row in rows)
        return [RunRecord(*values) for values in read]

    def dates(self) -> list[DateRecord]:
        """Every crawl date with a run, the latest first. Raises `OutputError` where one cannot be read."""
        latest: dict[str, RunRecord] = {}
        began: dict[str, str] = {}
        for run in self.runs():
            if run.is_check:
                continue
            latest.setdefault(run.crawl_date, run)
            began[run.crawl_date] = min(run.started_at, began.get(run.crawl_date, run.started_at))
        query = "SELECT crawl_date, CAST(closed_at AS TEXT) FROM closed"
        with database_errors(self.path):
            closed = dict(self._db.execute(query).fetchall())
        try:
            return [
                DateRecord(date.fromisoformat(day), _moment(began[day]), latest[day], closed.get(day))
                for day in sorted(latest, reverse=True)
            ]
        except ValueError as error:
            raise damaged(self.path, error) from error

    def unpublished(self) -> dict[str, set[str]]:
        """Crawl dates whose journal may hold what is in no snapshot, each with the IDs of its runs."""
        found: dict[str, set[str]] = {
            str(day.crawl_date): set() for day in self.dates() if not day.is_published
        }
        for run in self.runs():
            if run.crawl_date in found:
                found[run.crawl_date].add(run.run_id)
        return found

    def last_moment(self) -> datetime | None:
        """When the latest run ended, or began where it was killed; None where there is none."""
        for run in self.runs():
            with suppress(ValueError):
                return _moment(run.finished_at or run.started_at)
        return None

    def date(self, crawl_date: date) -> DateRecord | None:
        """A crawl date; None where no run of it ever began."""
        return next((day for day in self.dates() if day.crawl_date == crawl_date), None)


def _update_run(db: sqlite3.Connection, run_id: str, change: str, *values: object) -> None:
    db.execute(f"UPDATE run SET {change} WHERE run_id = ?", (*values, run_id))  # noqa: S608 - our own words
    db.execute(f"{sql.CHECK_RUN} WHERE run_id = ?", (run_id,))


def _correct_rows(path: Path, db: sqlite3.Connection, *, repair: bool) -> None:
    """Correct rows by their checksums. Raises `OutputError` where that cannot be done."""
    for table, keys in (("run", 1), ("lease", 2), ("key_lease", 3)):
        with database_errors(path):
            rows = db.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - three names
        for row in rows:
            if row_checksum(row[:-1]) == row[-1]:
                continue
            better = corrected(row)
            if better is None or not repair:
                raise damaged(path, f"table {table}, {row[:keys]}")
            with database_errors(path), transaction(db):
                db.execute(sql.CORRECT_ROW[table], (*better, *row[:keys]))


def _count_or_none(value: object) -> int | None:
    """A figure of an outcome, whose rows have no checksum: damage costs the figure alone."""
    return value if isinstance(value, int) and value >= 0 else None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
