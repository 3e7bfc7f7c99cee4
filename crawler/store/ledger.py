"""The ledger: every credit ever reserved, by run and crawl date. It forgets nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Self

from crawler.store.database import (
    database_errors,
    open_database,
    transaction,
    transaction_without_growing,
)
from crawler.store.failpoints import reached

FORMAT = 1
FINISHED = frozenset({0, 4})
"""Exit codes that leave nothing to go on with."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    run_id TEXT PRIMARY KEY,
    crawl_date TEXT NOT NULL,
    started_at TEXT NOT NULL,
    reserved INTEGER NOT NULL DEFAULT 0,
    finished_at TEXT,
    exit_code INTEGER
);
CREATE INDEX IF NOT EXISTS run_of_date ON run (crawl_date)
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


class Ledger:
    """Credits reserved on disk before they are spent; what a killed run had reserved counts as spent.

    Raises `OutputError` where the file cannot be written, `InputError` where it is of a newer format.
    """

    def __init__(self, data: Path) -> None:
        self._path = data / "state" / "ledger.sqlite"
        self._db = open_database(self._path, _SCHEMA, FORMAT)

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
        self, run_id: str, crawl_date: date, budget: int | None, lease: Callable[[int | None], int]
    ) -> int:
        """Reserve what `lease` wants of what the date's budget has left; returns it, 0 for nothing."""
        reached("lease.reserve")
        with database_errors(self._path), transaction(self._db) as db:
            remaining = None if budget is None else max(0, budget - self.spent_for(crawl_date))
            size = lease(remaining)
            db.execute("UPDATE run SET reserved = reserved + ? WHERE run_id = ?", (size, run_id))
        reached("lease.reserved")
        return size

    def settle(self, run_id: str, spent: int) -> None:
        """Return what a run reserved and did not spend."""
        reached("ledger.settle")
        with database_errors(self._path), transaction_without_growing(self._db) as db:
            db.execute("UPDATE run SET reserved = ? WHERE run_id = ?", (spent, run_id))

    def finish(self, run_id: str, finished_at: str, exit_code: int) -> None:
        """Note how a run ended."""
        with database_errors(self._path), transaction_without_growing(self._db) as db:
            db.execute(
                "UPDATE run SET finished_at = ?, exit_code = ? WHERE run_id = ?",
                (finished_at, exit_code, run_id),
            )

    def spent_for(self, crawl_date: date) -> int:
        """Credits reserved or spent for a crawl date by all its runs."""
        query = "SELECT coalesce(sum(reserved), 0) FROM run WHERE crawl_date = ?"
        return int(self._db.execute(query, (crawl_date.isoformat(),)).fetchone()[0])

    def unfinished(self) -> set[str]:
        """Crawl dates whose latest run left something to do."""
        return {day for day, code in self._latest().items() if code not in FINISHED}

    def latest_exit_code(self, crawl_date: date) -> int | None:
        """How the date's latest run ended; None where it was killed, or there was none."""
        return self._latest().get(crawl_date.isoformat())

    def _latest(self) -> dict[str, int | None]:
        latest: dict[str, int | None] = {}
        for run in self.runs():
            latest.setdefault(run.crawl_date, run.exit_code)
        return latest

    def runs(self) -> list[RunRecord]:
        """All runs, the latest first."""
        query = "SELECT run_id, crawl_date, started_at, reserved, finished_at, exit_code FROM run"
        return [RunRecord(*row) for row in self._db.execute(f"{query} ORDER BY started_at DESC, run_id DESC")]
