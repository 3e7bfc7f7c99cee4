"""What a night costs: the sum of its sellers' expected pages, and how far it may be off."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, exp, floor, hypot, log1p, log2, sqrt
from typing import NamedTuple

from crawler.models.api import MAX_PAGE_NUM, PAGE_SIZE
from crawler.models.seller import StopRule
from crawler.planning.estimates import ALL_UNCHANGED, Chances, Measure, Spread, Z

_ROUNDING_VARIANCE = 0.25
"""Of a seller's pages: whether its new videos fill one more page is a coin's toss at most."""
_JUMPS_AFTER = 4
"""Pages by which a seller must have grown before its end is looked for by jumps."""


@dataclass(frozen=True, slots=True)
class Today:
    """What the crawl date's journal has of a seller: pages read, and whether no more are asked for."""

    pages: int
    ended: bool


class KnownSeller(NamedTuple):
    """What is known of a seller: its `videos` when it was last read to its end, `age` days ago.

    Or else after how many pages it was `cut` off, more being left; or else what it cost to be `refused`.
    `paid`: pages that the crawl date has of it already, more being left. `unchanged`: whether its first
    page was the same as before when that was last compared. `may_carry`: whether it costs one credit
    tonight if it is again.
    """

    videos: int | None = None
    age: int | None = None
    cut: int | None = None
    refused: int | None = None
    paid: int = 0
    unchanged: bool | None = None
    may_carry: bool = False

    @property
    def is_known(self) -> bool:
        """Whether anything is known."""
        return (self.videos, self.cut, self.refused) != (None, None, None)

    def with_today(self, today: Today | None) -> KnownSeller:
        """The seller where it has not ended: the pages it has today are paid for, and it has more."""
        if today is None or not today.pages:
            return self
        cut = max(self.cut or 0, today.pages) if self.videos is None else None
        return self._replace(paid=today.pages, cut=cut)


class Forecast(NamedTuple):
    """Credits; None where too little is known."""

    low: int
    expected: int | None
    high: int | None


@dataclass(frozen=True, slots=True)
class Tariff:
    """What ends a seller; `probe` is the share of all credits that is spent on pages after short ones."""

    stop: StopRule = StopRule.SHORT
    max_pages: int = MAX_PAGE_NUM
    probe: float = 0.0

    def pages(self, videos: int) -> int:
        """Pages of a seller that has so many videos."""
        full, rest = divmod(max(0, videos), PAGE_SIZE)
        return min(self.max_pages, full + 2 if rest and self.stop is StopRule.EMPTY else full + 1)

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
class Detours:
    """How many pages past sellers' ends look-ahead may ask for.

    Of sellers with `min_pages` or more: one where the end is known, if it is not where it was; `shrunk`
    is the share of sellers whose end comes sooner. Where it `gallops`, the end is searched for by halves,
    of sellers not known too: these cost `jumps` on average.
    """

    min_pages: int = MAX_PAGE_NUM
    shrunk: float = 1.0
    gallops: bool = False
    jumps: float = 0.0

    def most(self, seller: KnownSeller, grown: float) -> float:
        """Pages at most, of a seller that has grown by so many."""
        known = seller.cut if seller.videos is None else seller.videos // PAGE_SIZE
        if known is None:
            return self.jumps if self.gallops and seller.refused is None else 0.0
        if known < self.min_pages:
            return 0.0
        searched = log2(1 + grown) if self.gallops else 0.0
        is_beyond = seller.videos is None or grown >= _JUMPS_AFTER
        return searched + (1.0 if is_beyond else self.shrunk)


def jumps(ends: Sequence[float], min_pages: int) -> float:
    """Pages past the end for a seller that is not known, at most: those that end so have that spread."""
    return sum(log2(end) for end in ends if end > min_pages) / len(ends) if ends else 0.0


class _Cost(NamedTuple):
    """One seller's pages: `slope` by how many they change with the growth, `guess` if judged by others."""

    mean: float
    variance: float = 0.0
    slope: float = 0.0
    guess: bool = False
    saved: float = 0.0

    def unless_carried(self, chance: float) -> _Cost:
        """The cost where all but one page is saved by such a chance; `saved` is what that turns on."""
        rest, saved = 1 - chance, max(0.0, self.mean - 1)
        mean, variance = self.mean - chance * saved, rest * self.variance + chance * rest * saved**2
        return self._replace(mean=mean, variance=variance, slope=rest * self.slope, saved=saved)


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

    def add(self, seller: KnownSeller, cost: _Cost) -> None:
        # A seller that has not ended costs one page at least, whatever was paid for.
        mean = max(1.0, cost.mean - seller.paid) if seller.paid else cost.mean
        self.saved[seller.unchanged] += cost.saved
        if cost.guess:
            self.guesses += 1
            self.guessed += mean
            self.guessed_variance += cost.variance
        else:
            self.firm += mean
            self.firm_variance += cost.variance
            self.slope += cost.slope


@dataclass(frozen=True, slots=True)
class Forecaster:
    """Expected costs from what earlier nights showed.

    `unrest` is the variance of one seller's growth a night about that of all, as a share of its videos.
    Where no `chances` are known that sellers are unchanged, carrying them lowers the low end only.
    """

    tariff: Tariff
    growth: Measure
    unrest: float
    cost_per_page: Measure
    spread: Spread
    chances: Chances | None = None
    detours: Detours = field(default_factory=Detours)

    def pages(self, seller: KnownSeller) -> float | None:
        """Expected pages of one seller; None where nothing known says anything of it."""
        cost = self._cost(seller)
        return None if cost is None else cost.mean

    def total(self, sellers: Iterable[KnownSeller]) -> Forecast:
        """Credits for all the sellers, one each at least; only the low end where some costs are not known."""
        left = list(sellers)
        forecast = self._total(left)
        if self.chances is not None or not any(seller.may_carry for seller in left):
            return forecast
        return forecast._replace(low=replace(self, chances=ALL_UNCHANGED).total(left).low)

    def _total(self, sellers: Sequence[KnownSeller]) -> Forecast:
        sums = _Sums()
        unknown = minimum = 0
        for seller in sellers:
            cost = self._cost(seller)
            if cost is None:
                unknown += 1
                minimum += max(1, (seller.cut or 0) + 1 - seller.paid)
            else:
                sums.add(seller, cost)
                beyond_cut, growth = cost.mean - (seller.cut or 0), cost.slope * self.growth.mean
                grown = beyond_cut if seller.videos is None else growth
                sums.detours += self.detours.most(seller, max(0.0, grown))
        mean, below, above = self._interval(sums, len(sellers))
        low = max(len(sellers), floor(mean - below) + minimum)
        if unknown:
            return Forecast(low, None, None)
        expected = max(low, round(mean))
        return Forecast(low, expected, max(expected, ceil(mean + above + sums.detours)))

    def savings(self, sellers: Iterable[KnownSeller]) -> tuple[float, float] | None:
        """Sellers that are expected to be carried, and the credits that saves; None: not known."""
        if self.chances is None:
            return None
        carried = saved = 0.0
        for seller in sellers:
            if seller.may_carry and (cost := self._cost(seller)) is not None:
                likely = self.chances[seller.unchanged].mean
                carried += likely
                saved += likely * cost.saved * self.cost_per_page.mean
        return carried, saved

    def _cost(self, seller: KnownSeller) -> _Cost | None:
        cost = self._crawled(seller)
        if cost is None or not seller.may_carry:
            return cost
        return cost.unless_carried(0.0 if self.chances is None else self.chances[seller.unchanged].mean)

    def _crawled(self, seller: KnownSeller) -> _Cost | None:
        """The cost where the seller is read in full."""
        most = self.tariff.max_pages
        if seller.videos is not None:
            return self._grown(seller.videos, (seller.age or 0) * self._growing(seller.unchanged))
        if seller.cut is not None and seller.cut >= most:
            return _Cost(most)
        if seller.cut is None and seller.refused is not None:
            return _Cost(max(1, seller.refused))
        tail = self.spread.whole if seller.cut is None else self.spread.beyond.get(seller.cut)
        return None if tail is None else _Cost(min(most, tail.mean), tail.variance, guess=True)

    def _growing(self, unchanged: bool | None) -> float:
        """The chance that a seller grows: the growth is that of those that are not unchanged."""
        if not unchanged:
            return 1.0
        return 0.0 if self.chances is None else 1 - self.chances[True].mean

    def _grown(self, videos: int, age: float) -> _Cost:
        pages = self.tariff.expected(videos, max(0.0, 1 + self.growth.mean * age))
        if pages >= self.tariff.max_pages:
            return _Cost(pages)
        full = videos / PAGE_SIZE
        return _Cost(pages, _ROUNDING_VARIANCE + self.unrest * full**2 * age, full * age)

    def _interval(self, sums: _Sums, count: int) -> tuple[float, float, float]:
        """Expected credits, and how far they may lie below and above."""
        pages = sums.firm + sums.guessed
        mean = pages * self.cost_per_page.mean
        # Independent deviations add up in squares; a common error moves all sellers alike.
        common = (sums.slope * self.growth.sd) ** 2 + (pages * self.cost_per_page.sd) ** 2
        if self.chances is not None:
            common += sum((saved * self.chances[key].sd) ** 2 for key, saved in sums.saved.items())
        firm = Z * sqrt(sums.firm_variance + common)
        whole = self.spread.whole
        shared = sums.guesses**2 * whole.variance / self.spread.ends if whole and self.spread.ends else 0.0
        below, above = _skewed(sums.guessed, sums.guessed_variance + shared)
        with_probes = self.tariff.with_probes(mean, count)
        grown = self.cost_per_page.mean * with_probes / mean if mean else 1.0
        return with_probes, hypot(firm, below) * grown, hypot(firm, above) * grown


def _skewed(mean: float, variance: float) -> tuple[float, float]:
    """How far a sum may lie below and above its mean, as a log-normal one does: sizes have a heavy tail."""
    if mean <= 0 or variance <= 0:
        return 0.0, 0.0
    log_variance = log1p(variance / mean**2)
    middle, reach = mean * exp(-log_variance / 2), exp(Z * sqrt(log_variance))
    return max(0.0, mean - middle / reach), max(0.0, middle * reach - mean)
