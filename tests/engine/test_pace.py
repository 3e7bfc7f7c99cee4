from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from random import Random

import pytest
from aiolimiter import AsyncLimiter
from hypothesis import given, settings
from hypothesis import strategies as st
from takers import Takers, assert_ceiling, stall, window
from virtual_time import VirtualLoop, run_virtual

from crawler.engine.pace import Pace
from crawler.engine.stop import Stop
from crawler.rules.sizing import PoolSize

CAP = 60.0
INTEGRAL = [1, 2, 3, 5, 10, 64, 100, 101, 333, 1000, 2000]
BELOW_ONE = [0.1, 0.15, 0.37, 0.5, 0.99]
FRACTIONAL = [1.01, 1.5, 1.99, 2.5, 3.3, 7.9, 99.5, 1234.5]
RATES = st.one_of(
    st.sampled_from([*BELOW_ONE, *FRACTIONAL]),
    st.integers(1, 12).map(float),
    st.sampled_from([100.0, 200.0, 1000.0]),
    st.floats(0.1, 2000),
)


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Load(Takers):
    """Takers who want every place that they can get; `used` holds those that a request left at."""

    pace: Pace
    rng: Random = field(default_factory=lambda: Random(1))
    jitter: float = 0.0
    latency: float = 0.0
    forfeits: float = 0.0
    stalls: float = 0.0
    storms: list[tuple[float, float, float | None]] = field(default_factory=list)
    used: list[float] = field(default_factory=list)
    bursts: int = 0
    most_coming: int = 0

    async def run(self, takers: int, seconds: float) -> list[float]:
        await self.take_all(takers, seconds)
        return self.used

    async def take(self) -> None:
        await self.pace.approach()
        self.most_coming = max(self.most_coming, self.pace._coming)
        try:
            await asyncio.sleep(self.rng.uniform(0, self.jitter))
            place = await self.pace.place()
            while self.rng.random() < self.forfeits:
                self.pace.forfeit()
                place = await self.pace.place()
            self.used.append(place)
        finally:
            self.pace.arrived()
        await asyncio.sleep(self.latency)
        self._answer(place)

    def _answer(self, sent_at: float) -> None:
        for begin, end, retry_after in self.storms:
            if begin <= sent_at < end:
                self.bursts += self.pace.throttled(sent_at, retry_after)
                return
        self.pace.answered(sent_at)


# --- the virtual loop itself


@pytest.mark.parametrize("start", [0.0, 1 / 3, 86_400.0, 30 * 86_400.0])
def test_virtual_timers_fire_exactly_at_their_time(start: float) -> None:
    async def main() -> None:
        stall(start)
        for delay in (1e-9, 0.1, 1 / 3, 59.999, 100_000.0):
            due = now() + delay
            await asyncio.sleep(delay)
            assert now() == due

    run_virtual(main())


def test_virtual_time_stands_still_while_there_is_work() -> None:
    async def main() -> float:
        asyncio.get_running_loop().call_later(1, lambda: None)
        for _ in range(100):
            await asyncio.sleep(0)
        return now()

    assert run_virtual(main()) == 1000.0


def test_virtual_timers_of_no_length_move_the_clock() -> None:
    """Whoever waits in a loop for a time that rounds to now must get there."""

    async def main() -> None:
        goal = now() + 1e-12
        while now() < goal:
            await asyncio.sleep(1e-15)

    run_virtual(main())


@pytest.mark.parametrize("qps", [0.1, 3, 7.3, 100, 2000])
def test_virtual_time_carries_aiolimiter(qps: float) -> None:
    async def main() -> float:
        limiter = AsyncLimiter(1, 1 / qps)
        await asyncio.gather(*(limiter.acquire() for _ in range(101)))
        return now()

    assert run_virtual(main()) == pytest.approx(1000 + 100 / qps)


def test_virtual_loop_hears_a_wake_up_without_moving_the_clock() -> None:
    async def main() -> float:
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        loop.call_later(5, loop.call_soon_threadsafe, heard.set)
        await heard.wait()
        return now()

    assert run_virtual(main()) == 1005.0


def test_virtual_loop_reads_real_files_before_it_moves_the_clock() -> None:
    async def main() -> float:
        reader, writer = await asyncio.open_connection(sock=near)
        asyncio.get_running_loop().call_later(1, lambda: None)
        far.sendall(b"x")
        assert await reader.read(1) == b"x"
        writer.close()
        return now()

    near, far = socket.socketpair()
    with far:
        assert run_virtual(main()) == 1000.0


def test_virtual_loop_tells_a_deadlock() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="every task waits"):
        run_virtual(main())


def test_virtual_nights_are_equal() -> None:
    async def night() -> list[float]:
        return await Load(Pace(100, CAP, Stop()), Random(7), 0.1, 0.3, 0.1, 0.5).run(60, 3600 / 100)

    assert run_virtual(night()) == run_virtual(night())


# --- the ceiling


def storms(start: float) -> st.SearchStrategy[list[tuple[float, float, float | None]]]:
    storm = st.tuples(
        st.floats(0, 40), st.floats(0.01, 3), st.one_of(st.none(), st.sampled_from([0.1, 1.0, 5.0, 90.0]))
    )
    return st.lists(storm.map(lambda s: (start + s[0], start + s[0] + s[1], s[2])), max_size=3)


@pytest.mark.long
@settings(max_examples=50, deadline=None)
@given(
    qps=RATES,
    seed=st.integers(0, 2**32),
    jitter=st.sampled_from([0.0, 0.01, 0.4]),
    latency=st.sampled_from([0.0, 0.05, 1.5]),
    forfeits=st.sampled_from([0.0, 0.05, 0.7]),
    stalls=st.sampled_from([0.0, 0.2, 2.0]),
    storms=storms(1000.0),
)
def test_never_more_places_than_the_ceiling(
    qps: float,
    seed: int,
    jitter: float,
    latency: float,
    forfeits: float,
    stalls: float,
    storms: list[tuple[float, float, float | None]],
) -> None:
    async def main() -> list[float]:
        load = Load(Pace(qps, CAP, Stop()), Random(seed), jitter, latency, forfeits, stalls, storms)
        return await load.run(min(60, ceil(qps) + 4), min(300.0, max(3.0, 400 / qps)))

    used = run_virtual(main())
    assert_ceiling(used, qps)


# --- the rate


def share_used(load: Load, qps: float, seconds: float) -> float:
    used = run_virtual(load.run(PoolSize(qps).target, seconds))
    count, span = window(qps)
    assert_ceiling(used, qps)
    return len(used) * span / (count * seconds)


@pytest.mark.parametrize("qps", [*BELOW_ONE, *FRACTIONAL, *INTEGRAL])
def test_a_full_load_uses_the_rate(qps: float) -> None:
    """Of a rate such as 2.5 the whole part: three in a second would be more than 2.5."""
    load = Load(Pace(qps, CAP, Stop()), latency=1.4)
    assert share_used(load, qps, max(5.0, 100 / qps)) >= 0.97


@pytest.mark.parametrize("qps", [0.1, 1, 2.5, 5, 100, 1000])
@pytest.mark.parametrize("forfeits", [0.1, 0.7])
def test_forfeited_places_are_used_again(qps: float, forfeits: float) -> None:
    load = Load(Pace(qps, CAP, Stop()), forfeits=forfeits)
    assert share_used(load, qps, max(5.0, 100 / qps)) >= 0.97


@pytest.mark.parametrize(("qps", "slots", "latency"), [(100_000, 1000, 0.1), (20_000, 20_000, 0.02)])
def test_the_largest_ceilings_are_used(qps: float, slots: int, latency: float) -> None:
    """One worker of a hundred, and all that one process is given."""

    async def main() -> tuple[list[float], int]:
        load = Load(Pace(qps, CAP, Stop()), latency=latency)
        load.pace.set_slots([slots])
        return await load.run(PoolSize(slots).target, 1.5), load.pace.wants()

    used, wants = run_virtual(main())
    assert_ceiling(used, slots)
    assert len(used) >= 0.97 * slots * 1.5
    assert wants >= slots


@pytest.mark.parametrize("qps", [5, 100, 1000])
def test_stalls_of_a_millisecond_cost_nothing(qps: float) -> None:
    async def stutter() -> list[float]:
        stutterer = asyncio.create_task(every(0.05, lambda: stall(0.001)))
        try:
            return await Load(Pace(qps, CAP, Stop())).run(PoolSize(qps).target, 10)
        finally:
            stutterer.cancel()

    assert len(run_virtual(stutter())) >= 0.97 * qps * 10


class LateLoop(VirtualLoop):
    """Its timers fire three milliseconds late, as those of a busy machine."""

    lateness = 0.003


@pytest.mark.parametrize("qps", [1, 5, 200])
def test_late_timers_do_not_add_up(qps: int) -> None:
    """Each round of the window follows the one before it as if that had been on time."""
    with asyncio.Runner(loop_factory=LateLoop) as runner:
        used = runner.run(Load(Pace(qps, CAP, Stop())).run(PoolSize(qps).target, 55))
    assert used[50 * qps] - used[0] <= 50 / 0.981
    assert_ceiling(used, qps)


# --- 429s


@pytest.mark.parametrize("qps", [5, 100, 1000])
def test_a_burst_slows_once_however_many_429s_it_has(qps: float) -> None:
    load = Load(Pace(qps, CAP, Stop()), latency=1.0, storms=[(1000.0, 1000.4, None)])
    used = run_virtual(load.run(PoolSize(qps).target, 4))
    assert load.bursts == 1
    assert not [place for place in used if 1001.001 < place < 1002]
    after = [place for place in used if 1002 <= place < 1003]
    assert 0.4 * qps <= len(after) <= 0.7 * qps + 1


def test_429s_of_a_burst_are_distinguished_from_those_of_the_next() -> None:
    async def main() -> list[bool]:
        pace = Pace(100, CAP, Stop())
        first, second = await pace.place(), await pace.place()
        of_first_burst = [pace.throttled(first, None), pace.throttled(second, None)]
        third, fourth = await pace.place(), await pace.place()
        assert third >= second + 1
        return [*of_first_burst, pace.throttled(fourth, None), pace.throttled(third, None)]

    assert run_virtual(main()) == [True, False, True, False]


@pytest.mark.parametrize("qps", [0.5, 1, 5, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.parametrize("bursts", [1, 2, 6])
def test_the_rate_climbs_back_by_itself(qps: float, bursts: int) -> None:
    """From half the rate, or less after bursts in a row, to nearly all of it: within five seconds."""

    async def main() -> list[float]:
        pace = Pace(qps, CAP, Stop())
        busy = asyncio.create_task(Load(pace).run(PoolSize(qps).target, 200))
        await asyncio.sleep(100)
        for _ in range(bursts):
            pace.throttled(now(), 1.0)
            await asyncio.sleep(0.001)
        over = now() + 1
        return [place - over for place in await busy]

    places = run_virtual(main())
    at_first = sum(0 <= place < 1 for place in places)
    assert at_first <= (0.5 if bursts == 1 else 0.3) * qps + 0.25 * qps + 1
    for seconds in (20, 40, 90):
        given = sum(0 <= place < seconds for place in places)
        assert given >= 0.94 * qps * (seconds - 5) - 2
    assert_ceiling(places, qps)


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (0.2, 0.2), (3600.0, CAP)])
def test_a_retry_after_stops_everyone(asked: float, waited: float) -> None:
    load = Load(Pace(50, CAP, Stop()), latency=0.3, storms=[(1000.0, 1000.1, asked)])
    used = run_virtual(load.run(200, 70))
    last = max(place for place in used if place < 1000.4) + 0.3
    assert not [place for place in used if 1000.301 < place < 1000.3 + waited]
    assert any(place < last + waited + 0.5 for place in used if place > 1000.31)


def test_the_longest_retry_after_of_a_burst_holds() -> None:
    async def main() -> float:
        pace = Pace(50, CAP, Stop())
        places = [await pace.place() for _ in range(4)]
        for place, retry_after in zip(places, [2.0, 9.0, 3.0, None], strict=True):
            pace.throttled(place, retry_after)
        asked = now()
        return await pace.place() - asked

    assert run_virtual(main()) == pytest.approx(9.0)


def test_bursts_in_a_row_wait_twice_as_long_each_time_up_to_a_minute() -> None:
    async def main() -> list[float]:
        pace, waits = Pace(5, CAP, Stop()), []
        for _ in range(8):
            place = await pace.place()
            pace.throttled(place, None)
            asked = now()
            waits.append(await pace.place() - asked)
        return waits

    assert run_virtual(main()) == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60], abs=0.01)


def test_an_answer_ends_the_row_of_bursts() -> None:
    async def main() -> None:
        pace = Pace(5, CAP, Stop())
        before = await pace.place()
        pace.throttled(await pace.place(), None)
        pace.answered(before)
        assert pace.bursts_in_a_row == 1
        pace.answered(await pace.place())
        assert pace.bursts_in_a_row == 0

    run_virtual(main())


def test_nothing_leaves_while_an_earlier_process_may_have_sent() -> None:
    async def main() -> float:
        pace = Pace(5, CAP, Stop())
        pace.pause(1.1)
        return await pace.place()

    assert run_virtual(main()) == pytest.approx(1001.1)


# --- the approach


@pytest.mark.parametrize("qps", [0.1, 1, 2.5, 5, 100, 1000])
@pytest.mark.parametrize("idle", [0.0, 500.0])
def test_few_attempts_hold_connections_while_they_wait(qps: float, idle: float) -> None:
    async def main() -> Load:
        pace = Pace(qps, CAP, Stop())
        await pace.place()
        await asyncio.sleep(idle)
        load = Load(pace)
        await load.run(PoolSize(qps).target, max(3.0, 30 / qps))
        return load

    load = run_virtual(main())
    assert load.pace._coming == 0
    assert load.most_coming <= 0.5 * qps + 1


def test_nobody_holds_a_connection_longer_than_the_lead() -> None:
    async def main() -> float:
        pace = Pace(5, CAP, Stop())
        waits: list[float] = []

        async def one() -> None:
            await pace.approach()
            near = now()
            waits.append(await pace.place() - near)
            pace.arrived()

        await asyncio.gather(*(one() for _ in range(50)))
        return max(waits)

    assert run_virtual(main()) <= 0.75


def test_an_attempt_that_goes_makes_room_for_the_next() -> None:
    async def main() -> float:
        pace = Pace(0.1, CAP, Stop())
        await pace.approach()
        asyncio.get_running_loop().call_later(2, pace.arrived)
        await pace.approach()
        return now()

    assert run_virtual(main()) <= 1002.5


@settings(max_examples=60, deadline=None)
@given(
    qps=st.sampled_from([0.1, 1.0, 2.5, 5.0, 150.0]),
    cancels=st.lists(st.tuples(st.floats(0, 12), st.integers(0, 6)), min_size=1, max_size=8),
)
def test_cancelled_takers_leave_nothing_behind(qps: float, cancels: list[tuple[float, int]]) -> None:
    async def main() -> None:
        pace = Pace(qps, CAP, Stop())
        load = Load(pace, jitter=0.01, latency=1e6)
        takers = [asyncio.create_task(load.take()) for _ in cancels]
        await asyncio.gather(*map(cancel, takers, cancels))
        await asyncio.gather(*takers, return_exceptions=True)
        assert pace._coming == 0
        assert not pace._line.locked()
        assert not pace._turn.locked()
        assert list(pace.places) == load.used[-pace._count :]
        async with asyncio.timeout(2.1 * window(qps)[1]):
            await Load(pace).take()

    run_virtual(main())


async def cancel(task: asyncio.Task[None], when: tuple[float, int]) -> None:
    seconds, passes = when
    await asyncio.sleep(seconds)
    for _ in range(passes):
        await asyncio.sleep(0)
    task.cancel()


async def every(seconds: float, act: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(seconds)
        act()
