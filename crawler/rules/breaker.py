"""The circuit breaker: is the API down, and when may it be probed."""

from __future__ import annotations

DOWN_SELLERS = 5
"""Failures in a row over this many sellers mean that the API is down, not one seller sick."""

_FIRST_PROBE = 1.0
_PROBE_GROWTH = 1.5


class Breaker:
    """Opens on failures in a row over several sellers; closes on any answer.

    Times are seconds of a monotonic clock, given by the caller. While open, one probe at a time is
    allowed, each `1.5` times later than the one before, and a last one when patience ends.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._streak_began: float | None = None
        self._failing: set[str] = set()
        self._probe_at = 0.0
        self._probe_gap = _FIRST_PROBE
        self._open = False

    @property
    def is_open(self) -> bool:
        """Whether the API counts as down."""
        return self._open

    @property
    def streak_unbroken(self) -> bool:
        """Whether the latest outcome was a failure."""
        return self._streak_began is not None

    def answered(self) -> None:
        """Any answer of the API ends the streak."""
        self._streak_began = None
        self._failing.clear()
        self._open = False

    def failed(self, seller_id: str, now: float) -> bool:
        """Count a failure; True when this one opens the breaker."""
        if self._streak_began is None:
            self._streak_began = now
        if self._open:
            return False
        self._failing.add(seller_id)
        if len(self._failing) < DOWN_SELLERS:
            return False
        self._open = True
        self._probe_gap = _FIRST_PROBE
        self._probe_at = min(now + self._probe_gap, self._deadline())
        return True

    def probe_sent(self, now: float) -> None:
        """Put the next probe off further than the last."""
        self._probe_gap *= _PROBE_GROWTH
        self._probe_at = now + self._probe_gap
        if now < self._deadline() < self._probe_at:
            self._probe_at = self._deadline()

    def probe_in(self, now: float) -> float:
        """Seconds until a probe may be sent; 0 where one may be sent now."""
        return max(0.0, self._probe_at - now)

    def given_up(self, now: float) -> bool:
        """Whether the API has been down for as long as patience lasts, and its last probe was sent."""
        return self._open and now >= self._deadline() < self._probe_at

    def _deadline(self) -> float:
        return (self._streak_began or 0.0) + self._patience
