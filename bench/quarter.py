"""Three months of nights under a budget: how much gain each way to spend it leaves unseen. Sends nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, log
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crawler.models.stretches import STRETCH_PAGES
from crawler.rules import gain_forecast
from crawler.rules.freshness import Stretch, choose
from crawler.rules.gain_forecast import Past, Pool

NIGHTS = 90
WARM_UP = 14
"""Nights that are played, but not counted."""
SEEDS = (1, 2, 3)
BUDGETS = ((0.1, 14), (0.2, 14), (0.2, 7), (0.3, 7), (0.5, 7))
"""Shares of the cost of the list that are the budget, each with `--max-age`."""
PLOTTED = ((0.1, 14), (0.2, 7), (0.3, 7), (0.5, 7))
PAGE = 10

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Shape:
    """What a world is like: `spread` is the sigma of the log-normal by which gains of sellers differ."""

    spread: float
    sellers: int = 2000
    size_exponent: float = 1.2
    smallest_size: int = 9
    largest_size: int = 600
    dormant: float = 0.2
    quality_exponent: float = 1.3
    evergreen: float = 0.02
    life: int = 400
    drift: float = 0.4
    drift_nights: int = 30
    burst_chance: float = 1 / 60
    burst_size: float = 6.0
    burst_decay: float = 0.7
    virals: float = 1.0
    viral_size: float = 20_000.0
    viral_decay: float = 0.75
    noise: float = 0.3

    @property
    def mean_factor(self) -> float:
        """What bursts make of a seller's usual gain, on average over all nights."""
        return 1 + self.burst_chance * self.burst_size / (1 - self.burst_decay)


@dataclass
class Videos:
    """All videos that there are in the quarter, by number; nights count from 0, when all is read once."""

    seller: Ints
    born: Ints
    dies: Ints
    scale: Floats

    def alive(self, night: int) -> Flags:
        """Those that are listed on this night."""
        return (self.born <= night) & (self.dies > night)


@dataclass
class World:
    """The truth by night and video: values, gains but for chance, and these without bursts and virals."""

    shape: Shape
    videos: Videos
    values: Floats
    expected: Floats
    usual: Floats
    virals: list[tuple[int, int]]

    @cached_property
    def listed(self) -> list[Ints]:
        """Each night's videos, by seller and then by value, the largest first."""
        return [self._listed(night) for night in range(NIGHTS + 1)]

    def _listed(self, night: int) -> Ints:
        there = np.nonzero(self.videos.alive(night))[0]
        return there[np.lexsort((-self.values[night][there], self.videos.seller[there]))]

    @cached_property
    def pages(self) -> Ints:
        """How many requests each seller takes on each night: its full pages and one more."""
        count = self.shape.sellers
        return np.array(
            [np.bincount(self.videos.seller[o], minlength=count) // PAGE + 1 for o in self.listed]
        )

    @cached_property
    def first_page(self) -> Ints:
        """The number of each seller's first page, where each has as many numbers as it ever has pages."""
        return np.concatenate([[0], np.cumsum(self.pages.max(0))])

    @cached_property
    def seller_of_page(self) -> Ints:
        """The seller of each page number."""
        return np.repeat(np.arange(self.shape.sellers), self.pages.max(0))

    @cached_property
    def page_of(self) -> list[Ints]:
        """The page number of each video of `listed`."""
        sellers = [self.videos.seller[listed] for listed in self.listed]
        firsts = [np.searchsorted(seller, np.arange(self.shape.sellers)) for seller in sellers]
        return [
            self.first_page[seller] + (np.arange(len(seller)) - first[seller]) // PAGE
            for seller, first in zip(sellers, firsts, strict=True)
        ]

    def is_there(self, night: int) -> Flags:
        """Of each page number whether the seller has such a page on this night."""
        at = np.arange(self.first_page[-1]) - self.first_page[self.seller_of_page]
        return at < self.pages[night][self.seller_of_page]

    def by_page(self, night: int, amounts: Floats) -> Floats:
        """Sums of amounts of videos over each page of this night."""
        return np.bincount(self.page_of[night], amounts[self.listed[night]], self.first_page[-1])


def make_world(shape: Shape, seed: int) -> World:
    """Draw a world; the same seed gives the same one."""
    random = np.random.default_rng(seed)
    is_dormant = random.random(shape.sellers) < shape.dormant
    videos = _videos(shape, random, is_dormant)
    bursts, drift = _moods(shape, random)
    count = len(videos.seller)
    values, expected, usual = (np.zeros((NIGHTS + 1, count)) for _ in range(3))
    age = np.maximum(0, -videos.born)
    past = 10 * (1 - (1 + age / 5) ** -0.5) + shape.evergreen * age
    values[0] = np.floor(videos.scale * past * (videos.born <= 0))
    viral, virals = np.zeros(count), list[tuple[int, int]]()
    for night in range(1, NIGHTS + 1):
        alive = videos.alive(night)
        viral *= shape.viral_decay
        stirring = np.nonzero(alive & ~is_dormant[videos.seller])[0]
        for video in random.choice(stirring, random.poisson(shape.virals)):
            viral[video] += random.lognormal(log(shape.viral_size), 0.7)
            virals.append((night, int(video)))
        age = np.maximum(0, night - videos.born)
        fall = (1 + age / 5) ** -1.5 + shape.evergreen
        usual[night] = alive * videos.scale * np.exp(drift[night])[videos.seller] * fall
        expected[night] = usual[night] * (1 + bursts[night])[videos.seller] + alive * viral
        chance = random.lognormal(-(shape.noise**2) / 2, shape.noise, shape.sellers)
        values[night] = values[night - 1] + random.poisson(expected[night] * chance[videos.seller])
    return World(shape, videos, values, expected, usual, virals)


def _videos(shape: Shape, random: np.random.Generator, is_dormant: Flags) -> Videos:
    sizes = shape.smallest_size * (random.pareto(shape.size_exponent, shape.sellers) + 1)
    sizes = np.minimum(shape.largest_size, sizes).astype(np.int64)
    level = 20 * random.lognormal(0, shape.spread, shape.sellers) * ~is_dormant
    births = random.poisson(sizes / shape.life * ~is_dormant, (NIGHTS, shape.sellers))
    nights, sellers = np.nonzero(births)
    counts = births[nights, sellers]
    seller = np.concatenate([np.repeat(np.arange(shape.sellers), sizes), np.repeat(sellers, counts)])
    ages = random.integers(0, shape.life * 3 // 2, sizes.sum())
    born = np.concatenate([-ages, np.repeat(nights + 1, counts)])
    quality = np.minimum(1000, random.pareto(shape.quality_exponent, len(seller)) + 1)
    dies = random.geometric(1 / shape.life, len(seller)) + np.maximum(0, born)
    return Videos(seller, born, dies, level[seller] * quality)


def _moods(shape: Shape, random: np.random.Generator) -> tuple[Floats, Floats]:
    """By night and seller: how many times its usual gain a burst adds, and the logarithm of a slow drift."""
    bursts, drift = (np.zeros((NIGHTS + 1, shape.sellers)) for _ in range(2))
    keep = 1 - 1 / shape.drift_nights
    drift[0] = random.normal(0, shape.drift, shape.sellers)
    for night in range(-40, NIGHTS + 1):
        begins = random.random(shape.sellers) < shape.burst_chance
        new = begins * random.exponential(shape.burst_size, shape.sellers)
        before = bursts[max(0, night - 1)]
        bursts[max(0, night)] = before * shape.burst_decay + new
        if night > 0:
            step = random.normal(0, shape.drift * (1 - keep**2) ** 0.5, shape.sellers)
            drift[night] = keep * drift[night - 1] + step
    return bursts, drift


@dataclass
class Buyer:
    """What a buyer has seen: each video's value when it was last read; each page's last reading and worth."""

    world: World
    budget: float
    max_age: int
    seen: Floats = field(init=False)
    read_at: Ints = field(init=False)
    worth: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.seen = self.world.values[0] * self.world.videos.alive(0)
        self.read_at = np.where(self.world.is_there(0), 0, -1)
        self.worth = self.world.by_page(0, self.world.values[0])

    def read(self, night: int, pages: Ints) -> tuple[Ints, Floats]:
        """Read pages in this order until the budget is spent; returns them and the gain that each showed."""
        pages = pages[: int(min(len(pages), self.budget))]
        is_read = np.zeros(self.world.first_page[-1], np.bool_)
        is_read[pages] = True
        shown = self.world.listed[night][is_read[self.world.page_of[night]]]
        gain = np.zeros(len(self.seen))
        gain[shown] = self.world.values[night][shown] - self.seen[shown]
        self.seen[shown] = self.world.values[night][shown]
        self.read_at[pages] = night
        self.worth[pages] = self.world.by_page(night, self.world.values[night])[pages]
        return pages, self.world.by_page(night, gain)


class Policy(Protocol):
    """A way to spend the budget."""

    def pages(self, buyer: Buyer, night: int) -> Ints:
        """The pages to read, in order."""

    def learn(self, buyer: Buyer, night: int, pages: Ints, gains: Floats) -> None:
        """Learn from what was read; `gains` are by page."""


class BestFirst:
    """Today's `--strategy best-first`: the pages that were worth most when they were last read."""

    def pages(self, buyer: Buyer, night: int) -> Ints:
        """Those worth most; a page behind another one is never worth more."""
        there = np.nonzero(buyer.world.is_there(night))[0]
        return there[np.argsort(-buyer.worth[there], kind="stable")]

    def learn(self, buyer: Buyer, night: int, pages: Ints, gains: Floats) -> None:
        """Nothing but what the buyer notes."""


class CarryForward:
    """Today's `--carry-forward`: an unchanged first page ends its seller, but for `--max-age`."""

    def __init__(self, world: World) -> None:
        self._whole_at = np.zeros(world.shape.sellers, np.int64)
        self._marks = self._marks_of(world, 0)
        self._is_whole = np.zeros(world.shape.sellers, np.bool_)
        self._fresh = self._marks

    def _marks_of(self, world: World, night: int) -> Floats:
        """Of each seller a number that stands for the videos of its first page, their order and values."""
        listed, page_of = world.listed[night], world.page_of[night]
        seller = world.videos.seller[listed]
        is_first = page_of == world.first_page[seller]
        place = np.arange(len(listed)) - np.searchsorted(seller, np.arange(world.shape.sellers))[seller]
        mark = (place + 1.0) * (listed + 1.0) + 1e-3 * world.values[night][listed]
        return np.bincount(seller[is_first], mark[is_first], world.shape.sellers)

    def pages(self, buyer: Buyer, night: int) -> Ints:
        """In the order of the list, as any night begins anew."""
        marks = self._marks_of(buyer.world, night)
        is_whole = (marks != self._marks) | (night - self._whole_at >= buyer.max_age)
        self._fresh, self._is_whole = marks, is_whole
        there = np.nonzero(buyer.world.is_there(night))[0]
        seller = buyer.world.seller_of_page[there]
        return there[is_whole[seller] | (there == buyer.world.first_page[seller])]

    def learn(self, buyer: Buyer, night: int, pages: Ints, gains: Floats) -> None:
        """Note which sellers were read as a whole: all up to the last one, where the budget ended."""
        if len(pages):
            sellers = np.unique(buyer.world.seller_of_page[pages])[
                : -1 if len(pages) >= buyer.budget else None
            ]
            self._marks[sellers] = self._fresh[sellers]
            whole = sellers[self._is_whole[sellers]]
            self._whole_at[whole] = night


class Stretches:
    """What policies by stretch share: which pages are one stretch, when it was read, what it costs."""

    def __init__(self, world: World) -> None:
        at = np.arange(world.first_page[-1]) - world.first_page[world.seller_of_page]
        most = -(-world.pages.max(0) // STRETCH_PAGES)
        first = np.concatenate([[0], np.cumsum(most)])
        self.of_page = first[world.seller_of_page] + at // STRETCH_PAGES
        self.count = int(first[-1])
        self.seller = np.repeat(np.arange(world.shape.sellers), most)
        self.read_at = np.where(self.sums(world.is_there(0)) > 0, 0, -1)
        self.cost = self.sums(world.is_there(0))

    def sums(self, of_pages: NDArray[np.generic]) -> Floats:
        """Sums by stretch of what is given by page."""
        return np.bincount(self.of_page, of_pages, self.count)

    def there(self, buyer: Buyer, night: int) -> Ints:
        """The stretches that exist tonight."""
        return np.nonzero(self.sums(buyer.world.is_there(night)) > 0)[0]

    def pages(self, buyer: Buyer, night: int, stretches: Ints) -> Ints:
        """The pages of stretches, in the order of these."""
        rank = np.full(self.count, self.count)
        rank[stretches] = np.arange(len(stretches))
        there = np.nonzero(buyer.world.is_there(night))[0]
        there = there[rank[self.of_page[there]] < self.count]
        return there[np.argsort(rank[self.of_page[there]], kind="stable")]

    def learn(self, buyer: Buyer, night: int, pages: Ints) -> Ints:
        """Note which stretches were read as a whole; returns them."""
        is_read = np.zeros(len(self.of_page), np.bool_)
        is_read[pages] = True
        cost = self.sums(buyer.world.is_there(night))
        whole = np.nonzero((cost > 0) & (self.sums(is_read) >= cost))[0]
        self.read_at[whole], self.cost[whole] = night, cost[whole]
        return whole


class Rotation:
    """The stretches that were not read for longest."""

    def __init__(self, world: World) -> None:
        self._stretches = Stretches(world)

    def pages(self, buyer: Buyer, night: int) -> Ints:
        """The oldest first, and in the order of the list."""
        there = self._stretches.there(buyer, night)
        oldest = there[np.argsort(self._stretches.read_at[there], kind="stable")]
        return self._stretches.pages(buyer, night, oldest)

    def learn(self, buyer: Buyer, night: int, pages: Ints, gains: Floats) -> None:
        """See `Stretches`."""
        self._stretches.learn(buyer, night, pages)


class Freshest:
    """`--strategy freshest`: the rules of the crawler, fed with what was read."""

    def __init__(self, world: World) -> None:
        self._stretches = Stretches(world)
        self._pasts = [Past() for _ in range(self._stretches.count)]
        self._found = np.zeros(self._stretches.count)

    def rates(self, buyer: Buyer, night: int, there: Ints, ages: Ints) -> list[float]:
        """The gain a night that is expected of each stretch."""
        sizes = self._stretches.sums(buyer.worth).tolist()
        pool = Pool()
        for number in there:
            pool.add(self._pasts[number], sizes[number])
        return [
            gain_forecast.rate(self._pasts[number], pool.prior(sizes[number]), int(age))
            for number, age in zip(there, ages, strict=True)
        ]

    def pages(self, buyer: Buyer, night: int) -> Ints:
        """What the rule chooses."""
        there = self._stretches.there(buyer, night)
        read_at = self._stretches.read_at[there]
        ages = np.where(read_at < 0, buyer.max_age, night - read_at)
        rates = self.rates(buyer, night, there, ages)
        costs = np.maximum(1, self._stretches.cost[there]).astype(np.int64).tolist()
        known = (read_at >= 0).tolist()
        sellers = self._stretches.seller[there].tolist()
        columns = zip(sellers, costs, rates, ages.tolist(), known, strict=True)
        stretches = [Stretch(seller, 1, *each) for seller, *each in columns]
        chosen = there[choose(stretches, int(buyer.budget), buyer.max_age).chosen]
        return self._stretches.pages(buyer, night, chosen)

    def learn(self, buyer: Buyer, night: int, pages: Ints, gains: Floats) -> None:
        """Feed the pasts of the stretches that were read as a whole."""
        before = self._stretches.read_at.copy()
        self._found += self._stretches.sums(gains)
        for number in self._stretches.learn(buyer, night, pages):
            if before[number] >= 0:
                self._pasts[number].observed(float(self._found[number]), int(night - before[number]))
            self._found[number] = 0


class KnowsUsual(Freshest):
    """Knows what each stretch usually gains; of bursts and virals only what its readings tell."""

    def rates(self, buyer: Buyer, night: int, there: Ints, ages: Ints) -> list[float]:
        """As the forecast, with the true usual gain."""
        usual = self._stretches.sums(buyer.world.by_page(night, buyer.world.usual[night]))
        usual *= buyer.world.shape.mean_factor
        return [
            usual[number]
            + (self._pasts[number].level - usual[number])
            * gain_forecast.FADING ** int(age)
            * (self._pasts[number].nights > 0)
            for number, age in zip(there, ages, strict=True)
        ]


class AllKnowing(Freshest):
    """Knows the gain that is expected of each stretch tonight, with bursts and virals that began today."""

    def rates(self, buyer: Buyer, night: int, there: Ints, ages: Ints) -> list[float]:
        """The truth but for chance."""
        true = self._stretches.sums(buyer.world.by_page(night, buyer.world.expected[night]))
        return [float(rate) for rate in true[there]]


@dataclass(frozen=True)
class Figures:
    """What a quarter was like; see docs/credits.md. Unseen gain and ages are in nights."""

    unseen: float
    unseen_95: float
    age: float
    viral: float
    viral_95: float
    cost: float
    dearest: float


def play(world: World, policy: Policy, budget: float, max_age: int) -> Figures:
    """Play the nights, and measure those after the warm-up."""
    buyer = Buyer(world, budget, max_age)
    began = np.array([night for night, _ in world.virals])
    video = np.array([video for _, video in world.virals])
    found = np.full(len(began), NIGHTS + 1)
    unseen, ages, costs = list[float](), list[float](), list[int]()
    for night in range(1, NIGHTS + 1):
        pages, gains = buyer.read(night, policy.pages(buyer, night))
        policy.learn(buyer, night, pages, gains)
        listed, values = world.listed[night], world.values
        true = (values[night][listed] - values[night - 1][listed]).sum()
        rates = world.by_page(night, world.expected[night])
        is_seen = buyer.seen[video] >= np.where(began <= night, values[night][video], inf)
        found = np.where(is_seen, np.minimum(found, night), found)
        if night > WARM_UP:
            unseen.append((values[night][listed] - buyer.seen[listed]).sum() / true)
            ages.append((rates * (night - np.maximum(0, buyer.read_at))).sum() / rates.sum())
            costs.append(len(pages))
    late = (found - began)[began > WARM_UP]
    return Figures(
        float(np.mean(unseen)),
        float(np.percentile(unseen, 95)),
        float(np.mean(ages)),
        float(np.mean(late)),
        float(np.percentile(late, 95)),
        float(np.mean(costs)),
        max(costs) / float(np.mean(costs)),
    )


POLICIES = {
    "best-first": lambda _: BestFirst(),
    "rotation": Rotation,
    "carry-forward": CarryForward,
    "freshest": Freshest,
    "knows usual gains": KnowsUsual,
    "all-knowing": AllKnowing,
}
WORLDS = {"spread little (sigma 0.5)": Shape(0.5), "spread much (sigma 1.5)": Shape(1.5)}
COLOURS = {
    "best-first": "#c0392b",
    "rotation": "#e67e22",
    "freshest": "#27ae60",
    "knows usual gains": "#2980b9",
    "all-knowing": "#222222",
}
Results = Mapping[tuple[tuple[float, int], str], Figures]


def quarter(shape: Shape) -> tuple[Results, float]:
    """The figures by budget and policy, as means over the seeds, and those of carrying without a budget."""
    worlds = [make_world(shape, seed) for seed in SEEDS]
    results = {}
    for share, max_age in BUDGETS:
        for name, make in POLICIES.items():
            played = [
                play(world, make(world), int(share * world.pages[0].sum()), max_age) for world in worlds
            ]
            results[(share, max_age), name] = _mean(played)
    played = [play(world, CarryForward(world), inf, 7) for world in worlds]
    results[(inf, 7), "carry-forward"] = _mean(played)
    return results, float(np.mean([world.pages[WARM_UP:].sum(1).mean() for world in worlds]))


def _mean(played: list[Figures]) -> Figures:
    return Figures(
        *(float(np.mean(column)) for column in zip(*(vars(f).values() for f in played), strict=True))
    )


def table(results: Results, full_cost: float) -> Iterator[str]:
    """A table in Markdown."""
    yield (
        "| budget, `--max-age` | strategy | unseen gain, nights | 95th percentile | times the all-knowing "
        "| times rotation | age by gain | viral seen after | 95th percentile | dearest night |"
    )
    yield "|" + "---|" * 10
    for (budget, name), found in results.items():
        best, rotation = (results.get((budget, other)) for other in ("all-knowing", "rotation"))
        times = [f"{found.unseen / other.unseen:.2f}" if other else "" for other in (best, rotation)]
        share, max_age = budget
        credits_ = f"{100 * share:.0f} %" if share < inf else f"none: {100 * found.cost / full_cost:.0f} %"
        cells = [f"{found.unseen:.3f}", f"{found.unseen_95:.3f}", *times, f"{found.age:.2f}"]
        cells += [f"{found.viral:.1f}", f"{found.viral_95:.0f}", f"{found.dearest:.2f}"]
        yield " | ".join([f"| {credits_}, {max_age}", name, *cells]) + " |"


def plot(results: Mapping[str, Results], path: Path) -> None:
    """Unseen gain against the budget as an SVG, on a logarithmic scale, a panel for each world."""
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 420" font-family="sans-serif">']
    for number, (world, found) in enumerate(results.items()):
        parts.extend(_panel(50 + 370 * number, f"rates {world}", found))
    for number, (name, colour) in enumerate(COLOURS.items()):
        parts.append(f'<text x="{50 + 140 * number}" y="410" font-size="12" fill="{colour}">{name}</text>')
    parts.append(
        '<text x="50" y="392" font-size="11">nights of gain unseen; budget, share of the cost</text>'
    )
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")


def _panel(left: int, title: str, found: Results) -> Iterator[str]:
    yield f'<rect x="{left}" y="30" width="320" height="330" fill="none" stroke="#999"/>'
    yield f'<text x="{left}" y="20" font-size="13">{title}</text>'
    for nights in (0.03, 0.1, 0.3, 1, 3, 10, 30):
        y = _height(nights)
        yield f'<text x="{left - 28}" y="{y + 4:.0f}" font-size="10">{nights}</text>'
        yield f'<line x1="{left}" x2="{left + 320}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>'
    for share, _ in PLOTTED:
        at = left + 600 * share
        yield f'<text x="{at - 10:.0f}" y="375" font-size="10">{100 * share:.0f} %</text>'
    for name, colour in COLOURS.items():
        heights = [(left + 600 * budget[0], _height(found[budget, name].unseen)) for budget in PLOTTED]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in heights)
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _height(nights: float) -> float:
    return 360 - 330 * (log(nights) - log(0.02)) / (log(60) - log(0.02))


def main(picture: Path | None = None) -> None:
    """Two worlds, three seeds; the picture is written where it is named."""
    results = {}
    for name, shape in WORLDS.items():
        results[name], full_cost = quarter(shape)
        print(f"\nA quarter under a budget, rates {name}; {full_cost:.0f} credits a night for all")
        for line in table(results[name], full_cost):
            print(line, flush=True)
    if picture:
        plot(results, picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
