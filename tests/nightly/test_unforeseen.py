"""A fault of the program itself ends the run, and leaves the credits right."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from crawler.models.page import Page
from crawler.store.group_commit import GroupCommit, SegmentStore


class Broken:
    """A staging area that nobody foresaw."""

    journal = SimpleNamespace()

    def write(self, _records: list[Any]) -> None:
        raise ZeroDivisionError


def test_a_commit_that_fails_in_a_way_nobody_foresaw_fails_all_who_wait_for_it() -> None:
    """And all who come later: none of them hangs."""
    staging: Any = Broken()

    async def main() -> None:
        with ThreadPoolExecutor(1) as executor:
            journal = GroupCommit(SegmentStore(staging, executor), "run", 0.01)
            pages = [Page("s", n, b"", 0, 0, 0, "") for n in range(3)]
            waiting = [asyncio.create_task(journal.append(page, 1, None)) for page in pages]
            done, hanging = await asyncio.wait(waiting, timeout=2)
            assert not hanging
            assert all(isinstance(task.exception(), ZeroDivisionError) for task in done)
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(journal.end("s", 1, None), 2)
            await journal.close()

    asyncio.run(main())
