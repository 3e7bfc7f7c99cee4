"""SQLite as journal and ledger use it: WAL, one connection, one thread at a time, full sync; its damage."""

from __future__ import annotations

import shlex
import sqlite3
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from zlib import crc32

from crawler.models.errors import InputError, OutputError
from crawler.store.checksums import row_checksum
from crawler.store.files import make_private_file, make_private_folder
from crawler.store.layout import LEDGER_NAME, log_of, put_away

_DAMAGE = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
}
_LOG_MAGIC, _LOG_HEADER, _FRAME_HEADER = 0x377F0682, 32, 24


@dataclass(frozen=True, slots=True)
class Format:
    """A database's tables; files from `oldest` on are brought up to them by `upgrades`, and then by `schema`.

    One from `readable` on (by default only one of this version) can be read as it is. The queries may call
    `row_checksum` and `blob_checksum`.
    """

    version: int
    schema: str
    upgrades: Mapping[int, str]
    oldest: int = 1
    readable: int | None = None


def open_database(path: Path, wanted: Format, *, survive_power_loss: bool = True) -> sqlite3.Connection:
    """Open or create a database of this format; one that exists is checked for damage.

    Raises `InputError` where the file was written by a newer program or is too old, `OutputError` where it
    is damaged, or cannot be opened or written.
    """
    with database_errors(path):
        make_private_folder(path.parent)
        make_private_file(path)
        connection = _connect(path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if survive_power_loss else 'NORMAL'}")
        found = _require_known_format(connection, path, wanted)
        if found:
            _require_sound(connection, path, wanted.schema if found == wanted.version else None)
        _bring_up(connection, found, wanted)
        connection.execute("PRAGMA wal_checkpoint")
    return connection


def _connect(database: Path | str) -> sqlite3.Connection:
    is_address = isinstance(database, str)
    connection = sqlite3.connect(database, uri=is_address, isolation_level=None, check_same_thread=False)
    connection.create_function("row_checksum", -1, _row_checksum, deterministic=True)
    connection.create_function("blob_checksum", 1, crc32, deterministic=True)
    return connection


def _require_known_format(connection: sqlite3.Connection, path: Path, wanted: Format) -> int:
    """The format of a database, 0 where it is empty. Raises `InputError` where it is too old or too new."""
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if not found or wanted.oldest <= found <= wanted.version:
        return found
    connection.close()
    if found > wanted.version:
        known = f"this program knows up to {wanted.version}"
        raise InputError(f"{path} has format {found}, {known}: use the newer program")
    raise InputError(
        f"{path} has format {found}, which this program no longer reads: finish its crawl date with "
        "the older program, or crawl it anew with --fresh"
    )


def _bring_up(connection: sqlite3.Connection, found: int, wanted: Format) -> None:
    steps = f"{wanted.upgrades.get(found, '')};{wanted.schema};PRAGMA user_version={wanted.version}"
    connection.executescript(f"BEGIN IMMEDIATE;{steps};COMMIT;")


def _require_sound(connection: sqlite3.Connection, path: Path, schema: str | None) -> None:
    """Raise `OutputError` where the structure of a database is damaged, or its tables are others."""
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise damaged(path, verdict)
    if schema is None:
        return
    with closing(_connect(":memory:")) as pattern:
        pattern.executescript(schema)
        wanted, found = _tables(pattern), _tables(connection)
    # An index may be added later.
    if not wanted <= found or any(kind != "index" for kind, _, _ in found - wanted):
        raise damaged(path, "its tables have changed")


def _tables(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    # A column that was added later has other white space around it.
    found = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master").fetchall()
    return {(kind, name, "".join(sql.split())) for kind, name, sql in found}


def _row_checksum(*values: object) -> int:
    return row_checksum(values)


def read_database(path: Path, wanted: Format) -> sqlite3.Connection:
    """Open a database only to read it, maybe beside a run that writes it; the file stays as it is.

    One that cannot be read as it is is read from a copy in memory, which is brought up to this format.
    Raises `InputError` as `open_database` does, `OutputError` where it cannot be read.
    """
    address = f"file:{quote(bytes(path.absolute()))}?mode=ro"
    with database_errors(path):
        try:
            connection = _connect_to_read(address)
        except sqlite3.OperationalError:
            # A read-only folder has no room for the index of a write-ahead log: without a log none is needed.
            connection = _connect_to_read(f"{address}&immutable=1")
        found = _require_known_format(connection, path, wanted)
        if found >= (wanted.readable or wanted.version):
            return connection
        copy = _connect(":memory:")
        with closing(connection):
            connection.backup(copy)
        _bring_up(copy, found, wanted)
    return copy


def _connect_to_read(address: str) -> sqlite3.Connection:
    connection = _connect(address)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
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
    """A transaction that needs no new room on a full disk: the log is first copied, then begun anew."""
    connection.execute("PRAGMA wal_checkpoint(RESTART)")
    with transaction(connection):
        yield connection


@contextmanager
def database_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into an `OutputError` that names the file."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, sqlite3.Error) and _is_damage(error):
            raise damaged(path, error) from error
        raise OutputError(
            f"cannot use {path}: {error}; make room or repair the permissions, "
            "then run the same command again"
        ) from error


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the file's content is why: a missing table and text that is no text are damage, too."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return not isinstance(error, sqlite3.OperationalError) or code in _DAMAGE


def damaged(path: Path, reason: object) -> OutputError:
    """What to raise of a database that cannot be trusted, with the way out."""
    if path.name == LEDGER_NAME:
        way_out = (
            f"move it away (mkdir {quoted(put_away(path))}; mv {quoted(path)}* "
            f"{quoted(put_away(path))}/), and the next run counts again what the journals know"
        )
    else:
        way_out = "pay for its crawl date again with --fresh"
    why = " ".join(str(reason).split())
    return OutputError(f"{path} is damaged ({why}): restore it from a copy, or {way_out}")


def quoted(path: Path) -> str:
    """A path as a shell reads it."""
    return shlex.quote(str(path))


@contextmanager
def state_errors(folder: Path) -> Iterator[None]:
    """Turn an error of SQLite that was met in the midst of reading into an `OutputError`."""
    try:
        yield
    except sqlite3.Error as error:
        raise OutputError(
            f"a database below {folder} cannot be read: {error}; restore it from a copy, or move it away and "
            "pay for its crawl date again with --fresh"
        ) from error


def unread_commits(database: Path) -> int:
    """How many commits in a database's log follow a bad checksum, so that SQLite silently leaves them out.

    Also counted is a commit that a power loss tore: it had never returned. Raises `OSError`.
    """
    path = log_of(database)
    log = path.read_bytes() if path.exists() else b""
    if len(log) < _LOG_HEADER:
        return 0
    magic, _, page_size = struct.unpack_from(">III", log)
    words = ">II" if magic & 1 else "<II"
    salts, state = log[16:24], _log_checksum(log[:24], words, (0, 0))
    is_readable = magic & ~1 == _LOG_MAGIC and struct.pack(">II", *state) == log[24:_LOG_HEADER]
    if not is_readable:
        salts = log[_LOG_HEADER + 8 : _LOG_HEADER + 16]
    if not 512 <= page_size <= 65_536:
        return 1
    unread, size = 0, _FRAME_HEADER + page_size
    for begin in range(_LOG_HEADER, len(log) - size + 1, size):
        head, page = log[begin : begin + _FRAME_HEADER], log[begin + _FRAME_HEADER : begin + size]
        if is_readable:
            if head[8:16] != salts:
                # What follows is left of an earlier round of the log.
                break
            state = _log_checksum(head[:8] + page, words, state)
            is_readable = struct.pack(">II", *state) == head[16:]
        is_commit = head[4:8] != bytes(4)
        unread += not is_readable and is_commit and head[8:16] == salts
    return unread


def _log_checksum(content: bytes, words: str, state: tuple[int, int]) -> tuple[int, int]:
    """SQLite's checksum of a log, going on from the one before."""
    one, two = state
    for first, second in struct.iter_unpack(words, content):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two
