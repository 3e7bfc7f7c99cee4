"""The circuit breaker: is the API down, and when may it be tried."""

from __future__ import annotations

from math import inf

DOWN_SELLERS = 5
"""Failures in a row over this many sellers mean that the API is down, not one seller sick."""

_FIRST_TRIAL_GAP_S = 1.0
_TRIAL_GAP_GROWTH = 1.5
_RATIONED_GAP_GROWTH = 3.0
"""How much longer each gap is than the one before where few trials must last for as long as patience."""
_MANY_TRIALS = 100
"""Of more than so many trials none needs rationing; a power of any number would be beyond all floats."""


class Breaker:
    """Opens on failures in a row over several sellers; closes on any answer.

    Failures of a seller do not count where others were asked and answered after its first one, nor where a
    page of it could not be had. Times are seconds of a monotonic clock, given by the caller. While open, one
    trial at a time is allowed, each `1.5` times later than the one before, and a last one when patience ends.

    `is_open`: the API counts as down. `is_shaky`: it may be down, after as many `failures_in_a_row` of
    whatever sellers; `streak` numbers such rows. `answers`: how many there were. `trials_left`: how many
    trials may be sent, None for any.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._failed_since: dict[str, float] = {}
        self._failing: set[str] = set()
        self._answered_sent = -inf
        self._unanswered: set[str] = set()
        self._down_since = 0.0
        self._trial_at = 0.0
        self._trial_gap_s = _FIRST_TRIAL_GAP_S
        self.failures_in_a_row = 0
        self.trials_left: int | None = None
        self.is_open = False
        self.is_shaky = False
        self.streak = 0
        self.answers = 0

    @property
    def nobody_answered(self) -> bool:
        """Whether no request has been answered at all."""
        return self._answered_sent == -inf

    def answered(self, seller_id: str, sent_at: float) -> None:
        """Any answer of the API, to a request sent at that time, ends the streak."""
        self.answers += 1
        self.failures_in_a_row = 0
        self.is_open = self.is_shaky = False
        self._answered_sent = max(self._answered_sent, sent_at)
        if self._failed_since:
            self._unanswered.clear()
            self._failed_since.pop(seller_id, None)

    def failed(self, seller_id: str, now: float) -> bool:
        """Count a failure; True when this one opens the breaker."""
        self.streak += self.failures_in_a_row == 0
        self.failures_in_a_row += 1
        self.is_shaky = self.failures_in_a_row >= DOWN_SELLERS
        since = self._failed_since.setdefault(seller_id, now)
        if self.is_open or since < self._answered_sent or seller_id in self._failing:
            return False
        if not self._unanswered:
            self._down_since = now
        self._unanswered.add(seller_id)
        if len(self._unanswered) < DOWN_SELLERS:
            return False
        self.open(now)
        return True

    def open(self, now: float, trials: int | None = None) -> None:
        """Count the API as down; so many trials may be sent until patience ends, where they are few."""
        self.is_open = True
        self.trials_left = trials
        self._trial_gap_s = _FIRST_TRIAL_GAP_S
        self._trial_at = inf if self._out_of_trials else min(now + self._wait(now), self._deadline())

    def found_failing(self, seller_id: str) -> None:
        """Note that a page of the seller cannot be had."""
        self._failing.add(seller_id)

    def trial_sent(self, now: float) -> None:
        """Put the next trial off further than the last."""
        self._trial_gap_s *= _TRIAL_GAP_GROWTH
        if self.trials_left is not None:
            self.trials_left -= 1
        self._trial_at = inf if self._out_of_trials else now + self._wait(now)
        if now < self._deadline() < self._trial_at < inf:
            self._trial_at = self._deadline()

    def trial_in(self, now: float) -> float:
        """Seconds until a trial may be sent; 0 where one may be sent now."""
        return max(0.0, self._trial_at - now)

    def given_up(self, now: float) -> bool:
        """Whether the API has been down for as long as patience lasts, and its last trial was sent."""
        return self.is_open and now >= self._deadline() < self._trial_at

    def down_for(self, now: float) -> float:
        """Seconds since the first of the failures that opened the breaker."""
        return now - self._down_since

    def _deadline(self) -> float:
        return self._down_since + self._patience

    @property
    def _out_of_trials(self) -> bool:
        return self.trials_left is not None and self.trials_left <= 0

    def _wait(self, now: float) -> float:
        """Seconds until the next trial: where few are left, the last of them is for when patience ends."""
        if self.trials_left is None:
            return self._trial_gap_s
        left = min(self.trials_left, _MANY_TRIALS)
        rationed = (self._deadline() - now) / _RATIONED_GAP_GROWTH ** (left - 1)
        return max(self._trial_gap_s, rationed)
