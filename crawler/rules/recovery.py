"""After failures and 429s: when a page is asked for again, and at what rate requests leave."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from random import Random

from crawler.models.seller import PageRequest

HARD_ATTEMPTS = 10
"""Requests of one page that are never exceeded in a run (contract, promise 5)."""

_BACKOFF_CAP = 30.0
_THROTTLE_CAP = 60.0

_START = 0.5
"""Where the climb back to the safe rate begins: this share of it."""

_CLIMB = 0.25
_GROWTH = 0.02
"""The share of the ceiling that the rate gains a second, below the safe rate and above it."""

_SHARE_OF_MEASURED_RATE = 0.98
"""Of the requests that left within the second before a burst."""

_SHARE_OF_ESTIMATED_RATE = 0.97
"""Of the rate at a burst, where what left was not counted; besides the share above."""

_STEP_DOWN = 0.8
"""Of a rate that was held to be safe, and was not."""

_SLOWEST = 0.05
_REST = 10.0
_LONGEST_REST = 300.0
"""Seconds at the safe rate, doubling while bursts follow one another."""


@dataclass(frozen=True, slots=True)
class RetryRule:
    """Retries of a page without a usable answer."""

    attempts: int = 6
    backoff: float = 1.0

    def is_at_fault(self, request: PageRequest) -> bool:
        """Whether a page is given up: attempts with no answer between them count as one, but for the last."""
        return request.faults >= self.attempts or request.failures >= HARD_ATTEMPTS

    def wait(self, failures: int, rng: Random) -> float:
        """Seconds before the next attempt; jitter keeps workers that failed together apart."""
        full: float = min(_BACKOFF_CAP, self.backoff * 2.0 ** (failures - 1))
        return full * rng.uniform(0.5, 1.0)


def throttle_wait(bursts: int, retry_after: float | None, cap: float) -> float:
    """Seconds to wait after so many bursts of 429s in a row: `Retry-After`, or 1 s doubling to 60 s."""
    if retry_after is not None:
        return min(retry_after, cap)
    return float(min(_THROTTLE_CAP, 2.0 ** min(bursts - 1, 6)))


class Recovery:
    """Requests a second after bursts of 429s, `qps` at most; times are seconds on one clock.

    A burst shows how many requests a second the API accepts. The rate climbs back to just below that, the
    `safe` rate, within two seconds, rests there, and then grows slowly, since the API may accept more again.
    The rest is longer each time that it did not.
    """

    def __init__(self, qps: float) -> None:
        self._qps = qps
        self.safe = self._lasted = qps
        self._begin = qps
        self._rest = _REST
        self._paused_until = 0.0
        self._slowed_at: float | None = None
        self.slowed = False

    def slow(self, now: float, sent_at: float, accepted: int | None, *, answered: bool) -> None:
        """Note a burst whose first 429 was to a request sent at `sent_at`.

        `accepted`: how many requests left within the second before that one, if this is known. Where none
        was `answered` since the last burst, nothing is concluded about the rate.
        """
        rate = self.rate(sent_at)
        begin = self.rate(now) * _START
        if answered:
            self._learn(now, rate, accepted)
            begin = min(begin, self.safe * _START)
        self._begin = max(_SLOWEST * self._qps, begin)
        self._slowed_at = self._paused_until = now
        self.slowed = True

    def pause(self, until: float) -> None:
        """Begin the climb then: nothing is sent before."""
        self._paused_until = max(self._paused_until, until)

    def rate(self, now: float) -> float:
        """Requests a second at that time."""
        if not self.slowed:
            return self._qps
        climbed = self._begin + max(0.0, now - self._paused_until) * _CLIMB * self._qps
        grown = self.safe + max(0.0, now - self._rested_at) * _GROWTH * self._qps
        if min(climbed, grown) >= self._qps:
            self.slowed = False
        return min(climbed, grown, self._qps)

    @property
    def _rested_at(self) -> float:
        return self._paused_until + (self.safe - self._begin) / (_CLIMB * self._qps) + self._rest

    def _learn(self, now: float, rate: float, accepted: int | None) -> None:
        was_unsafe = self._slowed_at is not None and now < self._rested_at
        recently = self._slowed_at is not None and now - self._slowed_at < 2 * self._rest + 60.0
        self._rest = min(_LONGEST_REST, 2 * self._rest) if recently else _REST
        safe = self._safe_rate(rate, accepted, lone=not recently and rate >= self._qps)
        if was_unsafe:
            lasted = self._lasted if self._lasted < self.safe else 0.0
            safe = min(safe, max(lasted, self.safe * _STEP_DOWN))
        else:
            self._lasted = self.safe
        self.safe = max(_SLOWEST * self._qps, safe)

    def _safe_rate(self, rate: float, accepted: int | None, *, lone: bool) -> float:
        """What is safe after a burst at that rate; a whole number where it is not below 1."""
        # Where so few are missing from the full rate, the API only took up an earlier request late.
        if accepted is not None and not (lone and accepted + 1 >= rate * _SHARE_OF_MEASURED_RATE):
            rate = float(accepted)
        elif not lone:
            rate = floor(rate * _SHARE_OF_ESTIMATED_RATE) if rate > 1 else rate * _SHARE_OF_ESTIMATED_RATE
        return rate * _SHARE_OF_MEASURED_RATE if rate < 1 else float(round(rate * _SHARE_OF_MEASURED_RATE))
