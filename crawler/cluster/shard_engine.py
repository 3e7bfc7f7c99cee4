"""Wiring the engine for one shard under the driver's leases; for a whole list `nightly/engine.py` does so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from crawler.cluster.driver_line import DriverLine
from crawler.cluster.lease import LeasedKeyRing, LeasedPace, UnderLease
from crawler.cluster.messages import Assignment
from crawler.cluster.outcomes import UnansweredError
from crawler.cluster.shard_sellers import first_pages_of, of_plain, repairs_of
from crawler.cluster.surroundings import Surroundings
from crawler.engine.credits import Credits
from crawler.engine.gates import Gates
from crawler.engine.key_credits import KeyCredits
from crawler.engine.key_lane import KeyLane
from crawler.engine.pool import Crawl
from crawler.engine.seller import Policies
from crawler.engine.stop import Stop
from crawler.history.carrying import digest_of
from crawler.models.keys import Retirement
from crawler.models.seller import Strategy
from crawler.rules.address import AddressCheck
from crawler.rules.lookahead import LookaheadRule
from crawler.rules.order import Frontier
from crawler.rules.outage import Breaker
from crawler.rules.paging import PagingRule, ShortPageProbes
from crawler.rules.recovery import RetryRule
from crawler.rules.sizing import PoolSize
from crawler.rules.windows import slots_of
from crawler.store.group_commit import GroupCommit


class ShardEngine:
    """What an attempt sends by. `retired`: keys that the API refused here: number, why, and in words."""

    def __init__(self, assignment: Assignment, around: Surroundings, line: DriverLine, stop: Stop) -> None:
        settings = around.settings
        run, cap = settings.run, settings.api.retry_after_cap
        self._assignment, self._settings, self._line, self._stop = assignment, settings, line, stop
        self.retired: list[list[Any]] = []
        self._slots = assignment.slots
        self.lanes = [KeyLane(key, cap) for key in settings.api.keys or ()]
        line.keys = [lane.limits.name for lane in self.lanes]
        line.to_repair = repairs_of(assignment.to_repair)
        self.pace: UnderLease
        self._credits: Credits | KeyCredits
        if self.lanes:
            self._credits = of_keys = KeyCredits(self.lanes, line, stop, self._on_retirement)
            self.pace = LeasedKeyRing(run.qps, cap, stop, of_keys)
        else:
            self._credits = Credits(line, stop)
            self.pace = LeasedPace(run.qps, cap, stop)
        self.breaker = Breaker(run.patience)
        is_proven = assignment.is_address_proven
        self.address = AddressCheck(settings.api.url, is_proven=is_proven, is_part=True)
        retry = RetryRule(run.attempts, run.backoff)
        parts = self._credits, self.pace, self.breaker, retry, stop, run.patience
        self._gates = Gates(around.api, *parts, around.rng)
        self.counts = self._gates.counts
        self.probes = ShortPageProbes(run.probe, lambda: self.counts.sent)
        self._size = PoolSize(run.qps, assignment.workers, around.connections)
        self.take_share(assignment.slots)

    @property
    def charged(self) -> list[int]:
        """Credits that have gone with requests, or are about to, by key."""
        if isinstance(self._credits, KeyCredits):
            return [lane.taken for lane in self.lanes]
        return [self._credits.charged]

    async def crawl(self) -> None:
        """Read the sellers to their end, or until a stop; then every record is durable."""
        run = self._settings.run
        sellers = [of_plain(each) for each in self._assignment.sellers]
        depths = {seller.seller_id: depth for seller, depth in sellers if depth}
        policies = Policies(
            paging=PagingRule(run.stop, run.max_pages, run.min_value),
            lookahead=LookaheadRule(run.lookahead, run.lookahead_pages, run.max_pages, depths),
            probes=self.probes,
            known_first_page=first_pages_of(self._assignment.first_pages).get,
            digest_of=digest_of,
        )
        is_broad = run.strategy is Strategy.BREADTH_FIRST
        frontier = Frontier(
            (), [seller for seller, _ in sellers], run.strategy if is_broad else Strategy.DEPTH_FIRST
        )
        journal = GroupCommit(self._line, self._assignment.run_id, self._settings.journal.commit_ms / 1000)
        parts = frontier, self._gates, journal, self._size, run.grace, policies
        try:
            # Gaps that are found now are repaired when all else is read: the driver makes shards of them.
            await Crawl(*parts, to_repair=[*self._line.to_repair] or None, address=self.address).run()
        finally:
            await journal.close()

    def take_share(self, slots: Sequence[int]) -> bool:
        """Send by so many places in each window from now on, by key; returns whether some are given up."""
        qps, before = self._settings.run.qps, self._slots
        self._slots = slots
        self.pace.set_slots(slots)
        self._size.follow(qps * max(1, sum(slots)) / slots_of(qps))
        return any(now < then for now, then in zip(slots, before, strict=True))

    def retire(self, keys: Sequence[Sequence[Any]]) -> None:
        """Use keys no more that were refused here or elsewhere."""
        if isinstance(self._credits, KeyCredits):
            for key, why, detail in keys:
                if (end := self._credits.retire(self.lanes[key], Retirement(why), detail)) is not None:
                    self._stop.set(end)

    @property
    def refused(self) -> list[list[Any]]:
        """Requests that leave the address in doubt, see `End`: of each seller that of its next page."""
        firsts = [min(some, key=lambda each: each.page_num) for some in self.address.in_doubt.values()]
        return [[each.seller.seller_id, each.page_num, each.reason, each.kind] for each in firsts]

    def compare_with_others(self, before_s: float) -> None:
        """Where others are answered and this worker is not: the way from here fails, or its sellers do.

        Others were answered `before_s` seconds ago, or later.
        """
        if self._assignment.trusts_others:
            self.breaker.answered("", asyncio.get_running_loop().time() - before_s)
        elif self.breaker.is_open or self.address.is_doubtful:
            self._stop.set(
                UnansweredError(
                    f"a worker had no answer, while others had: {self.counts.describe_errors()}; "
                    "look at the network of its host, then run the same command again"
                )
            )

    def _on_retirement(self, lane: KeyLane, _left: Sequence[KeyLane]) -> None:
        assert lane.why is not None, "a key that is used is not retired"  # noqa: S101 - an invariant
        self.retired.append([self.lanes.index(lane), str(lane.why), lane.detail])
