"""Best-first, the K best, and what is certain: against catalogues whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from math import inf, isfinite, nan

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crawler.models.api import PAGE_SIZE
from crawler.models.page import Page
from crawler.models.seller import SellerProgress
from crawler.planning import reach
from crawler.rules.best_first import BestFirst, Top, predicted_total
from crawler.simulator.catalogue import Catalogue, CatalogueOptions

Shelf = dict[str, list[float]]
shelves = st.lists(
    st.lists(st.integers(0, 60).map(float), max_size=45).map(lambda values: sorted(values, reverse=True)),
    min_size=1,
    max_size=7,
).map(lambda sellers: {str(n): values for n, values in enumerate(sellers)})


def page_of(shelf: Shelf, seller: SellerProgress) -> Page:
    """The seller's next page, as the API would give it."""
    first = (seller.next_page - 1) * PAGE_SIZE
    values = shelf[seller.seller_id][first : first + PAGE_SIZE]
    ids = [str(first + n) for n in range(len(values))]
    last = values[-1] if values else None
    return Page(
        seller.seller_id, seller.next_page, b"", len(values), first, 0, "", sum(values), last, ids, values
    )


def crawl(
    shelf: Shelf, frontier: BestFirst, in_flight: int = 1, top: Top | None = None
) -> Iterator[tuple[SellerProgress, Page]]:
    """Read pages until nothing is left, with so many requests in flight."""
    flying: list[SellerProgress] = []
    while True:
        while len(flying) < in_flight and (seller := frontier.take()) is not None:
            if top is None or seller.max_remaining_value > top.threshold:
                flying.append(seller)
        if not flying:
            return
        seller = flying.pop(0)
        page = page_of(shelf, seller)
        yield seller, page
        seller.received(page)
        frontier.learn(page)
        if top is not None:
            top.learn(page)
        if page.row_count == PAGE_SIZE:
            frontier.put_back(seller)


@settings(deadline=None)
@given(shelf=shelves, known=st.booleans(), in_flight=st.integers(1, 4))
def test_every_page_is_read_once(shelf: Shelf, known: bool, in_flight: int) -> None:
    history = {s: [sum(v[i : i + 10]) for i in range(0, len(v), 10)] for s, v in shelf.items()}
    frontier = BestFirst(shelf, [], history if known else None)
    read = [(seller.seller_id, page.page_num) for seller, page in crawl(shelf, frontier, in_flight)]
    assert sorted(read) == sorted((s, n + 1) for s, v in shelf.items() for n in range(len(v) // 10 + 1))
    assert frontier.empty


@settings(deadline=None)
@given(
    values=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=25),
    history=st.lists(st.floats(), max_size=4),
)
@example([1.0] * 12, [-1.0, -1.0])
@example([1.0] * 12, [nan, nan])
@example([1e308] * 22, [inf, inf, -inf])
def test_every_page_is_read_whatever_its_values_and_its_history_add_up_to(
    values: list[float], history: list[float]
) -> None:
    """No sum of values, below 0, beyond all floats or no number, keeps a page from being read."""
    shelf = {"0": sorted(values, reverse=True), "1": [], "2": [1.0] * 11}
    frontier = BestFirst(shelf, [], {"0": history, "1": history})
    read = sorted((seller.seller_id, page.page_num) for seller, page in crawl(shelf, frontier))
    assert read == sorted((s, n + 1) for s, v in shelf.items() for n in range(len(v) // 10 + 1))
    printed = reach.share([1, 1], [history, [1.0]])
    assert printed is None or isfinite(printed)


def test_a_seller_begun_without_a_page_is_worth_what_a_new_one_is() -> None:
    """Its first page was null once, and the run was stopped."""
    begun = SellerProgress("null", null_seen=True)
    frontier = BestFirst(["new"], [begun], {"new": [5.0]})
    assert frontier.gain(begun) == inf
    assert frontier.take() is begun
    frontier.learn(Page("other", 1, b"", 3, 0, 0, "", total=4.0))
    frontier.put_back(begun)
    taken = [frontier.take(), frontier.take()]
    assert [seller.seller_id for seller in taken if seller is not None] == ["new", "null"]


def test_the_best_known_sellers_are_named_in_the_order_in_which_they_are_asked() -> None:
    history = {"low": [1.0], "high": [9.0], "middle": [5.0], "gone": [7.0]}
    frontier = BestFirst(["low", "new", "high", "middle"], [], history)
    assert frontier.best_known(2) == ["high", "middle"]
    assert frontier.best_known(9) == ["high", "middle", "low"]


@settings(deadline=None)
@given(shelf=shelves)
def test_no_page_is_read_while_a_better_one_is_free(shelf: Shelf) -> None:
    frontier = BestFirst(shelf, [])
    seen: set[str] = set()
    firsts: list[float] = []
    for seller, page in crawl(shelf, frontier):
        free = [-gain for gain, *_ in frontier._heap]
        if len(seen) < len(shelf) - (seller.pages == 0):
            free.append(sum(firsts) / len(firsts) if firsts else inf)
        mine = (sum(firsts) / len(firsts) if firsts else inf) if not seller.pages else frontier.gain(seller)
        assert mine >= max(free, default=0) - 1e-9
        assert not seller.pages or frontier.gain(seller) <= PAGE_SIZE * seller.max_remaining_value
        seen.add(seller.seller_id)
        if page.page_num == 1:
            firsts.append(page.total)


@settings(deadline=None)
@given(shelf=shelves, size=st.integers(1, 40), in_flight=st.integers(1, 5))
def test_the_best_are_exact_and_cost_no_page_too_many(shelf: Shelf, size: int, in_flight: int) -> None:
    top = Top(size)
    read = list(crawl(shelf, BestFirst(shelf, [], by_max_remaining_value=True), in_flight, top))
    truth = sorted((value for values in shelf.values() for value in values), reverse=True)[:size]
    assert sorted(top._best.values(), reverse=True)[:size] == truth
    if in_flight == 1 and len(truth) == size:
        # Whoever leaves out one of these pages cannot know that it hides nothing better.
        needed = sum(
            1
            for values in shelf.values()
            for n in range(len(values) // 10 + 1)
            if n == 0 or values[n * 10 - 1] > truth[-1]
        )
        assert len(read) <= needed + len(shelf)


@settings(deadline=None)
@given(shelf=shelves, spent=st.integers(0, 30))
def test_nothing_above_the_largest_remaining_value_is_missing(shelf: Shelf, spent: int) -> None:
    frontier, found, max_remaining = BestFirst(shelf, []), list[float](), dict.fromkeys(shelf, inf)
    for n, (seller, page) in enumerate(crawl(shelf, frontier)):
        if n == spent:
            break
        found += page.values
        last_value = -inf if page.last_value is None else page.last_value
        max_remaining[seller.seller_id] = last_value if page.row_count == PAGE_SIZE else -inf
    certain = max(max_remaining.values())
    truth = [value for values in shelf.values() for value in values if value > certain]
    assert sorted(value for value in found if value > certain) == sorted(truth)


@given(
    page_num=st.integers(1, 5000),
    values=st.lists(st.floats(0, 1e12), min_size=10, max_size=10).map(lambda v: sorted(v, reverse=True)),
)
def test_a_prediction_is_never_above_ten_times_the_last_value(page_num: int, values: list[float]) -> None:
    predicted = predicted_total(page_num, sum(values), values[-1])
    assert 0 <= predicted <= PAGE_SIZE * values[-1] * (1 + 1e-9)


@pytest.mark.parametrize("exponent", [0.6, 1.0, 1.8])
def test_a_decline_by_a_power_is_predicted(exponent: float) -> None:
    values = [1e9 * rank**-exponent for rank in range(1, 61)]
    for page_num in range(1, 6):
        page = values[(page_num - 1) * 10 : page_num * 10]
        truth = sum(values[page_num * 10 : page_num * 10 + 10])
        assert predicted_total(page_num, sum(page), page[-1]) == pytest.approx(truth, rel=0.02)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_heavy_tails_are_captured_nearly_as_by_an_all_knowing_buyer(seed: int) -> None:
    options = CatalogueOptions(seed=seed, exponent=1.3, scale=60, largest=3000)
    before, tonight = shelf_of(options, 0), shelf_of(options, 1)
    totals = [sum(v[i : i + 10]) for v in tonight.values() for i in range(0, len(v) + 1, 10)]
    best = list(accumulate(sorted(totals, reverse=True)))
    history = {s: [sum(v[i : i + 10]) for i in range(0, len(v), 10)] for s, v in before.items()}
    for known, min_share in ((None, 0.98), (history, 0.99)):
        bought = list(accumulate(page.total for _, page in crawl(tonight, BestFirst(tonight, [], known), 8)))
        for share in (0.1, 0.3, 0.5):
            spent = int(len(totals) * share)
            assert spent >= len(tonight)
            assert bought[spent - 1] >= min_share * best[spent - 1]


def shelf_of(options: CatalogueOptions, day: int) -> Shelf:
    catalogue = Catalogue(options, day)
    return {
        seller: sorted((float(v["total_views_cnt"]) for v in catalogue.videos(seller)), reverse=True)
        for seller in catalogue.seller_ids(200)
    }
