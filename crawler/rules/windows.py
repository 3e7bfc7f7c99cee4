"""The ceiling as slots in a sliding window: each slot is one place in every window."""

from __future__ import annotations

from math import floor

MARGIN = 1.019
"""The window is this much longer than a second, since requests that leave evenly arrive unevenly."""


def slots_of(qps: float) -> int:
    """Slots of a ceiling: requests in one window."""
    return max(1, floor(qps))


def window_of(qps: float) -> float:
    """Seconds of the sliding window of a ceiling: longer than a second below one request a second."""
    return MARGIN * max(1.0, 1.0 / qps)
