"""How long requests took, counted as they end: a histogram of plain numbers."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

BOUNDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Upper ends of the classes, in seconds; what took longer is in a last one."""


class Latencies:
    """Requests by how many seconds they took."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count a request."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def up_to(self) -> list[int]:
        """How many requests took at most each of `BOUNDS`, and last how many there were in all."""
        return list(accumulate(self.counts))
