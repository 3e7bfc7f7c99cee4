"""Figures measured on earlier nights, with their deviations: growth, credits a page, chances, sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean
from typing import NamedTuple

from crawler.models.api import MAX_PAGE_NUM

Z = 2.0
"""Standard deviations on each side: 95 % of a normal distribution, as the figures are estimates too."""
_UNSEEN_GROWTH_SD, _MIN_GROWTH_SD = 0.03, 0.005
_UNSEEN_CHANCE_SD, _MIN_CHANCE_SD = 0.15, 0.02
_MIN_COST_SD = 0.002
_PRIOR_NIGHTS = 3
_MIN_ENDS = 5
_NEGLIGIBLE = 0.02
_BEYOND = 0.5


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure and its standard deviation; `nights` that it was measured on."""

    mean: float
    sd: float
    nights: int


def growth(rates: Sequence[float], errors: Sequence[float] = ()) -> Measure:
    """Growth of all videos a night, from the rates of earlier nights and their sampling errors."""
    if not rates:
        return Measure(0.0, _UNSEEN_GROWTH_SD, 0)
    mean = fmean(rates)
    return _measure(rates, errors, mean, max(_MIN_GROWTH_SD, abs(mean) / 2))


def cost_per_page(shares: Sequence[float]) -> Measure:
    """Credits a page, repeated requests included, from those of earlier nights."""
    if not shares:
        return Measure(1.0, _MIN_COST_SD, 0)
    mean = max(1.0, fmean(shares))
    return _measure(shares, (), mean, max(_MIN_COST_SD, (mean - 1) / 2))


def chance(rates: Sequence[float], errors: Sequence[float], unseen: float) -> Measure:
    """The chance that a seller is unchanged, from the shares of earlier nights; else it is `unseen`."""
    if not rates:
        return Measure(unseen, _UNSEEN_CHANCE_SD, 0)
    mean = fmean(rates)
    return _measure(rates, errors, mean, max(_MIN_CHANCE_SD, min(mean, 1 - mean) / 2))


def _measure(values: Sequence[float], errors: Sequence[float], mean: float, prior_sd: float) -> Measure:
    """What one more night may differ by, sampling errors included; a prior of three nights holds it up."""
    nights = len(values)
    squares = _PRIOR_NIGHTS * prior_sd**2 + sum((value - mean) ** 2 for value in values)
    variance = squares / (_PRIOR_NIGHTS + nights - 1) * (1 + 1 / nights)
    return Measure(mean, sqrt(variance + sum(error**2 for error in errors) / nights), nights)


Chances = Mapping[bool | None, Measure]
"""That a seller is unchanged tonight, by whether it was when last compared; None: of all sellers."""
ALL_UNCHANGED: Chances = dict.fromkeys((True, False, None), Measure(1.0, 0.0, 0))


class Tail(NamedTuple):
    """Mean and variance of what a seller costs, in pages."""

    mean: float
    variance: float


@dataclass(frozen=True, slots=True)
class Spread:
    """What a seller costs of which nothing is known, or only that it was cut off after so many pages.

    None where nothing known says anything of it. `ends` counts the sellers whose end is known.
    """

    whole: Tail | None
    beyond: dict[int, Tail | None]
    ends: int


def spread(ends: Sequence[float], cuts: Sequence[int], max_pages: int = MAX_PAGE_NUM) -> Spread:
    """The spread of costs where some sellers were cut off: the estimator of Kaplan and Meier.

    To leave those out would make all look cheap, as it is the deep ones that are cut off: each is worth
    the mean of the sellers that went further. Where none did nothing is known of it, nor of the whole,
    unless such sellers weigh next to nothing: then each may cost up to as much again. Fewer than five
    known ends say nothing of others.
    """
    if max_pages == 1:
        return Spread(Tail(1.0, 0.0), {}, len(ends))
    if len(ends) < _MIN_ENDS:
        return Spread(None, {}, len(ends))
    deepest = max(ends)
    lost = {cut for cut in cuts if cut >= deepest}
    if sum(cut for cut in cuts if cut in lost) > _NEGLIGIBLE * (sum(ends) + sum(cuts)):
        lost = set()
    seen = [(end, False) for end in ends]
    seen += [(cut * (1 + _BEYOND), False) if cut in lost else (float(cut), True) for cut in cuts]
    whole, beyond = _from_the_deepest(sorted(seen, reverse=True))
    beyond.update({cut: Tail(cut * (1 + _BEYOND), (cut * _BEYOND / Z) ** 2) for cut in lost})
    return Spread(whole, beyond, len(ends))


def _from_the_deepest(seen: list[tuple[float, bool]]) -> tuple[Tail | None, dict[int, Tail | None]]:
    """Each seller that was cut off is worth the mean of those that ended further on."""
    beyond: dict[int, Tail | None] = {}
    tail: Tail | None = None
    mean = square = 0.0
    for number, (pages, is_cut) in enumerate(seen, 1):
        if is_cut:
            beyond[int(pages)] = tail
        elif number == 1 or tail is not None:
            mean += (pages - mean) / number
            square += (pages**2 - square) / number
            tail = Tail(mean, max(0.0, square - mean**2))
    return tail, beyond
