"""How many credits are reserved at once."""

from __future__ import annotations

from math import ceil

_SHARE = 32


def lease_size(qps: float, remaining: int | None) -> int:
    """Credits to reserve on disk before the next requests are sent.

    About a second's worth, so that a reservation costs one small write a second, but never more than
    a small share of what is left: a crash counts the whole lease as spent.
    """
    a_second = max(1, ceil(qps))
    if remaining is None:
        return a_second
    return min(remaining, a_second, max(1, remaining // _SHARE))
