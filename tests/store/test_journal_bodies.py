"""Bodies wait in the journal as they came, however they are joined, and also as an older format kept them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crawler.api.columns import read_batch
from crawler.models.errors import OutputError
from crawler.models.page import Page, RowBatch
from crawler.store import journal as journal_module
from crawler.store.journal import Journal
from crawler.store.records import Record, Segment
from crawler.store.segments import SegmentWriter

EMPTY = read_batch([])
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
    monkeypatch.setattr(journal_module, "_JOINED_BYTES", joined)
    written = filled(tmp_path / "j.sqlite")
    assert [len(body) for _, body in written] == [size for sizes in SIZES for size in sizes]
    with Journal(tmp_path / "j.sqlite") as journal:
        assert bodies(journal) == written


@pytest.mark.parametrize("commits", range(len(SIZES) + 1))
def test_those_in_a_segment_wait_no_more(tmp_path: Path, commits: int) -> None:
    written = filled(tmp_path / "j.sqlite")
    last = sum(map(len, SIZES[:commits]))
    with Journal(tmp_path / "j.sqlite") as journal:
        journal.adopt(Segment(f"{last:012}", 1, last, 0, "{}"))
        assert bodies(journal) == written[last:]
        written += [(p.seq, p.body) for p in journal.write(records([9, 9], len(written) + 1))]
        assert bodies(journal) == written[last:]


class Slow(ThreadPoolExecutor):
    """One thread that begins nothing before it is released."""

    def __init__(self) -> None:
        super().__init__(1)
        self.released = threading.Event()
        self.submit(self.released.wait)


def test_commits_go_on_while_a_segment_is_written(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.sqlite") as journal, Slow() as executor:
        writer = SegmentWriter(journal, lambda _: EMPTY, segment_pages=3, executor=executor)
        for first in (1, 2, 3, 4):
            writer.write(records([1], first))
        assert journal.segments() == []
        assert [seq for seq, _ in bodies(journal)] == [1, 2, 3, 4]
        executor.released.set()
        writer.flush()
        assert [segment.last_seq for segment in journal.segments()] == [3, 4]
        assert bodies(journal) == []
        writer.close()


def test_pages_wait_on_where_their_segment_could_not_be_written(tmp_path: Path) -> None:
    broken = True

    def read(_: Sequence[tuple[str, bytes]]) -> RowBatch:
        if broken:
            raise OSError(28, "No space left on device")
        return EMPTY

    with Journal(tmp_path / "j.sqlite") as journal, ThreadPoolExecutor(1) as executor:
        writer = SegmentWriter(journal, read, segment_pages=2, executor=executor)
        writer.write(records([1, 2], 1))
        writer.close()
        with pytest.raises(OutputError, match="No space left"):
            writer.write(records([3], 3))
        assert len(bodies(journal)) == 3
        broken = False
        writer.flush()
        assert [segment.last_seq for segment in journal.segments()] == [3]
