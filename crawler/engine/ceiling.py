"""A strict ceiling in every sliding second, slower after a 429, and its way back up; nobody waits here."""

from __future__ import annotations

from collections import deque

from crawler.rules.recovery import Recovery, throttle_wait
from crawler.rules.windows import MARGIN, slots_of, window_of

LEAD = 0.5
"""Seconds that an attempt may hold its connection while it waits for its place."""

_NO_SLOT_S = 2 * LEAD
"""Without any slot the next place is at least so many seconds away: nobody holds a connection for it."""

SAME_BURST_S = 2.0
"""Seconds after a burst of 429s in which what others report belongs to the same one."""


class Ceiling:
    """Says when there is a place: at most `qps` in any sliding second (at most one in 1/qps s below 1).

    `places` are the times of the last places. After a burst of 429s (`bursts_in_a_row`: since the last
    answer; `slowed_at`: the time of the last) there is no place until the wait is over; the rate then comes
    back as `Recovery` says, no less strict. Times are seconds on one clock.

    Where the ceiling is divided over processes, this one has some of its slots: `take_share`. Rates that are
    learned and reported are those of the whole.
    """

    def __init__(self, qps: float, retry_after_cap: float) -> None:
        self._retry_after_cap = retry_after_cap
        self._qps = qps
        self._all = self._count = slots_of(qps)
        self._part = 1.0
        self._shared_at = float("-inf")
        self._window = window_of(qps)
        self.places: deque[float] = deque(maxlen=self._count)
        self.recovery = Recovery(qps)
        self.slowed_at = -1.0
        self.paused_until = 0.0
        self.bursts_in_a_row = 0

    @property
    def slots(self) -> int:
        """The slots that it has, of all of the ceiling's."""
        return self._count

    def take_share(self, slots: int, now: float) -> None:
        """Have so many of the ceiling's slots from now on; places that were given count on."""
        if slots != self._count:
            self._count, self._part, self._shared_at = slots, slots / self._all, now

    def rate(self, now: float) -> float:
        """Requests a second of this part of the ceiling."""
        return self.recovery.rate(now) * self._part

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

    def echo(self, now: float, wait_s: float, safe_qps: float) -> bool:
        """Slow down as another part of the ceiling has after a 429; False where this is the same burst."""
        if now < self.paused_until or now < self.slowed_at + SAME_BURST_S:
            return False
        self.recovery.slow(now, now, round(safe_qps) or None, answered=True)
        self.slowed_at = now
        self.paused_until = now + wait_s
        self.recovery.pause(self.paused_until)
        return True

    def slowed(self, now: float) -> tuple[float, float]:
        """Seconds of the wait after a burst, and the requests a second that are safe after it."""
        return round(self.paused_until - now, 3), self.recovery.safe

    def end_bursts(self) -> None:
        """Note an answer to a request that left after the last burst."""
        self.bursts_in_a_row = 0

    def _sent_before(self, sent_at: float) -> int | None:
        """How many requests of all parts left within the second before, where this one's log can say it."""
        begin = sent_at - 1.0
        is_too_short = len(self.places) == self.places.maxlen and self.places[0] > begin
        if is_too_short or self._shared_at > begin or not self._count:
            return None
        sent = sum(sent_at - MARGIN <= place <= sent_at for place in self.places)
        return max(0, round(sent / self._part) - 1) or None

    def delay(self, now: float) -> float:
        """Seconds until there is a place, under the ceiling and at the rate of the moment."""
        if not self._count:
            return _NO_SLOT_S
        free = max(self.paused_until, self._free_at(self._count, self._window))
        if self.recovery.slowed:
            rate = self.rate(now)
            free = max(free, self._free_at(slots_of(rate), window_of(rate)))
        return max(0.0, free - now)

    def _free_at(self, count: int, window: float) -> float:
        """When there is a place, if `count` are to fit into a window of so many seconds."""
        return self.places[-count] + window if len(self.places) >= count else 0.0
