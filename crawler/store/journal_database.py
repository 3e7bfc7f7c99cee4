"""The journal's open SQLite file and the values noted in it: what the parts of `Journal` stand on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from crawler.store import journal_sql as sql
from crawler.store.checksums import corrected, with_checksum
from crawler.store.sqlite import database_errors, open_database, read_database, transaction

_IDS_AT_A_TIME = 65_536


class JournalDatabase:
    """The connection, and the number of the page received last; used by one thread at a time."""

    def __init__(self, path: Path, *, survive_power_loss: bool, only_read: bool) -> None:
        self.path = path
        self.connection: sqlite3.Connection = (
            read_database(path, sql.DATABASE)
            if only_read
            else open_database(path, sql.DATABASE, survive_power_loss=survive_power_loss)
        )
        self._is_sorted = only_read
        self.last_seq = self.one(sql.LAST_SEQ)

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction. Raises `OutputError` where it fails; then nothing of it is there."""
        with database_errors(self.path), transaction(self.connection) as connection:
            yield connection

    def one(self, query: str) -> int:
        """The number that a query has as its only result."""
        with database_errors(self.path):
            return int(self.connection.execute(query).fetchone()[0])

    def ids(self, query: str, values: Mapping[str, Any] | None = None) -> Iterator[pa.Array[Any]]:
        """A query's first column, some rows at a time."""
        cursor = self.connection.execute(query, values or {})
        while rows := cursor.fetchmany(_IDS_AT_A_TIME):
            yield pa.array([row[0] for row in rows], pa.string())

    def sort_pages(self) -> None:
        """Make the index by which a seller's pages are found, if it is not there and there is room for it."""
        if not self._is_sorted and self.last_seq:
            with database_errors(self.path):
                try:
                    self.connection.execute(sql.INDEX_PAGES_BY_SELLER)
                except sqlite3.OperationalError as error:
                    # It only saves time, and how a run has ended is counted on a full disk too.
                    if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                        raise
                else:
                    self._is_sorted = True

    def meta(self, name: str) -> str | None:
        """A value noted beside the pages; None where there is none, or damage left none."""
        row = self.connection.execute(sql.META, (name,)).fetchone()
        intact = None if row is None else corrected(row)
        return None if intact is None or intact[0] != name else str(intact[1])

    def set_meta(self, values: Mapping[str, str]) -> None:
        """Note values in the transaction that is open."""
        self.connection.executemany(sql.SET_META, [with_checksum(item) for item in values.items()])

    def forget(self, name: str) -> None:
        """Remove a value that was noted."""
        with self.changing() as db:
            db.execute(sql.FORGET_META, (name,))

    def mark(self) -> str:
        """A text that differs where what is to be published differs: equal marks, equal snapshot."""
        last_seq = self.one(sql.LAST_SHOWN_SEQ) if self.one(sql.ANY_HIDDEN) else self.last_seq
        sellers = sorted(self.connection.execute(sql.ENDINGS_SHOWN).fetchall())
        previous = self.connection.execute(sql.PREVIOUS_BATCHES).fetchall()
        bases = self.one(sql.COUNT_BASES)
        beside = (f" {previous}" if previous else "") + (f" {bases} bases" if bases else "")
        return f"{last_seq} {self.one(sql.COSTS_SHOWN)} {sellers}{beside}"
