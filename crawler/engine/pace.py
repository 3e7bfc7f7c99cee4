"""The pace: places under a strict ceiling, one by one, for whoever waits for them."""

from __future__ import annotations

import asyncio

from aiolimiter import AsyncLimiter

from crawler import events
from crawler.engine.ceiling import Ceiling
from crawler.engine.stop import Stop
from crawler.models.errors import CrawlerError, KeyRefusedError, QuotaUsedUpError

PACING = 1.1
"""Places are spread at so much more than the ceiling's rate: what a stall took is so made up for."""

_LATE = 0.004
"""Seconds by which a timer may be late without the window's next round being later; `MARGIN` covers them."""

LEAD = 0.5
"""Seconds that an attempt may hold its connection while it waits for its place."""

_RECHECK_SECONDS = 0.5
"""Seconds between two looks of a waiting request: the rate may have grown, or an attempt ahead have gone."""


class Pace(Ceiling):
    """Grants places under its ceiling.

    `aiolimiter` spreads the places; the log of the last places makes the ceiling strict. A stop ends every
    wait. `key` is the number of the key that the place given last is for; only `KeyRing` has several.
    """

    def __init__(self, qps: float, retry_after_cap: float, stop: Stop) -> None:
        super().__init__(qps, retry_after_cap)
        self._stop = stop
        burst = most_at_once(qps)
        self._limiter = AsyncLimiter(burst, burst / (qps * PACING))
        self._line = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._coming = 0
        self._forfeited = 0
        self.key = 0

    async def approach(self) -> None:
        """Wait until a place is near, so that few attempts hold connections; `arrived` ends it."""
        self._stop.raise_if_stopping()
        loop = asyncio.get_running_loop()
        if self._line.locked() or self._far(loop.time()) > 0:
            with self._stop.interruptible():
                async with self._line:
                    while (delay := self._far(loop.time())) > 0:
                        await asyncio.sleep(min(delay, _RECHECK_SECONDS))
        self._coming += 1

    def arrived(self) -> None:
        """Note that an attempt which was near has its place, or is over."""
        self._coming -= 1

    async def place(self) -> float:
        """Wait for a place; returns its time on the loop's clock."""
        self._stop.raise_if_stopping()
        place = asyncio.get_running_loop().time()
        if self._turn.locked() or self._forfeited or self.delay(place) or not self._limiter.has_capacity():
            with self._stop.interruptible():
                async with self._turn:
                    place = await self._awaited_place()
        else:
            await self._limiter.acquire()
        self.places.append(place)
        return place

    async def _awaited_place(self) -> float:
        if self._forfeited:
            self._forfeited -= 1
        else:
            await self._limiter.acquire()
        loop = asyncio.get_running_loop()
        due, now = 0.0, loop.time()
        while (delay := self.delay(now)) > 0:
            due = now + delay
            await asyncio.sleep(min(delay, _RECHECK_SECONDS))
            now = loop.time()
        return min(now, max(due, now - _LATE)) if due else now

    def forfeit(self) -> None:
        """Give back the place that was just given, before anything else runs; the next one replaces it."""
        self._forfeited += 1
        self.places.pop()

    def pause(self, seconds: float) -> None:
        """Give no place for so long: an earlier process may have sent just now."""
        self.pause_until(asyncio.get_running_loop().time() + seconds)

    def throttled(self, sent_at: float, retry_after: float | None, _key: int = 0) -> bool:
        """Slow down after a 429; False where the request belongs to a burst already answered so."""
        return self.slow(asyncio.get_running_loop().time(), sent_at, retry_after)

    def tell_slowed(self, now: float, _key: int, seller_id: str, page_num: int) -> None:
        """Log how long nothing is sent after a burst, and at what rate after that."""
        wait_s, qps = self.slowed(now)
        lowered = events.RATE_LOWERED(wait_s=wait_s, qps=qps, seller=seller_id, page=page_num, status=429)
        lowered.log()

    def answered(self, sent_at: float, _key: int = 0) -> None:
        """Note an answer: bursts are no longer in a row."""
        if sent_at > self.slowed_at:
            self.end_bursts()

    def retire(self, _key: int, error: KeyRefusedError | QuotaUsedUpError) -> CrawlerError | None:
        """What a refusal of the key means: of the only one that it ends the run."""
        return error

    @property
    def most_bursts(self) -> int:
        """Bursts of 429s in a row since the last answer."""
        return self.bursts_in_a_row

    def _far(self, now: float) -> float:
        """Seconds until the next place is near, behind all who have come near it."""
        return self.delay(now) + self._coming / self.recovery.rate(now) - LEAD


def most_at_once(qps: float) -> float:
    """Places that may be given at the same moment."""
    return max(1.0, qps * 0.01)
