"""A worker's right to send, spend and write, for as long as its driver renews it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from math import inf

from crawler.engine.key_lane import KeyLane
from crawler.engine.key_ring import KeyRing
from crawler.engine.pace import Pace
from crawler.models.errors import CrawlerError


class LeaseLostError(CrawlerError):
    """The attempt was given up, or its driver is gone: nothing more is sent or written by it."""


def boot_time() -> float:
    """Seconds since the machine started; they go on while it sleeps, as another machine's do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Lease:
    """Ends by this worker's own clock, so many seconds after the last renewal that was answered was sent."""

    def __init__(self, seconds: float, clock: Callable[[], float] = boot_time) -> None:
        self.seconds = seconds
        self.clock = clock
        self._ends_at = -inf

    def renewed(self, sent_at: float) -> None:
        """Note an answered renewal that was sent at that time."""
        self._ends_at = max(self._ends_at, sent_at + self.seconds)

    def give_up(self) -> None:
        """End it: the driver says that it is lost."""
        self._ends_at = -inf

    @property
    def is_over(self) -> bool:
        """Whether nothing may be sent or written any more."""
        return self.clock() >= self._ends_at

    def require(self) -> None:
        """Raise `LeaseLostError` where it is over."""
        if self.is_over:
            raise LeaseLostError("the lease is over")


class UnderLease(Pace):
    """A share of the pace: a place is one only while the lease goes on."""

    _lease: Lease
    _on_burst: Callable[[], None]

    def go_by(self, lease: Lease, on_burst: Callable[[], None], places: list[deque[float]]) -> None:
        """Give places only under this lease, and tell of bursts.

        It begins with the `places` of the process's last attempt; they become those of this one.
        """
        self._lease, self._on_burst = lease, on_burst
        mine = [self.places, *(lane.places for lane in self.lanes)]
        for earlier, log in zip(places, mine, strict=False):
            log.extend(earlier)
        places[:] = mine

    @property
    def lanes(self) -> Sequence[KeyLane]:
        """The keys, where there are several."""
        return ()

    async def place(self) -> float:
        """See `Pace.place`. Raises `LeaseLostError`."""
        place = await super().place()
        if self._lease.is_over:
            self.forfeit()
            self._lease.require()
        return place

    def throttled(self, sent_at: float, retry_after: float | None, key: int = 0) -> bool:
        """See `Pace.throttled`: the others are to slow down too."""
        is_first = super().throttled(sent_at, retry_after, key)
        if is_first:
            self._on_burst()
        return is_first


class LeasedPace(UnderLease):
    """The share of one key's pace."""


class LeasedKeyRing(UnderLease, KeyRing):
    """The share of several keys' pace."""

    @property
    def lanes(self) -> Sequence[KeyLane]:
        """See `UnderLease.lanes`."""
        return self._lanes
