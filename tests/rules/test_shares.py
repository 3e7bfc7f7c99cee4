from __future__ import annotations

from dataclasses import dataclass, field
from math import floor
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.rules.shares import TRANSFER_MARGIN, Share, Shares
from crawler.rules.windows import slots_of, window_of

ALL = 1_000_000


@dataclass
class Attempt:
    """One attempt as it is; `log` has the slots that it could use by key, and since when."""

    share: Share
    log: list[tuple[float, tuple[int, ...]]] = field(default_factory=list)

    def receive(self, share: Share, now: float) -> None:
        if share.version > self.share.version:
            self.share = share
            self.log.append((now, share.slots))

    def most_since(self, begin: float) -> tuple[int, ...]:
        """The most slots by key that it had at any moment since."""
        had, current = [], (0,) * len(self.share.slots)
        for at, slots in self.log:
            if at > begin:
                had.append(current)
            current = slots
        return tuple(map(max, zip(*had, current, strict=True)))


class World:
    """`Shares` with attempts whose messages arrive late or never; every grant is held against the ceiling."""

    def __init__(self, qps: float, keys: list[float]) -> None:
        self.shares, self.keys = Shares(qps, keys), keys or [qps]
        self.qps = qps
        self.window = max(map(window_of, [qps, *keys]))
        self.now = 0.0
        self.attempts: dict[int, Attempt] = {}
        self.over: list[Attempt] = []
        self.fence = 0
        self.refused: set[int] = set()

    def join(self) -> int:
        self.fence += 1
        self.shares.join(self.fence, self.now)
        self.attempts[self.fence] = Attempt(Share(0, (0,) * len(self.keys)))
        return self.fence

    def ask(self, fence: int, wants: int, applied: int | None = None) -> Share:
        attempt = self.attempts[fence]
        return self.shares.renew(
            fence, attempt.share.version if applied is None else applied, wants, self.now
        )

    def renew(self, fence: int, wants: int) -> Share:
        share = self.ask(fence, wants)
        self.receive(fence, share)
        return share

    def receive(self, fence: int, share: Share) -> None:
        if fence in self.attempts:
            self.attempts[fence].receive(share, self.now)

    def end(self, fence: int) -> None:
        attempt = self.attempts.pop(fence)
        attempt.log.append((self.now, (0,) * len(self.keys)))
        self.over.append(attempt)
        self.shares.leave(fence, self.now)

    def rounds(self, seconds: float, wants: dict[int, int], step: float = 0.5) -> None:
        """Let every attempt renew so often; who is not named wants all."""
        for _ in range(round(seconds / step)):
            self.now += step
            for fence in self.attempts:
                self.renew(fence, wants.get(fence, ALL))

    def total(self, fence: int) -> int:
        return sum(self.attempts[fence].share.slots)

    def granted(self) -> int:
        return sum(map(self.total, self.attempts))

    def assert_ceiling(self) -> None:
        """In no window is more of any key, or of all, within reach than the ceiling has."""
        begin = self.now - self.window - TRANSFER_MARGIN / 2
        most = [attempt.most_since(begin) for attempt in [*self.attempts.values(), *self.over]]
        by_key = [sum(of_key) for of_key in zip(*most, strict=True)] or [0]
        assert all(held <= slots_of(qps) for held, qps in zip(by_key, self.keys, strict=False))
        assert sum(by_key) <= slots_of(self.qps)


RATES = st.sampled_from([0.3, 1.0, 2.5, 7.0, 40.0, 333.0])
KEYS: st.SearchStrategy[list[float]] = st.one_of(st.just([]), st.lists(RATES, min_size=2, max_size=3))


@given(RATES, KEYS, st.integers(0, 2**32), st.integers(2, 6), st.sampled_from([0.0, 0.05, 0.4]))
def test_the_sum_over_attempts_never_exceeds_the_ceiling(
    qps: float, keys: list[float], seed: int, most: int, trouble: float
) -> None:
    """Whatever replies are lost, late or out of order, and whichever attempts end."""
    world, rng, late = World(qps, keys), Random(seed), list[tuple[int, Share]]()
    deaf_until: dict[int, float] = {}
    for _ in range(200):
        world.now += rng.choice([0.02, 0.1, 0.3, 0.5])
        if len(world.attempts) < most and rng.random() < 0.3:
            world.join()
        for fence in list(world.attempts):
            if rng.random() < trouble * 0.2:
                deaf_until[fence] = world.now + rng.uniform(0, 5 * world.window)
            share = world.ask(fence, rng.choice([0, 1, 7, ALL, ALL]))
            if world.now < deaf_until.get(fence, 0.0):
                late.append((fence, share))
            else:
                world.receive(fence, share)
            world.assert_ceiling()
        if late and rng.random() < 0.3:
            world.receive(*late.pop(rng.randrange(len(late))))
            world.assert_ceiling()
        deaf = [fence for fence in world.attempts if world.now < deaf_until.get(fence, 0.0)]
        if world.attempts and rng.random() < 0.03:
            world.end(rng.choice(deaf or list(world.attempts)))
        if rng.random() < 0.002:
            world.shares.retire(rng.randrange(len(world.keys)))


@given(RATES, st.integers(0, 5))
def test_a_late_renewal_confirms_nothing(qps: float, before: int) -> None:
    """It was sent before a share was applied that the attempt still uses."""
    world = World(qps, [])
    first, second = world.join(), world.join()
    for _ in range(20):
        world.now += 1.0
        world.renew(first, ALL)
        world.ask(second, ALL, applied=max(0, world.attempts[second].share.version - before))
        world.assert_ceiling()


@pytest.mark.parametrize("count", [1, 3, 8, 100])
@pytest.mark.parametrize("keys", [[], [60.0, 60.0, 120.0], [150.0, 150.0]])
def test_at_full_demand_all_is_granted_and_equally(count: int, keys: list[float]) -> None:
    world = World(200, keys)
    for _ in range(count):
        world.join()
    world.rounds(12, {})
    assert world.granted() >= 0.97 * 200
    held = [world.total(fence) for fence in world.attempts]
    assert max(held) - min(held) <= max(1, 0.1 * floor(200 / count))
    before = {fence: attempt.share for fence, attempt in world.attempts.items()}
    world.rounds(12, {})
    assert before == {fence: attempt.share for fence, attempt in world.attempts.items()}


def test_who_wants_less_keeps_what_it_uses_and_the_others_share_the_rest() -> None:
    world = World(200, [])
    small, *large = [world.join() for _ in range(5)]
    world.rounds(30, {small: 8})
    assert 8 < world.total(small) <= 14
    assert [world.total(fence) for fence in large] == pytest.approx([47.5] * 4, abs=3)


def test_an_idle_attempt_s_slots_reach_the_others_within_seconds() -> None:
    world = World(200, [])
    idle, busy = world.join(), world.join()
    world.rounds(10, {})
    world.rounds(3, {idle: 0})
    assert world.total(busy) >= 185
    world.rounds(10, {idle: 0})
    assert world.total(busy) >= 190


def test_slots_stay_where_they_are_while_nobody_is_short_of_them() -> None:
    world = World(200, [])
    first, second = world.join(), world.join()
    world.rounds(10, {})
    before = world.total(first), world.total(second)
    for wants in (75, 10, 0, 70):
        world.rounds(3, {first: wants, second: 60})
        assert (world.total(first), world.total(second)) == before == (100, 100)


@pytest.mark.parametrize("qps", [0.2, 1.0, 3.0])
def test_where_slots_are_few_each_attempt_has_its_turn(qps: float) -> None:
    world = World(qps, [])
    fences = [world.join() for _ in range(5)]
    turns = dict.fromkeys(fences, 0.0)
    for _ in range(round(200 * world.window)):
        world.rounds(0.5, {})
        for fence in fences:
            turns[fence] += 0.5 * world.total(fence)
    assert min(turns.values()) >= 0.5 * max(turns.values())


@pytest.mark.parametrize("over", ["leave", "lapse"])
def test_what_an_attempt_had_is_free_a_window_and_a_margin_after_its_end(over: str) -> None:
    world = World(100, [])
    first, second = world.join(), world.join()
    world.rounds(10, {})
    getattr(world.shares, over)(first, world.now)
    del world.attempts[first]
    ended = world.now
    world.now = ended + world.window + TRANSFER_MARGIN - 0.001
    assert sum(world.renew(second, ALL).slots) == 50
    world.now += 0.2
    assert sum(world.renew(second, ALL).slots) == 100
    with pytest.raises(KeyError):
        world.ask(first, 1, applied=0)


def test_a_silent_attempt_is_waited_for_by_nobody() -> None:
    """What it holds is not free before its lease has ended, and others share the rest."""
    world = World(90, [])
    silent, second = world.join(), world.join()
    world.rounds(10, {})
    held = world.attempts.pop(silent).share.slots[0]
    third = world.join()
    world.rounds(10, {})
    assert held == 45
    assert sorted([world.total(second), world.total(third)]) == [22, 23]


def test_a_retired_key_has_no_slots_and_the_others_make_up_for_it() -> None:
    world = World(100, [80.0, 60.0])
    fences = [world.join() for _ in range(4)]
    world.rounds(10, {})
    assert world.granted() == 100
    world.shares.retire(0)
    world.rounds(0.5, {})
    assert [world.attempts[fence].share.slots[0] for fence in fences] == [0] * 4
    world.rounds(8, {})
    assert [world.attempts[fence].share.slots for fence in fences] == [(0, 15)] * 4
