"""What each strategy captures for its credits, against an all-knowing buyer, on heavy-tailed catalogues."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import carrying

from crawler.models.page import Page
from crawler.models.seller import SellerProgress, Strategy
from crawler.rules.best_first import BestFirst
from crawler.rules.order import Frontier
from crawler.simulator.catalogue import Catalogue, CatalogueOptions

SHARES = (0.1, 0.3, 0.5)


@dataclass
class Shelf:
    """One night's truth: each seller's pages, as (sum, last value, rows)."""

    pages: dict[str, list[tuple[float, float | None, int]]]

    @classmethod
    def of(cls, catalogue: Catalogue, sellers: list[str]) -> Shelf:
        """Sort every seller's videos by views and cut them into pages."""
        pages = {}
        for seller in sellers:
            views = sorted((float(v["total_views_cnt"]) for v in catalogue.videos(seller)), reverse=True)
            cut = [views[i : i + 10] for i in range(0, len(views) + 1, 10)]
            pages[seller] = [(sum(page), page[-1] if page else None, len(page)) for page in cut]
        return cls(pages)

    @property
    def cost(self) -> int:
        """Credits for everything."""
        return sum(map(len, self.pages.values()))

    def best(self) -> list[float]:
        """What an all-knowing buyer has after each credit."""
        totals = sorted((total for pages in self.pages.values() for total, *_ in pages), reverse=True)
        return list(accumulate(totals))

    def history(self) -> dict[str, list[float]]:
        """Last night's page sums, as a snapshot has them."""
        return {s: [total for total, _, rows in pages if rows] for s, pages in self.pages.items()}


def bought(shelf: Shelf, frontier: Frontier | BestFirst, in_flight: int) -> Iterator[float]:
    """The value of each page, as it is bought with so many requests in flight."""
    flying: list[SellerProgress] = []
    while True:
        while len(flying) < in_flight and (seller := frontier.take()) is not None:
            flying.append(seller)
        if not flying:
            return
        seller = flying.pop(0)
        total, least, rows = shelf.pages[seller.seller_id][seller.next_page - 1]
        page = Page(seller.seller_id, seller.next_page, b"", rows, seller.next_page, 0, "", total, least)
        seller.received(page)
        frontier.learn(page)
        if rows == 10:
            frontier.put_back(seller)
        yield total


def compare(exponent: float, scale: float, sellers: int, in_flight: int) -> dict[str, list[float]]:
    """Captured value after each credit, by strategy."""
    options = CatalogueOptions(seed=3, exponent=exponent, scale=scale, largest=5000)
    nights = [Catalogue(options, day) for day in (0, 1)]
    ids = nights[0].seller_ids(sellers)
    before, tonight = (Shelf.of(night, ids) for night in nights)
    ways: dict[str, Callable[[], Frontier | BestFirst]] = {
        "depth-first": lambda: Frontier(ids, [], Strategy.DEPTH_FIRST),
        "breadth-first": lambda: Frontier(ids, [], Strategy.BREADTH_FIRST),
        "best-first, first night": lambda: BestFirst(ids, []),
        "best-first, later night": lambda: BestFirst(ids, [], before.history()),
    }
    curves = {name: list(accumulate(bought(tonight, way(), in_flight))) for name, way in ways.items()}
    return {"all-knowing": tonight.best(), **curves}


def table(curves: dict[str, list[float]]) -> Iterator[str]:
    """Shares of what the all-knowing buyer has for the same credits."""
    best = curves["all-knowing"]
    for name, curve in curves.items():
        cells = []
        for share in SHARES:
            spent = int(len(best) * share)
            cells.append(f"{curve[spent - 1] / best[spent - 1]:>7.1%} ({curve[spent - 1] / best[-1]:.1%})")
        yield f"| {name:<24} | " + " | ".join(cells) + " |"


def plot(curves: dict[str, list[float]], path: Path) -> None:
    """The curves as an SVG: share of the credits across, share of the value up."""
    colours = ("#222222", "#c0392b", "#e67e22", "#2980b9", "#27ae60")
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 420" font-family="sans-serif">']
    parts.append('<rect x="40" y="20" width="560" height="360" fill="none" stroke="#999"/>')
    for number, ((name, curve), colour) in enumerate(zip(curves.items(), colours, strict=True)):
        step = max(1, len(curve) // 200)
        points = " ".join(
            f"{40 + 560 * i / len(curve):.1f},{380 - 360 * curve[i] / curve[-1]:.1f}"
            for i in range(0, len(curve), step)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="420" y="{280 + 18 * number}" font-size="13" fill="{colour}">{name}</text>')
    parts.append('<text x="40" y="400" font-size="12">credits, share of the full cost: 0 to 1</text>')
    parts.append('<text x="46" y="36" font-size="12">views captured: 1</text></svg>')
    path.write_text("\n".join(parts) + "\n")


def main() -> None:
    """Six tails; the plot is of one, written to the path that is named. Then nights of real runs."""
    for exponent, scale in ((1.05, 9), (1.2, 9), (1.5, 9), (1.1, 60), (1.3, 60), (1.6, 100)):
        for in_flight in (1, 16):
            curves = compare(exponent, scale, 2000, in_flight)
            cost = len(curves["all-knowing"])
            print(
                f"\nPareto exponent {exponent}, scale {scale}, 2000 sellers, {cost} credits for all, "
                f"{in_flight} in flight:"
            )
            print("share of the all-knowing buyer's views (of all views) at 10 %, 30 %, 50 % of the credits")
            for line in table(curves):
                print(line)
            if exponent == 1.3 and in_flight == 16 and len(sys.argv) > 1:
                plot(curves, Path(sys.argv[1]))
    carrying.main()


if __name__ == "__main__":
    main()
