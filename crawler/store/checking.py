"""What is wrong with the databases under `state/`, found without changing them: open it to look for more."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from zlib import crc32

from crawler.models.errors import CrawlerError
from crawler.store import ledger_sql
from crawler.store.absorbing import absorbed_of
from crawler.store.attempt_log import damage_after, frames_from
from crawler.store.checksums import row_checksum
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles
from crawler.store.record_frames import decode
from crawler.store.repair import CHECKED_TABLES
from crawler.store.segment_file import damage_of
from crawler.store.sqlite import read_database, unread_commits


def ledger_damages(path: Path) -> list[str]:
    """What is wrong with the ledger, in sentences; it may be written meanwhile."""
    try:
        with closing(read_database(path, ledger_sql.DATABASE)) as db:
            return [*_structure(db), *_wrong_rows(db, ("run", "lease"))]
    except (CrawlerError, sqlite3.Error) as error:
        return [str(error)]


def journal_damages(path: Path) -> list[str]:
    """What is wrong with a journal and its segments, in sentences; no run may be writing it."""
    try:
        cut = unread_commits(path)
        with Journal(path, only_read=True) as journal:
            db = journal.connection
            found = [*_structure(db), *_wrong_rows(db, CHECKED_TABLES), *_wrong_bodies(db)]
            segments = damage_of(journal)
    except (CrawlerError, sqlite3.Error, OSError) as error:
        return [str(error)]
    found += [] if segments is None else [segments]
    return [*found, f"{cut} commits of its log cannot be read"] if cut else found


def left_logs(path: Path) -> tuple[int, dict[Path, list[str]]]:
    """What workers left beside a journal: how many pages wait to be taken in, and by log what is wrong.

    No run may be writing it, and no worker.
    """
    pages, damages = 0, dict[Path, list[str]]()
    for fence, log in JournalFiles(path).attempt_logs().items():
        damages[log] = wrong = list[str]()
        try:
            with Journal(path, only_read=True) as journal:
                after = offset = absorbed_of(journal, fence)
            for frame, end in frames_from(log, offset):
                after = end
                pages += sum(record.page is not None for record in decode(frame))
            wrong += filter(None, [damage_after(log, after)])
        except (CrawlerError, sqlite3.Error, OSError, ValueError) as error:
            wrong.append(str(error))
    return pages, damages


def _structure(db: sqlite3.Connection) -> Iterator[str]:
    (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        yield " ".join(str(verdict).split())


def _wrong_rows(db: sqlite3.Connection, tables: tuple[str, ...]) -> Iterator[str]:
    for table in tables:
        rows = db.execute(f"SELECT * FROM {table}")  # noqa: S608 - our own names
        wrong = sum(row_checksum(row[:-1]) != row[-1] for row in rows)
        if wrong:
            yield f"{wrong} rows of its table {table} have changed"


def _wrong_bodies(db: sqlite3.Connection) -> Iterator[str]:
    rows = db.execute("SELECT lz4, checksum FROM body")
    wrong = sum(not isinstance(blob, bytes) or crc32(blob) != checksum for blob, checksum in rows)
    if wrong:
        yield f"{wrong} groups of stored answers have changed"
