"""Which of several keys a request is sent with, and what it means that none is left."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from crawler.models.keys import Retirement


class Candidate(NamedTuple):
    """A key that may be used: when it has its next place, and since when it would have rested by its rate."""

    free_at: float
    rested_at: float


def choose(candidates: Sequence[Candidate | None], now: float) -> int | None:
    """The number of the key for a request that leaves now; None where no key has a place.

    Of the keys with a place it is the one that has rested longest for its rate, so that all wear evenly.
    """
    free = [
        (candidate.rested_at, number)
        for number, candidate in enumerate(candidates)
        if candidate is not None and candidate.free_at <= now
    ]
    return min(free)[1] if free else None


def verdict(reasons: Collection[Retirement]) -> Retirement:
    """What ends a run whose keys are all retired: what all of them share, or else that they are used up."""
    kinds = set(reasons)
    return kinds.pop() if len(kinds) == 1 else Retirement.USED_UP
