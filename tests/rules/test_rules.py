from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crawler.engine.next_work import Parked
from crawler.models.api import MAX_PAGE_NUM, PAGE_SIZE
from crawler.models.page import Page
from crawler.models.seller import (
    Ending,
    PageRequest,
    SellerProgress,
    SellerStatus,
    StopReason,
    StopRule,
    Strategy,
)
from crawler.rules.best_first import BestFirst
from crawler.rules.order import Frontier, spread_places
from crawler.rules.outage import DOWN_SELLERS, Breaker
from crawler.rules.paging import PagingRule, ProbeCounts, ShortPageProbes, Step
from crawler.rules.recovery import HARD_ATTEMPTS, RetryRule, throttle_wait
from crawler.rules.sizing import MAX_WORKERS, PRIOR_BUSY_S, PoolSize

# --- paging

Rows = tuple[int, ...] | None
"""A page's video IDs, below 0 those of rows that are rejected; None where `data` is null."""

FULL = tuple(range(PAGE_SIZE))
NEXT = tuple(range(PAGE_SIZE, 2 * PAGE_SIZE))
SHORT = (1, 2, 3)
REJECTS = (4, -5)


def answer(rows: Rows, page_num: int) -> Page:
    return Page(
        seller_id="seller",
        page_num=page_num,
        body=b"",
        row_count=None if rows is None else len(rows),
        fingerprint=hash(rows or ()),
        received_at=0,
        request_id="",
        rejected=sum(number < 0 for number in rows or ()),
    )


def read(rule: PagingRule, pages: list[Rows]) -> tuple[list[int], Ending | None]:
    """Ask as a crawl does; returns the page numbers asked for, and the ending if there was one."""
    seller, asked = SellerProgress("seller"), list[int]()
    for rows in pages:
        if not rule.allows(seller):
            return asked, Ending(SellerStatus.PARTIAL, StopReason.MAX_PAGES)
        asked.append(seller.next_page)
        page = answer(rows, seller.next_page)
        step = rule.after(seller, page)
        if step is Step.ASK_AGAIN:
            seller.null_seen = True
            continue
        seller.received(page)
        if isinstance(step, Ending):
            return asked, step
    return asked, None


def complete(reason: StopReason) -> Ending:
    return Ending(SellerStatus.COMPLETE, reason)


PARTIAL = Ending(SellerStatus.PARTIAL, StopReason.MAX_PAGES)


@pytest.mark.parametrize(
    ("pages", "asked", "ending"),
    [
        ([SHORT], [1], complete(StopReason.SHORT_PAGE)),
        ([()], [1], complete(StopReason.EMPTY_PAGE)),
        ([None, None], [1, 1], complete(StopReason.EMPTY_PAGE)),
        ([None, ()], [1, 1], complete(StopReason.EMPTY_PAGE)),
        ([None, SHORT], [1, 1], complete(StopReason.SHORT_PAGE)),
        ([None, FULL, None, None], [1, 1, 2, 2], complete(StopReason.EMPTY_PAGE)),
        ([FULL[1:]], [1], complete(StopReason.SHORT_PAGE)),
        ([FULL, SHORT], [1, 2], complete(StopReason.SHORT_PAGE)),
        ([FULL, ()], [1, 2], complete(StopReason.EMPTY_PAGE)),
        ([FULL, FULL], [1, 2], complete(StopReason.REPEATED_PAGE)),
        ([FULL, NEXT, FULL], [1, 2, 3], complete(StopReason.REPEATED_PAGE)),
        ([FULL, FULL[::-1]], [1, 2], None),
        ([FULL, None, None], [1, 2, 2], complete(StopReason.EMPTY_PAGE)),
        ([FULL, None, ()], [1, 2, 2], complete(StopReason.EMPTY_PAGE)),
        ([FULL, None, NEXT, None, SHORT], [1, 2, 2, 3, 3], complete(StopReason.SHORT_PAGE)),
        ([(*FULL, 10)], [1], None),
        ([REJECTS], [1], None),
        ([REJECTS, SHORT], [1, 2], complete(StopReason.SHORT_PAGE)),
        ([REJECTS, ()], [1, 2], complete(StopReason.EMPTY_PAGE)),
        ([REJECTS, None, None], [1, 2, 2], complete(StopReason.EMPTY_PAGE)),
        ([REJECTS, REJECTS], [1, 2], complete(StopReason.REPEATED_PAGE)),
        ([FULL, REJECTS, (6, -7), SHORT], [1, 2, 3, 4], complete(StopReason.SHORT_PAGE)),
    ],
)
def test_what_ends_a_seller(pages: list[Rows], asked: list[int], ending: Ending | None) -> None:
    assert read(PagingRule(), pages) == (asked, ending)


@pytest.mark.parametrize(
    ("pages", "asked", "ending"),
    [
        ([SHORT, ()], [1, 2], complete(StopReason.EMPTY_PAGE)),
        ([SHORT, None], [1, 2], complete(StopReason.EMPTY_PAGE)),
        ([FULL, SHORT, NEXT], [1, 2, 3], None),
        ([SHORT, SHORT], [1, 2], complete(StopReason.REPEATED_PAGE)),
    ],
)
def test_what_ends_a_seller_that_is_read_to_the_empty_page(
    pages: list[Rows], asked: list[int], ending: Ending | None
) -> None:
    assert read(PagingRule(StopRule.EMPTY), pages) == (asked, ending)


@pytest.mark.parametrize(
    ("pages", "asked", "ending"),
    [
        ([FULL, NEXT, SHORT], [1, 2], PARTIAL),
        ([FULL, REJECTS, SHORT], [1, 2], PARTIAL),
        ([FULL, SHORT], [1, 2], complete(StopReason.SHORT_PAGE)),
        ([FULL, ()], [1, 2], complete(StopReason.EMPTY_PAGE)),
        ([FULL, None, NEXT], [1, 2, 2], PARTIAL),
    ],
)
def test_no_page_beyond_the_last_one_allowed(
    pages: list[Rows], asked: list[int], ending: Ending | None
) -> None:
    assert read(PagingRule(max_pages=2), pages) == (asked, ending)


def test_a_resumed_seller_at_its_last_page_is_not_asked_for() -> None:
    assert not PagingRule(max_pages=2).allows(SellerProgress("seller", next_page=3))
    assert PagingRule().allows(SellerProgress("seller", next_page=MAX_PAGE_NUM))
    assert not PagingRule().allows(SellerProgress("seller", next_page=MAX_PAGE_NUM + 1))


ROWS: st.SearchStrategy[Rows] = st.one_of(
    st.sampled_from([FULL, NEXT, FULL[::-1], SHORT, (), None]),
    st.integers(0, 50).map(lambda n: tuple(range(n, n + PAGE_SIZE))),
)


@given(st.lists(ROWS, max_size=30), st.sampled_from(StopRule), st.integers(1, 12))
def test_promise_4(pages: list[Rows], stop: StopRule, max_pages: int) -> None:
    asked, ending = read(PagingRule(stop, max_pages), pages)
    received = pages[: len(asked)]
    assert all(number <= max_pages for number in asked)
    assert asked == sorted(asked)
    assert max(Counter(asked).values(), default=0) <= 2
    for i, rows in enumerate(received[:-1]):
        if rows is None:
            assert i == 0 or len(received[i - 1] or ()) >= PAGE_SIZE
            assert asked[i + 1] == asked[i]
        else:
            assert asked[i + 1] == asked[i] + 1
            assert rows not in received[:i]
            assert len(rows) >= (PAGE_SIZE if stop is StopRule.SHORT else 1)
    if ending is None:
        assert len(asked) == len(pages)
    elif ending.status is SellerStatus.PARTIAL:
        assert asked[-1] == max_pages


def test_a_seller_whose_ending_was_not_written_needs_no_further_page() -> None:
    seller = SellerProgress("seller")
    assert PagingRule().ended(seller) is None
    seller.received(answer(SHORT, 1))
    assert PagingRule().ended(seller) == complete(StopReason.SHORT_PAGE)
    assert PagingRule(StopRule.EMPTY).ended(seller) is None


# --- probes


@given(st.floats(0, 1), st.integers(1, 200))
def test_probes_cost_no_more_than_their_share(share: float, credits_spent: int) -> None:
    """A probe is counted when it begins, and is a credit itself."""
    spent = 0
    rule = ShortPageProbes(share, lambda: spent)
    begun = 0
    for _ in range(credits_spent):
        begun += rule.begin()
        spent += 1
        assert begun <= share * spent
    assert begun + 1 > share * spent


def test_rows_beyond_a_short_page_are_counted_by_why_they_were_asked_for() -> None:
    rule = ShortPageProbes()
    probed = SellerProgress("seller", pages=1, probing=True)
    rule.count(probed, answer(SHORT, 2), StopRule.SHORT)
    after_rejects = SellerProgress("seller", pages=1, last_page_rejected=True)
    rule.count(after_rejects, answer(None, 2), StopRule.SHORT)
    rule.count(after_rejects, answer(SHORT, 2), StopRule.EMPTY)
    rule.count(SellerProgress("seller"), answer(FULL, 1), StopRule.SHORT)
    assert rule.probes == ProbeCounts(sent=1, rows_found=3)
    assert rule.after_rejects == ProbeCounts(sent=1, rows_found=0)


# --- the frontier


def drain(frontier: Frontier, lengths: dict[str, int], rng: Random, workers: int) -> list[tuple[str, int]]:
    """Read sellers of so many pages as a pool does, ending in any order; returns the pages as taken."""
    taken, in_hand = list[tuple[str, int]](), list[SellerProgress]()
    while True:
        seller = frontier.take() if len(in_hand) < workers else None
        if seller is not None:
            assert seller.seller_id not in {other.seller_id for other in in_hand}
            taken.append((seller.seller_id, seller.next_page))
            in_hand.append(seller)
            if rng.random() < 0.5:
                continue
        if not in_hand:
            assert frontier.empty
            return taken
        done = in_hand.pop(rng.randrange(len(in_hand)))
        if done.next_page < lengths[done.seller_id]:
            done.next_page += 1
            frontier.put_back(done)


@given(
    lengths=st.lists(st.integers(1, 5), max_size=12),
    begun=st.integers(0, 4),
    strategy=st.sampled_from(Strategy),
    workers=st.integers(1, 6),
    seed=st.integers(0, 2**32),
)
def test_nothing_is_lost_or_taken_twice(
    lengths: list[int], begun: int, strategy: Strategy, workers: int, seed: int
) -> None:
    pages = {f"s{i}": length for i, length in enumerate(lengths)}
    ids = list(pages)
    resumed = [SellerProgress(seller_id, next_page=pages[seller_id]) for seller_id in ids[:begun]]
    frontier = Frontier(ids[begun:], resumed, strategy)
    wanted = [(seller.seller_id, seller.next_page) for seller in resumed]
    taken = drain(frontier, pages, Random(seed), workers)
    wanted += [(seller_id, page) for seller_id in ids[begun:] for page in range(1, pages[seller_id] + 1)]
    assert sorted(taken) == sorted(wanted)
    for seller_id in ids:
        numbers = [page for taken_id, page in taken if taken_id == seller_id]
        assert numbers == sorted(numbers)


@given(st.integers(1, 6), st.integers(0, 2**32))
def test_depth_first_begins_no_more_sellers_than_there_are_workers(workers: int, seed: int) -> None:
    lengths = {f"s{i}": 1 + i % 4 for i in range(20)}
    taken = drain(Frontier(lengths, [], Strategy.DEPTH_FIRST), lengths, Random(seed), workers)
    last = {seller_id: i for i, (seller_id, _) in enumerate(taken)}
    for i, (seller_id, page) in enumerate(taken):
        if page == 1:
            unfinished = {begun for begun, _ in taken[:i] if last[begun] > i}
            assert len(unfinished - {seller_id}) < workers


@given(st.integers(1, 6), st.integers(0, 2**32))
def test_breadth_first_reads_every_first_page_first(workers: int, seed: int) -> None:
    lengths = {f"s{i}": 1 + i % 4 for i in range(20)}
    taken = drain(Frontier(lengths, [], Strategy.BREADTH_FIRST), lengths, Random(seed), workers)
    assert [seller_id for seller_id, _ in taken[:20]] == list(lengths)


def test_depth_first_finishes_what_is_begun() -> None:
    begun = [SellerProgress("a", next_page=2), SellerProgress("b", next_page=2)]
    lengths = {"a": 3, "b": 3, "new": 2}
    taken = drain(Frontier(["new"], begun, Strategy.DEPTH_FIRST), lengths, Random(0), workers=1)
    assert taken == [("a", 2), ("a", 3), ("b", 2), ("b", 3), ("new", 1), ("new", 2)]


def test_fresh_sellers_are_drawn_one_at_a_time() -> None:
    drawn = 0

    def draw() -> Iterator[str]:
        nonlocal drawn
        for i in range(10**9):
            drawn += 1
            yield str(i)

    frontier = Frontier(draw(), [], Strategy.BREADTH_FIRST)
    assert not frontier.empty
    for _ in range(3):
        frontier.take()
    assert drawn == 3


def test_a_seller_put_back_keeps_the_frontier_from_being_empty() -> None:
    frontier = Frontier(["only"], [], Strategy.DEPTH_FIRST)
    seller, nobody = frontier.take(), frontier.take()
    assert seller is not None
    assert nobody is None
    states = [frontier.empty]
    frontier.put_back(seller)
    states.append(frontier.empty)
    assert states == [True, False]
    assert frontier.take() is seller


# --- retries


@given(st.integers(5, 10))
def test_a_page_is_given_up_after_its_attempts(attempts: int) -> None:
    requests = [PageRequest(SellerProgress("s"), 1, faults=faults) for faults in range(12)]
    given_up = [request.faults for request in requests if RetryRule(attempts).is_at_fault(request)]
    assert given_up == list(range(attempts, 12))


def test_the_default_attempts_lie_within_the_promise() -> None:
    assert 5 <= RetryRule().attempts <= HARD_ATTEMPTS == 10


@given(st.integers(1, HARD_ATTEMPTS), st.floats(0.01, 100), st.integers(0, 2**32))
def test_backoff_doubles_up_to_its_cap_with_jitter(failures: int, backoff: float, seed: int) -> None:
    full = min(30.0, backoff * 2 ** (failures - 1))
    waits = [RetryRule(backoff=backoff).wait(failures, Random(seed + i)) for i in range(20)]
    assert all(full / 2 <= wait <= full for wait in waits)
    assert max(waits) - min(waits) > full / 20


@pytest.mark.parametrize(
    ("bursts", "retry_after", "wait"),
    [
        (1, None, 1.0),
        (2, None, 2.0),
        (6, None, 32.0),
        (7, None, 60.0),
        (10_000, None, 60.0),
        (1, 30.0, 30.0),
        (9, 0.5, 0.5),
        (1, 3600.0, 60.0),
    ],
)
def test_a_throttled_run_waits(bursts: int, retry_after: float | None, wait: float) -> None:
    assert throttle_wait(bursts, retry_after, cap=60.0) == wait


@pytest.mark.parametrize("best_first", [False, True])
@given(st.integers(0, 40), st.integers(1, 25), st.lists(st.booleans(), max_size=50), st.integers(0, 10))
@example(9, 9, [True] * 9, 3)
def test_each_new_seller_is_taken_once_in_turn_or_before(
    best_first: bool, count: int, most: int, spread: list[bool], canaries: int
) -> None:
    ids = [f"s{n}" for n in range(count)]
    apart = [ids[place] for place in spread_places(count, most)] if count else []
    assert len(set(apart)) == min(count, most)
    frontier: Frontier | BestFirst
    if best_first:
        frontier = BestFirst(ids, [], {seller: [1.0] for seller in ids[::3]}, spread=apart)
    else:
        frontier = Frontier(ids, [], Strategy.DEPTH_FIRST, apart)
    frontier.ask_first(ids[::-1][:canaries])
    first = [frontier.take_spread() if before else frontier.take() for before in spread]
    taken = [seller.seller_id for seller in first if seller is not None]
    while (seller := frontier.take()) is not None:
        taken.append(seller.seller_id)
    assert sorted(taken) == sorted(ids)
    assert frontier.empty


def test_sellers_to_ask_first_go_before_those_begun() -> None:
    begun = SellerProgress("begun", next_page=2)
    frontier = Frontier(["a", "b", "c"], [begun], Strategy.DEPTH_FIRST)
    frontier.ask_first(["c", "b"])
    taken = [frontier.take() for _ in range(5)]
    assert [seller.seller_id if seller else None for seller in taken] == ["c", "b", "begun", "a", None]


# --- what is parked


def parked_request(breaker: Breaker, seller: SellerProgress, page_num: int, failures: int = 1) -> PageRequest:
    breaker.failed(seller.seller_id, 0)
    return PageRequest(seller, page_num, failures=failures, streak=breaker.streak)


def test_a_doubtful_page_is_asked_for_again_once_somebody_is_answered() -> None:
    """However late that is: it is not given up then."""
    breaker = Breaker(900)
    parked = Parked(breaker, RetryRule(6))
    request = parked_request(breaker, SellerProgress("a"), 1, failures=6)
    parked.park(request)
    assert parked
    assert not parked.is_due(1e9)
    breaker.answered("b", 0)
    assert parked.give_up() == []
    assert parked.take(0) is request
    breaker.failed("a", 0)
    parked.park(request)
    assert parked.give_up() == [request]
    assert not parked


@settings(deadline=None)
@given(st.data())
def test_no_parked_page_is_lost(data: st.DataObject) -> None:
    """Whatever fails, is answered, throttled or held back in whatever order: all are had in the end."""
    breaker = Breaker(900)
    parked = Parked(breaker, RetryRule(6))
    sellers = [SellerProgress(f"s{i}") for i in range(3)]
    flying = [PageRequest(seller, page_num) for seller in sellers for page_num in range(1, 5)]
    now, had = 0.0, 0
    for _ in range(data.draw(st.integers(0, 60))):
        now += data.draw(st.sampled_from([0.0, 0.5, 3.0]))
        if flying:
            request = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            what = data.draw(st.sampled_from(["fails", "is throttled", "is answered"]))
            if what == "is answered":
                breaker.answered(request.seller.seller_id, now)
                had += 1
                continue
            if what == "fails":
                breaker.failed(request.seller.seller_id, now)
                request.failures, request.streak = request.failures + 1, breaker.streak
                request.due = now + data.draw(st.sampled_from([0.0, 1.0, 5.0]))
            parked.park(request)
        take = data.draw(st.sampled_from(["a trial", "what is due", "nothing"]))
        taken = None if take == "nothing" else parked.take_trial() if take == "a trial" else parked.take(now)
        flying += [] if taken is None else [taken]
    while flying or parked:
        for request in flying:
            breaker.answered(request.seller.seller_id, now)
            had += 1
        if not flying and not parked.is_due(1e9):
            breaker.answered("other", now)
        taken = parked.take(1e9)
        flying = [] if taken is None else [taken]
    assert had == 12


# --- the breaker


@given(st.lists(st.one_of(st.none(), st.integers(0, 7)), max_size=60))
def test_the_breaker_opens_on_several_sellers_without_an_answer_between(events: list[int | None]) -> None:
    """None is an answer to a request sent before all that failed, a number the seller that failed."""
    breaker, failing = Breaker(900), set[int]()
    for now, event in enumerate(events):
        was_open = breaker.is_open
        if event is None:
            breaker.answered("other", -1.0)
            failing.clear()
        else:
            opened = breaker.failed(str(event), float(now))
            failing.add(event)
            assert opened == (not was_open and len(failing) >= 5)
        assert breaker.is_open == (len(failing) >= 5)
        assert bool(breaker.failures_in_a_row) == bool(failing)


@given(st.integers(1, DOWN_SELLERS - 1), st.integers(1, 200))
def test_a_few_sick_sellers_never_trip_it(sellers: int, failures: int) -> None:
    breaker = Breaker(1)
    for i in range(failures):
        breaker.failed(str(i % sellers), 1000.0 * i)
    assert not breaker.is_open
    assert not breaker.given_up(1e9)


def test_a_seller_who_failed_before_others_were_asked_and_answered_tells_nothing_of_the_api() -> None:
    """Until it is answered itself."""
    breaker = Breaker(900)
    for i in range(DOWN_SELLERS - 1):
        breaker.failed(str(i), 10)
    breaker.answered("other", 11)
    for i in range(DOWN_SELLERS + 2):
        assert not breaker.is_open
        breaker.failed(str(i), 20)
    assert not breaker.is_open
    breaker.answered("0", 21)
    breaker.failed("0", 30)
    for i in range(DOWN_SELLERS - 1):
        assert not breaker.is_open
        breaker.failed(f"new {i}", 30)
    assert breaker.is_open


def test_sick_sellers_tell_nothing_of_the_api() -> None:
    breaker = Breaker(900)
    for i in range(DOWN_SELLERS):
        breaker.found_failing(str(i))
    down(breaker, 10)
    assert not breaker.is_open


def down(breaker: Breaker, now: float) -> None:
    for i in range(DOWN_SELLERS):
        breaker.failed(str(i), now)


def trials(breaker: Breaker, now: float) -> list[float]:
    """When trials are sent to an API that stays down, until it is given up."""
    sent = list[float]()
    while not breaker.given_up(now):
        now += breaker.trial_in(now)
        if breaker.trial_in(now) == 0:
            breaker.trial_sent(now)
            sent.append(now)
            breaker.failed("0", now)
    return sent


@given(st.floats(0, 7200), st.floats(0, 1e6))
def test_trials_are_ever_further_apart_and_the_last_comes_when_patience_ends(
    patience: float, began: float
) -> None:
    breaker = Breaker(patience)
    down(breaker, began)
    sent = trials(breaker, began)
    gaps = [later - earlier for earlier, later in zip([began, *sent], sent, strict=False)]
    assert sent[-1] == pytest.approx(began + patience, abs=1e-6)
    assert all(later > earlier for earlier, later in pairwise(gaps[:-1]))
    assert len(sent) <= 21


def test_any_number_of_trials_may_be_left() -> None:
    """Hundreds of requests in flight have thousands of attempts left."""
    breaker = Breaker(2)
    down(breaker, 0)
    breaker.open(0, trials=50_000)
    assert trials(breaker, 0)[-1] == 2


def test_a_quarter_of_an_hour_costs_sixteen_trials() -> None:
    breaker = Breaker(900)
    down(breaker, 0)
    assert len(trials(breaker, 0)) == 16


def test_nothing_is_given_up_before_patience_ends_or_while_closed() -> None:
    breaker = Breaker(10)
    breaker.failed("0", 0)
    assert not breaker.given_up(1e9)
    down(breaker, 5)
    assert breaker.is_open
    assert not breaker.given_up(9.999)


def test_a_streak_longer_than_patience_still_gets_its_last_trial() -> None:
    """Few sellers may fail slowly: the breaker then opens when patience has already ended."""
    breaker = Breaker(10)
    breaker.failed("slow", 0)
    down(breaker, 60)
    assert not breaker.given_up(60)
    assert breaker.trial_in(60) == 0
    breaker.trial_sent(60)
    assert breaker.given_up(60)


def test_an_answer_closes_it_and_the_next_outage_begins_anew() -> None:
    breaker = Breaker(900)
    down(breaker, 0)
    first = trials(breaker, 0)
    breaker.answered("0", 1000)
    assert not breaker.is_open
    assert not breaker.given_up(1e9)
    for i in range(DOWN_SELLERS):
        breaker.answered(str(i), 1000)
    down(breaker, 5000)
    assert [sent - 5000 for sent in trials(breaker, 5000)] == pytest.approx(first)


# --- the pool


@given(st.integers(1, 4096), st.floats(0, 100))
def test_a_fixed_pool_stays_as_it_is(workers: int, hold: float) -> None:
    size = PoolSize(5, workers)
    size.measured(hold)
    assert size.target == workers


@given(st.floats(0.1, 2000), st.floats(0, 60))
def test_the_pool_holds_what_the_rate_needs(qps: float, hold: float) -> None:
    """Little's law: as many in flight as arrive while one is held, and some to spare."""
    size = PoolSize(qps)
    assert qps * PRIOR_BUSY_S < size.target <= MAX_WORKERS
    size.measured(hold)
    assert min(MAX_WORKERS, qps * hold) < size.target + 1 <= MAX_WORKERS + 1


def test_the_pool_follows_the_latency_but_not_a_single_outlier() -> None:
    size = PoolSize(100)
    for _ in range(50):
        size.measured(0.2)
    calm = size.target
    size.measured(2.0)
    assert size.target < 3 * calm
    for _ in range(50):
        size.measured(2.0)
    assert size.target >= 100 * 2.0
