"""How many workers keep the pace busy: Little's law."""

from __future__ import annotations

from math import ceil

PRIOR_BUSY_S = 1.5
"""Seconds that a request is assumed to keep its worker busy until that was measured."""

MAX_WORKERS = 4096
_HEADROOM = 1.5
_SPARE = 4
_SMOOTHING = 0.1


class PoolSize:
    """The number of workers, `most` at most: fixed, or by the time that a page keeps its worker busy."""

    def __init__(self, qps: float, fixed: int | None = None, most: int = MAX_WORKERS) -> None:
        self._qps = qps
        self._most = most
        self._fixed = fixed
        self._busy_s: float | None = None

    def follow(self, qps: float) -> None:
        """Size the pool for another rate from now on."""
        self._qps = qps

    def measured(self, busy_s: float) -> None:
        """Learn from one page: seconds from its place in the pace until the journal had it."""
        if self._busy_s is None:
            self._busy_s = busy_s
        self._busy_s += _SMOOTHING * (busy_s - self._busy_s)

    @property
    def target(self) -> int:
        """How many workers there should be now."""
        if self._fixed is not None:
            return min(self._most, self._fixed)
        busy_s = PRIOR_BUSY_S if self._busy_s is None else self._busy_s
        return min(self._most, ceil(self._qps * busy_s * _HEADROOM) + _SPARE)
