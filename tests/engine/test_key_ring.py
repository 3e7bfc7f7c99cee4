"""Several keys under way: the ceiling of each and of all, their credits, and the fate of a refused one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from takers import Takers, assert_ceiling
from virtual_time import run_virtual

from crawler.engine.gates import DeferredError, Gates
from crawler.engine.key_credits import KeyCredits
from crawler.engine.key_lane import KeyLane
from crawler.engine.key_ring import KeyRing
from crawler.engine.stop import Stop
from crawler.models.errors import (
    BudgetSpentError,
    CrawlerError,
    InterruptedRunError,
    KeyRefusedError,
    KeySpentError,
    OutputError,
    QuotaUsedUpError,
    ThrottledError,
    UnavailableError,
)
from crawler.models.keys import KeySettings
from crawler.models.page import Page
from crawler.models.seller import PageRequest, SellerProgress
from crawler.ports import Departure
from crawler.rules.budget import lease_size
from crawler.rules.outage import Breaker
from crawler.rules.recovery import RetryRule
from crawler.rules.sizing import PoolSize

CAP = 60.0


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class FakeLedger:
    """What the disk says of each key, under budgets of the date and of keys."""

    budget: int = 10**9
    of_key: dict[str, int] = field(default_factory=dict)
    delay: float = 0.003
    reserved: Counter[str] = field(default_factory=Counter)
    fault: Exception | None = None

    async def reserve_for(self, key: KeySettings, in_use: int) -> int:
        await asyncio.sleep(self.delay)
        if self.fault is not None:
            raise self.fault
        left = self.budget - self.reserved.total()
        if left == 0:
            raise BudgetSpentError("the date's")
        left = min(left, self.of_key.get(key.name, 10**9) - self.reserved[key.name])
        if left == 0:
            raise KeySpentError(f"{key.name} has spent what it may")
        size = lease_size(key.qps, in_use, left)
        self.reserved[key.name] += size
        return size

    async def give_back(self, key: KeySettings, spent: int) -> None:
        await asyncio.sleep(self.delay)
        self.reserved[key.name] = spent


class Ring:
    """A ring of keys a, b, c … of these rates, and what was reported of it."""

    def __init__(self, rates: Iterable[float], qps: float, ledger: FakeLedger | None = None) -> None:
        self.stop = Stop()
        self.ledger = ledger or FakeLedger()
        self.keys = [KeySettings(name="abcdefgh"[n], qps=rate) for n, rate in enumerate(rates)]
        self.qps = qps
        self.reported: list[tuple[str, str, list[str]]] = []
        lanes = [KeyLane(key, CAP) for key in self.keys]
        self.credits = KeyCredits(lanes, self.ledger, self.stop, self._report)
        self.pace = KeyRing(qps, CAP, self.stop, self.credits)
        self.lanes = lanes

    def _report(self, lane: KeyLane, left: Sequence[KeyLane]) -> None:
        self.reported.append((lane.limits.name, str(lane.why), [other.limits.name for other in left]))


@dataclass
class Load(Takers):
    """Takers who want every place; `used` holds each place with its key."""

    ring: Ring
    rng: Random = field(default_factory=lambda: Random(1))
    jitter: float = 0.0
    latency: float = 0.1
    forfeits: float = 0.0
    stalls: float = 0.0
    storms: list[tuple[int, float, float, float | None]] = field(default_factory=list)
    used: list[tuple[float, int]] = field(default_factory=list)

    async def run(self, takers: int, seconds: float) -> list[tuple[float, int]]:
        await self.take_all(takers, seconds)
        return self.used

    async def take(self) -> None:
        pace = self.ring.pace
        await self.ring.credits.take()
        await pace.approach()
        try:
            await asyncio.sleep(self.rng.uniform(0, self.jitter))
            place = await pace.place()
            while self.rng.random() < self.forfeits:
                pace.forfeit()
                place = await pace.place()
            key = pace.key
            self.used.append((place, key))
        finally:
            pace.arrived()
        await asyncio.sleep(self.latency)
        self._answer(place, key)

    def _answer(self, sent_at: float, key: int) -> None:
        pace, label = self.ring.pace, "200"
        if any(k == key and begin <= sent_at < end for k, begin, end, _ in self.storms):
            pace.throttled(sent_at, self.storms[0][3], key)
            label = "429"
        else:
            pace.answered(sent_at, key)
        self.ring.credits.spend(key, label)


def assert_ceilings(ring: Ring, used: list[tuple[float, int]]) -> None:
    """Of each key, and of all."""
    assert_ceiling([place for place, _ in used], ring.qps)
    for number, key in enumerate(ring.keys):
        assert_ceiling([place for place, used_key in used if used_key == number], key.qps)


RATES = st.lists(st.sampled_from([0.3, 1.0, 1.5, 2.0, 7.0, 20.0, 100.0]), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(
    rates=RATES,
    qps=st.sampled_from([0.5, 1.0, 3.0, 10.0, 90.0, 10_000.0]),
    seed=st.integers(0, 2**32),
    jitter=st.sampled_from([0.0, 0.01, 0.4]),
    latency=st.sampled_from([0.0, 0.05, 1.5]),
    forfeits=st.sampled_from([0.0, 0.05, 0.6]),
    stalls=st.sampled_from([0.0, 0.2, 2.0]),
    storm=st.none() | st.tuples(st.integers(0, 3), st.floats(1000, 1010), st.sampled_from([None, 0.1, 5.0])),
)
def test_no_key_and_not_all_keys_together_have_more_places_than_their_ceilings(
    rates: list[float],
    qps: float,
    seed: int,
    jitter: float,
    latency: float,
    forfeits: float,
    stalls: float,
    storm: tuple[int, float, float | None] | None,
) -> None:
    ring = Ring(rates, qps)
    storms = [] if storm is None else [(storm[0] % len(rates), storm[1], storm[1] + 2, storm[2])]
    load = Load(ring, Random(seed), jitter, latency, forfeits, stalls, storms)
    used = run_virtual(load.run(30, 20))
    assert used
    assert_ceilings(ring, used)
    taken = Counter(ring.keys[key].name for _, key in used)
    assert all(ring.ledger.reserved[name] >= count for name, count in taken.items())
    assert taken == Counter({name: count for name, count in ring.credits.charged.items() if count})


@pytest.mark.parametrize(
    ("rates", "qps"),
    [
        ([100, 100], 10_000),
        ([100, 100], 200),
        ([100, 100], 150),
        ([5, 5], 7),
        ([200, 20], 150),
        ([1, 2, 3], 4),
        ([1, 1, 1], 10),
        ([5] * 5, 25),
        ([1000, 500, 500], 10_000),
        ([300], 10_000),
        ([0.5, 0.5], 10_000),
    ],
)
def test_a_full_load_uses_the_rate_of_all_keys_or_the_ceiling_over_them(
    rates: list[float], qps: float
) -> None:
    ring = Ring(rates, qps)
    rate = min(sum(rates), qps)
    seconds = max(5.0, 300 / rate)
    used = run_virtual(Load(ring, latency=1.4).run(PoolSize(rate).target, 4 + seconds))
    assert_ceilings(ring, used)
    # Each key is tried by one request first.
    assert sum(place > 1004 for place, _ in used) >= 0.97 * rate * seconds - 1


def test_a_throttled_key_slows_down_alone() -> None:
    ring = Ring([50, 50], 1000)
    load = Load(ring, storms=[(0, 1010.0, 1010.3, 5.0)])
    used = run_virtual(load.run(PoolSize(100).target, 20))
    assert_ceilings(ring, used)
    between = [(place, key) for place, key in used if 1010.7 < place < 1015]
    assert {key for _, key in between} == {1}
    assert len(between) >= 0.95 * 50 * 4.3
    assert sum(key == 0 for place, key in used if place > 1016) > 50


def test_until_it_was_answered_a_key_has_one_request_on_its_way() -> None:
    """A key that was refused in the run before costs one request to try again."""
    load = Load(Ring([100, 100], 1000), latency=2.0)
    used = run_virtual(load.run(40, 5))
    assert Counter(key for place, key in used if place < 1002) == {0: 1, 1: 1}
    assert sum(place > 1002 for place, _ in used) > 40


def test_the_places_are_spread_over_keys_and_time() -> None:
    load = Load(Ring([40, 40, 20], 1000))
    used = [entry for entry in run_virtual(load.run(PoolSize(100).target, 10)) if entry[0] > 1003]
    per_key = Counter(key for _, key in used)
    assert per_key[0] == pytest.approx(per_key[1], abs=4) == pytest.approx(2 * per_key[2], abs=8)
    assert max(sum(begin <= p < begin + 0.1 for p, _ in used) for begin, _ in used) <= 14


# --- through the gates


@dataclass
class KeyedApi:
    """Answers by the key's number and how many requests it had; `sent` holds time and key of each."""

    outcome: Callable[[int, int], Exception | None] = lambda _key, _number: None
    latency: float = 0.2
    sent: list[tuple[float, int]] = field(default_factory=list)

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        while not await departure.leave(lambda: True):
            pass
        self.sent.append((now(), departure.key))
        number = self.by_key()[departure.key]
        await asyncio.sleep(self.latency)
        error = self.outcome(departure.key, number)
        if error is None:
            departure.label = "200"
            return Page(seller_id, page_num, b"", 0, 0, 0, "")
        departure.label = "429" if isinstance(error, ThrottledError) else "401"
        raise error

    def by_key(self) -> Counter[int]:
        return Counter(key for _, key in self.sent)


REFUSED, USED_UP = KeyRefusedError("401"), QuotaUsedUpError("402")


@dataclass
class Crawled:
    """How each of some sellers ended: a page, or what ended the run."""

    ring: Ring
    api: KeyedApi
    requests: list[PageRequest]
    gates: Gates
    ended: list[BaseException | None]

    @property
    def reason(self) -> CrawlerError | None:
        return self.ring.stop.reason


def crawl(ring: Ring, api: KeyedApi, sellers: int, *, patience: float = 900.0) -> Crawled:
    gates = Gates(
        api, ring.credits, ring.pace, Breaker(patience), RetryRule(), ring.stop, patience, Random(0)
    )
    requests = [PageRequest(SellerProgress(f"s{n}"), 1) for n in range(sellers)]

    async def fetch(request: PageRequest) -> None:
        while True:
            with suppress(DeferredError, ThrottledError, UnavailableError):
                await gates.ask(request)
                return
            await asyncio.sleep(0.01)

    async def one(request: PageRequest) -> None:
        try:
            await fetch(request)
        except CrawlerError as reason:
            ring.stop.set(reason)
            raise

    async def main() -> list[BaseException | None]:
        ended = await asyncio.gather(*map(one, requests), return_exceptions=True)
        await ring.credits.settle()
        return ended

    crawled = Crawled(ring, api, requests, gates, run_virtual(main()))
    sent = api.by_key()
    assert gates.counts.sent == len(api.sent) == sum(gates.counts.by_status.values())
    assert list(ring.credits.charged.values()) == [sent[n] for n in range(len(ring.keys))]
    assert [lane.sent.total() for lane in ring.lanes] == [sent[n] for n in range(len(ring.keys))]
    assert all(lane.in_flight == 0 for lane in ring.lanes)
    assert all(ring.ledger.reserved[key.name] >= sent[n] for n, key in enumerate(ring.keys))
    assert ring.pace._coming == 0
    assert_ceilings(ring, api.sent)
    return crawled


def refused_from(key: int, number: int, error: Exception = REFUSED) -> Callable[[int, int], Exception | None]:
    return lambda used, count: error if used == key and count >= number else None


@pytest.mark.parametrize("error", [REFUSED, USED_UP])
def test_the_others_go_on_for_a_key_that_is_refused_or_used_up(error: Exception) -> None:
    """It is reported once, though more requests were on their way with it; and no seller is at fault."""
    ring, api = Ring([20, 20], 100), KeyedApi(refused_from(0, 11, error))
    crawled = crawl(ring, api, 120)
    assert crawled.ended == [None] * 120
    assert crawled.reason is None
    why = "refused" if error is REFUSED else "used_up"
    assert ring.reported == [("a", why, ["b"])]
    assert 11 < api.by_key()[0] <= 11 + 20 * 0.2 + 2, "what was in flight, and no more"
    assert all(request.failures == 0 for request in crawled.requests)
    again = sum(request.sent - 1 for request in crawled.requests)
    assert again == api.by_key()[0] - 10 == crawled.gates.counts.retried


def test_a_key_that_is_refused_at_once_costs_one_request() -> None:
    ring, api = Ring([50, 50], 100), KeyedApi(refused_from(0, 1))
    assert crawl(ring, api, 60).ended == [None] * 60
    assert api.by_key() == {0: 1, 1: 60}


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ([REFUSED, REFUSED], KeyRefusedError),
        ([USED_UP, USED_UP], QuotaUsedUpError),
        ([REFUSED, USED_UP], QuotaUsedUpError),
        ([REFUSED], KeyRefusedError),
    ],
)
def test_where_no_key_is_left_the_run_ends_by_what_all_share(
    errors: list[Exception], kind: type[CrawlerError]
) -> None:
    """Mixed, they count as used up, whichever comes last."""
    for order in (errors, errors[::-1]):
        ring = Ring([20] * len(order), 100)
        api = KeyedApi(lambda key, number, order=order: order[key] if number > 3 else None)  # type: ignore[misc]
        crawled = crawl(ring, api, 60)
        assert type(crawled.reason) is kind
        assert {name for name, _, _ in ring.reported} == {key.name for key in ring.keys}
        assert len(ring.reported) == len(order)
        assert ring.reported[-1][2] == []


def test_a_key_s_own_budget_retires_it_and_all_of_them_end_the_run_as_a_budget() -> None:
    ring = Ring([50, 50], 100, FakeLedger(of_key={"a": 20, "b": 33}))
    crawled = crawl(ring, KeyedApi(), 100)
    assert type(crawled.reason) is BudgetSpentError
    assert crawled.api.by_key() == {0: 20, 1: 33}
    assert [(name, why) for name, why, _ in ring.reported] == [("a", "budget"), ("b", "budget")]


def test_what_the_provider_says_of_a_key_outweighs_its_own_budget() -> None:
    """It came to a request that was on its way when the key's last credit had gone."""
    ring = Ring([50, 50], 100, FakeLedger(of_key={"a": 20, "b": 20}))
    crawled = crawl(ring, KeyedApi(refused_from(0, 20, USED_UP)), 100)
    assert type(crawled.reason) is QuotaUsedUpError
    assert sorted(name for name, _, _ in ring.reported) == ["a", "b"]


def test_one_key_s_own_budget_leaves_the_others() -> None:
    ring = Ring([50, 50], 100, FakeLedger(of_key={"a": 20}))
    crawled = crawl(ring, KeyedApi(), 100)
    assert crawled.ended == [None] * 100
    assert crawled.api.by_key() == {0: 20, 1: 80}
    assert ring.reported == [("a", "budget", ["b"])]


@pytest.mark.parametrize("error", [REFUSED, USED_UP])
def test_spent_and_refused_keys_together_count_as_used_up(error: Exception) -> None:
    ring = Ring([50, 50], 100, FakeLedger(of_key={"a": 20}))
    crawled = crawl(ring, KeyedApi(refused_from(1, 40, error)), 100)
    assert type(crawled.reason) is QuotaUsedUpError
    assert "a has spent its own budget" in str(crawled.reason)


def test_the_date_s_budget_is_spent_to_its_last_credit_whatever_key_was_refused_with_some_in_hand() -> None:
    ring = Ring([50, 50], 100, FakeLedger(budget=60))
    crawled = crawl(ring, KeyedApi(refused_from(0, 5)), 100)
    assert type(crawled.reason) is BudgetSpentError
    assert len(crawled.api.sent) == ring.ledger.reserved.total() == 60


def test_a_key_without_a_credit_does_not_hold_up_one_with_some() -> None:
    """The ledger has given its last credit to one key: that one is waited for, as long as it takes."""
    ring = Ring([1, 50], 100, FakeLedger(budget=9))
    crawled = crawl(ring, KeyedApi(), 30)
    assert len(crawled.api.sent) == 9


def test_only_throttled_keys_end_the_run_and_one_that_is_answered_does_not() -> None:
    def all_throttled(_key: int, _number: int) -> Exception:
        return ThrottledError("429")

    def first_throttled(key: int, _number: int) -> Exception | None:
        return ThrottledError("429") if key == 0 else None

    down = crawl(Ring([5, 5], 100), KeyedApi(all_throttled), 5, patience=20)
    assert down.reason is not None
    assert down.reason.exit_code == 9
    assert crawl(Ring([5, 5], 100), KeyedApi(first_throttled), 300, patience=20).reason is None


@pytest.mark.parametrize("delay", [0.0, 5.0])
def test_a_ledger_that_fails_stops_the_run(delay: float) -> None:
    ledger = FakeLedger(fault=OutputError("full"), delay=delay)
    assert type(crawl(Ring([5, 5], 100, ledger), KeyedApi(), 5).reason) is OutputError


def test_a_stop_ends_every_wait() -> None:
    async def main(ring: Ring, load: Load) -> list[BaseException | None]:
        waiting = [asyncio.create_task(load.take()) for _ in range(30)]
        await asyncio.sleep(1.0)
        ring.stop.set(InterruptedRunError(2))
        return await asyncio.gather(*waiting, return_exceptions=True)

    for ledger in (FakeLedger(), FakeLedger(delay=1000.0)):
        ring = Ring([1, 2], 100, ledger)
        ended = run_virtual(main(ring, Load(ring)))
        assert sum(isinstance(end, asyncio.CancelledError) for end in ended) >= 20


def test_slow_disks_cost_no_more_than_with_one_key() -> None:
    """Leases are asked for before the last credit has gone."""
    ring = Ring([100, 100], 1000, FakeLedger(delay=0.03))
    used = run_virtual(Load(ring).run(PoolSize(200).target, 10))
    assert len(used) >= 0.93 * 200 * 10
