"""Credits of several keys: each key has its own in hand, leased on disk under its name before it is used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial

from crawler.engine.key_lane import KeyLane
from crawler.engine.stop import Stop
from crawler.models.errors import (
    BudgetSpentError,
    CrawlerError,
    KeyRefusedError,
    KeySpentError,
    QuotaUsedUpError,
)
from crawler.models.keys import Retirement
from crawler.ports import KeyLedger
from crawler.rules.keys import verdict

_ENDS: dict[Retirement, type[CrawlerError]] = {
    Retirement.REFUSED: KeyRefusedError,
    Retirement.USED_UP: QuotaUsedUpError,
    Retirement.BUDGET: BudgetSpentError,
}
_IN_WORDS = {
    Retirement.REFUSED: "was refused",
    Retirement.USED_UP: "is used up",
    Retirement.BUDGET: "has spent its own budget",
}

OnRetirement = Callable[[KeyLane, Sequence[KeyLane]], None]
"""Gets a key that is not used any more, and those that are left."""


class KeyCredits:
    """The credits in hand of each key, and which keys are still used.

    In the place of `Credits`; but a credit is taken with the key, at the moment of the place in the pace. A
    lease is asked for while some credits are still in hand. A stop ends every wait.
    """

    def __init__(
        self, lanes: Sequence[KeyLane], ledger: KeyLedger, stop: Stop, on_retirement: OnRetirement
    ) -> None:
        self.lanes = lanes
        self._ledger = ledger
        self._stop = stop
        self._on_retirement = on_retirement
        self._leasing: dict[str, asyncio.Task[None]] = {}
        self._requests = 0
        self._spent: BudgetSpentError | None = None
        self._fault: BaseException | None = None

    @property
    def charged(self) -> Mapping[str, int]:
        """Credits that have gone with a request, by key."""
        return {lane.limits.name: lane.taken for lane in self.lanes}

    async def take(self) -> None:
        """Begin a request, which gets its credit with its key. Raises as `require` does."""
        await self.require()
        self._requests += 1

    def spend(self, key: int, label: str) -> None:
        """Note how a request that was sent with a key has ended."""
        self._requests -= 1
        self.lanes[key].ended(label)
        self._retire_if_spent(self.lanes[key])

    def give_back(self) -> None:
        """Note that a request was not sent."""
        self._requests -= 1

    async def require(self) -> None:
        """Return once a key that is still used has a credit in hand.

        Raises `BudgetSpentError` where the date's or the month's budget has none left, and where no key is
        left what that means.
        """
        if self._fault is not None:
            raise self._fault
        while not any(lane.stock and lane.why is None for lane in self.lanes):
            self._stop.raise_if_stopping()
            for lane in self.lanes:
                self._retire_if_spent(lane)
                self.refill(lane)
            if (end := self.end) is not None:
                raise end
            if self._spent is not None and not self._leasing:
                self._take_back(self._spent)
            with self._stop.interruptible():
                await asyncio.wait(self._leasing.values(), return_when=asyncio.FIRST_COMPLETED)
            if self._fault is not None:
                raise self._fault

    def refill(self, lane: KeyLane) -> None:
        """Begin a lease for a key that has few credits left, if it may have more."""
        name = lane.limits.name
        is_wanted = 2 * lane.stock <= lane.leased_last and lane.why is None and not lane.is_dry
        if is_wanted and self._spent is None and self._fault is None and name not in self._leasing:
            self._begin(name, self._lease(lane))

    def retire(self, lane: KeyLane, why: Retirement, detail: str) -> CrawlerError | None:
        """Use a key no more, and tell it once; returns what ends the run where none is left."""
        if lane.retire(why, detail):
            self._on_retirement(lane, [other for other in self.lanes if other.why is None])
        return self.end

    @property
    def end(self) -> CrawlerError | None:
        """What ends the run as no key is left; None while one is."""
        reasons = [lane.why for lane in self.lanes if lane.why is not None]
        if len(reasons) < len(self.lanes):
            return None
        described = "; ".join(f"{e.limits.name} {_IN_WORDS[e.why]} ({e.detail})" for e in self.lanes if e.why)
        return _ENDS[verdict(reasons)](
            f"no key is left: {described}; correct that in [[api.keys]] or with the provider, "
            "then run the same command again"
        )

    async def settle(self) -> None:
        """Wait for the leases under way, so that none comes after the last credits were returned."""
        while self._leasing:
            await asyncio.wait(self._leasing.values())

    def _take_back(self, spent: BudgetSpentError) -> None:
        """Begin to return what keys that are not used any more have in hand; raise where that is nothing."""
        idle = [lane for lane in self.lanes if lane.why is not None and lane.stock]
        if not idle:
            raise spent
        self._begin("", self._return(idle))

    async def _return(self, idle: Sequence[KeyLane]) -> None:
        for lane in idle:
            await self._ledger.give_back(lane.limits, lane.taken)
            lane.stock = 0
        self._spent = None

    async def _lease(self, lane: KeyLane) -> None:
        try:
            lane.leased_last = await self._ledger.reserve_for(lane.limits, self._requests + 1)
            lane.stock += lane.leased_last
        except KeySpentError as spent:
            lane.is_dry, lane.leased_last = True, 0
            lane.detail = str(spent)
            self._retire_if_spent(lane)
        except BudgetSpentError as spent:
            self._spent = spent

    def _begin(self, name: str, work: Coroutine[None, None, None]) -> None:
        self._leasing[name] = task = asyncio.create_task(work)
        task.add_done_callback(partial(self._done, name))

    def _done(self, name: str, task: asyncio.Task[None]) -> None:
        del self._leasing[name]
        if not task.cancelled():
            self._fault = self._fault or task.exception()

    def _retire_if_spent(self, lane: KeyLane) -> None:
        """Retire a key whose own budget is spent to its last credit."""
        if lane.is_dry and not lane.stock and lane.why is None:
            self.retire(lane, Retirement.BUDGET, lane.detail)
