"""Bodies wait in the journal as they came, however they are joined, and also as an older format kept them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pyarrow as pa
import pytest

from crawler.models import Page
from crawler.store import journal as journals
from crawler.store.journal import Journal, Record, Segment

SIZES = [[3], [0, 1, 2], [500, 40, 40, 7], [64, 64], [1]]


def records(sizes: list[int], first: int) -> list[Record]:
    pages = [
        Page("7", number, bytes([number]) * size, 10, number, 0, f"r{number}")
        for number, size in enumerate(sizes, start=first)
    ]
    return [Record(page.seller_id, "run", 1, page, None) for page in pages]


def bodies(journal: Journal) -> list[tuple[int, bytes]]:
    return [(page.seq, page.body) for page in journal.waiting()]


def filled(path: Path) -> list[tuple[int, bytes]]:
    written: list[tuple[int, bytes]] = []
    with Journal(path) as journal:
        for sizes in SIZES:
            written += [(p.seq, p.body) for p in journal.write(records(sizes, len(written) + 1))]
    return written


@pytest.mark.parametrize("joined", [1, 100, 1024 * 1024])
def test_bodies_come_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, joined: int) -> None:
    monkeypatch.setattr(journals, "_JOINED_BYTES", joined)
    written = filled(tmp_path / "j.sqlite")
    assert [len(body) for _, body in written] == [size for sizes in SIZES for size in sizes]
    with Journal(tmp_path / "j.sqlite") as journal:
        assert bodies(journal) == written


@pytest.mark.parametrize("commits", range(len(SIZES) + 1))
def test_those_in_a_segment_wait_no_more(tmp_path: Path, commits: int) -> None:
    written = filled(tmp_path / "j.sqlite")
    last = sum(map(len, SIZES[:commits]))
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.adopt(Segment(f"{last:012}", last, 0))
        assert bodies(journal) == written[last:]
        written += [(p.seq, p.body) for p in journal.write(records([9, 9], len(written) + 1))]
        assert bodies(journal) == written[last:]


def test_a_journal_of_format_2_has_one_body_for_each_page(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    written = filled(path)
    old = sqlite3.connect(path)
    codec = pa.Codec("zstd", compression_level=1)
    with old:
        old.execute("DELETE FROM body")
        old.executemany(
            "INSERT INTO body VALUES (?, ?)",
            [(seq, codec.compress(body, asbytes=True)) for seq, body in written],
        )
        old.execute("ALTER TABLE page DROP COLUMN edge")
        old.execute("PRAGMA user_version=2")
    old.close()
    with Journal(path) as journal:
        written += [(p.seq, p.body) for p in journal.write(records([5, 6], len(written) + 1))]
        assert bodies(journal) == written
        journal.adopt(Segment("4", 4, 0))
        assert bodies(journal) == written[4:]
