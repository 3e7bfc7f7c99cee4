"""What sellers cost of which little is known: the spread of those whose end is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from crawler.models.api import MAX_PAGE_NUM
from crawler.planning.estimates import Z

_FEW = 5
_NEGLIGIBLE = 0.02
_BEYOND = 0.5


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
    if len(ends) < _FEW:
        return Spread(None, {}, len(ends))
    deepest = max(ends)
    lost = {cut for cut in cuts if cut >= deepest}
    if sum(cut for cut in cuts if cut in lost) > _NEGLIGIBLE * (sum(ends) + sum(cuts)):
        lost = set()
    seen = [(end, False) for end in ends]
    seen += [(cut * (1 + _BEYOND), False) if cut in lost else (float(cut), True) for cut in cuts]
    whole, beyond = _descended(sorted(seen, reverse=True))
    beyond.update({cut: Tail(cut * (1 + _BEYOND), (cut * _BEYOND / Z) ** 2) for cut in lost})
    return Spread(whole, beyond, len(ends))


def _descended(seen: list[tuple[float, bool]]) -> tuple[Tail | None, dict[int, Tail | None]]:
    """From the deepest seller down: a cut-off one is worth the mean of those that ended further on."""
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
