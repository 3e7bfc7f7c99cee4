"""What a night will cost, and how far a budget reaches: from what earlier nights cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heapreplace
from math import ceil, exp, floor, hypot, inf, log1p, log2, sqrt
from typing import NamedTuple

from crawler.models.api import MAX_PAGE_NUM, PAGE_SIZE, StopRule

_Z = 2.0
"""Standard deviations on each side: 95 % of a normal distribution, as the figures are estimates too."""

_UNSEEN_GROWTH = 0.03
_LEAST_GROWTH_SD = 0.005
_LEAST_OUTLAY_SD = 0.002
_UNSEEN_CHANCE = 0.15
_LEAST_CHANCE_SD = 0.02
_PRIOR_NIGHTS = 3
_ROUNDING_VARIANCE = 0.25
"""Of a seller's pages: whether its new videos fill one more page is a coin's toss at most."""

_LEAPS_AFTER = 4
"""Pages by which a seller must have grown before its end is looked for by leaps."""

_FEW = 5
_NEGLIGIBLE = 0.02
_BEYOND = 0.5


@dataclass(frozen=True, slots=True)
class Tariff:
    """What ends a seller; `probe` is the share of all credits that is spent on pages after short ones."""

    stop: StopRule = StopRule.SHORT
    max_pages: int = MAX_PAGE_NUM
    probe: float = 0.0

    def pages(self, videos: int) -> int:
        """Pages of a seller that has so many videos."""
        full, rest = divmod(max(0, videos), PAGE_SIZE)
        end = full + 2 if rest and self.stop is StopRule.EMPTY else full + 1
        return min(self.max_pages, end)

    def with_probes(self, credits_spent: float, sellers: int) -> float:
        """What such a sum grows to by probes: one a seller at most."""
        if self.stop is StopRule.EMPTY or self.probe <= 0:
            return credits_spent
        most = credits_spent + sellers
        return most if self.probe >= 1 else min(most, credits_spent / (1 - self.probe))

    def expected(self, videos: int, factor: float) -> float:
        """Expected pages once the videos have grown by a factor; a fraction of a video is a chance."""
        more = videos * (factor - 1)
        whole = floor(more)
        chance = more - whole
        return (1 - chance) * self.pages(videos + whole) + chance * self.pages(videos + whole + 1)


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


def outlay(shares: Sequence[float]) -> Measure:
    """Credits a page, repeated requests included, from those of earlier nights."""
    if not shares:
        return Measure(1.0, _LEAST_OUTLAY_SD, 0)
    mean = max(1.0, sum(shares) / len(shares))
    return Measure(mean, _night_sd(shares, mean, max(_LEAST_OUTLAY_SD, (mean - 1) / 2)), len(shares))


def chance(rates: Sequence[float], errors: Sequence[float], unseen: float) -> Measure:
    """The chance that a seller stands still, from the shares of earlier nights; else it is `unseen`."""
    if not rates:
        return Measure(unseen, _UNSEEN_CHANCE, 0)
    mean = sum(rates) / len(rates)
    own = sum(error**2 for error in errors) / len(rates)
    sd = _night_sd(rates, mean, max(_LEAST_CHANCE_SD, min(mean, 1 - mean) / 2))
    return Measure(mean, sqrt(sd**2 + own), len(rates))


@dataclass(frozen=True, slots=True)
class Chances:
    """That a seller stands still tonight: after it stood `still`, after it `moved`, and of `any` seller."""

    still: Measure
    moved: Measure
    any: Measure

    def of(self, still: bool | None) -> Measure:
        """The chance after what was last seen."""
        return self.any if still is None else self.still if still else self.moved


_ALL_STAND_STILL = Chances(*[Measure(1.0, 0.0, 0)] * 3)


def _night_sd(values: Sequence[float], mean: float, prior: float) -> float:
    nights = len(values)
    squares = _PRIOR_NIGHTS * prior**2 + sum((value - mean) ** 2 for value in values)
    return sqrt(squares / (_PRIOR_NIGHTS + nights - 1) * (1 + 1 / nights))


class Sighting(NamedTuple):
    """What is known of a seller: its `videos` when it was last read to its end, `age` days ago.

    Or else after how many pages it was `cut` off, more being left; or else what it cost to be `refused`.
    `paid`: pages that the crawl date has of it already, more being left. `still`: whether it stood still
    when that was last looked at. `may_carry`: whether it costs one credit tonight if it does again.
    """

    videos: int | None = None
    age: int | None = None
    cut: int | None = None
    refused: int | None = None
    paid: int = 0
    still: bool | None = None
    may_carry: bool = False

    @property
    def is_known(self) -> bool:
        """Whether anything is known."""
        return (self.videos, self.cut, self.refused) != (None, None, None)


class Tail(NamedTuple):
    """Mean and variance of what a seller costs, in pages."""

    mean: float
    variance: float


@dataclass(frozen=True, slots=True)
class Spread:
    """What a seller costs of which nothing is known, or only that it was cut off after so many pages.

    None where there is nothing to tell it by. `ends` counts the sellers whose end is known.
    """

    whole: Tail | None
    beyond: dict[int, Tail | None]
    ends: int


def spread(ends: Sequence[float], cuts: Sequence[int], max_pages: int = MAX_PAGE_NUM) -> Spread:
    """The spread of costs where some sellers were cut off: the estimator of Kaplan and Meier.

    To leave those out would make all look cheap, as it is the deep ones that are cut off: each is worth
    the mean of the sellers that went further. Where none did nothing is known of it, nor of the whole,
    unless such sellers weigh next to nothing: then each may cost up to as much again. Fewer than five
    known ends tell nothing of others.
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
    beyond.update({cut: Tail(cut * (1 + _BEYOND), (cut * _BEYOND / _Z) ** 2) for cut in lost})
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


@dataclass(frozen=True, slots=True)
class Detours:
    """How many pages past sellers' ends look-ahead may ask for.

    Of sellers with `least_pages` or more: one where the end is known, if it is not where it was; `shrunk`
    is the share of sellers whose end comes sooner. Where it `gallops`, the end is searched for by halves,
    of sellers not known too: these cost `leaps` on average.
    """

    least_pages: int = MAX_PAGE_NUM
    shrunk: float = 1.0
    gallops: bool = False
    leaps: float = 0.0

    def most(self, seller: Sighting, grown: float) -> float:
        """Pages at most, of a seller that has grown by so many."""
        known = seller.cut if seller.videos is None else seller.videos // PAGE_SIZE
        if known is None:
            return self.leaps if self.gallops and seller.refused is None else 0.0
        if known < self.least_pages:
            return 0.0
        searched = log2(1 + grown) if self.gallops else 0.0
        is_beyond = seller.videos is None or grown >= _LEAPS_AFTER
        return searched + (1.0 if is_beyond else self.shrunk)


def leaps(ends: Sequence[float], least_pages: int) -> float:
    """Pages past the end for a seller that is not known, at most: those that end so have that spread."""
    return sum(log2(end) for end in ends if end > least_pages) / len(ends) if ends else 0.0


class Forecast(NamedTuple):
    """Credits; None where too little is known to tell."""

    low: int
    expected: int | None
    high: int | None


class _Cost(NamedTuple):
    """One seller's pages: `slope` by how many they change with the growth, `guess` if told by others."""

    mean: float
    variance: float = 0.0
    slope: float = 0.0
    guess: bool = False
    saved: float = 0.0

    def unless_carried(self, chance: float) -> _Cost:
        """The cost where all but one page is saved by such a chance; `saved` is what that turns on."""
        rest, saved = 1 - chance, max(0.0, self.mean - 1)
        variance = rest * self.variance + chance * rest * saved**2
        return self._replace(
            mean=self.mean - chance * saved, variance=variance, slope=rest * self.slope, saved=saved
        )

    def less(self, paid: int) -> _Cost:
        """What is left once so many pages were paid for: of a seller that has not ended, one at least."""
        return self._replace(mean=max(1.0, self.mean - paid)) if paid else self


@dataclass(slots=True)
class _Sums:
    """Costs added up: of sellers known well, and of those guessed from them."""

    firm: float = 0.0
    firm_variance: float = 0.0
    slope: float = 0.0
    guessed: float = 0.0
    guessed_variance: float = 0.0
    guesses: int = 0
    detours: float = 0.0
    saved: dict[bool | None, float] = field(default_factory=lambda: {True: 0.0, False: 0.0, None: 0.0})

    def add(self, cost: _Cost) -> None:
        """Count a seller."""
        if cost.guess:
            self.guesses += 1
            self.guessed += cost.mean
            self.guessed_variance += cost.variance
        else:
            self.firm += cost.mean
            self.firm_variance += cost.variance
            self.slope += cost.slope


@dataclass(frozen=True, slots=True)
class Forecaster:
    """Expected costs from what earlier nights showed.

    `unrest` is the variance of one seller's growth a night about that of all, as a share of its videos.
    Where no `chances` are known that sellers stand still, carrying them lowers the low end only.
    """

    tariff: Tariff
    growth: Measure
    unrest: float
    outlay: Measure
    spread: Spread
    chances: Chances | None = None
    detours: Detours = field(default_factory=Detours)

    def pages(self, seller: Sighting) -> float | None:
        """Expected pages of one seller; None where there is nothing to tell it by."""
        cost = self._cost(seller)
        return None if cost is None else cost.mean

    def total(self, sellers: Iterable[Sighting]) -> Forecast:
        """Credits for all the sellers, one each at the least.

        Where some sellers' costs cannot be told, only the low end is given.
        """
        left = list(sellers)
        told = self._total(left)
        if self.chances is not None or not any(seller.may_carry for seller in left):
            return told
        return told._replace(low=replace(self, chances=_ALL_STAND_STILL).total(left).low)

    def _total(self, sellers: Sequence[Sighting]) -> Forecast:
        sums = _Sums()
        count = untold = least = 0
        for seller in sellers:
            cost = self._cost(seller)
            count += 1
            if cost is None:
                untold += 1
                least += max(1, (seller.cut or 0) + 1 - seller.paid)
            else:
                sums.add(cost.less(seller.paid))
                sums.saved[seller.still] += cost.saved
                sums.detours += self._detours(seller, cost)
        mean, below, above = self._interval(sums, count)
        low = max(count, floor(mean - below) + least)
        if untold:
            return Forecast(low, None, None)
        expected = max(low, round(mean))
        return Forecast(low, expected, max(expected, ceil(mean + above + sums.detours)))

    def _detours(self, seller: Sighting, cost: _Cost) -> float:
        grown = cost.mean - (seller.cut or 0) if seller.videos is None else cost.slope * self.growth.mean
        return self.detours.most(seller, max(0.0, grown))

    def savings(self, sellers: Iterable[Sighting]) -> tuple[float, float] | None:
        """Sellers that are expected to be carried, and the credits that saves; None: not known."""
        if self.chances is None:
            return None
        carried = saved = 0.0
        for seller in sellers:
            if seller.may_carry and (cost := self._cost(seller)) is not None:
                likely = self.chances.of(seller.still).mean
                carried += likely
                saved += likely * cost.saved * self.outlay.mean
        return carried, saved

    def _cost(self, seller: Sighting) -> _Cost | None:
        cost = self._crawled(seller)
        if cost is None or not seller.may_carry:
            return cost
        return cost.unless_carried(0.0 if self.chances is None else self.chances.of(seller.still).mean)

    def _crawled(self, seller: Sighting) -> _Cost | None:
        most = self.tariff.max_pages
        if seller.videos is not None:
            return self._grown(seller.videos, (seller.age or 0) * self._moves(seller.still))
        if seller.cut is not None and seller.cut >= most:
            return _Cost(most)
        if seller.cut is None and seller.refused is not None:
            return _Cost(max(1, seller.refused))
        tail = self.spread.whole if seller.cut is None else self.spread.beyond.get(seller.cut)
        return None if tail is None else _Cost(min(most, tail.mean), tail.variance, guess=True)

    def _moves(self, still: bool | None) -> float:
        """The chance that a seller grows: the growth is that of those that do not stand still."""
        if not still:
            return 1.0
        return 0.0 if self.chances is None else 1 - self.chances.still.mean

    def _grown(self, videos: int, age: float) -> _Cost:
        pages = self.tariff.expected(videos, max(0.0, 1 + self.growth.mean * age))
        if pages >= self.tariff.max_pages:
            return _Cost(pages)
        full = videos / PAGE_SIZE
        return _Cost(pages, _ROUNDING_VARIANCE + self.unrest * full**2 * age, full * age)

    def _interval(self, sums: _Sums, count: int) -> tuple[float, float, float]:
        """Expected credits, and how far they may lie below and above.

        Independent deviations add up in squares. A common error moves all sellers alike: that of the
        growth, of the outlay, and of the mean that guesses are taken from.
        """
        mean = (sums.firm + sums.guessed) * self.outlay.mean
        common = (sums.slope * self.growth.sd) ** 2 + ((sums.firm + sums.guessed) * self.outlay.sd) ** 2
        if self.chances is not None:
            common += sum((saved * self.chances.of(still).sd) ** 2 for still, saved in sums.saved.items())
        firm = _Z * sqrt(sums.firm_variance + common)
        whole = self.spread.whole
        shared = sums.guesses**2 * whole.variance / self.spread.ends if whole and self.spread.ends else 0.0
        below, above = _skewed(sums.guessed, sums.guessed_variance + shared)
        with_probes = self.tariff.with_probes(mean, count)
        grown = self.outlay.mean * with_probes / mean if mean else 1.0
        return with_probes, hypot(firm, below) * grown, hypot(firm, above) * grown


def _skewed(mean: float, variance: float) -> tuple[float, float]:
    """How far a positive sum may lie below and above its mean: as a log-normal one does.

    Sellers' sizes have a heavy tail, so a sum of few of them is mostly below its mean, and rarely far above.
    """
    if mean <= 0 or variance <= 0:
        return 0.0, 0.0
    log_variance = log1p(variance / mean**2)
    middle, reach = mean * exp(-log_variance / 2), exp(_Z * sqrt(log_variance))
    return max(0.0, mean - middle / reach), max(0.0, middle * reach - mean)


def depth_first(read: Sequence[int], costs: Sequence[int], budget: int) -> list[int]:
    """Pages that each seller has once a budget is spent on one seller after another.

    Sellers stand in the list's order; `read` is what each has already, `costs` where each ends.
    """
    reached = list(read)
    for number, (have, cost) in enumerate(zip(read, costs, strict=True)):
        if budget <= 0:
            break
        bought = min(budget, max(0, cost - have))
        reached[number] += bought
        budget -= bought
    return reached


def breadth_first(read: Sequence[int], costs: Sequence[int], budget: int) -> list[int]:
    """As `depth_first`, but one page of every seller before the next page of any."""
    reached = list(read)
    going = [number for number, (have, cost) in enumerate(zip(read, costs, strict=True)) if have < cost]
    while going and budget > 0:
        for number in going[:budget]:
            reached[number] += 1
        budget -= len(going)
        going = [number for number in going if reached[number] < costs[number]]
    return reached


def best_first(
    read: Sequence[int], costs: Sequence[int], values: Sequence[Sequence[float]], budget: int
) -> list[int]:
    """As `depth_first`, but the next page is always the one worth most; one without a value is worth 0."""
    reached = list(read)

    def entry(number: int) -> tuple[float, int]:
        pages, place = values[number], reached[number]
        return -pages[place] if place < len(pages) else 0.0, number

    heap = [entry(number) for number, cost in enumerate(costs) if reached[number] < cost]
    heapify(heap)
    while heap and budget > 0:
        number = heap[0][1]
        reached[number] += 1
        budget -= 1
        if reached[number] < costs[number]:
            heapreplace(heap, entry(number))
        else:
            heappop(heap)
    return reached


def share(reached: Sequence[int], values: Sequence[Sequence[float]]) -> float | None:
    """What share of all value lies on the pages that were reached; None where it is 0 or no number."""
    total = sum(map(sum, values))
    if not 0 < total < inf:
        return None
    return sum(sum(pages[:count]) for pages, count in zip(values, reached, strict=True)) / total
