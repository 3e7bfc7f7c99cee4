"""A strict ceiling in every sliding second, slower after a 429, and its way back up; nobody waits here."""

from __future__ import annotations

from collections import deque
from math import floor

from crawler.rules.recovery import Recovery, throttle_wait

MARGIN = 1.019
"""The window is this much longer than a second, since requests that leave evenly arrive unevenly."""


class Ceiling:
    """Says when there is a place: at most `qps` in any sliding second (at most one in 1/qps s below 1).

    `places` are the times of the last places. After a burst of 429s (`bursts_in_a_row`: since the last
    answer; `slowed_at`: the time of the last) there is no place until the wait is over; the rate then comes
    back as `Recovery` says, no less strict. Times are seconds on one clock.
    """

    def __init__(self, qps: float, retry_after_cap: float) -> None:
        self._retry_after_cap = retry_after_cap
        self._count = max(1, floor(qps))
        self._window = MARGIN * max(1.0, 1.0 / qps)
        self.places: deque[float] = deque(maxlen=self._count)
        self.recovery = Recovery(qps)
        self.slowed_at = -1.0
        self.paused_until = 0.0
        self.bursts_in_a_row = 0

    def pause_until(self, moment: float) -> None:
        """Give no place before that."""
        self.paused_until = moment

    def slow(self, now: float, sent_at: float, retry_after: float | None) -> bool:
        """Slow down after a 429; False where the request belongs to a burst already answered so."""
        is_first_of_burst = sent_at > self.slowed_at
        if is_first_of_burst:
            accepted = self._sent_before(sent_at)
            self.recovery.slow(now, sent_at, accepted, answered=self.bursts_in_a_row == 0)
            self.bursts_in_a_row += 1
            self.slowed_at = now
        wait = throttle_wait(self.bursts_in_a_row, retry_after, self._retry_after_cap)
        if is_first_of_burst or retry_after is not None:
            self.paused_until = max(self.paused_until, now + wait)
            self.recovery.pause(self.paused_until)
        return is_first_of_burst

    def slowed(self, now: float) -> tuple[float, float]:
        """Seconds of the wait after a burst, and the requests a second that are safe after it."""
        return round(self.paused_until - now, 3), self.recovery.safe

    def end_bursts(self) -> None:
        """Note an answer to a request that left after the last burst."""
        self.bursts_in_a_row = 0

    def _sent_before(self, sent_at: float) -> int | None:
        """How many requests left within the second before, where any did and the log reaches as far back."""
        if len(self.places) == self._count and self.places[0] > sent_at - 1.0:
            return None
        return max(0, sum(sent_at - MARGIN <= place <= sent_at for place in self.places) - 1) or None

    def delay(self, now: float) -> float:
        """Seconds until there is a place, under the ceiling and at the rate of the moment."""
        free = max(self.paused_until, self._free_at(self._count, self._window))
        if self.recovery.slowed:
            rate = self.recovery.rate(now)
            free = max(free, self._free_at(max(1, floor(rate)), MARGIN * max(1.0, 1.0 / rate)))
        return max(0.0, free - now)

    def _free_at(self, count: int, window: float) -> float:
        """When there is a place, if `count` are to fit into a window of so many seconds."""
        return self.places[-count] + window if len(self.places) >= count else 0.0
