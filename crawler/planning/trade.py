"""What each budget would bring by `--strategy freshest`, kept up night after night: the nights are played.

Open it to change what a plan says of budgets, or how `--target` finds its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf
from typing import NamedTuple

from crawler.rules.freshness import Stretch, bearable_budget, choose

STEPS = 10
"""Budgets that are compared: so many equal parts of what the whole list costs."""
_LITTLE = 1 / 3
_MAX_NIGHTS = 60
_MAX_GROUPS = 1000
_FINENESS = 200


class Kept(NamedTuple):
    """What a nightly budget brings once it is kept up.

    Means over the last nights that were played, `max_age` of them and 30 at most; None where no gain is
    expected of anything.
    """

    credits: int
    share_of_cost: float
    """Of what the whole list costs."""
    share_seen: float | None
    """Which part of a night's gains the same night's reading shows."""
    mean_age: float | None
    """Nights since a row was read, weighed by the gain that is expected of its stretch."""
    oldest_age: int
    """Nights since the stretch was read that was read longest ago, on any of these nights."""
    overdue: int
    """Stretches that the last night leaves older than `max_age`."""


@dataclass(frozen=True, slots=True)
class Trade:
    """Credits against freshness, in nights at today's rates; `plan --json` has the same names.

    `cost` is what the whole list costs, `bearable_budget` the smallest that reads all of it every `max_age`
    nights, `enough` the one beyond which another credit buys little, `nights` how many were played.
    `target` is the budget that `--target` picks, None where there is none.
    """

    value: str
    max_age: int
    nights: int
    cost: int
    bearable_budget: int
    enough: int | None
    budgets: list[Kept]
    target: Kept | None = None


class World:
    """The stretches of a list as they stand before tonight, and what budgets make of them.

    More than a thousand are grouped: stretches of one age, and of nearly the same gain a credit, count as
    one. Rates stay as they are, and what was never read turns out to cost what was expected.
    """

    def __init__(self, stretches: Sequence[Stretch], max_age: int) -> None:
        self.cost = sum(stretch.cost for stretch in stretches)
        self.bearable_budget = bearable_budget(stretches, max_age)
        self.nights = min(2 * max_age, _MAX_NIGHTS)
        self._max_age = max_age
        self._groups, self._sizes = _grouped(stretches)
        self._rates = [group.rate if group.rate > 0 else 0.0 for group in self._groups]
        self._rate = sum(self._rates)

    def kept(self, budget: int) -> Kept:
        """What a nightly budget brings."""
        now, measured = list(self._groups), self.nights - self.nights // 2
        seen = aged = weight = 0.0
        oldest = overdue = 0
        for night in range(self.nights):
            read, late = self._night(now, budget)
            if night >= self.nights - measured:
                seen += sum(self._rates[number] for number in read)
                for number, group in enumerate(now):
                    if number in read:
                        weight += self._rates[number]
                    elif group.is_known:
                        weight += self._rates[number]
                        aged += self._rates[number] * group.age
                        oldest = max(oldest, group.age)
            overdue = sum(self._sizes[number] for number in late)
            now = [_next(group, number in read) for number, group in enumerate(now)]
        is_known = 0 < self._rate < inf
        return Kept(
            budget,
            budget / self.cost if self.cost else 1.0,
            min(1.0, seen / measured / self._rate) if is_known else None,
            aged / weight if is_known and weight else None,
            oldest,
            overdue,
        )

    def _night(self, now: Sequence[Stretch], budget: int) -> tuple[frozenset[int], list[int]]:
        """What is read as a whole, and what is overdue after that."""
        choice = choose(now, budget, self._max_age)
        is_cut = sum(now[number].cost for number in choice.chosen) > budget
        return frozenset(choice.chosen[:-1] if is_cut else choice.chosen), choice.overdue

    def doubt(self, budget: int) -> str | None:
        """Why a nightly budget cannot read every page often enough, and which could; None: it can."""
        if budget >= self.bearable_budget or not (overdue := self.kept(budget).overdue):
            return None
        return (
            f"a budget of {budget:,} credits cannot bear that every page is read every {self._max_age} days: "
            f"kept up, it leaves {overdue:,} stretches of pages overdue; {self.bearable_budget:,} credits a "
            "night would do"
        )

    def steps(self) -> list[Kept]:
        """What equal parts of the whole cost bring, the smallest first."""
        return [self.kept(ceil(self.cost * step / STEPS)) for step in range(1, STEPS + 1)]

    def enough(self, steps: Sequence[Kept]) -> int | None:
        """The budget of these beyond which another credit buys little; the bearable one where that is more.

        Little: no step beyond it brings a third of what it would if all credits brought the same. None where
        no gain is expected of anything.
        """
        if steps[-1].share_seen is None:
            return None
        for below, above in reversed([*pairwise(steps)]):
            gain = (above.share_seen or 0.0) - (below.share_seen or 0.0)
            if gain >= _LITTLE * (above.share_of_cost - below.share_of_cost):
                return max(above.credits, self.bearable_budget)
        return max(steps[0].credits, self.bearable_budget)

    def target(self, share: float) -> int:
        """The smallest nightly budget, to half a per cent of the cost, that shows a share of the gains.

        At least the bearable one; the whole cost where no gain is expected of anything.
        """
        found = _smallest(0, self.cost, max(1, self.cost // _FINENESS), lambda b: self._shows(b, share))
        return max(found, self.bearable_budget)

    def _shows(self, budget: int, share: float) -> bool:
        seen = self.kept(budget).share_seen
        # The sums of a share that is shown exactly may lie a little below it.
        return seen is not None and seen >= share * (1 - 1e-9)


def trade(
    stretches: Sequence[Stretch],
    max_age: int,
    value: str,
    share: float | None = None,
    picked: int | None = None,
) -> Trade:
    """What budgets bring, and which one shows a `share` of a night's gains, where it is not `picked` yet."""
    world = World(stretches, max_age)
    steps = world.steps()
    if share is not None and picked is None:
        picked = world.target(share)
    target = None if picked is None else world.kept(picked)
    enough = world.enough(steps)
    return Trade(value, max_age, world.nights, world.cost, world.bearable_budget, enough, steps, target)


def _smallest(low: int, high: int, fineness: int, does: Callable[[int], bool]) -> int:
    """The smallest number above `low` of which something holds, as it does of `high`, not finer than that."""
    while high - low > fineness:
        middle = (low + high) // 2
        low, high = (low, middle) if does(middle) else (middle, high)
    return high


def _next(stretch: Stretch, is_read: bool) -> Stretch:
    """A stretch as it stands a night later."""
    if is_read:
        return stretch._replace(age=1, is_known=True)
    return stretch._replace(age=stretch.age + 1) if stretch.is_known else stretch


def _grouped(stretches: Sequence[Stretch]) -> tuple[list[Stretch], list[int]]:
    """Stretches, or groups of them that are much alike; and how many are in each."""
    if len(stretches) <= _MAX_GROUPS:
        return [*stretches], [1] * len(stretches)
    groups = [*_groups(stretches)]
    return [_as_one(number, group) for number, group in enumerate(groups)], [len(group) for group in groups]


def _as_one(number: int, group: Sequence[Stretch]) -> Stretch:
    cost, rate = sum(each.cost for each in group), sum(each.rate for each in group if each.rate > 0)
    return group[0]._replace(seller=number, first_page=1, cost=cost, rate=rate)


def _groups(stretches: Sequence[Stretch]) -> Iterator[list[Stretch]]:
    """Stretches of one age that follow on each other by their gain a credit, and cost little together."""
    most = sum(stretch.cost for stretch in stretches) / _MAX_GROUPS
    group: list[Stretch] = []
    cost = 0
    for stretch in sorted(stretches, key=lambda each: (*_kind(each), max(0.0, each.rate) / each.cost)):
        if group and (_kind(stretch) != _kind(group[0]) or cost + stretch.cost > most):
            yield group
            group, cost = [], 0
        group.append(stretch)
        cost += stretch.cost
    if group:
        yield group


def _kind(stretch: Stretch) -> tuple[bool, int]:
    return stretch.is_known, stretch.age
