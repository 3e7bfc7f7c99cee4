"""The circuit breaker: is the API down, and when may it be tried; and which sellers are suspect."""

from __future__ import annotations

from math import inf

DOWN_SELLERS = 5
"""Failures in a row over this many sellers mean that the API is down, not one seller sick."""

_FIRST_TRIAL_GAP_S = 1.0
_TRIAL_GAP_GROWTH = 1.5
_RATIONED_GAP_GROWTH = 3.0
"""How much longer each gap is than the one before where few trials must last for as long as patience."""


class Breaker:
    """Opens on failures in a row over several sellers; closes on any answer.

    While nobody has been answered at all, few sellers may open it as well: `open_for_few`.

    A seller that has failed is suspect until it is answered itself. Where others were asked and answered
    after it had failed, its further failures do not tell of the API; nor do those of a seller who is sick.

    Times are seconds of a monotonic clock, given by the caller. While open, one trial at a time is
    allowed, each `1.5` times later than the one before, and a last one when patience ends.

    `is_open`: the API counts as down. `is_shaky`: it may be down, after as many failures in a row, of
    whatever sellers. `streak` numbers the failures with no answer between.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._suspects: dict[str, float] = {}
        self._failing: set[str] = set()
        self._answered_sent = -inf
        self._unanswered: set[str] = set()
        self._down_since = 0.0
        self._trial_at = 0.0
        self._trial_gap_s = _FIRST_TRIAL_GAP_S
        self._in_a_row = 0
        self._trials_left: int | None = None
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

    def answered(self, seller_id: str, sent_at: float) -> None:
        """Any answer of the API, to a request sent at that time, ends the streak."""
        self._in_a_row = 0
        self.is_open = self.is_shaky = False
        self._answered_sent = max(self._answered_sent, sent_at)
        if self._suspects:
            self._unanswered.clear()
            self._suspects.pop(seller_id, None)

    def failed(self, seller_id: str, now: float) -> bool:
        """Count a failure; True when this one opens the breaker."""
        self.streak += self._in_a_row == 0
        self._in_a_row += 1
        self.is_shaky = self._in_a_row >= DOWN_SELLERS
        since = self._suspects.setdefault(seller_id, now)
        if self.is_open or since < self._answered_sent or seller_id in self._failing:
            return False
        if not self._unanswered:
            self._down_since = now
        self._unanswered.add(seller_id)
        if len(self._unanswered) < DOWN_SELLERS:
            return False
        self._open(now, None)
        return True

    def open_for_few(self, now: float, trials: int) -> None:
        """Count the API as down though fewer sellers have failed than `DOWN_SELLERS`.

        `trials` is how many may be sent until patience ends.
        """
        self._open(now, trials)

    def ration(self, trials: int) -> None:
        """Note how many trials may still be sent, the next one included."""
        self._trials_left = trials

    def _open(self, now: float, trials: int | None) -> None:
        self.is_open = True
        self._trials_left = trials
        self._trial_gap_s = _FIRST_TRIAL_GAP_S
        self._trial_at = inf if self._out_of_trials else min(now + self._wait(now), self._deadline())

    def found_failing(self, seller_id: str) -> None:
        """Note that a page of the seller cannot be had."""
        self._failing.add(seller_id)

    def trial_sent(self, now: float) -> None:
        """Put the next trial off further than the last."""
        self._trial_gap_s *= _TRIAL_GAP_GROWTH
        if self._trials_left is not None:
            self._trials_left -= 1
        self._trial_at = inf if self._out_of_trials else now + self._wait(now)
        if not self._out_of_trials and now < self._deadline() < self._trial_at:
            self._trial_at = self._deadline()

    def trial_in(self, now: float) -> float:
        """Seconds until a trial may be sent; 0 where one may be sent now."""
        return max(0.0, self._trial_at - now)

    def given_up(self, now: float) -> bool:
        """Whether the API has been down for as long as patience lasts, and its last trial was sent."""
        return self.is_open and now >= self._deadline() < self._trial_at

    def _deadline(self) -> float:
        return self._down_since + self._patience

    @property
    def _out_of_trials(self) -> bool:
        return self._trials_left is not None and self._trials_left <= 0

    def _wait(self, now: float) -> float:
        """Seconds until the next trial: where few are left, the last of them is for when patience ends."""
        if self._trials_left is None:
            return self._trial_gap_s
        return max(
            self._trial_gap_s, (self._deadline() - now) / _RATIONED_GAP_GROWTH ** (self._trials_left - 1)
        )
