"""The ledger's file, and the runs and crawl dates in it: open it to change how a date's state is read."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Self

from crawler.store import ledger_sql as sql
from crawler.store.checksums import corrected, row_checksum
from crawler.store.layout import Layout
from crawler.store.ledger_records import DateRecord, RunRecord
from crawler.store.sqlite import damaged, database_errors, open_database, read_database, transaction


class LedgerRuns:
    """The open file; raises as `Ledger` does."""

    def __init__(self, data: Path, *, only_read: bool = False) -> None:
        self.path = Layout(data).ledger
        reading = read_database(self.path, sql.FORMAT, oldest=sql.OLDEST_READABLE) if only_read else None
        self._db = reading or open_database(self.path, sql.SCHEMA, sql.FORMAT, upgrades=sql.UPGRADES)
        # A file that is only read may come from a program without these tables.
        names = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('outcome', 'closed')"
        with database_errors(self.path):
            self._has_outcomes = self._db.execute(names).fetchone()[0] == 2
            has_checksums = self._db.execute("PRAGMA user_version").fetchone()[0] == sql.FORMAT
        if has_checksums:
            correct_rows(self.path, self._db, repair=reading is None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._db.close()

    def runs(self) -> list[RunRecord]:
        """All runs, the latest first."""
        query = sql.RUNS if self._has_outcomes else sql.RUNS_WITHOUT_OUTCOME
        with database_errors(self.path):
            rows = self._db.execute(query).fetchall()
        return [RunRecord(*row[:6], *map(_count_or_none, row[6:])) for row in rows]

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

    def last_moment(self) -> datetime | None:
        """When the latest run ended, or began where it was killed; None where there is none."""
        for run in self.runs():
            with suppress(ValueError):
                return _moment(run.finished_at or run.started_at)
        return None

    def date(self, crawl_date: date) -> DateRecord | None:
        """A crawl date; None where no run of it ever began."""
        return next((day for day in self.dates() if day.crawl_date == crawl_date), None)


def correct_rows(path: Path, db: sqlite3.Connection, *, repair: bool) -> None:
    """Correct rows by their checksums. Raises `OutputError` where that cannot be done."""
    for table, keys in (("run", 1), ("lease", 2)):
        with database_errors(path):
            rows = db.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - two names
        for row in rows:
            if row_checksum(row[:-1]) == row[-1]:
                continue
            better = corrected(row)
            if better is None or not repair:
                raise damaged(path, f"table {table}, {row[:keys]}")
            _replace(path, db, table, row[:keys], better)


def _replace(
    path: Path, db: sqlite3.Connection, table: str, key: tuple[str, ...], row: tuple[object, ...]
) -> None:
    names = ("run_id", "day")[: len(key)]
    wanted = " AND ".join(f"{name} = ?" for name in names)
    with database_errors(path), transaction(db):
        # A run keeps its place among the others.
        columns = [column[1] for column in db.execute(f"PRAGMA table_info({table})")]
        assigned = ", ".join(f"{column} = ?" for column in columns)
        db.execute(f"UPDATE {table} SET {assigned} WHERE {wanted}", (*row, *key))  # noqa: S608 - names


def _count_or_none(value: object) -> int | None:
    """A figure of an outcome, whose rows have no checksum: damage costs the figure alone."""
    return value if isinstance(value, int) and value >= 0 else None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
