"""Group commits: whoever waits learns how the commit of its record went, whatever the others do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from crawler.models.errors import OutputError
from crawler.models.page import Gap, Page, PageNotes
from crawler.models.seller import Ending, SellerStatus, StopReason
from crawler.store.group_commit import GroupCommit, SegmentStore
from crawler.store.journal import Journal
from crawler.store.records import Record

COMPLETE = Ending(SellerStatus.COMPLETE, StopReason.SHORT_PAGE)


def page(number: int) -> Page:
    return Page("s", number, b'{"data":[]}', 0, 100 + number, 0, "")


class Segments:
    """Writes a journal, each group once `may_write` is set; after that `fails`, or not."""

    def __init__(self, journal: Journal, *, fails: bool = False) -> None:
        self.journal = journal
        self.fails = fails
        self.is_writing = Event()
        self.may_write = Event()

    def write(self, records: list[Record]) -> None:
        self.is_writing.set()
        assert self.may_write.wait(10)
        if self.fails:
            raise OutputError("no room")
        self.journal.write(records)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "2026-11-23.1.sqlite") as journal:
        yield journal


def group_commit(segments: Any, executor: ThreadPoolExecutor) -> GroupCommit:
    return GroupCommit(SegmentStore(segments, executor), "run", 0.001)


async def test_a_commit_that_waits_behind_one_that_fails_fails_as_well(journal: Journal) -> None:
    segments = Segments(journal, fails=True)
    with ThreadPoolExecutor(1) as executor:
        commits = group_commit(segments, executor)
        first = asyncio.create_task(commits.append(page(1), 1, None))
        await asyncio.to_thread(segments.is_writing.wait)
        second = asyncio.create_task(commits.append(page(2), 1, None))
        await asyncio.sleep(0)
        segments.may_write.set()
        await commits.close()
        assert [str(task.exception()) for task in (first, second)] == ["no room"] * 2
    assert not journal.has_pages


async def test_one_that_no_longer_waits_keeps_nobody_from_the_result(journal: Journal) -> None:
    segments = Segments(journal)
    with ThreadPoolExecutor(1) as executor:
        commits = group_commit(segments, executor)
        gone = asyncio.create_task(commits.append(page(1), 1, None))
        waiting = asyncio.create_task(commits.append(page(2), 1, None))
        await asyncio.to_thread(segments.is_writing.wait)
        gone.cancel()
        segments.may_write.set()
        await waiting
        await commits.close()
    assert journal.last_seq == 2


async def test_gaps_are_known_until_they_are_repaired(journal: Journal) -> None:
    segments = Segments(journal)
    segments.may_write.set()
    with ThreadPoolExecutor(1) as executor:
        commits = group_commit(segments, executor)
        await commits.append(page(1), 1, None)
        await commits.append(page(2), 1, None, PageNotes((Gap(2, 3),)))
        await commits.append(page(4), 1, COMPLETE, PageNotes((Gap(4, 0),)))
        fingerprints = {1: 101, 2: 102, 4: 104}
        assert await commits.drifted("s") == ([Gap(2, 3), Gap(4, 0)], fingerprints)
        await commits.append(page(3), 1, None, PageNotes(repaired_beyond=2))
        assert await commits.drifted("s") == ([Gap(2, 3)], {**fingerprints, 3: 103})
        assert journal.sellers.to_repair() == ["s"]
        await commits.append(page(1), 1, None, PageNotes(repaired_beyond=0))
        assert not (await commits.drifted("s"))[0]
        assert not journal.sellers.to_repair()
