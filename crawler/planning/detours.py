"""How many pages past their end look-ahead asks sellers for, at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

from crawler.models.api import MAX_PAGE_NUM, PAGE_SIZE
from crawler.planning.known import KnownSeller

_JUMPS_AFTER = 4
"""Pages by which a seller must have grown before its end is looked for by jumps."""


@dataclass(frozen=True, slots=True)
class Detours:
    """How many pages past sellers' ends look-ahead may ask for.

    Of sellers with `least_pages` or more: one where the end is known, if it is not where it was; `shrunk`
    is the share of sellers whose end comes sooner. Where it `gallops`, the end is searched for by halves,
    of sellers not known too: these cost `jumps` on average.
    """

    least_pages: int = MAX_PAGE_NUM
    shrunk: float = 1.0
    gallops: bool = False
    jumps: float = 0.0

    def most(self, seller: KnownSeller, grown: float) -> float:
        """Pages at most, of a seller that has grown by so many."""
        known = seller.cut if seller.videos is None else seller.videos // PAGE_SIZE
        if known is None:
            return self.jumps if self.gallops and seller.refused is None else 0.0
        if known < self.least_pages:
            return 0.0
        searched = log2(1 + grown) if self.gallops else 0.0
        is_beyond = seller.videos is None or grown >= _JUMPS_AFTER
        return searched + (1.0 if is_beyond else self.shrunk)


def jumps(ends: Sequence[float], least_pages: int) -> float:
    """Pages past the end for a seller that is not known, at most: those that end so have that spread."""
    return sum(log2(end) for end in ends if end > least_pages) / len(ends) if ends else 0.0
