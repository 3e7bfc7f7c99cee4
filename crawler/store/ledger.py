"""The ledger: every credit ever reserved, by run, crawl date and day. It forgets nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Self

from crawler.exit_codes import COMPLETE, SELLERS_FAILED
from crawler.store.checksums import corrected, row_checksum, with_checksum
from crawler.store.failpoints import reached
from crawler.store.layout import Layout
from crawler.store.sqlite import (
    damaged,
    database_errors,
    open_database,
    read_database,
    transaction,
    transaction_without_growing,
)

FORMAT = 3
_WITH_LEASES = 2
"""The first format that can be read as it is."""

FINISHED = frozenset({COMPLETE.number, SELLERS_FAILED.number})
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
    exit_code INTEGER,
    checksum INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS run_of_date ON run (crawl_date);
CREATE TABLE IF NOT EXISTS lease (
    run_id TEXT NOT NULL,
    day TEXT NOT NULL,
    credits INTEGER NOT NULL,
    checksum INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, day)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lease_of_day ON lease (day);
CREATE TABLE IF NOT EXISTS outcome (
    run_id TEXT PRIMARY KEY,
    rows INTEGER,
    sellers INTEGER,
    complete INTEGER,
    failed INTEGER,
    refused INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS closed (crawl_date TEXT PRIMARY KEY, closed_at TEXT NOT NULL) WITHOUT ROWID;
-- format 1 had no leases: a run's credits count for the day on which it began
INSERT INTO lease
    SELECT run_id, substr(started_at, 1, 10), reserved,
        row_checksum(run_id, substr(started_at, 1, 10), reserved) FROM run
    WHERE reserved > 0 AND run_id NOT IN (SELECT run_id FROM lease)
"""

_CHECK_RUN = (
    "UPDATE run SET checksum = row_checksum(run_id, crawl_date, started_at, reserved, finished_at, exit_code)"
)
_CHECKED_RUNS = f"ALTER TABLE run ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;{_CHECK_RUN}"
_CHECKED_LEASES = """
ALTER TABLE lease ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
UPDATE lease SET checksum = row_checksum(run_id, day, credits)
"""
_UPGRADES = {1: _CHECKED_RUNS, 2: f"{_CHECKED_RUNS};{_CHECKED_LEASES}"}

FAR_DAYS = 35
"""Days by which a lease lies ahead of the clock before one of the two must be wrong."""

# Never an earlier day than one that is there: a clock that was set back over a month's border would
# otherwise charge the month that is over, and leave the new one its whole budget. Days that lie far ahead
# come of a clock that was wrong, and hold nothing up.
_ADD_LEASE = """
WITH clock (day) AS (SELECT coalesce(:day, substr(started_at, 1, 10)) FROM run WHERE run_id = :run_id),
    latest (day) AS (SELECT max(
        clock.day,
        coalesce((SELECT max(day) FROM lease WHERE day <= date(clock.day, :far)), '')
    ) FROM clock)
INSERT INTO lease
    SELECT :run_id, latest.day, :credits, row_checksum(:run_id, latest.day, :credits) FROM latest WHERE true
ON CONFLICT (run_id, day) DO UPDATE SET
    credits = credits + excluded.credits,
    checksum = row_checksum(run_id, day, credits + excluded.credits)
"""

# The order of the runs, other than the clock, never goes back: what was leased for a day far ahead belongs
# to a month that no earlier month's run came after.
_SPENT_SINCE = """
SELECT coalesce(sum(credits), 0) FROM lease LEFT JOIN run USING (run_id)
WHERE day >= :since AND (day <= :far OR run.rowid >= coalesce(
    (SELECT max(run.rowid) FROM lease JOIN run USING (run_id) WHERE day < :since), 0))
"""


_SET_OUTCOME = """
UPDATE outcome
    SET rows = :rows, sellers = :sellers, complete = :complete, failed = :failed, refused = :refused
    WHERE run_id = :run_id
"""
_RUNS = """
SELECT run_id, crawl_date, started_at, reserved, finished_at, exit_code,
        rows, sellers, complete, failed, refused
    FROM run LEFT JOIN outcome USING (run_id) ORDER BY run.rowid DESC
"""
_RUNS_WITHOUT_OUTCOME = """
SELECT run_id, crawl_date, started_at, reserved, finished_at, exit_code FROM run ORDER BY rowid DESC
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left: rows published for its crawl date, and the listed sellers by how they ended.

    `failed` counts all failed sellers, `refused` those of them that only `--retry-failed` asks for again.
    """

    rows: int
    sellers: int
    complete: int
    failed: int
    refused: int


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A past run; `finished_at` is None where it was killed or is still running.

    The figures are those of its `Outcome`; None where there is none, as in ledgers of earlier formats.
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

    @property
    def is_check(self) -> bool:
        """Whether this was a `check --online`, so no run that left anything."""
        return self.run_id.endswith(CHECK)


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


class Ledger:
    """Credits reserved on disk before they are spent; what a killed run had reserved counts as spent.

    Raises `OutputError` where the file cannot be written, `InputError` where it is of a newer format.
    """

    def __init__(self, data: Path, *, only_read: bool = False) -> None:
        self.path = Layout(data).ledger
        reading = read_database(self.path, FORMAT, oldest=_WITH_LEASES) if only_read else None
        self._db = reading or open_database(self.path, _SCHEMA, FORMAT, upgrades=_UPGRADES)
        # A file that is only read may come from a program without these tables.
        names = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('outcome', 'closed')"
        with database_errors(self.path):
            self._has_outcomes = self._db.execute(names).fetchone()[0] == 2
            has_checksums = self._db.execute("PRAGMA user_version").fetchone()[0] == FORMAT
        if has_checksums:
            self._check(repair=reading is None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._db.close()

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
                    told = {"run_id": run_id, "day": day, "credits": size, "far": f"+{FAR_DAYS} days"}
                    db.execute(_ADD_LEASE, told)
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

    def settle(self, run_id: str, spent: int) -> None:
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
                db.execute(_SET_OUTCOME, {**asdict(outcome), "run_id": run_id})

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
        again may have been spent in the month that it now tells. Days more than `FAR_DAYS` after `today`
        come of a clock that was wrong: they count only where no run for a day before `day` came later.
        """
        far = date.max if today is None else today + timedelta(days=FAR_DAYS)
        told = {"since": day.isoformat(), "far": far.isoformat()}
        return int(self._db.execute(_SPENT_SINCE, told).fetchone()[0])

    def last_moment(self) -> datetime | None:
        """When the latest run ended, or began where it was killed; None where there is none."""
        for run in self.runs():
            with suppress(ValueError):
                return _moment(run.finished_at or run.started_at)
        return None

    def first_day(self) -> date | None:
        """The earliest day that any credit counts for."""
        found = self._db.execute("SELECT min(day) FROM lease").fetchone()[0]
        return None if found is None else date.fromisoformat(found)

    def unfinished(self) -> set[str]:
        """Crawl dates whose latest run left something to do."""
        return {str(day.crawl_date) for day in self.dates() if day.leaves_work and day.closed_at is None}

    def unpublished(self) -> set[str]:
        """Crawl dates whose journal may hold what is in no snapshot."""
        return {str(day.crawl_date) for day in self.dates() if not day.is_published}

    def latest_exit_code(self, crawl_date: date) -> int | None:
        """How the date's latest run ended; None where it was killed, or there was none."""
        found = self.date(crawl_date)
        return None if found is None else found.latest.exit_code

    def _check(self, *, repair: bool) -> None:
        """Correct rows by their checksums. Raises `OutputError` where that cannot be done."""
        for table, keys in (("run", 1), ("lease", 2)):
            with database_errors(self.path):
                rows = self._db.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - two names
            for row in rows:
                if row_checksum(row[:-1]) == row[-1]:
                    continue
                better = corrected(row)
                if better is None or not repair:
                    raise damaged(self.path, f"table {table}, {row[:keys]}")
                self._replace(table, row[:keys], better)

    def _replace(self, table: str, key: tuple[str, ...], row: tuple[object, ...]) -> None:
        names = ("run_id", "day")[: len(key)]
        wanted = " AND ".join(f"{name} = ?" for name in names)
        with database_errors(self.path), transaction(self._db) as db:
            # A run keeps its place among the others.
            columns = [column[1] for column in db.execute(f"PRAGMA table_info({table})")]
            assigned = ", ".join(f"{column} = ?" for column in columns)
            db.execute(f"UPDATE {table} SET {assigned} WHERE {wanted}", (*row, *key))  # noqa: S608 - names

    def date(self, crawl_date: date) -> DateRecord | None:
        """A crawl date; None where no run of it ever began."""
        return next((day for day in self.dates() if day.crawl_date == crawl_date), None)

    def dates(self) -> list[DateRecord]:
        """Every crawl date that a run was begun for, the latest date first.

        Raises `OutputError` where a date or a time in the file cannot be read.
        """
        latest: dict[str, RunRecord] = {}
        began: dict[str, str] = {}
        for run in self.runs():
            if run.is_check:
                continue
            latest.setdefault(run.crawl_date, run)
            began[run.crawl_date] = min(run.started_at, began.get(run.crawl_date, run.started_at))
        closed = {}
        if self._has_outcomes:
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

    def runs(self) -> list[RunRecord]:
        """All runs, the latest first."""
        query = _RUNS if self._has_outcomes else _RUNS_WITHOUT_OUTCOME
        with database_errors(self.path):
            rows = self._db.execute(query).fetchall()
        return [RunRecord(*row[:6], *map(_count_or_none, row[6:])) for row in rows]


def _count_or_none(value: object) -> int | None:
    """A figure of an outcome, whose rows have no checksum: damage costs the figure alone."""
    return value if isinstance(value, int) and value >= 0 else None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _update_run(db: sqlite3.Connection, run_id: str, change: str, *values: object) -> None:
    db.execute(f"UPDATE run SET {change} WHERE run_id = ?", (*values, run_id))  # noqa: S608 - our own words
    db.execute(f"{_CHECK_RUN} WHERE run_id = ?", (run_id,))
