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
    """The number of workers: fixed, or following the measured time a page holds its worker."""

    def __init__(self, qps: float, fixed: int | None = None) -> None:
        self._qps = qps
        self._fixed = fixed
        self._hold: float | None = None

    def measured(self, hold: float) -> None:
        """Learn from one page: seconds from its place in the pace until the journal had it."""
        self._hold = hold if self._hold is None else self._hold + _SMOOTHING * (hold - self._hold)

    @property
    def target(self) -> int:
        """How many workers there should be now."""
        if self._fixed is not None:
            return self._fixed
        hold = PRIOR_HOLD if self._hold is None else self._hold
        return min(MAX_WORKERS, ceil(self._qps * hold * _HEADROOM) + _SPARE)
