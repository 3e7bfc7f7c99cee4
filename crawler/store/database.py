"""SQLite as journal and ledger use it: WAL, one connection, one thread at a time, full sync."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crawler.errors import InputError, OutputError


def open_database(
    path: Path, schema: str, version: int, *, survive_power_loss: bool = True
) -> sqlite3.Connection:
    """Open or create a database of this format.

    Raises `InputError` where the file was written by a newer program, `OutputError` where it cannot be
    opened or written.
    """
    with database_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if survive_power_loss else 'NORMAL'}")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > version:
            connection.close()
            raise InputError(
                f"{path} has format {found}, this program knows up to {version}: use the newer program"
            )
        connection.executescript(f"BEGIN IMMEDIATE;{schema};PRAGMA user_version={version};COMMIT;")
        connection.execute("PRAGMA wal_checkpoint")
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All or nothing, durable at the end of the block."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def transaction_without_growing(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A transaction that needs no new room on the disk, where a full one may be why a run ends.

    Once its content is in the main file, the write-ahead log is written from its start again.
    """
    connection.execute("PRAGMA wal_checkpoint(RESTART)")
    with transaction(connection):
        yield connection


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into an `OutputError` that names the file."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise OutputError(
            f"cannot use {path}: {error}; make room or mend the permissions, then run the same command again"
        ) from error
