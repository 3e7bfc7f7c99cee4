"""One of several keys under way: its ceiling, its credits in hand, and whether it is still used."""

from __future__ import annotations

from collections import Counter

from crawler.engine.ceiling import Ceiling
from crawler.engine.pace import PACING, most_at_once
from crawler.models.keys import KeySettings, Retirement
from crawler.rules.keys import Candidate

_NO_ANSWER = frozenset({"timeout", "connection", "unknown"})
"""How a request is counted that no whole answer came to."""


class KeyLane(Ceiling):
    """The places and credits of one key.

    `stock` credits are leased and not taken yet, `taken` have gone with a request. `is_proven`: a request was
    answered in this run without refusing the key. `is_dry`: the ledger has no credit more for it. `why` it is
    not used any more, `detail` says in words; `sent` counts its requests by how they ended.
    """

    def __init__(self, limits: KeySettings, retry_after_cap: float) -> None:
        super().__init__(limits.qps, retry_after_cap)
        self.limits = limits
        self._interval, self._slack = _spread(limits.qps)
        self._rested_at = 0.0
        self.stock = self.taken = self.leased_last = self.in_flight = 0
        self.is_proven = self.is_dry = False
        self.why: Retirement | None = None
        self.detail = ""
        self.sent: Counter[str] = Counter()

    @property
    def may_be_used(self) -> bool:
        """Whether a request may leave with it, once it has a place: until it is proven, one at a time."""
        return self.why is None and self.stock > 0 and (self.is_proven or not self.in_flight)

    def candidate(self, now: float) -> Candidate | None:
        """What the choice is made by; None where it may not be used."""
        return Candidate(now + self.delay(now), self._rested_at) if self.may_be_used else None

    def delay(self, now: float) -> float:
        """Seconds until there is a place, spread over the second."""
        return max(super().delay(now), self._rested_at - self._slack - now)

    def take_share(self, slots: int, now: float) -> None:
        """See `Ceiling.take_share`; places are spread at the share's rate."""
        super().take_share(slots, now)
        if slots:
            self._interval, self._slack = _spread(self.limits.qps * self._part)

    def take(self, place: float) -> None:
        """Take a place, and a credit that goes with it."""
        self.places.append(place)
        self._rested_at = max(self._rested_at, place) + self._interval
        self.stock -= 1
        self.taken += 1
        self.in_flight += 1

    def untake(self) -> None:
        """Give back the place and the credit that were just taken."""
        self.places.pop()
        self._rested_at -= self._interval
        self.stock += 1
        self.taken -= 1
        self.in_flight -= 1

    def ended(self, label: str) -> None:
        """Note how a request with it has ended."""
        self.in_flight -= 1
        self.sent[label] += 1
        self.is_proven |= label not in _NO_ANSWER

    def retire(self, why: Retirement, detail: str) -> bool:
        """Use it no more; False where that was known. What the provider says outweighs our own budget."""
        was_used = self.why is None
        if was_used or self.why is Retirement.BUDGET:
            self.why, self.detail = why, detail
        return was_used


def _spread(qps: float) -> tuple[float, float]:
    """Seconds between places, and how many seconds before its time one may be taken."""
    interval = 1.0 / (qps * PACING)
    return interval, (most_at_once(qps) - 1.0) * interval
