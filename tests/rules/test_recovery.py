from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import floor
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run_virtual

from crawler.engine.pace import Pace
from crawler.engine.stop import Stop
from crawler.rules.recovery import Recovery
from crawler.rules.windows import MARGIN

Admits = Callable[[float], bool]
QUICK, SLOW = (0.02, 0.03), (1.0, 1.5)


def sliding(qps: float) -> Admits:
    """A server that takes `qps` in any second, and does not count what it refuses."""
    taken: deque[float] = deque()

    def admits(now: float) -> bool:
        while taken and taken[0] <= now - 1.0:
            taken.popleft()
        free = len(taken) < qps
        if free:
            taken.append(now)
        return free

    return admits


def fixed(qps: float) -> Admits:
    """A server that takes `qps` in each second of its clock."""
    taken: dict[int, int] = {}

    def admits(now: float) -> bool:
        second = floor(now - 0.37)
        taken[second] = taken.get(second, 0) + 1
        return taken[second] <= qps

    return admits


@dataclass
class Night:
    """A full load on a server; `refused` holds the times of its 429s, from 0."""

    qps: float
    admits: Admits
    answers: tuple[float, float] = QUICK
    refusals: tuple[float, float] = QUICK
    answered: int = 0
    refused: list[float] = field(default_factory=list)
    rng: Random = field(default_factory=lambda: Random(1))

    def run(self, seconds: float) -> None:
        run_virtual(self._load(seconds))

    async def _load(self, seconds: float) -> None:
        loop, pace = asyncio.get_running_loop(), Pace(self.qps, 60.0, Stop())
        end, flying = loop.time() + seconds, set[asyncio.Task[None]]()
        while (place := await pace.place()) < end:
            flying.add(task := asyncio.create_task(self._send(pace, place)))
            task.add_done_callback(flying.discard)
        for task in flying:
            task.cancel()

    async def _send(self, pace: Pace, place: float) -> None:
        await asyncio.sleep(self.rng.uniform(0.010, 0.012))
        if self.admits(asyncio.get_running_loop().time()):
            self.answered += 1
            await asyncio.sleep(self.rng.uniform(*self.answers))
            pace.answered(place)
        else:
            self.refused.append(place - 1000.0)
            await asyncio.sleep(self.rng.uniform(*self.refusals))
            pace.throttled(place, None)


@pytest.mark.parametrize("qps", [5, 50])
@pytest.mark.parametrize("latency", [QUICK, SLOW])
def test_a_lone_429_costs_two_seconds_of_the_night(qps: float, latency: tuple[float, float]) -> None:
    """The wait of a second is in them."""
    to_refuse = [1050.0]
    night = Night(
        qps, lambda now: not (to_refuse and now > to_refuse[0] and to_refuse.pop()), latency, latency
    )
    night.run(120)
    assert len(night.refused) == 1
    assert night.answered >= (120 / MARGIN - 2.0) * qps - 1


@pytest.mark.parametrize(
    ("qps", "api_limit"),
    [(5, 2), (5, 4), (50, 15), *(pytest.param(50, limit, marks=pytest.mark.long) for limit in (40, 48))],
)
@pytest.mark.parametrize("server", [sliding, fixed])
def test_a_lower_ceiling_of_the_server_is_found_and_kept(
    server: Callable[[float], Admits], qps: float, api_limit: int
) -> None:
    """Few 429s after the first minutes, and most of what the server allows."""
    night = Night(qps, server(api_limit), SLOW, QUICK)
    night.run(400)
    assert sum(at > 100 for at in night.refused) <= 8
    assert len(night.refused) <= 40
    assert night.answered >= 0.85 * 400 * api_limit / MARGIN


@pytest.mark.parametrize("api_limit", [25, pytest.param(48, marks=pytest.mark.long)])
def test_a_lower_ceiling_is_kept_though_refusals_come_late(api_limit: int) -> None:
    """What is under way when a refusal comes is refused as well."""
    night = Night(50, sliding(api_limit), SLOW, SLOW)
    night.run(400)
    assert sum(at > 100 for at in night.refused) <= 30
    assert night.answered >= 0.85 * 400 * api_limit / MARGIN


def test_a_server_that_refuses_all_for_a_while_teaches_no_rate() -> None:
    """Once it answers again the full rate is back within seconds of the wait."""
    night = Night(50, lambda now: not 1050 <= now < 1180)
    night.run(400)
    assert night.answered >= (400 - 130 - 64 - 8) * 50 / MARGIN


def test_after_a_rest_the_rate_grows_to_the_ceiling() -> None:
    recovery = Recovery(1000)
    recovery.slow(0.0, 0.0, 500, answered=True)
    assert [recovery.rate(at) for at in (0.0, 0.5, 1.0, 10.0)] == [245.0, 370.0, 490.0, 490.0]
    assert 490 < recovery.rate(12) < 520
    assert recovery.rate(60) == 1000
    assert not recovery.slowed


def test_the_climb_begins_when_the_quiet_ends() -> None:
    recovery = Recovery(1000)
    recovery.slow(0.0, 0.0, 500, answered=True)
    recovery.pause(30.0)
    assert recovery.rate(30.0) == 245.0
    assert recovery.rate(31.0) == 490.0


def test_rests_grow_while_bursts_follow_one_another() -> None:
    """And are short again once the API bore the full rate for a while."""
    recovery, at, rests = Recovery(100), 0.0, []
    for _ in range(8):
        recovery.slow(at, at, 50, answered=True)
        rests.append(recovery._rest)
        at = recovery._rested_at + 1
    recovery.slow(at + 3600, at + 3600, 99, answered=True)
    assert rests == [10, 20, 40, 80, 160, 300, 300, 300]
    assert recovery._rest == 10


BURSTS = st.lists(
    st.tuples(st.floats(0.01, 900), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1)), st.booleans()),
    max_size=12,
)


@given(qps=st.floats(0.1, 2000), bursts=BURSTS)
def test_the_rate_is_within_bounds_and_comes_back(
    qps: float, bursts: list[tuple[float, float, float | None, bool]]
) -> None:
    recovery, now = Recovery(qps), 1000.0
    for passed, late, accepted, answered in bursts:
        now += passed
        before = recovery.rate(now)
        count = None if accepted is None else floor(accepted * qps)
        recovery.slow(now, now - late * passed, count, answered=answered)
        assert 0.04 * qps <= recovery.rate(now) <= before
    for at in range(400):
        assert 0.04 * qps <= recovery.rate(now + at) <= qps
    assert recovery.rate(now + 400) == qps
