"""Values noted beside a journal's pages, and the mark that says whether what is published is up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from crawler.models.errors import InputError
from crawler.store import journal_sql as sql
from crawler.store.checksums import corrected, with_checksum
from crawler.store.journal_database import JournalDatabase
from crawler.store.sqlite import damaged


def read_meta(database: JournalDatabase, name: str) -> str | None:
    """A value noted beside the pages; None where there is none, or damage left none."""
    row = database.connection.execute(sql.META, (name,)).fetchone()
    intact = None if row is None else corrected(row)
    return None if intact is None or intact[0] != name else str(intact[1])


def write_meta(db: sqlite3.Connection, values: Mapping[str, str]) -> None:
    """Note values in a transaction that is open."""
    db.executemany(sql.SET_META, [with_checksum(item) for item in values.items()])


def require_meta(database: JournalDatabase, expected: Mapping[str, str]) -> None:
    """Raise `InputError` where pages were asked for with other values, `OutputError` where these are lost."""
    if not database.last_seq:
        return
    for name, value in expected.items():
        found = read_meta(database, name)
        if found is None:
            raise damaged(database.path, f"{name} of its pages is lost")
        if found != value:
            raise InputError(
                f"this crawl date was begun with {name} {found}, not {value}: their pages do not fit "
                f"together; use --{name} {found}, or crawl the date anew with --fresh"
            )


def mark(database: JournalDatabase) -> str:
    """A text that differs where what is to be published differs: equal marks, equal snapshot."""
    db, has_hidden = database.connection, database.one(sql.ANY_HIDDEN)
    last_seq = database.one(sql.LAST_SHOWN_SEQ) if has_hidden else database.last_seq
    sellers = sorted(db.execute(sql.ENDINGS_SHOWN).fetchall())
    formers = db.execute(sql.FORMER_BATCHES).fetchall()
    return f"{last_seq} {database.one(sql.COSTS_SHOWN)} {sellers}" + (f" {formers}" if formers else "")
