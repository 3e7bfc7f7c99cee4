"""Journals that an earlier build began: `journal_format_5.sql` is one, dumped as SQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from crawler.api.columns import read_batch
from crawler.models.errors import InputError, OutputError
from crawler.models.page import Page
from crawler.models.seller import Ending, SellerStatus, StopReason
from crawler.store.held import Held
from crawler.store.journal import Journal
from crawler.store.journal_sql import FORMAT
from crawler.store.records import Record
from crawler.store.segments import SegmentWriter

DUMP = Path(__file__).with_name("journal_format_5.sql")


def begun_before(folder: Path, user_version: int = 5) -> Path:
    path = folder / "2026-11-23.1.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DUMP.read_text())
        connection.execute(f"PRAGMA user_version = {user_version}")
    return path


def test_a_date_begun_by_the_format_before_is_gone_on_with(tmp_path: Path) -> None:
    path = begun_before(tmp_path)
    with Journal(path) as journal:
        writer = SegmentWriter(journal, read_batch)
        assert not str(writer.repairs)
        assert (journal.meta("source"), journal.reader.credits(), journal.last_seq) == ("sellers.csv", 6, 4)
        found = {
            s.seller_id: (s.status.value, s.pages, s.credits, s.rows) for s in journal.reader.summaries()
        }
        assert found == {
            "a": ("complete", 2, 2, 14),
            "b": ("complete", 1, 1, 3),
            "c": ("failed", 0, 2, 0),
            "d": ("partial", 1, 1, 10),
        }
        assert [p.next_page for p in journal.sellers.begun()] == [2]
        last = Page("d", 2, b'{"code":0,"data":[]}', 0, 5, 2000, "req")
        writer.write([Record("d", "run2", 1, last, Ending(SellerStatus.COMPLETE, StopReason.EMPTY_PAGE))])
        writer.flush()
        (segment,) = journal.segments()
        assert (segment.first_seq, segment.last_seq, segment.rejected) == (1, 5, 0)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    with Journal(path) as journal:
        assert not str(SegmentWriter(journal, read_batch).repairs)


def test_reading_a_date_begun_by_the_format_before_leaves_it_as_it_is(tmp_path: Path) -> None:
    """`plan` and `status` read without the lock: a run of the earlier program may have the file open."""
    path = begun_before(tmp_path)
    path.chmod(0o400)
    before = path.read_bytes()
    with Journal(path, only_read=True) as journal:
        assert (journal.meta("source"), journal.reader.credits(), journal.last_seq) == ("sellers.csv", 6, 4)
        assert {s.seller_id: s.pages for s in journal.reader.summaries()} == {"a": 2, "b": 1, "c": 0, "d": 1}
        assert [p.seller_id for p in journal.waiting()] == ["a", "b", "a", "d"]
        assert Held.of(journal) is None
    assert path.read_bytes() == before
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("user_version", [1, 4])
def test_reading_an_older_format_is_refused_and_leaves_it_as_it_is(tmp_path: Path, user_version: int) -> None:
    path = begun_before(tmp_path, user_version)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"finish its crawl date with the older program, or .* --fresh"):
        Journal(path, only_read=True)
    assert path.read_bytes() == before


def test_reading_a_journal_that_a_kill_left_empty_finds_nothing_and_leaves_it_as_it_is(
    tmp_path: Path,
) -> None:
    path = tmp_path / "2026-11-23.1.sqlite"
    path.touch()
    with Journal(path, only_read=True) as journal:
        assert (journal.last_seq, journal.meta("source"), [*journal.reader.summaries()]) == (0, None, [])
    assert path.read_bytes() == b""


@pytest.mark.parametrize("user_version", [1, 4])
def test_a_date_begun_by_an_older_format_is_refused_with_what_to_do(
    tmp_path: Path, user_version: int
) -> None:
    path = begun_before(tmp_path, user_version)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"finish its crawl date with the older program, or .* --fresh"):
        Journal(path)
    assert path.read_bytes()[100:] == before[100:], "only WAL mode may be noted in the head"


def test_a_format_whose_tables_are_others_is_damage(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="its tables have changed"):
        Journal(begun_before(tmp_path, FORMAT))
