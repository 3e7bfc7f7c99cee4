"""Which stretches of pages are read tonight, so that little gain stays unseen. Open it to change the choice.

The harm of a night is the gain that its snapshot does not show. A stretch that gains `rate` a night and was
last read `age` nights ago hides `rate * age`, unless it is read. Reading it every T nights costs `cost / T`
credits a night and hides `rate * (T - 1) / 2` on average. Where a credit is worth L nights' gain, T nights
and T + 1 are equally good if L = rate * T * (T + 1) / 2 / cost. This is the index of a stretch of age T:
tonight the stretches of the largest index are read. In the long run each is then read about as often as the
square root of its rate over its cost.

The index is Whittle's ("Restless bandits: activity allocation in a changing world", Journal of Applied
Probability 25A, 1988), in the form that Tripathi and Modiano give for any function of age ("A Whittle index
approach to minimizing functions of age of information", Allerton 2019), here of a linear one. Azar, Horvitz,
Lubetzky, Peres and Shahaf ("Tractable near-optimal policies for crawling", PNAS 115(32), 2018) and Kolobov,
Peres, Lu and Horvitz ("Staying up to date with online content changes using reinforcement learning for
scheduling", NeurIPS 2019) solve the same task for other harms, a copy that is outdated or changes that wait:
there, too, one price for a credit decides over all pages at once.

It assumes that rates are constant, costs known, and harm proportional to the gain not seen. Then it reads a
stretch by itself at the best times. To rank many of them by it under one budget is a heuristic; it is close
to the best where there are many stretches and each costs little beside the budget. Rates that are forecasts
and change, duties, and the share for stretches never read are heuristics on top of that.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, compress
from math import ceil, inf, log2
from typing import NamedTuple, overload

_MOST_EXPLORED = 0.5
"""Share of what duties leave that stretches never read get at most, while others want it."""
_LEAST_EXPLORED = 0.25
"""Share of what duties leave that they get at least, where a `max_age`-th of them costs as much."""
_EXPLORED_UNDER_NEED = 0.05
"""Share of a budget that cannot bear the duties which goes to stretches never read."""
_STEPS_AN_OCTAVE = 16
"""How finely gains for a credit differ where the price is looked for: by 4 %."""


class Stretch(NamedTuple):
    """Some pages of one seller, as they stand before tonight's reading."""

    seller: int
    """Number of the seller in the list."""
    first_page: int
    """1 or more."""
    cost: int
    """Credits that it is expected to take, 1 or more."""
    rate: float
    """Gain a night that is expected of it as of tonight; below 0, or no number, it counts as 0."""
    age: int
    """Nights since it was last read: 1 for last night, 0 for tonight; of one never read, `max_age`."""
    is_known: bool
    """Whether it was ever read. A new seller, or the unread rest of one, has no duty."""


class Stretches(Sequence[Stretch]):
    """Many stretches, in a few bytes each; `Stretch` tells what each column is."""

    def __init__(self, stretches: Iterable[Stretch] = ()) -> None:
        self.sellers, self.first_pages, self.costs = array("I"), array("I"), array("I")
        self.rates, self.ages, self.are_known = array("d"), array("i"), bytearray()
        for stretch in stretches:
            self.append(*stretch)

    def __len__(self) -> int:
        return len(self.costs)

    @overload
    def __getitem__(self, number: int) -> Stretch: ...

    @overload
    def __getitem__(self, number: slice) -> list[Stretch]: ...

    def __getitem__(self, number: int | slice) -> Stretch | list[Stretch]:
        if isinstance(number, slice):
            return [self[each] for each in range(len(self))[number]]
        return Stretch(
            self.sellers[number],
            self.first_pages[number],
            self.costs[number],
            self.rates[number],
            self.ages[number],
            bool(self.are_known[number]),
        )

    def append(self, seller: int, first_page: int, cost: int, rate: float, age: int, is_known: bool) -> None:
        """Add a stretch."""
        self.sellers.append(seller)
        self.first_pages.append(first_page)
        self.costs.append(cost)
        self.rates.append(rate)
        self.ages.append(age)
        self.are_known.append(is_known)


class Choice(NamedTuple):
    """What is read tonight. Stretches are named by their numbers in what was given."""

    chosen: list[int]
    """In the order in which they are to be asked for. Only the last may cost more than is left for it."""
    overdue: list[int]
    """Known stretches that are older than `max_age` after tonight, in the order of the list."""
    bearable_budget: int
    """See the function of that name."""


def choose(
    stretches: Sequence[Stretch], budget: int | None, max_age: int, *, is_rest: bool = False
) -> Choice:
    """Choose what is read tonight for `budget` credits, or for any number; `max_age` is in nights, 1 or more.

    1. Duties. A known stretch must be read before it is older than `max_age`. So many credits go to duties
       tonight, by deadline and within it by index, that later nights can bear theirs, and that stretches
       which the index would read too late are spread evenly over the nights.
    2. Stretches never read compete by index, but get at most half of what is left, and at least a
       `max_age`-th of their cost, or a quarter of what is left if that is less. Where the budget cannot bear
       the duties, they get a twentieth of it.
    3. The rest goes by index, over all stretches. One that costs more than is left is passed over for smaller
       ones. It is not passed over for ever: its index grows with its age, and it comes first once it is due.
    4. What is then left begins one more stretch, one never read if there is any: the run stops within it.
       It is of a seller of which nothing else is read: else its pages would be asked for with those.

    With `is_rest` the budget is what a choice before it has left of tonight's, which saw to the duties.

    A stretch that was read tonight is not chosen. One that costs more than the budget is never read as a
    whole: it becomes overdue, and `bearable_budget` allows for it. Ties keep the order of the list.
    """
    columns = stretches if isinstance(stretches, Stretches) else Stretches(stretches)
    waiting = [number for number, age in enumerate(columns.ages) if age > 0]
    bearable = bearable_budget(columns, max_age)
    if budget is None or budget >= sum(map(columns.costs.__getitem__, waiting)):
        return Choice(waiting, [], bearable)
    night = _Night(columns, waiting, budget, max_age)
    are_known = columns.are_known
    known = [number for number in night.ranking if are_known[number]]
    unknown = [number for number in night.ranking if not are_known[number]]
    kept = (
        min(budget // 2, ceil(budget * _EXPLORED_UNDER_NEED))
        if unknown and budget < bearable and not is_rest
        else 0
    )
    if not is_rest:
        night.buy_duties([number for number in known if columns.costs[number] <= budget], kept)
    held = night.explore(unknown, kept)
    night.buy(night.ranking)
    whole = frozenset(night.chosen)
    begun = {columns.sellers[number] for number in night.chosen}
    night.begin_one_more((n for n in chain(unknown, known) if columns.sellers[n] not in begun), held)
    overdue = [n for n in waiting if are_known[n] and columns.ages[n] >= max_age and n not in whole]
    return Choice(night.chosen, overdue, bearable)


def bearable_budget(stretches: Sequence[Stretch], max_age: int) -> int:
    """The smallest nightly budget that surely reads all stretches every `max_age` nights, in credits.

    A night may end just short of what its next stretch costs, so the largest one's cost is added, less one.
    With this budget nothing becomes overdue; of what is overdue already, all is read within `max_age` nights.
    Stretches never read count, since each will be known.
    """
    columns = stretches if isinstance(stretches, Stretches) else Stretches(stretches)
    total = sum(columns.costs)
    largest = max(compress(columns.costs, columns.are_known), default=1)
    return min(total, ceil(total / max_age) + largest - 1)


def price(densities: Iterable[float], costs: Iterable[int], budget: float, max_age: int) -> float:
    """The index above which to read, so that a night costs `budget` in the long run: gain for a credit.

    `densities` are the stretches' rates over their costs. Each is read when its index reaches the price, and
    at the age of `max_age` at the latest. It does not depend on tonight's ages, so it hardly moves from
    night to night. `inf` where the budget does not bear to read all every `max_age` nights.
    """
    by_step: defaultdict[int, int] = defaultdict(int)
    total = 0
    for density, cost in zip(densities, costs, strict=True):
        total += cost
        if density > 0:
            by_step[round(log2(density) * _STEPS_AN_OCTAVE)] += cost
    if total > budget * max_age:
        return inf
    steps = sorted(by_step)
    if not steps:
        return 0.0
    still = (total - sum(by_step.values())) / max_age
    thresholds = [log2(age * (age + 1) / 2) * _STEPS_AN_OCTAVE for age in range(1, max_age)]

    def nightly_cost(step: int) -> float:
        ages = [sum(step - at > threshold for threshold in thresholds) + 1 for at in steps]
        return sum(by_step[at] / age for at, age in zip(steps, ages, strict=True)) + still

    low, high = steps[0] - 1, steps[-1] + ceil(thresholds[-1] if thresholds else 0) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if nightly_cost(middle) > budget else (low, middle)
    return float(2 ** (high / _STEPS_AN_OCTAVE))


class _Night:
    """What is chosen so far, and the credits that are left."""

    def __init__(self, stretches: Stretches, waiting: Sequence[int], budget: int, max_age: int) -> None:
        self._budget = budget
        self._max_age = max_age
        self._ages, self._costs = stretches.ages, stretches.costs
        # Written so that a rate that is no number counts as 0.
        rates = zip(stretches.rates, self._costs, strict=True)
        self._densities = array("d", (rate / cost if rate > 0 else 0.0 for rate, cost in rates))
        ages = zip(self._densities, self._ages, strict=True)
        indices = array("d", (density * age * (age + 1) for density, age in ages))
        self.ranking = sorted(waiting, key=indices.__getitem__, reverse=True)
        self.chosen: list[int] = []
        self._is_chosen = bytearray(len(stretches))
        self._left = budget

    def buy(self, numbers: Iterable[int], credits_for_it: float = inf) -> int:
        """Choose those that fit what is left, until so many credits are spent; returns how many were."""
        spent = 0
        for number in numbers:
            if spent >= credits_for_it or self._left <= 0:
                break
            cost = self._costs[number]
            if cost <= self._left and not self._is_chosen[number]:
                self._is_chosen[number] = True
                self.chosen.append(number)
                self._left -= cost
                spent += cost
        return spent

    def buy_duties(self, known: Sequence[int], kept: int) -> None:
        """Choose tonight's duties among `known`, which is sorted by index; `kept` credits are not spent."""
        self._left -= kept
        by_deadline = self._by_deadline(known)
        self.buy(chain.from_iterable(by_deadline), self._urgent(by_deadline))
        cold = self._cold(by_deadline)
        spent = self._cost(number for numbers in cold for number in numbers if self._is_chosen[number])
        even = max((cost / nights for nights, cost in self._costs_until(cold)), default=0.0)
        self.buy(self._nearest_to(even - spent, chain.from_iterable(cold)))
        self._left += kept

    def _nearest_to(self, cost: float, numbers: Iterable[int]) -> Iterator[int]:
        """The first that are not chosen, as many as bring their cost nearest to the one wanted."""
        until = 0.0
        for number in numbers:
            if not self._is_chosen[number]:
                until += self._costs[number]
                if until - self._costs[number] / 2 > cost:
                    return
                yield number

    def _by_deadline(self, known: Iterable[int]) -> list[list[int]]:
        """The stretches that must be read tonight, tomorrow, and so on."""
        by_deadline: list[list[int]] = [[] for _ in range(self._max_age)]
        for number in known:
            by_deadline[max(0, self._max_age - self._ages[number])].append(number)
        return by_deadline

    def _urgent(self, by_deadline: Sequence[Sequence[int]]) -> float:
        """What tonight must spend on the earliest deadlines, so that later nights can bear theirs.

        Later nights count with less than their budget, since the largest stretch may not fit the end of any.
        """
        largest = max((self._costs[n] for numbers in by_deadline for n in numbers), default=1)
        usable = self._budget - largest + 1
        costs = self._costs_until(by_deadline)
        return max((cost - (nights - 1) * usable for nights, cost in costs), default=0.0)

    def _cold(self, by_deadline: Sequence[Sequence[int]]) -> list[list[int]]:
        """Those that the index alone would read on the last two nights before they are due, or later.

        Without these two nights of slack many become urgent where the marginal index of a night is high.
        """
        last_age = max(1, self._max_age - 2)
        price_of_credit = price(self._densities, self._costs, self._budget, self._max_age)
        limit = price_of_credit / (last_age * (last_age + 1) / 2)
        return [[number for number in numbers if self._densities[number] < limit] for numbers in by_deadline]

    def _costs_until(self, by_deadline: Iterable[Iterable[int]]) -> Iterable[tuple[int, int]]:
        """How many nights there are until each deadline, with tonight, and what all due by then cost."""
        return enumerate(accumulate(map(self._cost, by_deadline)), 1)

    def explore(self, unknown: Sequence[int], kept: int) -> int:
        """Choose by index, with the least and the most share for stretches never read.

        Returns the credits that are held open for one of them that costs more than its share: it is begun.
        """
        fair = ceil(self._cost(unknown) / self._max_age)
        least = max(kept, min(fair, ceil(self._left * _LEAST_EXPLORED)))
        most = max(least, ceil(self._left * _MOST_EXPLORED))
        costs = accumulate(self._costs[number] for number in unknown)
        closed = {number for number, cost in zip(unknown, costs, strict=True) if cost > most}
        spent = self.buy((number for number in unknown if number not in closed), least)
        held = max(0, least - spent) if closed else 0
        self._left -= held
        self.buy(number for number in self.ranking if number not in closed)
        return held

    def begin_one_more(self, numbers: Iterable[int], held: int) -> None:
        """Choose the first that is left, though it costs more than is left, so that all is spent."""
        if self._left + held > 0:
            number = next((number for number in numbers if not self._is_chosen[number]), None)
            if number is not None:
                self.chosen.append(number)

    def _cost(self, numbers: Iterable[int]) -> int:
        return sum(map(self._costs.__getitem__, numbers))
