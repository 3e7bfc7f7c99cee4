"""What the driver of a crawl writes for its workers: credits in the ledger, pages in the date's journal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

from crawler.cluster.shard_sellers import Readings
from crawler.engine.key_lane import KeyLane
from crawler.models.keys import Retirement
from crawler.nightly.account import LedgerPort
from crawler.nightly.keys import note_retired, return_unused
from crawler.nightly.opening import Opened
from crawler.store.absorbing import absorb, next_fence
from crawler.store.record_frames import decode
from crawler.store.records import Record


class DriverBooks:
    """See `coordinator.Books`; `lanes` are the keys where there are several, for the report."""

    def __init__(self, opened: Opened, writer: Executor, counter: Executor) -> None:
        settings = opened.night.settings
        self._opened, self._writer, self._counter = opened, writer, counter
        self._segments = opened.store.segments
        self._port = LedgerPort(opened.account, settings.qps, counter)
        self.lanes = [KeyLane(key, settings.api.retry_after_cap) for key in settings.api.keys or ()]

    async def next_fence(self) -> int:
        """See `Books`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, next_fence, self._opened.journal)

    async def drifted(self, sellers: Sequence[str]) -> dict[str, Readings]:
        """See `Books`."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._drifted, sellers)

    async def reserve(self, key: int, in_use: int) -> int:
        """See `Books`."""
        if self.lanes:
            return await self._port.reserve_for(self.lanes[key].limits, in_use)
        return await self._port.reserve(in_use)

    async def keep(self, frame: bytes) -> Sequence[Record]:
        """See `Books`."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._keep, frame)

    async def absorb(self, fence: int, up_to: int | None) -> Sequence[Record]:
        """See `Books`."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._absorb, fence, up_to)

    async def return_unused(self, charged: Sequence[int]) -> None:
        """Return to the ledger what no worker has spent, or may have."""
        for lane, spent in zip(self.lanes, charged, strict=False):
            lane.taken = spent
        by_key = {lane.limits.name: lane.taken for lane in self.lanes}
        await return_unused(self._opened, self._counter, by_key or charged[0])

    def retire(self, key: int, why: str, detail: str) -> None:
        """Note that a key is used no more."""
        self.lanes[key].retire(Retirement(why), detail)
        note_retired(self._opened, self.lanes[key], self.lanes)

    def _drifted(self, sellers: Sequence[str]) -> dict[str, Readings]:
        return {seller_id: self._opened.journal.sellers.drifted(seller_id) for seller_id in sellers}

    def _keep(self, frame: bytes) -> Sequence[Record]:
        records = decode(frame)
        self._segments.write(records)
        return records

    def _absorb(self, fence: int, up_to: int | None) -> Sequence[Record]:
        return [record for records in absorb(self._segments, fence, up_to) for record in records]
