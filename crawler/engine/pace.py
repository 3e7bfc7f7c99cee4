"""The pace: a strict ceiling in every sliding second, slower after a 429, and its way back up."""

from __future__ import annotations

import asyncio
from collections import deque
from math import floor

from aiolimiter import AsyncLimiter

from crawler.engine.stop import Stop
from crawler.rules.recovery import Recovery, throttle_wait

MARGIN = 1.019
"""The window is this much longer than a second, since requests that leave evenly arrive unevenly."""

_LATE = 0.004
"""Seconds by which a timer may be late without the window's next round being later; `MARGIN` covers them."""

_PACING = 1.1
_LEAD = 0.5
"""Seconds that an attempt may hold its connection while it waits for its place."""

_RECHECK_SECONDS = 0.5
"""Seconds between two looks of a waiting request: the rate may have grown, or an attempt ahead have gone."""


class Pace:
    """Grants places: at most `qps` in any sliding second (at most one in 1/qps s below 1).

    `aiolimiter` spreads the places; the log of the last places makes the ceiling strict. After a burst of
    429s (`bursts_in_a_row`: since the last answer) nobody sends until the wait is over; the rate then comes
    back as `Recovery` says, no less strict. A stop ends every wait.
    """

    def __init__(self, qps: float, retry_after_cap: float, stop: Stop) -> None:
        self._qps = qps
        self._retry_after_cap = retry_after_cap
        self._stop = stop
        burst = max(1.0, qps * 0.01)
        self._limiter = AsyncLimiter(burst, burst / (qps * _PACING))
        self._line = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._coming = 0
        self._count = max(1, floor(qps))
        self._window = MARGIN * max(1.0, 1.0 / qps)
        self._places: deque[float] = deque(maxlen=self._count)
        self._forfeited = 0
        self._recovery = Recovery(qps)
        self._slowed_at = -1.0
        self._paused_until = 0.0
        self.bursts_in_a_row = 0

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
        if self._turn.locked() or self._forfeited or self._delay(place) or not self._limiter.has_capacity():
            with self._stop.interruptible():
                async with self._turn:
                    place = await self._awaited_place()
        else:
            await self._limiter.acquire()
        self._places.append(place)
        return place

    async def _awaited_place(self) -> float:
        if self._forfeited:
            self._forfeited -= 1
        else:
            await self._limiter.acquire()
        loop = asyncio.get_running_loop()
        due, now = 0.0, loop.time()
        while (delay := self._delay(now)) > 0:
            due = now + delay
            await asyncio.sleep(min(delay, _RECHECK_SECONDS))
            now = loop.time()
        return min(now, max(due, now - _LATE)) if due else now

    def forfeit(self) -> None:
        """Give back the place that was just given, before anything else runs; the next one replaces it."""
        self._forfeited += 1
        self._places.pop()

    def pause(self, seconds: float) -> None:
        """Give no place for so long: an earlier process may have sent just now."""
        self._paused_until = asyncio.get_running_loop().time() + seconds

    def throttled(self, sent_at: float, retry_after: float | None) -> bool:
        """Slow down after a 429; False where the request belongs to a burst already answered so."""
        now = asyncio.get_running_loop().time()
        is_first_of_burst = sent_at > self._slowed_at
        if is_first_of_burst:
            accepted = self._sent_before(sent_at)
            self._recovery.slow(now, sent_at, accepted, answered=self.bursts_in_a_row == 0)
            self.bursts_in_a_row += 1
            self._slowed_at = now
        wait = throttle_wait(self.bursts_in_a_row, retry_after, self._retry_after_cap)
        if is_first_of_burst or retry_after is not None:
            self._paused_until = max(self._paused_until, now + wait)
            self._recovery.pause(self._paused_until)
        return is_first_of_burst

    def slowed(self, now: float) -> tuple[float, float]:
        """Seconds of the wait after a burst, and the requests a second that are safe after it."""
        return self._paused_until - now, self._recovery.safe

    def answered(self, sent_at: float) -> None:
        """Note an answer: bursts are no longer in a row."""
        if sent_at > self._slowed_at:
            self.bursts_in_a_row = 0

    def _sent_before(self, sent_at: float) -> int | None:
        """How many requests left within the second before, where any did and the log reaches as far back."""
        if len(self._places) == self._count and self._places[0] > sent_at - 1.0:
            return None
        return max(0, sum(sent_at - MARGIN <= place <= sent_at for place in self._places) - 1) or None

    def _far(self, now: float) -> float:
        """Seconds until the next place is near, behind all who have come near it."""
        return self._delay(now) + self._coming / self._recovery.rate(now) - _LEAD

    def _delay(self, now: float) -> float:
        """Seconds until there is a place, under the ceiling and at the rate of the moment."""
        free = max(self._paused_until, self._free_at(self._count, self._window))
        if self._recovery.slowed:
            rate = self._recovery.rate(now)
            free = max(free, self._free_at(max(1, floor(rate)), MARGIN * max(1.0, 1.0 / rate)))
        return max(0.0, free - now)

    def _free_at(self, count: int, window: float) -> float:
        """When there is a place, if `count` are to fit into a window of so many seconds."""
        return self._places[-count] + window if len(self._places) >= count else 0.0
