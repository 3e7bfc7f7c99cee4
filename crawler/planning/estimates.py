"""Figures measured on earlier nights, each with its standard deviation: growth, credits a page, chances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

Z = 2.0
"""Standard deviations on each side: 95 % of a normal distribution, as the figures are estimates too."""

_UNSEEN_GROWTH = 0.03
_LEAST_GROWTH_SD = 0.005
_LEAST_COST_SD = 0.002
_UNSEEN_CHANCE = 0.15
_LEAST_CHANCE_SD = 0.02
_PRIOR_NIGHTS = 3


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure and its standard deviation; `nights` that it was measured on."""

    mean: float
    sd: float
    nights: int


def growth(rates: Sequence[float], errors: Sequence[float] = ()) -> Measure:
    """Growth of all videos a night, from the rates of earlier nights and their sampling errors.

    The deviation is what one more night may differ by: the spread of the nights seen, held up by a
    prior worth three nights, of half the growth, since the spread of few nights says little.
    """
    if not rates:
        return Measure(0.0, _UNSEEN_GROWTH, 0)
    mean = sum(rates) / len(rates)
    own = sum(error**2 for error in errors) / len(rates)
    sd = _night_sd(rates, mean, max(_LEAST_GROWTH_SD, abs(mean) / 2))
    return Measure(mean, sqrt(sd**2 + own), len(rates))


def cost_per_page(shares: Sequence[float]) -> Measure:
    """Credits a page, repeated requests included, from those of earlier nights."""
    if not shares:
        return Measure(1.0, _LEAST_COST_SD, 0)
    mean = max(1.0, sum(shares) / len(shares))
    return Measure(mean, _night_sd(shares, mean, max(_LEAST_COST_SD, (mean - 1) / 2)), len(shares))


def chance(rates: Sequence[float], errors: Sequence[float], unseen: float) -> Measure:
    """The chance that a seller is unchanged, from the shares of earlier nights; else it is `unseen`."""
    if not rates:
        return Measure(unseen, _UNSEEN_CHANCE, 0)
    mean = sum(rates) / len(rates)
    own = sum(error**2 for error in errors) / len(rates)
    sd = _night_sd(rates, mean, max(_LEAST_CHANCE_SD, min(mean, 1 - mean) / 2))
    return Measure(mean, sqrt(sd**2 + own), len(rates))


@dataclass(frozen=True, slots=True)
class Chances:
    """That a seller is unchanged tonight: after a night `unchanged`, after one `changed`, and of `any`."""

    unchanged: Measure
    changed: Measure
    any: Measure

    def of(self, unchanged: bool | None) -> Measure:
        """The chance after what was last seen."""
        return self.any if unchanged is None else self.unchanged if unchanged else self.changed


ALL_UNCHANGED = Chances(*[Measure(1.0, 0.0, 0)] * 3)


def _night_sd(values: Sequence[float], mean: float, prior: float) -> float:
    nights = len(values)
    squares = _PRIOR_NIGHTS * prior**2 + sum((value - mean) ** 2 for value in values)
    return sqrt(squares / (_PRIOR_NIGHTS + nights - 1) * (1 + 1 / nights))
