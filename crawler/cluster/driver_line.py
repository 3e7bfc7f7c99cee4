"""An attempt's line to its driver: credits and records go over it, for as long as the lease goes on."""

from __future__ import annotations

import asyncio
from itertools import count

from crawler.cluster.lease import Lease
from crawler.cluster.link import Link, LinkError
from crawler.cluster.messages import Keep, LostError, Reserve, Reserved, as_plain, reply_of
from crawler.cluster.shard_sellers import Readings
from crawler.cluster.surroundings import Surroundings
from crawler.engine.stop import Stop
from crawler.models.errors import BudgetSpentError, KeySpentError
from crawler.models.keys import KeySettings
from crawler.store.record_frames import encode
from crawler.store.records import Record

CALLS_A_LEASE = 4
"""A message that is not answered is sent again so often before the lease ends."""
_WAIT_S = 0.2
"""Seconds until a message is sent again, or credits are asked for again that others may return."""


class DriverLine:
    """The engine's ledger, and the store of its records, as one attempt has them.

    Each call raises `LeaseLostError` once the lease is over.
    """

    def __init__(self, fence: int, lease: Lease, around: Surroundings, stop: Stop) -> None:
        self._fence, self._lease, self._stop = fence, lease, stop
        self._link, self._pages, self._log = around.link, around.pages, around.log
        self._numbers = count(1)
        self.keys: list[str] = []
        self.to_repair: dict[str, Readings] = {}
        self.durable = 0
        """Bytes of the log that are on disk."""

    async def reserve(self, in_use: int) -> int:
        """See `ports.Ledger`."""
        reserved = await self._reserve(0, in_use)
        if reserved.spent:
            raise BudgetSpentError(reserved.spent)
        return reserved.credits

    async def reserve_for(self, key: KeySettings, in_use: int) -> int:
        """See `ports.KeyLedger`."""
        reserved = await self._reserve(self.keys.index(key.name), in_use)
        if reserved.key_spent:
            raise KeySpentError(reserved.key_spent)
        if reserved.spent:
            raise BudgetSpentError(reserved.spent)
        return reserved.credits

    async def give_back(self, key: KeySettings, spent: int) -> None:
        """See `ports.KeyLedger`: they are returned with the end of the attempt."""

    async def write(self, records: list[Record]) -> None:
        """See `RecordStore`."""
        self._lease.require()
        if self._log is not None:
            self.durable = await self._log.append(records)
        else:
            await self._ask(
                Keep(fence=self._fence, number=next(self._numbers), frame=encode(records)), self._pages
            )

    async def drifted(self, seller_id: str) -> Readings:
        """See `RecordStore`: the driver gave it with the shard."""
        return self.to_repair[seller_id]

    async def _reserve(self, key: int, in_use: int) -> Reserved:
        """Lease credits; waits where others may return some."""
        while True:
            message = Reserve(fence=self._fence, number=next(self._numbers), key=key, in_use=in_use)
            reserved = await self._ask(message, self._link)
            if not reserved.must_wait:
                return reserved
            self._stop.raise_if_stopping()
            await asyncio.sleep(_WAIT_S)

    async def _ask(self, message: Reserve | Keep, link: Link) -> Reserved:
        plain = as_plain(message)
        while True:
            self._lease.require()
            try:
                return reply_of(Reserved, await link.call(plain, self._lease.seconds / CALLS_A_LEASE))
            except LinkError:
                await asyncio.sleep(_WAIT_S)
            except LostError:
                self._lease.give_up()
