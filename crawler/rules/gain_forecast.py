"""What a stretch will gain a night, by what it gained before. Open it to change what is learnt of the past.

A reading tells what was gained since the one before it, so it weighs as many nights as lie between; one that
found nothing gained says as much as any other. `usual` is what a stretch gains on most nights: a mean that
forgets slowly, in which a reading far above it counts less. `level` is what it gained lately; it follows each
reading at once. What is expected goes from the level back to the usual gain, as bursts fade.

Cho and Garcia-Molina ("Estimating frequency of change", ACM Transactions on Internet Technology 3(3), 2003)
and Avrachenkov, Patil and Thoppe ("Online algorithms for estimating change rates of web pages",
arXiv:2009.08142) estimate how often a page changes from visits that tell only whether it did. Here a visit
tells how much was gained, so that means over all nights do. Heuristics are that all bursts fade at one pace,
and how much less they count in the usual gain: these numbers are the best of a few on simulated quarters
(docs/credits.md).
"""

from __future__ import annotations

from array import array
from functools import cache
from math import floor, log2

REMEMBERED = 0.93
"""What a night's weight in the usual gain becomes with each night that follows."""
FADING = 0.8
"""What the excess of a burst becomes with each night."""
OLD_LEVEL = 0.2
"""What is left of the old level's weight after a reading of one night."""
USUAL_RISE = 1.5
"""A reading counts in the usual gain up to so many times this gain,"""
COUNTED_OF_RISE = 0.4
"""and with this share of itself at least, so that what never moved can begin to."""
_PRIOR_EVENTS = 0.5
_MAX_PRIOR_NIGHTS = 3.0
"""What sellers alike gain weighs as many nights as they need for half a unit of gain, but at most so many."""


class Past:
    """What is learnt of one stretch from its readings, the oldest first."""

    __slots__ = ("level", "nights", "usual")

    def __init__(self) -> None:
        self.usual = self.level = self.nights = 0.0

    def observed(self, gain: float, nights: int) -> None:
        """Learn from a reading that found `gain` since the reading `nights` (1 or more) before it.

        New videos count with all that they have. What fell counts as no gain.
        """
        rate = max(0.0, gain) / nights
        if not self.nights:
            self.usual = self.level = rate
        remembered = REMEMBERED**nights
        kept, fresh = self.nights * remembered, (1 - remembered) / (1 - REMEMBERED)
        expected = self.usual + (self.level - self.usual) * FADING**nights
        counted = min(rate, max(USUAL_RISE * self.usual, COUNTED_OF_RISE * rate))
        self.nights = kept + fresh
        self.usual = (kept * self.usual + fresh * counted) / self.nights
        self.level = rate + (expected - rate) * OLD_LEVEL**nights


class Pasts:
    """The pasts of many stretches, each by its number from 0, in a few bytes each."""

    def __init__(self) -> None:
        self._usual, self._level, self._nights = array("d"), array("d"), array("d")

    def __len__(self) -> int:
        return len(self._usual)

    def __getitem__(self, number: int) -> Past:
        past = Past()
        past.usual, past.level = self._usual[number], self._level[number]
        past.nights = self._nights[number]
        return past

    def observed(self, number: int, gain: float, nights: int) -> None:
        """See `Past`; the stretch after the last one is new."""
        if number == len(self):
            past = Past()
            for column in (self._usual, self._level, self._nights):
                column.append(0.0)
        else:
            past = self[number]
        past.observed(gain, nights)
        self._usual[number], self._level[number] = past.usual, past.level
        self._nights[number] = past.nights


class Pool:
    """What sellers alike gain: fed with the past and the size of each stretch.

    A size is any measure that gain is about proportional to: the total value of the videos, or their number.
    """

    def __init__(self) -> None:
        self._gains: dict[int, float] = {}
        self._sizes: dict[int, float] = {}
        self._gain = self._size = 0.0
        self._count = 0

    def add(self, past: Past, size: float) -> None:
        """Learn from a stretch; one without a reading that tells a gain says nothing."""
        if not past.nights:
            return
        at = _step(size)
        self._gains[at] = self._gains.get(at, 0.0) + past.usual
        self._sizes[at] = self._sizes.get(at, 0.0) + max(1.0, size)
        self._gain += past.usual
        self._size += max(1.0, size)
        self._count += 1

    def prior(self, size: float | None) -> float:
        """The gain a night of a stretch of this size, or of a mean one if the size is not known; 0 of none.

        It is in proportion to the size, by the stretches of about this size and one that is like all.
        """
        if not self._count:
            return 0.0
        gain, mean_size = self._gain / self._count, self._size / self._count
        wanted = mean_size if size is None else max(1.0, size)
        gains, sizes = (sums.get(_step(wanted), 0.0) for sums in (self._gains, self._sizes))
        return wanted * (gains + gain) / (sizes + mean_size)


def rate(past: Past, prior: float, age: int) -> float:
    """The gain a night that is expected of a stretch last read `age` nights ago.

    It is the mean over the nights since then in which the k-th night counts k times: with it the index of
    `freshness` is right for a gain that changes, too. `prior` is what stretches of its size gain (`Pool`); it
    counts alone where nothing was observed, and hardly where many units of gain were.
    """
    if not past.nights:
        return prior
    prior_nights = min(_MAX_PRIOR_NIGHTS, _PRIOR_EVENTS / prior) if prior > 0 else 0.0
    usual = (past.usual * past.nights + prior * prior_nights) / (past.nights + prior_nights)
    return usual + (past.level - usual) * _left_of_burst(age)


@cache
def _left_of_burst(age: int) -> float:
    """What is left of a burst's excess, as a mean over the nights since; the k-th counts k times."""
    nights = range(1, max(1, age) + 1)
    return sum(night * FADING**night for night in nights) / sum(nights)


def _step(size: float) -> int:
    return floor(log2(max(1.0, size)))
