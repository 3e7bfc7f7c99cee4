"""Databases in states that a run seldom meets: read-only folders, newer formats, transactions that fail."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from crawler.models.errors import InputError, OutputError
from crawler.store import ledger_sql
from crawler.store.ledger import Ledger
from crawler.store.sqlite import read_database, state_errors, transaction

DAY = date(2026, 11, 23)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A ledger with one run, which nobody has open."""
    with Ledger(tmp_path) as ledger:
        ledger.begin("run", DAY, "2026-11-23T00:00:00+00:00")
    return ledger.path


def test_without_room_for_a_log_s_index_a_database_can_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def on_a_read_only_disk(address: str, **options: Any) -> sqlite3.Connection:
        if "immutable" not in address:
            raise sqlite3.OperationalError("unable to open database file")
        connection: sqlite3.Connection = connect(address, **options)
        return connection

    monkeypatch.setattr(sqlite3, "connect", on_a_read_only_disk)
    with Ledger(path.parent.parent, only_read=True) as ledger:
        assert [run.run_id for run in ledger.runs()] == ["run"]


def test_a_newer_format_is_not_read(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {ledger_sql.FORMAT + 1}")
    with pytest.raises(InputError, match="use the newer program"):
        read_database(path, ledger_sql.DATABASE)


@pytest.mark.parametrize("ends_itself", [False, True])
def test_of_a_transaction_that_fails_nothing_is_left(path: Path, *, ends_itself: bool) -> None:
    """SQLite ends one by itself where the disk is full."""

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM run")
        if ends_itself:
            connection.execute("ROLLBACK")
        raise ZeroDivisionError

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with pytest.raises(ZeroDivisionError), transaction(connection):
            fail(connection)
        assert connection.execute("SELECT count(*) FROM run").fetchone() == (1,)
        assert not connection.in_transaction


def test_a_database_that_cannot_be_read_further_names_its_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=f"a database below {tmp_path} cannot be read"),
        state_errors(tmp_path),
    ):
        raise sqlite3.OperationalError("disk I/O error")


def test_a_date_s_time_that_is_none_is_damage(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.begin("run", DAY, "noon")
        with pytest.raises(OutputError, match=r"ledger.sqlite is damaged"):
            ledger.dates()
