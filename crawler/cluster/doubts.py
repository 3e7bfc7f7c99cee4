"""Refusals of all attempts that a wrong address would cause too, until the night shows whose fault it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from crawler.cluster.intake import DateJournal, OnEnd
from crawler.cluster.news import News
from crawler.engine.reading import log_failure
from crawler.engine.seller import failed
from crawler.models.seller import Ending, PageRequest, SellerProgress
from crawler.rules.address import FIRST_REFUSED, AddressCheck
from crawler.rules.shards import Shard
from crawler.store.record_frames import encode
from crawler.store.records import Record


class Doubts:
    """Keeps refused sellers in the night's `address`, and ends those that are at fault themselves.

    `on_end` is informed of sellers that have ended.
    """

    def __init__(self, journal: DateJournal, run_id: str, on_end: OnEnd) -> None:
        self._journal, self._run_id, self._on_end = journal, run_id, on_end
        self._shards: dict[str, Shard] = {}
        # Those with sellers that were not asked since their attempt doubted the address.
        self._waiting: dict[int, Shard] = {}
        self._by_host = Counter[str]()
        self._turn = asyncio.Lock()
        self.address = AddressCheck()

    def take(self, shard: Shard, host: str, refused: Sequence[Sequence[Any]]) -> None:
        """Take what an attempt was refused; its shard is done where nothing else is left of it."""
        self._by_host[host] += len(refused)
        for seller_id, page_num, reason, kind in refused:
            if seller_id in shard.sellers:
                self._shards[seller_id] = shard
                request = PageRequest(SellerProgress(seller_id, page_num), page_num, reason=reason, kind=kind)
                self.address.keep_in_doubt(request, kind)
        if shard.sellers.keys() <= self.address.in_doubt.keys():
            shard.is_done = True
        else:
            self._waiting[shard.number] = shard

    def is_of_host(self, host: str, refused: Sequence[Sequence[Any]], news: News) -> bool:
        """Whether the way from a host is in doubt, not the address: others are answered, and it never was."""
        if host in news.proven_hosts or not news.proven_hosts:
            return False
        return self._by_host[host] + len(refused) >= FIRST_REFUSED

    def defers(self, shard: Shard) -> bool:
        """Whether the rest of a shard is not to be asked for before it is known what is wrong."""
        return shard.number in self._waiting

    def take_waiting(self) -> list[Shard]:
        """Give the shards that are to be gone on with."""
        shards = [*self._waiting.values()]
        self._waiting.clear()
        return shards

    async def settle(self) -> None:
        """End the sellers at fault; returns when that is durable. Raises `OutputError`."""
        async with self._turn:
            requests = [request for request in self.address.at_fault if not self._leaves_gaps(request)]
            self.address.at_fault.clear()
            if not requests:
                return
            endings = [(request.seller, failed(request)) for request in requests]
            records = [Record(seller.seller_id, self._run_id, 0, None, end) for seller, end in endings]
            await self._journal.keep(encode(records))
            for seller, ending in endings:
                self._ended(seller, ending)

    def _leaves_gaps(self, request: PageRequest) -> bool:
        """Whether a seller was only to be repaired: it has ended before, and is no failure."""
        seller_id = request.seller.seller_id
        shard = self._shards[seller_id]
        if shard.is_repair:
            del self._shards[seller_id], shard.sellers[seller_id]
        return shard.is_repair

    def _ended(self, seller: SellerProgress, ending: Ending) -> None:
        self._shards.pop(seller.seller_id).ended(seller.seller_id, ending)
        log_failure(seller, ending)
        self._on_end(seller.seller_id, ending)
