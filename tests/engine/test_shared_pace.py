"""One ceiling over many processes: each has a pace with a share that renewals bring, over a bad network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from takers import Takers, assert_ceiling
from test_key_ring import Ring
from virtual_time import run_virtual

from crawler.engine.pace import Pace, Slowdown
from crawler.engine.stop import Stop
from crawler.rules.shares import Share, Shares

RENEWAL_S = 0.5
LEASE_S = 10.0
TAKERS = 12


def now() -> float:
    return asyncio.get_running_loop().time()


class Worker(Takers):
    """A process: its pace, and takers who want every place of it while it is busy."""

    jitter, stalls = 0.0, 0.0

    def __init__(self, driver: Driver, qps: float, keys: Sequence[float]) -> None:
        self.rng = driver.rng
        self.ring = Ring(keys, qps) if keys else None
        self.pace = Pace(qps, 60.0, Stop()) if self.ring is None else self.ring.pace
        self.none = (0,) * max(1, len(keys))
        self.pace.set_slots(self.none)
        self.driver, self.fence, self.version = driver, 0, 0
        self.lease_end, self.lease = 0.0, asyncio.timeout(None)
        self.think_s = 0.0
        self.process: asyncio.Task[None] | None = None
        self.is_busy = asyncio.Event()
        self.is_busy.set()
        self.used: list[tuple[float, int]] = []
        self.asked: set[asyncio.Task[None]] = set()
        self.renewed, self.hurry = asyncio.Event(), asyncio.Event()

    async def take(self) -> None:
        await self.is_busy.wait()
        if self.ring is not None:
            await self.ring.credits.take()
        await self.pace.approach()
        try:
            place = await self.pace.place()
        finally:
            self.pace.arrived()
        key = self.pace.key
        self.used.append((place, key))
        asyncio.get_running_loop().call_later(0.05, self._answer, place, key)
        await asyncio.sleep(self.rng.uniform(0, 2 * self.think_s))

    def _answer(self, place: float, key: int) -> None:
        is_throttled = self.driver.throttles(place, key, self.fence)
        if is_throttled:
            if self.pace.throttled(place, None, key):
                self.hurry.set()
        else:
            self.pace.answered(place, key)
        if self.ring is not None:
            self.ring.credits.spend(key, "429" if is_throttled else "200")

    async def attempt(self) -> None:
        """One attempt under a lease, until that ends, or this is cancelled as if the process were killed."""
        self.fence, self.version = self.driver.join(), 0
        self.lease_end = now() + LEASE_S
        taking = asyncio.create_task(self.take_all(TAKERS, 1e6))
        try:
            async with asyncio.timeout_at(self.lease_end) as self.lease:
                while True:
                    await self._renew()
        except TimeoutError:
            pass
        finally:
            for task in [taking, *self.asked]:
                task.cancel()
            self.pace.set_slots(self.none)

    def toggle(self) -> None:
        """Have nothing to do, or something again."""
        if self.is_busy.is_set():
            self.is_busy.clear()
        else:
            self.is_busy.set()

    def kill(self) -> None:
        """End the process without a word."""
        if self.process is not None:
            self.process.cancel()

    def cut_off(self) -> None:
        """Let no message of this attempt pass any more."""
        self.driver.cut_off.add(self.fence)

    def come_back(self) -> None:
        """Begin another attempt, if none is under way."""
        if self.process is None or self.process.done():
            self.process = asyncio.create_task(self.attempt())

    async def _renew(self) -> None:
        """Ask, and wait until it is time to ask again, or to confirm fewer slots or report a 429."""
        sent_at, slots = now(), self.pace.slots
        self.renewed.clear()
        asked = asyncio.create_task(self._ask(sent_at, self.fence))
        self.asked.add(asked)
        asked.add_done_callback(self.asked.discard)
        with suppress(TimeoutError):
            async with asyncio.timeout(RENEWAL_S):
                await self.renewed.wait()
        if self.pace.slots >= slots:
            self.hurry.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(sent_at + RENEWAL_S):
                    await self.hurry.wait()

    async def _ask(self, sent_at: float, fence: int) -> None:
        answer = await self.driver.renew(self, self.pace.take_slowdowns())
        if answer is None or fence != self.fence or now() >= self.lease_end:
            return
        share, echoes = answer
        self.lease_end = max(self.lease_end, sent_at + LEASE_S)
        self.lease.reschedule(self.lease_end)
        if share.version > self.version:
            self.version = share.version
            self.pace.set_slots(share.slots)
        for slowdown in echoes:
            self.pace.echo_slowdown(slowdown)
        self.renewed.set()


Happening = tuple[float, int, Callable[[Worker], None]]
HAPPENINGS = [Worker.kill, Worker.toggle, Worker.cut_off, Worker.come_back, Worker.come_back]


class Driver:
    """`Shares` behind a network that is slow and loses messages; it ends the leases that are not renewed."""

    def __init__(
        self,
        qps: float,
        keys: Sequence[float] = (),
        seed: int = 1,
        loss: float = 0.02,
        think_s: Sequence[float] = (),
    ) -> None:
        self.qps, self.keys = qps, keys
        self.shares, self.rng, self.loss = Shares(qps, keys), Random(seed), loss
        self.lease_ends: dict[int, float] = {}
        self.echoes: dict[int, list[Slowdown]] = {}
        self.fence = 0
        self.throttles: Callable[[float, int, int], bool] = lambda _at, _key, _fence: False
        self.cut_off: set[int] = set()
        self.workers: list[Worker] = []
        self.think_s = think_s

    async def run(self, count: int, seconds: float, *happenings: Happening) -> None:
        """Have so many workers at work for so long; what happens to one comes at its second."""
        ending = asyncio.create_task(self._end_leases())
        self.workers = [Worker(self, self.qps, self.keys) for _ in range(count)]
        for worker, think_s in zip(self.workers, self.think_s, strict=False):
            worker.think_s = think_s
        for worker in self.workers:
            worker.come_back()
        for after, number, happening in happenings:
            asyncio.get_running_loop().call_later(after, happening, self.workers[number])
        await asyncio.sleep(seconds)
        ending.cancel()
        for worker in self.workers:
            worker.kill()

    def join(self) -> int:
        self.fence += 1
        self.shares.join(self.fence, now())
        self.lease_ends[self.fence], self.echoes[self.fence] = now() + LEASE_S, []
        return self.fence

    async def renew(self, worker: Worker, said: list[Slowdown]) -> tuple[Share, list[Slowdown]] | None:
        fence, version, wants = worker.fence, worker.version, worker.pace.wants()
        if not await self._passes(fence) or fence not in self.lease_ends:
            return None
        self.lease_ends[fence] = now() + LEASE_S
        for other, echoes in self.echoes.items():
            if other != fence:
                echoes.extend(said)
        share = self.shares.renew(fence, version, wants, now())
        echoes, self.echoes[fence] = self.echoes[fence], []
        return (share, echoes) if await self._passes(fence) else None

    def leave(self, fence: int) -> None:
        del self.lease_ends[fence], self.echoes[fence]
        self.shares.leave(fence, now())

    async def _passes(self, fence: int) -> bool:
        """Take the time of a message; False where it is lost."""
        await asyncio.sleep(self.rng.uniform(0.001, 0.08))
        return fence not in self.cut_off and self.rng.random() >= self.loss

    async def _end_leases(self) -> None:
        while True:
            for fence in [fence for fence, end in self.lease_ends.items() if now() >= end]:
                del self.lease_ends[fence], self.echoes[fence]
                self.shares.lapse(fence, now())
            await asyncio.sleep(0.1)

    def sent(self, *, key: int | None = None, of: Worker | None = None) -> list[float]:
        """The times of all requests, from 0, or of those with a key or of a worker."""
        workers = self.workers if of is None else [of]
        return sorted(at - 1000.0 for w in workers for at, used in w.used if key is None or used == key)

    def assert_ceiling(self) -> None:
        assert_ceiling(self.sent(), self.qps)
        for key, qps in enumerate(self.keys):
            assert_ceiling(self.sent(key=key), qps)


def rate(times: Sequence[float], begin: float, end: float) -> float:
    """Requests a second between two times."""
    return sum(begin <= at < end for at in times) / (end - begin)


@given(
    st.sampled_from([0.3, 2.5, 7.0, 64.0, 200.0]),
    st.sampled_from([[], [], [0.5, 0.5, 90.0], [3.0, 20.0]]),
    st.integers(1, 8),
    st.integers(0, 99),
    st.sampled_from([0.0, 0.3]),
)
def test_the_sum_never_exceeds_the_ceiling(
    qps: float, keys: list[float], count: int, seed: int, loss: float
) -> None:
    """Workers work now and then, are killed, cut off, and come back, and renewals are lost."""
    driver = Driver(qps, keys, seed=seed, loss=loss)
    rng = Random(seed)
    happenings = [(rng.uniform(0, 25), rng.randrange(count), rng.choice(HAPPENINGS)) for _ in range(25)]
    run_virtual(driver.run(count, 25, *happenings))
    driver.assert_ceiling()


def test_eight_workers_use_the_ceiling() -> None:
    driver = Driver(200)
    run_virtual(driver.run(8, 40))
    driver.assert_ceiling()
    assert rate(driver.sent(), 4, 40) >= 0.9 * 200


def test_one_who_could_use_all_gets_what_others_do_not() -> None:
    """Theirs comes now and then, so that they wait for each other's places too."""
    driver = Driver(200, think_s=[0.0, 0.0] + [24.0] * 6)
    run_virtual(driver.run(8, 60))
    driver.assert_ceiling()
    assert rate(driver.sent(), 10, 60) >= 0.85 * 200
    for worker in driver.workers[2:]:
        assert len(driver.sent(of=worker)) >= 0.7 * TAKERS * 60 / 24


@pytest.mark.long
def test_a_hundred_workers_use_the_ceiling() -> None:
    driver = Driver(20_000)
    run_virtual(driver.run(100, 8))
    driver.assert_ceiling()
    assert rate(driver.sent(), 5, 8) >= 0.8 * 20_000


def test_what_an_idle_worker_had_is_used_by_others_within_seconds() -> None:
    driver = Driver(200)
    toggles = [(at, number, Worker.toggle) for at in (10.0, 30.0) for number in range(4)]
    run_virtual(driver.run(8, 45, *toggles))
    driver.assert_ceiling()
    assert rate(driver.sent(), 13.5, 30) >= 0.9 * 200
    for worker in driver.workers:
        assert rate(driver.sent(of=worker), 34, 45) >= 0.9 * 25


def test_what_a_dead_worker_had_is_used_once_its_lease_has_ended() -> None:
    driver = Driver(200)
    run_virtual(driver.run(4, 40, (10.0, 0, Worker.kill), (28.0, 0, Worker.come_back)))
    driver.assert_ceiling()
    assert rate(driver.sent(), 11, 19) <= 150
    assert rate(driver.sent(), 24, 40) >= 0.9 * 200
    assert rate(driver.sent(of=driver.workers[0]), 33, 40) >= 0.9 * 50


def test_a_worker_that_is_cut_off_sends_until_its_lease_ends() -> None:
    driver = Driver(200)
    run_virtual(driver.run(4, 30, (10.0, 0, Worker.cut_off)))
    driver.assert_ceiling()
    last = driver.sent(of=driver.workers[0])[-1]
    assert 18 <= last <= 20


def test_a_burst_of_429s_anywhere_slows_all_within_a_second() -> None:
    driver = Driver(200)
    driver.throttles = lambda at, _key, fence: fence == 1 and 1010 <= at < 1010.1
    run_virtual(driver.run(8, 90))
    driver.assert_ceiling()
    for worker in driver.workers:
        sent = driver.sent(of=worker)
        wait, begin = max((after - at, at) for at, after in pairwise(sent) if 9 < at < 15)
        assert wait >= 0.9
        assert begin <= 11.0
    assert rate(driver.sent(), 10.8, 12.0) < 0.6 * 200
    assert rate(driver.sent(), 20, 90) >= 0.9 * 200


def test_several_keys_are_each_under_their_own_ceiling() -> None:
    driver = Driver(150, [100.0, 50.0, 20.0])
    run_virtual(driver.run(8, 40))
    driver.assert_ceiling()
    assert rate(driver.sent(), 5, 40) >= 0.9 * 150


def test_fewer_slots_than_workers_go_round() -> None:
    driver = Driver(3)
    run_virtual(driver.run(8, 200))
    driver.assert_ceiling()
    assert rate(driver.sent(), 5, 200) >= 0.75 * 3
    for worker in driver.workers:
        assert len(driver.sent(of=worker)) >= 200 * 3 / 8 * 0.5
