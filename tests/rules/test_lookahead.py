"""Look-ahead: what is read is what a reader in turn would read, and next to nothing besides."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, log2
from random import Random

import pytest
from conftest import Night
from hypothesis import given
from hypothesis import strategies as st

from crawler.models.api import PAGE_SIZE
from crawler.models.page import Page
from crawler.models.seller import Ending, SellerProgress, SellerStatus, StopReason, StopRule
from crawler.rules.lookahead import Ahead, LookaheadRule, Mode
from crawler.rules.paging import PagingRule, Step
from crawler.simulator.catalogue import CatalogueOptions
from crawler.simulator.faults import parse_faults
from crawler.simulator.server import Simulator, SimulatorOptions


@dataclass
class List:
    """A seller's list of so many rows; past its end it is empty, or `repeats` its last page."""

    rows: int
    repeats: bool = False
    asked: list[int] = field(default_factory=list)

    @property
    def depth(self) -> int:
        """Pages with rows."""
        return ceil(self.rows / PAGE_SIZE)

    def page(self, page_num: int) -> Page:
        shown = min(page_num, max(1, self.depth)) if self.repeats else page_num
        count = max(0, min(PAGE_SIZE, self.rows - (shown - 1) * PAGE_SIZE))
        return Page("s", page_num, b"", count, shown if count else 0, 0, "")

    def rules_own(self, rule: PagingRule) -> int:
        """The last page that a reader in turn asks for."""
        seller = SellerProgress("s")
        while True:
            step = rule.after(seller, self.page(seller.next_page))
            seller.received(self.page(seller.next_page))
            if isinstance(step, Ending):
                return seller.next_page - 1


def read(shelf: List, rule: PagingRule, lookahead: LookaheadRule, workers: int, rng: Random) -> int:
    """Read a list as a crawl does, answers coming in any order; returns how many rounds that took."""
    seller, ahead, rounds = SellerProgress("s"), None, 0
    flying: list[int] = []
    ending: Ending | None = None
    while ending is None or flying:
        ahead = ahead or lookahead.of(seller)
        while len(flying) < workers and ending is None:
            page_num = ahead.ask() if ahead else (seller.next_page if not flying else None)
            if page_num is None:
                break
            flying.append(page_num)
            shelf.asked.append(page_num)
        rounds += 1
        for _ in range(rng.randint(1, len(flying))):
            page = shelf.page(flying.pop(rng.randrange(len(flying))))
            if ahead:
                ahead.landed(page.page_num)
            if page.page_num != seller.next_page:
                assert ahead is not None
                ahead.came_early(page)
                continue
            held = ahead.early if ahead else {}
            arrival: Page | Ending | None = page
            while arrival is not None and ending is None:
                assert isinstance(arrival, Page)
                step = rule.after(seller, arrival)
                seller.received(arrival)
                ending = step if isinstance(step, Ending) else None
                arrival = held.pop(seller.next_page, None)
    assert ending is not None
    return rounds


SIZES = st.one_of(st.integers(0, 400), st.integers(0, 40).map(lambda n: n * 10), st.integers(0, 20_000))


@given(
    rows=SIZES,
    repeats=st.booleans(),
    mode=st.sampled_from(["off", "history", "gallop"]),
    known=st.none() | st.floats(0, 2),
    stop=st.sampled_from(StopRule),
    workers=st.sampled_from([1, 4, 64]),
    min_pages=st.sampled_from([2, 10]),
    seed=st.integers(0, 2**32),
)
def test_every_page_is_read_once_and_few_past_the_end(
    *,
    rows: int,
    repeats: bool,
    mode: Mode,
    known: float | None,
    stop: StopRule,
    workers: int,
    min_pages: int,
    seed: int,
) -> None:
    shelf, rule = List(rows, repeats), PagingRule(stop)
    depths = {} if known is None else {"s": int(rows // PAGE_SIZE * known)}
    read(shelf, rule, LookaheadRule(mode, min_pages, rule.max_pages, depths), workers, Random(seed))
    own = shelf.rules_own(rule)
    assert set(range(1, own + 1)) <= set(shelf.asked)
    assert len(shelf.asked) == len(set(shelf.asked))
    beyond = [n for n in shelf.asked if n > own]
    if mode == "off" or (mode == "history" and known is None):
        assert not beyond
    elif mode == "history":
        # An API that repeats its last page hides for one page more that the list has shrunk.
        assert len(beyond) <= 1 + repeats
    else:
        assert len(beyond) <= max(1, log2(max(1, shelf.depth))) + repeats
    if shelf.depth < min_pages and known is None:
        assert not beyond


@pytest.mark.parametrize(("mode", "known", "most"), [("history", 2000, 110), ("gallop", None, 130)])
def test_a_deep_seller_takes_few_rounds(mode: Mode, known: int | None, most: int) -> None:
    """2,000 pages, as many as a hundred at a time."""
    shelf = List(20_005)
    depths = {} if known is None else {"s": known}

    class Lockstep(Random):
        def randint(self, _a: int, b: int) -> int:
            return b

    rounds = read(shelf, PagingRule(), LookaheadRule(mode, 10, 100_000, depths), 100, Lockstep(1))
    assert rounds <= most
    assert len(shelf.asked) <= 2001 + (0 if known else 11)


@pytest.mark.parametrize("shrunk", [1, 20, 79])
def test_a_seller_that_shrank_a_little_is_still_read_ahead(shrunk: int) -> None:
    shelf = List(20_005 - 10 * shrunk)
    rounds = read(shelf, PagingRule(), LookaheadRule("history", 10, 100_000, {"s": 2000}), 100, Random(1))
    assert len(shelf.asked) <= shelf.depth + 1
    assert rounds < 2 * (80 - shrunk) + 200


def test_nothing_is_asked_for_beyond_the_last_page_allowed() -> None:
    seller = SellerProgress("s")
    ahead, shelf = Ahead(seller, 30, 2000, gallop=True), List(50_000)
    asked: list[int] = []
    while (page_num := ahead.ask()) is not None and len(asked) < 100:
        asked.append(page_num)
        page = shelf.page(page_num)
        ahead.landed(page_num)
        if page_num == seller.next_page:
            assert PagingRule(max_pages=30).after(seller, page) in {
                Step.NEXT_PAGE,
                Ending(SellerStatus.PARTIAL, StopReason.MAX_PAGES),
            }
            seller.received(page)
            if seller.next_page > 30:
                break
        else:
            ahead.came_early(page)
        while seller.next_page in ahead.early:
            arrival = ahead.early.pop(seller.next_page)
            assert isinstance(arrival, Page)
            seller.received(arrival)
    assert sorted(asked) == list(range(1, 31))


@pytest.mark.parametrize("mode", ["off", "history"])
def test_pages_that_came_early_in_the_run_before_are_not_asked_for_again(mode: Mode) -> None:
    shelf = List(65)
    seller = SellerProgress("s", early_pages={page_num: shelf.page(page_num) for page_num in (2, 3, 5)})
    ahead = LookaheadRule(mode).of(seller)
    assert ahead is not None
    assert ahead.early.keys() == {2, 3, 5}
    asked = [ahead.ask() for _ in range(4)]
    assert asked[0] == 1
    assert not ahead.early.keys() & set(asked)


def begun(shelf: List) -> Ahead:
    """Four pages have been read, and the last snapshot had 20; page 5 is in flight."""
    seller = SellerProgress("s")
    for page_num in range(1, 5):
        seller.received(shelf.page(page_num))
    ahead = Ahead(seller, 100, 20, gallop=False)
    assert ahead.ask() == 5
    return ahead


def come(ahead: Ahead, page: Page) -> int | None:
    """Let a page come before its turn; returns the page that is asked for then."""
    ahead.landed(page.page_num)
    ahead.came_early(page)
    return ahead.ask()


def test_a_page_ahead_that_repeats_one_already_read_ends_the_list() -> None:
    ahead = begun(shelf := List(40, repeats=True))
    assert ahead.ask() == 18
    assert come(ahead, shelf.page(18)) is None


def test_two_pages_ahead_that_are_the_same_end_the_list() -> None:
    """Page 12 is the last, and any later one repeats it."""
    ahead = begun(shelf := List(120, repeats=True))
    assert ahead.ask() == 18
    assert come(ahead, shelf.page(18)) == 20
    assert come(ahead, shelf.page(20)) is None


def test_a_seller_that_has_grown_is_read_to_its_known_depth_before_any_leap() -> None:
    ahead = begun(shelf := List(4000))
    assert ahead.ask() == 18
    assert come(ahead, shelf.page(18)) == 20
    assert come(ahead, shelf.page(20)) == 21
    assert come(ahead, shelf.page(21)) == 6
    assert [ahead.ask() for _ in range(12)] == [*range(7, 18), 19]


# --- the real job

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
DEEP = CatalogueOptions(seed=3, exponent=0.8, largest=1200)


def deep_list(simulator: Simulator) -> list[str]:
    """A seller of over a hundred pages, and some that are shallow."""
    ids = simulator.catalogue.seller_ids(300)
    deep = [s for s in ids if simulator.catalogue.size(s) > 1000]
    return [*ids[:20], deep[0]]


def fewest(simulator: Simulator, ids: list[str]) -> int:
    return sum(simulator.catalogue.size(s) // 10 + 1 for s in ids)


def whole(job: Night, simulator: Simulator, ids: list[str]) -> bool:
    rows = {(row["seller_id"], row["video_id"]) for row in job.videos() if str(row["crawl_date"]) == TONIGHT}
    return rows == {(s, row["video_id"]) for s in ids for row in simulator.catalogue.videos(s)}


LAST_NIGHT, TONIGHT = "2026-11-22", "2026-11-23"


def test_with_a_history_pages_are_read_at_once_and_none_too_many(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(DEEP, latency=0.05))
    ids = deep_list(simulator)
    source = job.sellers(ids)
    job.run(source, "--crawl-date", LAST_NIGHT, "--lookahead", "gallop")
    simulator.stats.pages.clear()
    report = job.run(source, "--crawl-date", TONIGHT)
    assert simulator.stats.pages.total() == report["requests"]["sent"] == fewest(simulator, ids)
    assert whole(job, simulator, ids)
    pages = [page_num for seller, page_num in simulator.stats.pages if seller == ids[-1]]
    assert pages != sorted(pages)


def test_faults_and_budgets_hold_with_pages_in_any_order(night: Begin) -> None:
    faults = parse_faults("status=500:0.05,null:0.03,cut:0.02,status=429:0.02")
    job, simulator = night(
        SimulatorOptions(DEEP, latency=0.02, jitter=0.05, faults=faults, retry_after="0.1")
    )
    ids = deep_list(simulator)
    source = job.sellers(ids)
    job.run(source, "--lookahead", "gallop", "--budget", "60", code=3)
    assert simulator.stats.requests <= 60
    job.run(source, "--lookahead", "gallop")
    assert whole(job, simulator, ids)


def test_a_kill_amid_pages_in_any_order_pays_again_only_for_what_was_in_flight(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(DEEP, latency=0.1, jitter=0.1))
    ids = deep_list(simulator)
    source = job.sellers(ids)
    options = ("--lookahead", "gallop", "--workers", "20")
    running = job.start(source, *options)
    while simulator.stats.requests < 90:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    time.sleep(0.3)
    job.run(source, *options)
    asked = Counter(simulator.stats.pages)
    assert sum(count - 1 for count in asked.values()) <= 20
    assert whole(job, simulator, ids)


def test_max_pages_holds(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(DEEP, latency=0.02))
    ids = deep_list(simulator)
    job.run(job.sellers(ids), "--lookahead", "gallop", "--max-pages", "37")
    asked = sorted(page_num for seller, page_num in simulator.stats.pages if seller == ids[-1])
    assert asked == list(range(1, 38))
    assert job.seller_rows()[ids[-1]]["stop_reason"] == "max_pages"
    job.run(job.sellers(ids), "--lookahead", "gallop")
    assert whole(job, simulator, ids)
