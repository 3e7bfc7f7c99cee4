"""Which of the videos that gained most are certain to be: what those that were not read can have gained.

The API sorts a seller's videos, so none that comes after the rows that were read is worth more than the last
of them, and its gain is at most that bound less its last observed value. Open it to change what is proved.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import inf
from typing import NamedTuple

from crawler.models.certainty import Certainty


class ReadRow(NamedTuple):
    """A row that was received: its position from 1, what the API sorts it by, and whose run received it."""

    position: int
    value: float | None
    run_id: str


def bound_of_unread(rows: Iterable[ReadRow], gaps: int) -> float:
    """The most that a video of a seller can be worth which is not among its rows; inf where nothing says so.

    `rows` are those of one reading in the order of their positions, sorted by their values, the highest
    first; `gaps` are what `drift` of `sellers/` counts. A row that is worth more than the one before, or has
    no value, shows that the order is not kept. What one run read without a break from the first position on
    counts: a position that is missing (its row came again later, or was rejected) or that comes twice shows
    that the list moved, and another run has read it at another time.
    """
    if gaps:
        return inf
    bound = last = inf
    wanted, run_id = 1, None
    for row in rows:
        if row.value is None or not row.value <= last:
            return inf
        last = row.value
        if row.position == wanted and run_id in (None, row.run_id):
            bound, wanted, run_id = row.value, wanted + 1, row.run_id
        else:
            wanted = 0
    return bound


def worst_places(gains: Sequence[float], unread: Iterable[float]) -> list[int]:
    """The place from 1 that each mover takes at worst, where `gains` are theirs, the highest first.

    `unread` has the most that each unread video can have gained; the largest as many as `gains` may hold are
    enough. Equal gains share a place.
    """
    possible = sorted(unread)
    ascending = gains[::-1]
    return [1 + _above(ascending, gain) + _above(possible, gain) for gain in gains]


def certainty(worst_place: int, top: int) -> Certainty:
    """Whether a mover is proved to be among the `top` that gained most."""
    return Certainty.PROVED if worst_place <= top else Certainty.LIKELY


def _above(ascending: Sequence[float], gain: float) -> int:
    """How many are larger."""
    return len(ascending) - bisect_right(ascending, gain)
