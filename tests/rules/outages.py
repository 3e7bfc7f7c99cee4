"""Simulated nights for the judge and the canaries: a healthy project from day to day, and its outages."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from random import Random

from crawler.models.api import COUNT_COLUMNS
from crawler.rules.canaries import (
    Canaries,
    Canary,
    Decision,
    FirstPage,
    Rates,
    choose_canaries,
    still_rates,
)
from crawler.rules.plausibility import FIGURES, Comparison, Measures, Share, still_band

OUTAGES = ("all empty", "half empty", "stale", "one seller's rows for all", "one region empty")
REGIONS = ("MY", "TH", "VN", "PH", "ID")
COLUMNS = len(COUNT_COLUMNS)


@dataclass(frozen=True, slots=True)
class Seller:
    """A seller on one night; `ids` and `figures` are the hashes of its first page."""

    region: str
    rows: int
    sums: tuple[float, ...]
    ids: int
    figures: int


class Project:
    """A list of sellers whose figures move from night to night; only `Random.random` is used."""

    def __init__(self, seed: int, size: int | None = None) -> None:
        self.random = Random(seed)
        dead = 0.3 * self.random.random()
        size = size or 3 + int(200 * self.random.random() ** 2)
        self.sellers = {f"s{n}": self._new(n, dead) for n in range(size)}
        self.days = 0

    def _new(self, number: int, dead: float) -> Seller:
        draw = self.random.random
        rows = 0 if draw() < dead else min(2_000, int(3 / (draw() + 0.001)))
        region = REGIONS[int(len(REGIONS) * draw() ** 1.5)]
        # Of the three sale figures many sellers have none.
        sums = tuple(rows * 100 * draw() * (place < 4 or draw() < 0.7) for place in range(COLUMNS))
        return Seller(region, rows, sums, hash(("ids", number)), hash(("figures", number)))

    def healthy(self) -> dict[str, Seller]:
        """The next night's answers: 0.5 % become empty, 1 to 10 % stand still, a few videos come and go."""
        still = 0.01 + 0.09 * self.random.random()
        return {seller_id: self._next(seller, still) for seller_id, seller in self.sellers.items()}

    def _next(self, seller: Seller, still: float) -> Seller:
        draw = self.random.random
        if not seller.rows:
            return self._new(int(1e9 * draw()), 0.0) if draw() < 0.005 else seller
        if draw() < 0.005:
            return replace(seller, rows=0, sums=(0.0,) * COLUMNS)
        if draw() < still:
            return seller
        rows = max(1, seller.rows + (draw() < 0.3) - (draw() < 0.05) - int(seller.rows * 0.03 * draw()))
        scale = (rows / seller.rows) ** 0.5
        sums = tuple(value * scale * (1 + 0.05 * draw() ** 3) for value in seller.sums)
        return replace(seller, rows=rows, sums=sums, ids=int(1e15 * draw()), figures=int(1e15 * draw()))

    def suffer(self, outage: str) -> dict[str, Seller]:
        """The next night's answers in an outage."""
        tonight = self.healthy()
        one = next(seller for seller in tonight.values() if seller.rows > 9)
        region = Counter(seller.region for seller in tonight.values() if seller.rows).most_common(3)[2][0]
        return {
            seller_id: self._harmed(outage, seller_id, seller, one, region)
            for seller_id, seller in tonight.items()
        }

    def _harmed(self, outage: str, seller_id: str, seller: Seller, one: Seller, region: str) -> Seller:
        if outage == "stale":
            return self.sellers[seller_id]
        if outage == "one seller's rows for all":
            return replace(one, region=seller.region)
        half = outage == "half empty" and self.random.random() < 0.5
        if half or outage == "all empty" or (outage == "one region empty" and seller.region == region):
            return replace(seller, rows=0, sums=(0.0,) * COLUMNS)
        return seller

    def measures(self, tonight: dict[str, Seller]) -> Measures:
        rows = sum(seller.rows for seller in tonight.values())
        filled = [seller for seller in tonight.values() if seller.rows]
        copies = Counter(seller.ids for seller in filled)
        deep = [seller for seller in filled if seller.rows >= 10]
        return Measures(
            sellers=len(tonight),
            rows=rows,
            empty=Share(len(tonight) - len(filled), len(tonight)),
            rejected=Share(int(rows * 0.002 * self.random.random()), rows),
            nulls={name: Share(int(rows * 0.01 * self.random.random()), rows) for name in COUNT_COLUMNS},
            totals={
                name: sum(seller.sums[place] for seller in filled) for place, name in enumerate(COUNT_COLUMNS)
            },
            repeated=Share(sum(self.random.random() < 0.005 for _ in deep), len(deep)),
            shared=Share(sum(copies[seller.ids] > 1 for seller in filled), len(filled)),
            compared=self._compared(tonight) if self.days else None,
        )

    def _compared(self, tonight: dict[str, Seller]) -> Comparison | None:
        pairs = [(old, tonight[seller_id]) for seller_id, old in self.sellers.items() if old.rows]
        if not pairs:
            return None
        both = [(old, new) for old, new in pairs if new.rows]
        figures = [((float(old.rows), *old.sums), (float(new.rows), *new.sums)) for old, new in pairs]
        lost = Counter(old.region for old, new in pairs if not new.rows)
        regions = Counter(old.region for old, _ in pairs)
        fallen, risen = {}, {}
        for place, name in enumerate(FIGURES):
            had = [(old[place], new[place]) for old, new in figures if old[place] > 0]
            fallen[name] = Share(sum(new < old * 0.9 for old, new in had), len(had))
            risen[name] = Share(sum(new > old * 10 for old, new in had), len(had))
        return Comparison(
            emptied=Share(len(pairs) - len(both), len(pairs)),
            regions={name: Share(lost[name], whole) for name, whole in regions.items()},
            before={name: sum(old[place] for old, _ in figures) for place, name in enumerate(FIGURES)},
            now={name: sum(new[place] for _, new in figures) for place, name in enumerate(FIGURES)},
            fallen=fallen,
            risen=risen,
            # New first pages come from random numbers: 2 % lost a video.
            lost=Share(sum(old.ids != new.ids and new.ids % 50 == 0 for old, new in both), len(both)),
            still=Share(sum(old.figures == new.figures for old, new in both), len(both)),
        )

    def publish(self, tonight: dict[str, Seller]) -> None:
        self.sellers = tonight
        self.days += 1

    def canaries(self, past: list[Measures]) -> Canaries:
        history = {
            seller_id: Canary(seller_id, seller.region, seller.rows, seller.figures, 86_400.0 * self.days)
            for seller_id, seller in self.sellers.items()
        }
        rates: Rates | None = still_rates(still_band(past))
        return Canaries(choose_canaries(self.sellers, history), rates)

    def ask(self, canaries: Canaries, tonight: dict[str, Seller]) -> tuple[Decision, int]:
        """Ask the canaries one by one; the decision, and the credits until it was made."""
        for credits_spent, seller_id in enumerate(canaries.waiting, 1):
            seller, at = tonight[seller_id], 86_400.0 * (self.days + 1)
            page = FirstPage(seller_id, min(10, seller.rows), seller.ids, seller.figures, at)
            if canaries.answered(page) is not Decision.UNDECIDED:
                return canaries.decision, credits_spent
        return canaries.decision, len(canaries.waiting)


def after_nights(seed: int, nights: int, size: int | None = None) -> tuple[Project, list[Measures]]:
    """A project after some healthy nights, and their measures."""
    project, past = Project(seed, size), list[Measures]()
    for _ in range(nights):
        tonight = project.healthy()
        past.append(project.measures(tonight))
        project.publish(tonight)
    return project, past
