"""SQLite as journal and ledger use it: WAL, one connection, one thread at a time, full sync."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from crawler.errors import InputError, OutputError


def open_database(
    path: Path,
    schema: str,
    version: int,
    *,
    oldest: int = 1,
    survive_power_loss: bool = True,
) -> sqlite3.Connection:
    """Open or create a database of this format.

    One from `oldest` on is brought up to it by `schema`.

    Raises `InputError` where the file was written by a newer program or is too old, `OutputError` where it
    cannot be opened or written.
    """
    with database_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if survive_power_loss else 'NORMAL'}")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > version:
            connection.close()
            raise _newer(path, found, version)
        if 0 < found < oldest:
            connection.close()
            raise InputError(
                f"{path} has format {found}, which this program no longer reads: finish its crawl date with "
                "the older program, or crawl it anew with --fresh"
            )
        connection.executescript(f"BEGIN IMMEDIATE;{schema};PRAGMA user_version={version};COMMIT;")
        connection.execute("PRAGMA wal_checkpoint")
    return connection


def read_database(path: Path, version: int) -> sqlite3.Connection | None:
    """Open a database only to read it, maybe beside a run that writes it; None for an older format.

    Raises `InputError` where it was written by a newer program, `OutputError` where it cannot be read.
    """
    address = f"file:{quote(bytes(path.absolute()))}?mode=ro"
    with database_errors(path):
        try:
            connection = _connect_to_read(address)
        except sqlite3.OperationalError:
            # A read-only folder has no room for the index of a write-ahead log: without a log none is needed.
            connection = _connect_to_read(f"{address}&immutable=1")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > version:
        connection.close()
        raise _newer(path, found, version)
    return connection if found == version else None


def _connect_to_read(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return connection


def _newer(path: Path, found: int, version: int) -> InputError:
    return InputError(f"{path} has format {found}, this program knows up to {version}: use the newer program")


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
    except (sqlite3.OperationalError, OSError) as error:
        raise OutputError(
            f"cannot use {path}: {error}; make room or mend the permissions, then run the same command again"
        ) from error
    except sqlite3.Error as error:
        raise OutputError(f"{path} is damaged: {error}; restore it from a copy, then run again") from error


@contextmanager
def damage_told(folder: Path) -> Iterator[None]:
    """Turn an error of SQLite that was met in the midst of reading into an `OutputError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise OutputError(
            f"a database below {folder} cannot be read: {error}; restore it from a copy, then run again"
        ) from error
