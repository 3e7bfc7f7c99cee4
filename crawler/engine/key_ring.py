"""The pace of several keys: which one a request carries is chosen at the moment of its place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from crawler import events
from crawler.engine.key_credits import KeyCredits
from crawler.engine.key_lane import KeyLane
from crawler.engine.pace import Pace
from crawler.engine.stop import Stop
from crawler.models.errors import CrawlerError, KeyRefusedError, QuotaUsedUpError
from crawler.models.keys import Retirement
from crawler.rules.keys import choose

_LOOK_S = 0.01
"""Seconds between two looks at a key that waits for something else than time: a lease, its first answer."""


class KeyRing(Pace):
    """Grants places under the ceiling over all keys, each under the ceiling of its own key as well.

    A key that the API throttles slows down alone. `key` is the number of the key of the place given last.
    """

    def __init__(self, qps: float, retry_after_cap: float, stop: Stop, credit: KeyCredits) -> None:
        super().__init__(qps, retry_after_cap, stop)
        self._credits = credit
        self._lanes = credit.lanes
        self.key = 0

    async def place(self) -> float:
        """Wait for a place, and take it with a key and its credit. Raises as `KeyCredits.require` does."""
        while True:
            await self._credits.require()
            place = await super().place()
            chosen = choose([lane.candidate(place) for lane in self._lanes], place)
            if chosen is not None:
                break
            # The key that had a place is in use, or retired, since.
            super().forfeit()
        lane, self.key = self._lanes[chosen], chosen
        lane.take(place)
        self._credits.refill(lane)
        return place

    def forfeit(self) -> None:
        """See `Pace.forfeit`: the key's place and its credit are given back too."""
        super().forfeit()
        self._lanes[self.key].untake()

    def set_slots(self, slots: Sequence[int]) -> None:
        """See `Pace.set_slots`; the ceiling over all keys has the sum."""
        super().set_slots(slots)
        now = asyncio.get_running_loop().time()
        for lane, count in zip(self._lanes, slots, strict=True):
            lane.take_share(count, now)

    def tell_slowed(self, now: float, key: int, seller_id: str, page_num: int) -> None:
        """See `Pace.tell_slowed`."""
        lane = self._lanes[key]
        wait_s, qps = lane.slowed(now)
        name = lane.limits.name
        slowed = events.KEY_SLOWED(
            key=name, wait_s=wait_s, qps=qps, seller=seller_id, page=page_num, status=429
        )
        slowed.log()

    def answered(self, sent_at: float, key: int = 0) -> None:
        """See `Pace.answered`."""
        lane = self._lanes[key]
        if sent_at > lane.slowed_at:
            lane.end_bursts()

    @property
    def most_bursts(self) -> int:
        """See `Pace.most_bursts`: those of the key with the most."""
        return max((lane.bursts_in_a_row for lane in self._lanes if lane.why is None), default=0)

    def retire(self, key: int, error: KeyRefusedError | QuotaUsedUpError) -> CrawlerError | None:
        """Use a key no more that the API refused; returns what ends the run, None where others go on."""
        why = Retirement.REFUSED if isinstance(error, KeyRefusedError) else Retirement.USED_UP
        return self._credits.retire(self._lanes[key], why, error.detail or str(error))

    def delay(self, now: float) -> float:
        """Seconds until some key has a place, under the ceiling over all.

        A key without a credit in hand is waited for only where another has one.
        """
        used = [lane for lane in self._lanes if lane.why is None]
        free = 0.0
        if any(lane.stock for lane in used):
            free = min(
                lane.delay(now) if lane.may_be_used else max(_LOOK_S, lane.delay(now)) for lane in used
            )
        return max(super().delay(now), free)

    def _ceiling_of(self, key: int) -> KeyLane:
        return self._lanes[key]

    def _rate(self, now: float) -> float:
        return min(sum(lane.rate(now) for lane in self._lanes if lane.why is None), self.rate(now))
