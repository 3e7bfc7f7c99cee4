"""The rate after 429s: back at once to just below what the API bore, there for a while, and slowly on."""

from __future__ import annotations

from math import floor

_START = 0.5
"""Of the rate that is held to be safe, where the climb back to it begins."""

_CLIMB = 0.25
_GROWTH = 0.02
"""How much of the ceiling the rate gains a second, below what is held to be safe and beyond."""

_JUST_BELOW = 0.98
_GUESSED = 0.97
_MISTAKEN = 0.8
"""How much is safe of a rate that was borne; besides, where that was not counted; of one held to be safe."""

_SLOWEST = 0.05
_REST = 10.0
_LONGEST_REST = 300.0
"""Seconds at the safe rate, doubling while bursts follow one another."""


class Recovery:
    """Requests a second after bursts of 429s, `qps` at most; times are seconds on one clock.

    A burst tells how many requests a second the API bears. The rate climbs back to just below that within
    two seconds, rests there, and then grows slowly, since the API may bear more again. The rest is longer
    each time that this was not so: an API with a lower ceiling than `qps` refuses a few requests every five
    minutes, and one that refused a single request costs about a second.
    """

    def __init__(self, qps: float) -> None:
        self._qps = qps
        self._safe = self._lasted = qps
        self._begin = qps
        self._rest = _REST
        self._quiet_until = 0.0
        self._slowed_at: float | None = None
        self.slowed = False

    def slow(self, now: float, sent_at: float, borne: int | None, *, answered: bool) -> None:
        """Note a burst whose first 429 was to a request sent at `sent_at`.

        `borne`: how many requests left within the second before that one, if this is known. `answered`:
        whether any request was answered since the last burst; if not, the API refuses whatever comes, and
        this burst tells nothing about what it bears.
        """
        rate = self.rate(sent_at)
        begin = self.rate(now) * _START
        if answered:
            self._learn(now, rate, borne)
            begin = min(begin, self._safe * _START)
        self._begin = max(_SLOWEST * self._qps, begin)
        self._slowed_at = self._quiet_until = now
        self.slowed = True

    def quiet(self, until: float) -> None:
        """Begin the climb then: nothing is sent before."""
        self._quiet_until = max(self._quiet_until, until)

    def rate(self, now: float) -> float:
        """Requests a second at that time."""
        if not self.slowed:
            return self._qps
        climbed = self._begin + max(0.0, now - self._quiet_until) * _CLIMB * self._qps
        grown = self._safe + max(0.0, now - self._rested_at) * _GROWTH * self._qps
        if min(climbed, grown) >= self._qps:
            self.slowed = False
        return min(climbed, grown, self._qps)

    @property
    def _rested_at(self) -> float:
        return self._quiet_until + (self._safe - self._begin) / (_CLIMB * self._qps) + self._rest

    def _learn(self, now: float, rate: float, borne: int | None) -> None:
        mistaken = self._slowed_at is not None and now < self._rested_at
        recently = self._slowed_at is not None and now - self._slowed_at < 2 * self._rest + 60.0
        self._rest = min(_LONGEST_REST, 2 * self._rest) if recently else _REST
        safe = self._bearable(rate, borne, lone=not recently and rate >= self._qps)
        if mistaken:
            lasted = self._lasted if self._lasted < self._safe else 0.0
            safe = min(safe, max(lasted, self._safe * _MISTAKEN))
        else:
            self._lasted = self._safe
        self._safe = max(_SLOWEST * self._qps, safe)

    def _bearable(self, rate: float, borne: int | None, *, lone: bool) -> float:
        """What is safe after a burst at that rate; a whole number where it is not below 1."""
        # Where so few are missing from the full rate, the API only took up an earlier request late.
        if borne is not None and not (lone and borne + 1 >= rate * _JUST_BELOW):
            rate = float(borne)
        elif not lone:
            rate = floor(rate * _GUESSED) if rate > 1 else rate * _GUESSED
        return rate * _JUST_BELOW if rate < 1 else float(round(rate * _JUST_BELOW))
