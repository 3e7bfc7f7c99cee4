"""Slots divided fairly: by max-min over what each attempt wants, and what is left over in equal parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_HEADROOM = 0.25
"""Beyond what an attempt uses it may keep this part of it, and one slot at least."""

_SLOTS_AN_IDLE_ONE = 16
"""An idle attempt keeps one slot where there are so many slots for each attempt."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What an attempt wants and holds, in slots.

    `since`: when it got its first slot, or lost its last one; `has_had_turn`: that was long ago.
    """

    wants: int
    held: int
    since: float
    has_had_turn: bool = False


def fair_shares(claims: Sequence[Claim], slots: int) -> list[tuple[int, int]]:
    """For each claim its fair share, by max-min, and the most that it may hold: what is left over is divided.

    Where there are fewer slots than attempts that want one, those that have waited longest come before those
    that have had their turn.
    """
    if not claims:
        return []
    fair = _max_min([_demand(claim, slots // len(claims)) for claim in claims], claims, slots)
    left = slots - sum(fair)
    targets = [share + left // len(claims) for share in fair]
    # A slot that is left over stays where it is.
    by_excess = sorted(range(len(claims)), key=lambda i: targets[i] - claims[i].held)
    for number in by_excess[: left % len(claims)]:
        targets[number] += 1
    return list(zip(fair, targets, strict=True))


def _demand(claim: Claim, equal_part: int) -> int:
    if not claim.wants:
        return 1 if equal_part >= _SLOTS_AN_IDLE_ONE else 0
    return claim.wants + max(1, int(claim.wants * _HEADROOM))


def _max_min(demands: Sequence[int], claims: Sequence[Claim], slots: int) -> list[int]:
    """Each gets what it demands up to one level; the slots that do not raise it go to some, one each."""
    level = _level(demands, slots)
    fair = [min(demand, level) for demand in demands]
    above = [number for number, demand in enumerate(demands) if demand > level]
    above.sort(key=lambda number: _rank(claims[number], level))
    for number in above[: slots - sum(fair)]:
        fair[number] += 1
    return fair


def _level(demands: Sequence[int], slots: int) -> int:
    """The highest level up to which all demands can be met."""
    left = slots
    for met, demand in enumerate(sorted(demands)):
        equal = left // (len(demands) - met)
        if demand > equal:
            return equal
        left -= demand
    return max(demands)


def _rank(claim: Claim, level: int) -> tuple[int, float]:
    """The lowest get one slot more: those that have it, unless it was their turn and another has none."""
    if level:
        return int(claim.held <= level), 0.0
    if claim.held:
        return 2 if claim.has_had_turn else 0, claim.since
    return 1, claim.since
