"""The pace: places under a strict ceiling, one by one, for whoever waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from aiolimiter import AsyncLimiter

from crawler import events
from crawler.engine.ceiling import LEAD, Ceiling
from crawler.engine.stop import Stop
from crawler.models.errors import CrawlerError, KeyRefusedError, QuotaUsedUpError

PACING = 1.1
"""Places are spread at so much more than the ceiling's rate: what a stall took is so made up for."""

_LATE = 0.004
"""Seconds by which a timer may be late without the window's next round being later; `MARGIN` covers them."""

_RECHECK_SECONDS = 0.5
"""Seconds between two looks of a waiting request: the rate may have grown, or an attempt ahead have gone."""

_SHORTEST_S = 0.001
"""The shortest of these waits: those who are near may need any time, and nothing else changes until then."""

_SHARE_RECHECK_S = 0.05
"""The same where it has a share of the slots, which may grow at any time."""

_GROWTH_S = 1.0
"""Seconds beyond a window that more slots get to be used, before it counts that they are not."""

_NEARLY_ALL = 0.8
"""Where requests wait while so much of the slots is used, more could be used."""

_FULL_ASKS = 8
"""Who is asked so often in a row while requests wait could use all; before that, twice its slots."""

_FEW = 4
"""With fewer slots, half a window without a place does not mean that nobody wants one."""


@dataclass(frozen=True, slots=True)
class Slowdown:
    """A burst of 429s of a key: seconds without a request, and the safe QPS after it, of all shares."""

    key: int
    wait_s: float
    safe_qps: float


class Pace(Ceiling):
    """Grants places under its ceiling.

    `aiolimiter` spreads the places; the log of the last places makes the ceiling strict. A stop ends every
    wait. `key` is the number of the key that the place given last is for; only `KeyRing` has several.

    It has all slots of the ceiling until `set_slots` gives it a share. What a driver asks of a share:
    `wants`, `take_slowdowns` and `echo_slowdown`.
    """

    def __init__(self, qps: float, retry_after_cap: float, stop: Stop) -> None:
        super().__init__(qps, retry_after_cap)
        self._stop = stop
        self._limiter = _limiter(qps)
        self._line = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._waiting = self._coming = 0
        self._forfeited = 0
        self._recheck_s = _RECHECK_SECONDS
        self._has_waited = False
        self._full_asks = 0
        self._wanted = self._all
        self._grown_at = float("-inf")
        self._slowed: set[int] = set()
        self.key = 0

    def set_slots(self, slots: Sequence[int]) -> None:
        """Have this share from now on: slots by key; with none there is no place until there are some."""
        now, count = asyncio.get_running_loop().time(), sum(slots)
        # What it would use shows only some time after its first share.
        if count > self._count or self._recheck_s != _SHARE_RECHECK_S:
            self._grown_at = now
        self._recheck_s = _SHARE_RECHECK_S
        if count == self._count:
            return
        self.take_share(count, now)
        if count:
            self._limiter = _limiter(self._qps * self._part)

    def wants(self) -> int:
        """How many slots could be used: those that are, and more the longer requests have waited for one.

        To be asked about twice a second.
        """
        now = asyncio.get_running_loop().time()
        if now < self.paused_until:
            return self._wanted
        # Not over all of them: of a small share of a large ceiling they reach back a long time.
        used = sum(1 for _ in takewhile((now - self._window).__lt__, reversed(self.places)))
        limit = min(self._count, self._rate(now))
        has_waited, self._has_waited = self._has_waited, False
        is_full = has_waited and used + 1 >= limit * _NEARLY_ALL
        self._full_asks = self._full_asks + 1 if is_full else 0
        if is_full:
            growth = self._all if self._full_asks >= _FULL_ASKS else 2 * self._count
            used = min(self._all, max(used + self._waiting + self._coming, growth))
        elif self._count >= _FEW and self.places and self.places[-1] < now - self._window / 2:
            used = 0
        is_new = now < self._grown_at + self._window + _GROWTH_S
        self._wanted = max(used, self._wanted) if is_new else used
        return self._wanted

    def take_slowdowns(self) -> list[Slowdown]:
        """The bursts of 429s that came to requests of this share since this was asked, for the others."""
        now, keys = asyncio.get_running_loop().time(), sorted(self._slowed)
        self._slowed.clear()
        return [Slowdown(key, *self._ceiling_of(key).slowed(now)) for key in keys]

    def echo_slowdown(self, slowdown: Slowdown) -> bool:
        """Slow down as another share has; False where it is the same burst as one already answered so."""
        now, ceiling = asyncio.get_running_loop().time(), self._ceiling_of(slowdown.key)
        return ceiling.echo(now, slowdown.wait_s, slowdown.safe_qps)

    async def approach(self) -> None:
        """Wait until a place is near, so that few attempts hold connections; `arrived` ends it."""
        self._stop.raise_if_stopping()
        loop = asyncio.get_running_loop()
        if self._line.locked() or self._far(loop.time()) > 0:
            self._waiting += 1
            try:
                with self._stop.interruptible():
                    async with self._line:
                        while (delay := self._far(loop.time())) > 0:
                            self._has_waited = True
                            await asyncio.sleep(min(max(delay, _SHORTEST_S), self._recheck_s))
            finally:
                self._waiting -= 1
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
            self._has_waited = True
            await asyncio.sleep(min(delay, self._recheck_s))
            now = loop.time()
        return min(now, max(due, now - _LATE)) if due else now

    def forfeit(self) -> None:
        """Give back the place that was just given, before anything else runs; the next one replaces it."""
        self._forfeited += 1
        self.places.pop()

    def pause(self, seconds: float) -> None:
        """Give no place for so long: an earlier process may have sent just now."""
        self.pause_until(asyncio.get_running_loop().time() + seconds)

    def throttled(self, sent_at: float, retry_after: float | None, key: int = 0) -> bool:
        """Slow down the key after a 429; False where the request belongs to a burst already answered so."""
        now = asyncio.get_running_loop().time()
        is_first_of_burst = self._ceiling_of(key).slow(now, sent_at, retry_after)
        if is_first_of_burst:
            self._slowed.add(key)
        return is_first_of_burst

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
        return self.delay(now) + self._coming / (self._rate(now) or 1.0) - LEAD

    def _ceiling_of(self, _key: int) -> Ceiling:
        """What slows down after a 429 of a key."""
        return self

    def _rate(self, now: float) -> float:
        """Requests a second of this share at the moment."""
        return self.rate(now)


def most_at_once(qps: float) -> float:
    """Places that may be given at the same moment."""
    return max(1.0, qps * 0.01)


def _limiter(qps: float) -> AsyncLimiter:
    burst = most_at_once(qps)
    return AsyncLimiter(burst, burst / (qps * PACING))
