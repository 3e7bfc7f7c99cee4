from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import run_virtual

from crawler.engine.credits import Credits
from crawler.engine.gates import DeferredError, Gates
from crawler.engine.pace import Pace
from crawler.engine.pool import Crawl
from crawler.engine.seller import Policies
from crawler.engine.stop import Stop
from crawler.models.errors import (
    ApiDownError,
    BudgetSpentError,
    CrawlerError,
    InterruptedRunError,
    KeyRefusedError,
    QuotaUsedUpError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from crawler.models.page import NO_NOTES, Gap, Page, PageNotes
from crawler.models.seller import Ending, PageRequest, SellerProgress, SellerStatus, Strategy
from crawler.ports import Departure
from crawler.rules.budget import lease_size
from crawler.rules.order import Frontier
from crawler.rules.outage import Breaker
from crawler.rules.recovery import HARD_ATTEMPTS, RetryRule
from crawler.rules.sizing import PoolSize

Outcome = Exception | None
"""How a request ends; None is a page."""

STATUS: dict[type[Exception], str] = {
    ThrottledError: "429",
    UnavailableError: "500",
    RefusedError: "400",
    KeyRefusedError: "401",
    QuotaUsedUpError: "402",
}


def now() -> float:
    return asyncio.get_running_loop().time()


def unavailable(*_where: object) -> Outcome:
    return UnavailableError("500")


def throttled(*_where: object) -> Outcome:
    return ThrottledError("429")


def fine(*_where: object) -> Outcome:
    return None


@dataclass
class FakeApi:
    """Answers by script; `sent` holds each request's time and seller, as the wire saw it."""

    outcome: Callable[[float, str], Outcome] = fine
    latency: float = 0.2
    connecting: float = 0.0
    stale: list[bool] = field(default_factory=list)
    sent: list[tuple[float, str]] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        await asyncio.sleep(self.connecting)
        while not await departure.leave(self._connection_is_open):
            await asyncio.sleep(self.connecting)
        self.sent.append((now(), seller_id))
        outcome = self.outcome(now(), seller_id)
        await asyncio.sleep(self.latency)
        if outcome is not None:
            departure.label = STATUS[type(outcome)]
            raise outcome
        departure.label = "200"
        self.answered.append(now())
        return Page(seller_id, page_num, b"", 0, 0, 0, "")

    def _connection_is_open(self) -> bool:
        return not (self.stale and self.stale.pop())


@dataclass
class FakeLedger:
    """Leases `lease` credits at a time; `reserved` is what the disk says."""

    budget: int = 10**9
    lease: int = 3
    delay: float = 0.01
    reserved: int = 0

    async def reserve(self, in_use: int) -> int:  # noqa: ARG002 - the port's signature
        size = min(self.lease, self.budget - self.reserved)
        self.reserved += size
        await asyncio.sleep(self.delay)
        return size


@dataclass
class FakeJournal:
    """Remembers the reported credits: for whom, how many, and whether that ended the seller."""

    reported: list[tuple[str, int, bool]] = field(default_factory=list)

    async def append(
        self, page: Page, credits_spent: int, ending: Ending | None, notes: PageNotes = NO_NOTES
    ) -> None:
        assert notes is NO_NOTES
        await self.end(page.seller_id, credits_spent, ending)

    async def end(self, seller_id: str, credits_spent: int, ending: Ending | None) -> None:
        await asyncio.sleep(0.01)
        self.reported.append((seller_id, credits_spent, ending is not None))

    async def drifted(self, _seller_id: str) -> tuple[list[Gap], dict[int, int]]:
        raise AssertionError


class Rig:
    """The gates with everything around them."""

    def __init__(
        self,
        api: FakeApi,
        *,
        qps: float = 20,
        patience: float = 900,
        attempts: int = 6,
        ledger: FakeLedger | None = None,
        seed: int = 0,
    ) -> None:
        self.api = api
        self.ledger = ledger or FakeLedger()
        self.stop = Stop()
        self.credits = Credits(self.ledger, self.stop)
        self.pace = Pace(qps, 60.0, self.stop)
        self.breaker = Breaker(patience)
        self.requests: list[PageRequest] = []
        retry = RetryRule(attempts)
        self.gates = Gates(
            api, self.credits, self.pace, self.breaker, retry, self.stop, patience, Random(seed)
        )

    def start(self, sellers: int) -> list[asyncio.Task[Outcome]]:
        self.requests = [PageRequest(SellerProgress(f"s{i}"), 1) for i in range(sellers)]
        return [asyncio.create_task(self.fetch(request)) for request in self.requests]

    async def fetch(self, request: PageRequest) -> Outcome:
        """Ask for one page until it comes or is given up; returns what came instead of a page."""
        while True:
            wait = 0.2
            try:
                await self.gates.ask(request)
            except CrawlerError as reason:
                self.stop.set(reason)
                return reason
            except RefusedError as failure:
                return failure
            except UnavailableError as failure:
                limit = HARD_ATTEMPTS if self.breaker.is_open else self.gates.retry.attempts
                if request.failures >= limit:
                    return failure
                wait = request.due - now()
            except ThrottledError:
                wait = 0.0
            except DeferredError:
                pass
            else:
                return None
            with self.stop.interruptible():
                await asyncio.sleep(wait)

    def check(self) -> None:
        """What is counted is what was sent, and nobody holds on to anything."""
        counts = self.gates.counts
        assert counts.sent == len(self.api.sent)
        assert counts.sent == sum(counts.by_status.values())
        assert counts.sent == self.credits.spent
        assert counts.sent == sum(request.seller.credits for request in self.requests)
        assert counts.sent == counts.retried + len({seller_id for _, seller_id in self.api.sent})
        assert counts.sent + self.credits._left <= self.ledger.reserved
        assert self.credits._in_flight == 0
        assert self.pace._coming == 0
        assert not self.gates.trial_is_out
        assert not self.stop._waiting


async def outcomes(tasks: list[asyncio.Task[Outcome]]) -> list[Outcome | BaseException]:
    return list(await asyncio.gather(*tasks, return_exceptions=True))


def run(rig: Rig, sellers: int) -> list[Outcome | BaseException]:
    async def main() -> list[Outcome | BaseException]:
        return await outcomes(rig.start(sellers))

    ended = run_virtual(main())
    rig.check()
    return ended


# --- what is counted


def test_a_page_costs_one_credit() -> None:
    rig = Rig(FakeApi())
    assert run(rig, 10) == [None] * 10
    assert rig.gates.counts.by_status == Counter({"200": 10})
    assert rig.gates.counts.ok == rig.credits.spent == 10
    assert rig.gates.counts.retried == 0


def test_a_connection_that_went_while_it_waited_costs_nothing() -> None:
    rig = Rig(FakeApi(connecting=0.05, stale=[True, False, True, True] * 5))
    assert run(rig, 10) == [None] * 10
    assert len(rig.api.sent) == 10
    assert not rig.api.stale


def by_chance(seed: int) -> Callable[[float, str], Outcome]:
    rng = Random(seed)

    def outcome(_at: float, seller_id: str) -> Outcome:
        choices: list[Outcome] = [
            None,
            UnavailableError("500"),
            ThrottledError("429", 2.0),
            RefusedError("400"),
        ]
        return rng.choices(choices, [3, 3, 1, 1] if seller_id != "s0" else [0, 1, 0, 0])[0]

    return outcome


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    qps=st.sampled_from([0.5, 5.0, 100.0]),
    stale=st.lists(st.booleans(), max_size=10),
    cancels=st.lists(st.tuples(st.floats(0, 20), st.integers(0, 12)), min_size=1, max_size=8),
)
def test_counts_are_right_wherever_an_attempt_is_cancelled(
    seed: int, qps: float, stale: list[bool], cancels: list[tuple[float, int]]
) -> None:
    rig = Rig(FakeApi(by_chance(seed), 0.3, 0.02, stale), qps=qps, patience=5, seed=seed)

    async def main() -> None:
        tasks = rig.start(len(cancels))
        await asyncio.gather(*map(cancel, tasks, cancels))
        await outcomes(tasks)

    run_virtual(main())
    rig.check()


async def cancel(task: asyncio.Task[Outcome], when: tuple[float, int]) -> None:
    seconds, passes = when
    await asyncio.sleep(seconds)
    for _ in range(passes):
        await asyncio.sleep(0)
    task.cancel()


@dataclass
class RealLeases(FakeLedger):
    qps: float = 5

    async def reserve(self, in_use: int) -> int:
        self.lease = lease_size(self.qps, in_use, self.budget - self.reserved)
        return await super().reserve(in_use)


@pytest.mark.parametrize("qps", [0.5, 5, 20, 100])
@pytest.mark.parametrize("latency", [0.1, 1.4])
def test_a_budget_of_100_buys_97_in_one_run(qps: float, latency: float) -> None:
    rig = Rig(FakeApi(latency=latency), qps=qps, ledger=RealLeases(100, qps=qps))
    crawl(rig, 1000, qps)
    assert isinstance(rig.stop.reason, BudgetSpentError)
    assert 97 <= len(rig.api.sent) <= 100


@pytest.mark.parametrize("budget", [0, 1, 7, 20, 30])
def test_a_budget_is_spent_to_the_last_credit_and_no_further(budget: int) -> None:
    rig = Rig(FakeApi(by_chance(budget), stale=[True] * 9), ledger=FakeLedger(budget))
    run(rig, 30)
    assert len(rig.api.sent) == budget
    assert isinstance(rig.stop.reason, BudgetSpentError)


@pytest.mark.parametrize("at", [0.0, 0.005, 0.01])
def test_a_lease_is_kept_though_its_worker_be_cancelled(at: float) -> None:
    rig = Rig(FakeApi())

    async def main() -> None:
        taker = asyncio.create_task(rig.credits.take())
        await asyncio.sleep(at)
        taker.cancel()
        await asyncio.sleep(1)
        assert rig.credits._left + rig.credits._in_flight + rig.credits.spent == rig.ledger.reserved

    run_virtual(main())


def test_a_credit_that_comes_back_during_a_lease_is_kept() -> None:
    rig = Rig(FakeApi(), ledger=FakeLedger(lease=1))

    async def main() -> None:
        await rig.credits.take()
        asyncio.get_running_loop().call_later(0.005, rig.credits.give_back)
        await rig.credits.take()
        assert rig.credits._left + rig.credits._in_flight + rig.credits.spent == rig.ledger.reserved

    run_virtual(main())


def test_all_who_wait_for_a_lease_go_on_at_once() -> None:
    """One after another they would wake the event loop once each, and share no commit later."""
    rig = Rig(FakeApi(), ledger=FakeLedger(lease=100, delay=0))

    async def main() -> None:
        takers = [asyncio.create_task(rig.credits.take()) for _ in range(100)]
        for _turn_of_the_loop in range(10):
            await asyncio.sleep(0)
        assert all(taker.done() for taker in takers)

    run_virtual(main())


# --- retries


@pytest.mark.parametrize("attempts", [5, 6, 10])
def test_a_sick_seller_is_given_up_after_its_attempts(attempts: int) -> None:
    def sick(_at: float, seller_id: str) -> Outcome:
        return UnavailableError("500") if seller_id == "s0" else None

    rig = Rig(FakeApi(sick), attempts=attempts)
    ended = run(rig, 10)
    assert isinstance(ended[0], UnavailableError)
    assert ended[1:] == [None] * 9
    requests = Counter(seller_id for _, seller_id in rig.api.sent)
    assert requests == {f"s{i}": attempts if i == 0 else 1 for i in range(10)}
    assert rig.gates.counts.retried == attempts - 1


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), sellers=st.integers(1, 12), attempts=st.integers(5, 10))
def test_attempts_lie_within_the_promise(seed: int, sellers: int, attempts: int) -> None:
    rng = Random(seed)
    share = rng.choice([0.5, 0.9, 1.0])

    def flaky(_at: float, _seller_id: str) -> Outcome:
        return UnavailableError("500") if rng.random() < share else None

    rig = Rig(FakeApi(flaky), attempts=attempts, patience=100)
    ended = run(rig, sellers)
    requests = Counter(seller_id for _, seller_id in rig.api.sent)
    for request, end in zip(rig.requests, ended, strict=True):
        assert requests[request.seller.seller_id] <= HARD_ATTEMPTS
        if isinstance(end, UnavailableError):
            assert attempts <= requests[request.seller.seller_id]


def test_a_page_that_is_always_the_trial_has_ten_attempts() -> None:
    rig = Rig(FakeApi(unavailable))

    async def main() -> list[Outcome | BaseException]:
        for i in range(5):
            rig.breaker.failed(f"other {i}", now())
        return await outcomes(rig.start(1))

    assert isinstance(run_virtual(main())[0], UnavailableError)
    assert len(rig.api.sent) == 10


def test_retries_wait_ever_longer() -> None:
    rig = Rig(FakeApi(unavailable, latency=0.0))
    run(rig, 1)
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(rig.api.sent)]
    assert len(gaps) == 5
    for gap, full in zip(gaps, [1, 2, 4, 8, 16], strict=True):
        assert full / 2 <= gap <= full + 0.1


@pytest.mark.parametrize(
    ("error", "requests"),
    [(RefusedError("400"), 3), (KeyRefusedError("401"), 1), (QuotaUsedUpError("402"), 1)],
)
def test_what_asking_again_does_not_help_is_asked_once(error: Exception, requests: int) -> None:
    rig = Rig(FakeApi(lambda *_where: error), qps=1)
    assert run(rig, 3)[0] is error
    assert len(rig.api.sent) == requests


# --- 429s


@pytest.mark.parametrize(("patience", "retry_after"), [(0, None), (120, None), (120, 2.0), (900, 60.0)])
def test_429s_fail_no_seller_and_end_the_run_when_patience_ends(
    patience: float, retry_after: float | None
) -> None:
    rig = Rig(FakeApi(lambda *_where: ThrottledError("429", retry_after)), patience=patience)

    async def main() -> float:
        ended = await outcomes(rig.start(30))
        assert not [end for end in ended if not isinstance(end, ApiDownError | asyncio.CancelledError)]
        return now() - 1000

    took = run_virtual(main())
    rig.check()
    assert patience < took < patience + 150
    assert rig.pace.bursts_in_a_row >= 5
    assert isinstance(rig.stop.reason, ApiDownError)
    assert not any(request.failures for request in rig.requests)


def test_429s_for_a_while_are_ridden_out() -> None:
    rig = Rig(FakeApi(lambda at, _seller: ThrottledError("429") if at < 1050 else None), patience=60)
    assert run(rig, 30) == [None] * 30


def test_an_answer_between_two_storms_renews_patience() -> None:
    def stormy(at: float, _seller: str) -> Outcome:
        return ThrottledError("429") if at < 1001 or 1200 < at < 1240 else None

    rig = Rig(FakeApi(stormy), patience=60)

    async def main() -> list[Outcome | BaseException]:
        calm = await outcomes(rig.start(3))
        await asyncio.sleep(201)
        then = [PageRequest(request.seller, 2) for request in rig.requests]
        return calm + await outcomes([asyncio.create_task(rig.fetch(request)) for request in then])

    assert run_virtual(main()) == [None] * 6
    assert rig.gates.counts.by_status["429"] >= 5


def test_a_retry_after_is_waited_for() -> None:
    rig = Rig(FakeApi(lambda at, _seller: ThrottledError("429", 7.0) if at < 1001 else None, latency=0.1))
    assert run(rig, 3) == [None] * 3
    assert not [at for at, _ in rig.api.sent if 1000.3 < at < 1007]


# --- the breaker


def crawl(rig: Rig, sellers: int, qps: float) -> tuple[float, Counter[SellerStatus]]:
    """Crawl sellers of one page each with a whole pool; returns how long it took, and how they ended."""
    frontier = Frontier((f"s{i}" for i in range(sellers)), [], Strategy.DEPTH_FIRST)
    ends: Counter[SellerStatus] = Counter()
    journal = FakeJournal()

    def ended(_seller_id: str, ending: Ending) -> None:
        ends[ending.status] += 1

    async def main() -> float:
        await Crawl(frontier, rig.gates, journal, PoolSize(qps), 10, Policies(), on_end=ended).run()
        return now() - 1000

    took = run_virtual(main())
    assert sum(spent for _, spent, _ in journal.reported) == len(rig.api.sent)
    assert sum(has_ended for _, _, has_ended in journal.reported) == ends.total()
    return took, ends


@pytest.mark.parametrize("qps", [0.5, 5, 30])
def test_an_api_that_is_down_is_asked_sparingly_until_patience_ends(qps: float) -> None:
    """Five sellers who fail, whatever is in flight by then, and sixteen trials in a quarter of an hour."""
    rig = Rig(FakeApi(unavailable), qps=qps)
    took, ends = crawl(rig, 10_000, qps)
    assert isinstance(rig.stop.reason, ApiDownError)
    assert 900 <= took < 905
    assert len(rig.api.sent) <= 5 + qps * rig.api.latency + 16
    assert max(Counter(seller_id for _, seller_id in rig.api.sent).values()) <= HARD_ATTEMPTS
    assert not ends


def test_the_last_trial_is_sent_when_patience_ends() -> None:
    """An API that is back by then is not given up."""
    rig = Rig(FakeApi(lambda at, _seller: None if at >= 1899 else UnavailableError("500")))
    assert run(rig, 20) == [None] * 20
    assert 1900 <= min(rig.api.answered) <= 1902


def test_nothing_but_one_trial_at_a_time_is_sent_while_the_api_is_down() -> None:
    rig = Rig(FakeApi(unavailable, latency=2.0), patience=60)

    async def main() -> None:
        tasks = rig.start(30)
        while not rig.breaker.is_open:
            await asyncio.sleep(0.01)
        opened = now()
        await outcomes(tasks)
        trials = [at for at, _ in rig.api.sent if at > opened]
        assert len(trials) >= 5
        assert all(later - earlier > 2.0 for earlier, later in pairwise(trials))

    run_virtual(main())
    rig.check()


@pytest.mark.parametrize("qps", [5, 20])
@pytest.mark.parametrize("back", [30, 400])
def test_a_recovery_resumes_at_once(qps: float, back: float) -> None:
    rig = Rig(FakeApi(lambda at, _seller: None if at >= 1000 + back else UnavailableError("500")), qps=qps)
    _, ends = crawl(rig, 200, qps)
    assert ends == {SellerStatus.COMPLETE: 200}
    first = min(rig.api.answered)
    assert sum(first < at < first + 2.5 for at, _ in rig.api.sent) >= 2 * qps


def test_an_answer_between_keeps_the_breaker_closed() -> None:
    """A 400 is an answer too."""
    refused = 0

    def every_fourth_refused(_at: float, _seller: str) -> Outcome:
        nonlocal refused
        refused += 1
        return UnavailableError("500") if refused % 4 else RefusedError("400")

    rig = Rig(FakeApi(every_fourth_refused, latency=0.01), patience=0)
    ended = run(rig, 40)
    assert rig.stop.reason is None
    assert any(isinstance(end, RefusedError) for end in ended)


def test_who_is_deferred_gets_the_credit_back_and_loses_no_attempt() -> None:
    rig = Rig(FakeApi(lambda at, _seller: UnavailableError("500") if at < 1020 else None), qps=2)
    assert run(rig, 25) == [None] * 25
    assert sum(request.failures for request in rig.requests) == rig.gates.counts.by_status["500"]


# --- stopping


def slow_ledger() -> FakeLedger:
    return FakeLedger(delay=100.0)


@pytest.mark.parametrize(
    ("outcome", "qps", "ledger"),
    [
        pytest.param(unavailable, 20, FakeLedger(), id="back-off and breaker"),
        pytest.param(lambda *_where: ThrottledError("429", 60.0), 20, FakeLedger(), id="Retry-After"),
        pytest.param(fine, 0.1, FakeLedger(), id="pace"),
        pytest.param(fine, 20, slow_ledger(), id="credits"),
    ],
)
@pytest.mark.parametrize("sellers", [2, 20])
def test_a_stop_ends_every_wait_at_once(
    outcome: Callable[[float, str], Outcome], qps: float, ledger: FakeLedger, sellers: int
) -> None:
    rig = Rig(FakeApi(outcome, latency=0.1), qps=qps, ledger=ledger)

    async def main() -> float:
        tasks = rig.start(sellers)
        await asyncio.sleep(5)
        assert not all(task.done() for task in tasks)
        rig.stop.set(InterruptedRunError(15))
        await outcomes(tasks)
        return now()

    assert run_virtual(main()) == 1005.0
    rig.check()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), at=st.floats(0, 60), qps=st.sampled_from([0.5, 5.0, 100.0]))
def test_after_a_stop_nothing_is_sent_and_what_is_in_flight_ends(seed: int, at: float, qps: float) -> None:
    rig = Rig(FakeApi(by_chance(seed), 0.3, 0.02, [True] * 5), qps=qps, patience=20, seed=seed)

    async def main() -> None:
        tasks = rig.start(12)
        await asyncio.sleep(at)
        rig.stop.set(InterruptedRunError(15))
        stopped = now()
        await outcomes(tasks)
        assert now() <= stopped + 0.33
        assert all(sent <= stopped for sent, _ in rig.api.sent)

    run_virtual(main())
    rig.check()
