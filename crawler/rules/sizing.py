"""How many workers keep the pace busy: Little's law."""

from __future__ import annotations

from math import ceil

PRIOR_HOLD = 1.5
"""Seconds that a request is assumed to hold its worker until that was measured."""

MAX_WORKERS = 4096
_HEADROOM = 1.5
_SPARE = 4
_SMOOTHING = 0.1


class PoolSize:
    """The number of workers, `most` at most: fixed, or following the time that a page holds its worker."""

    def __init__(self, qps: float, fixed: int | None = None, most: int = MAX_WORKERS) -> None:
        self._qps = qps
        self._most = most
        self._fixed = fixed
        self._hold: float | None = None

    def measured(self, hold: float) -> None:
        """Learn from one page: seconds from its place in the pace until the journal had it."""
        self._hold = hold if self._hold is None else self._hold + _SMOOTHING * (hold - self._hold)

    @property
    def target(self) -> int:
        """How many workers there should be now."""
        if self._fixed is not None:
            return min(self._most, self._fixed)
        hold = PRIOR_HOLD if self._hold is None else self._hold
        return min(self._most, ceil(self._qps * hold * _HEADROOM) + _SPARE)
