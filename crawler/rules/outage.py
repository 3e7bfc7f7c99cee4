"""The circuit breaker: is the API down, and when may it be probed; and which sellers are suspect."""

from __future__ import annotations

from math import inf

DOWN_SELLERS = 5
"""Failures in a row over this many sellers mean that the API is down, not one seller sick."""

_FIRST_PROBE = 1.0
_PROBE_GROWTH = 1.5
_STRETCH = 3.0
"""How much longer each gap is than the one before where few probes must last for as long as patience."""


class Breaker:
    """Opens on failures in a row over several sellers; closes on any answer.

    While nobody has been answered at all, few sellers may open it as well: `open_for_few`.

    A seller that has failed is suspect until it is answered itself. Where others were asked and answered
    after it had failed, its further failures do not tell of the API; nor do those of a seller who is sick.

    Times are seconds of a monotonic clock, given by the caller. While open, one probe at a time is
    allowed, each `1.5` times later than the one before, and a last one when patience ends.

    `is_open`: the API counts as down. `is_shaky`: it may be down, after as many failures in a row, of
    whatever sellers. `streak` numbers the failures with no answer between.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._suspects: dict[str, float] = {}
        self._sick: set[str] = set()
        self._answered_sent = -inf
        self._failing: set[str] = set()
        self._down_since = 0.0
        self._probe_at = 0.0
        self._probe_gap = _FIRST_PROBE
        self._in_a_row = 0
        self._probes_left: int | None = None
        self.is_open = False
        self.is_shaky = False
        self.streak = 0

    @property
    def nobody_answered(self) -> bool:
        """Whether no request has been answered at all."""
        return self._answered_sent == -inf

    @property
    def streak_unbroken(self) -> bool:
        """Whether the latest outcome was a failure."""
        return self._in_a_row > 0

    def suspects(self, seller_id: str) -> bool:
        """Whether the seller's latest outcome was a failure."""
        return seller_id in self._suspects

    def answered(self, seller_id: str, sent_at: float) -> None:
        """Any answer of the API, to a request sent at that time, ends the streak."""
        self._in_a_row = 0
        self.is_open = self.is_shaky = False
        self._answered_sent = max(self._answered_sent, sent_at)
        if self._suspects:
            self._failing.clear()
            self._suspects.pop(seller_id, None)

    def failed(self, seller_id: str, now: float) -> bool:
        """Count a failure; True when this one opens the breaker."""
        self.streak += self._in_a_row == 0
        self._in_a_row += 1
        self.is_shaky = self._in_a_row >= DOWN_SELLERS
        since = self._suspects.setdefault(seller_id, now)
        if self.is_open or since < self._answered_sent or seller_id in self._sick:
            return False
        if not self._failing:
            self._down_since = now
        self._failing.add(seller_id)
        if len(self._failing) < DOWN_SELLERS:
            return False
        self._open(now, None)
        return True

    def open_for_few(self, now: float, probes: int) -> None:
        """Count the API as down though fewer sellers have failed than `DOWN_SELLERS`.

        `probes` is how many may be sent until patience ends.
        """
        self._open(now, probes)

    def ration(self, probes: int) -> None:
        """Note how many probes may still be sent, the next one included."""
        self._probes_left = probes

    def _open(self, now: float, probes: int | None) -> None:
        self.is_open = True
        self._probes_left = probes
        self._probe_gap = _FIRST_PROBE
        self._probe_at = inf if self._out_of_probes else min(now + self._wait(now), self._deadline())

    def found_sick(self, seller_id: str) -> None:
        """Note that a page of the seller cannot be had."""
        self._sick.add(seller_id)

    def probe_sent(self, now: float) -> None:
        """Put the next probe off further than the last."""
        self._probe_gap *= _PROBE_GROWTH
        if self._probes_left is not None:
            self._probes_left -= 1
        self._probe_at = inf if self._out_of_probes else now + self._wait(now)
        if not self._out_of_probes and now < self._deadline() < self._probe_at:
            self._probe_at = self._deadline()

    def probe_in(self, now: float) -> float:
        """Seconds until a probe may be sent; 0 where one may be sent now."""
        return max(0.0, self._probe_at - now)

    def given_up(self, now: float) -> bool:
        """Whether the API has been down for as long as patience lasts, and its last probe was sent."""
        return self.is_open and now >= self._deadline() < self._probe_at

    def _deadline(self) -> float:
        return self._down_since + self._patience

    @property
    def _out_of_probes(self) -> bool:
        return self._probes_left is not None and self._probes_left <= 0

    def _wait(self, now: float) -> float:
        """Seconds until the next probe: where few are left, the last of them is for when patience ends."""
        if self._probes_left is None:
            return self._probe_gap
        return max(self._probe_gap, (self._deadline() - now) / _STRETCH ** (self._probes_left - 1))
