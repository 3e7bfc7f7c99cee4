"""How long a night takes next to what the ceiling allows, by look-ahead: the engine on a virtual clock."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from crawler.engine.credits import Credits
from crawler.engine.gates import Gates
from crawler.engine.pace import Pace
from crawler.engine.pool import Crawl
from crawler.engine.seller import Policies
from crawler.engine.stop import Stop
from crawler.models.api import PAGE_SIZE
from crawler.models.page import NO_NOTES, Gap, Page, PageNotes
from crawler.models.seller import Ending, Strategy
from crawler.ports import Departure
from crawler.rules.lookahead import LookaheadRule, Mode
from crawler.rules.order import Frontier
from crawler.rules.outage import Breaker
from crawler.rules.recovery import RetryRule
from crawler.rules.sizing import PoolSize
from crawler.simulator.catalogue import Catalogue, CatalogueOptions

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from virtual_time import run_virtual

SELLERS = 5000
RUNGS: tuple[tuple[str, Mode, bool], ...] = (
    ("off, the list's order", "off", False),
    ("off, deepest first", "off", True),
    ("gallop, nothing known", "gallop", False),
    ("history", "history", True),
)


class Shelves:
    """The API: sellers of given sizes, answers after `latency` seconds, give or take a third."""

    def __init__(self, sizes: dict[str, int], latency: float) -> None:
        self._sizes = sizes
        self._latency = latency
        self._rng = Random(1)
        self.arrivals: list[float] = []

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        """See the engine's port."""
        while not await departure.leave(lambda: True):
            pass
        self.arrivals.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._latency * self._rng.uniform(2 / 3, 4 / 3))
        departure.label = "200"
        count = max(0, min(PAGE_SIZE, self._sizes[seller_id] - (page_num - 1) * PAGE_SIZE))
        return Page(seller_id, page_num, b"", count, hash((seller_id, page_num)), 0, "")


class Store:
    """Journal and ledger: a commit takes 5 ms, a lease has no end."""

    async def append(
        self, _page: Page, _spent: int, _ending: Ending | None, _notes: PageNotes = NO_NOTES
    ) -> None:
        """See the engine's port."""
        await asyncio.sleep(0.005)

    async def end(self, _seller_id: str, _spent: int, _ending: Ending | None) -> None:
        """See the engine's port."""
        await asyncio.sleep(0.005)

    async def drifted(self, _seller_id: str) -> tuple[list[Gap], dict[int, int]]:
        """See the engine's port."""
        return [], {}

    async def reserve(self, _in_use: int) -> int:
        """See the engine's port."""
        return 10**9


def night(sizes: dict[str, int], mode: Mode, qps: float, latency: float, *, sort: bool) -> Shelves:
    """Crawl every seller; `sort`: the deepest first, and all depths are known."""
    depths = {seller: size // PAGE_SIZE for seller, size in sizes.items() if size >= 100} if sort else {}
    fresh = sorted(sizes, key=lambda seller: -(sizes[seller] // PAGE_SIZE)) if sort else list(sizes)
    api, store, stop, breaker = Shelves(sizes, latency), Store(), Stop(), Breaker(900)

    async def crawl() -> None:
        pace = Pace(qps, 60, stop)
        gates = Gates(api, Credits(store, stop), pace, breaker, RetryRule(), stop, 900, Random(1))
        frontier = Frontier(fresh, [], Strategy.DEPTH_FIRST)
        policies = Policies(lookahead=LookaheadRule(mode, depths=depths))
        await Crawl(frontier, gates, store, PoolSize(qps), 10, policies).run()

    run_virtual(crawl())
    return api


def print_run(
    sizes: dict[str, int], qps: float, latency: float, name: str, run: Callable[[], Shelves]
) -> None:
    """Print one line of the table."""
    began = time.monotonic()
    times = run().arrivals
    fewest = sum(size // PAGE_SIZE + 1 for size in sizes.values())
    makespan = times[-1] - times[0] + latency
    print(
        f"{qps:>6g} {latency:>8g}  {name:<24}{len(times):>9}{len(times) - fewest:>7}"
        f"{makespan:>9.0f}{makespan / (len(times) / qps):>8.3f}   ({time.monotonic() - began:.0f} s)",
        flush=True,
    )


def main() -> None:
    """Heavy-tailed sellers, some of a thousand pages; three ceilings, slow and quick answers."""
    catalogue = Catalogue(CatalogueOptions(seed=5, exponent=1.1, scale=6.0, largest=20_000))
    sizes = {seller: catalogue.size(seller) for seller in catalogue.seller_ids(SELLERS)}
    print(
        f"{SELLERS} sellers, {sum(sizes.values())} videos, the deepest of {max(sizes.values()) // 10} pages"
    )
    print("   qps latency s  look-ahead               requests  extra  night s  to ideal")
    for qps, latency in ((50, 1.5), (200, 0.3), (200, 1.5), (1000, 1.5)):
        for name, mode, sort in RUNGS:
            print_run(
                sizes,
                qps,
                latency,
                name,
                lambda mode=mode, sort=sort, qps=qps, latency=latency: night(  # type: ignore[misc]
                    sizes, mode, qps, latency, sort=sort
                ),
            )


if __name__ == "__main__":
    main()
