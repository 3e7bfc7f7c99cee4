"""Group commits: many workers' records in one durable write, off the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Protocol

from crawler.models.page import NO_NOTES, Gap, Page, PageNotes
from crawler.models.seller import Ending
from crawler.store.records import Record
from crawler.store.segments import SegmentWriter


class RecordStore(Protocol):
    """Where records become durable."""

    async def write(self, records: list[Record]) -> None:
        """Write a group of records: all are durable when this returns."""

    async def drifted(self, seller_id: str) -> tuple[list[Gap], dict[int, int]]:
        """See `ports.Journal`."""


class SegmentStore:
    """A `SegmentWriter` that one executor thread uses."""

    def __init__(self, segments: SegmentWriter, executor: Executor) -> None:
        self._segments = segments
        self._executor = executor

    async def write(self, records: list[Record]) -> None:
        """See `RecordStore`."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._segments.write, records)

    async def drifted(self, seller_id: str) -> tuple[list[Gap], dict[int, int]]:
        """See `RecordStore`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._segments.journal.sellers.drifted, seller_id)


class GroupCommit:
    """The engine's journal port over a store of records.

    Records that come within `interval` seconds share a commit. Once a write has failed, every later
    one fails with the same error: the disk is not tried again behind the run's back.
    """

    def __init__(self, store: RecordStore, run_id: str, interval: float) -> None:
        self._store = store
        self._run_id = run_id
        self._interval = interval
        self._waiting: list[tuple[Record, asyncio.Future[None]]] = []
        self._flush: asyncio.Task[None] | None = None
        self._broken: Exception | None = None

    async def append(
        self, page: Page, credits_spent: int, ending: Ending | None, notes: PageNotes = NO_NOTES
    ) -> None:
        """See the engine's port."""
        await self._write(Record(page.seller_id, self._run_id, credits_spent, page, ending, notes))

    async def end(self, seller_id: str, credits_spent: int, ending: Ending | None) -> None:
        """See the engine's port."""
        await self._write(Record(seller_id, self._run_id, credits_spent, None, ending))

    async def drifted(self, seller_id: str) -> tuple[list[Gap], dict[int, int]]:
        """See the engine's port."""
        return await self._store.drifted(seller_id)

    async def close(self) -> None:
        """Wait until nothing is left to write."""
        while self._flush is not None:
            await asyncio.wait([self._flush])

    async def _write(self, record: Record) -> None:
        if self._broken is not None:
            raise self._broken
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((record, done))
        if self._flush is None:
            self._flush = asyncio.create_task(self._flush_until_empty())
        await done

    async def _flush_until_empty(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(self._interval)
                batch, self._waiting = self._waiting, []
                await self._commit(batch)
        finally:
            self._flush = None

    async def _commit(self, batch: list[tuple[Record, asyncio.Future[None]]]) -> None:
        if self._broken is None:
            try:
                await self._store.write([record for record, _ in batch])
            except Exception as failure:  # noqa: BLE001 - whoever waits must learn of it, or would hang
                self._broken = failure
        for done in (done for _, done in batch if not done.done()):
            if self._broken is None:
                done.set_result(None)
            else:
                done.set_exception(self._broken)
