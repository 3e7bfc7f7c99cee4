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
KEYS = st.one_of(st.just([]), st.lists(RATES, min_size=2, max_size=3))


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
        if world.attempts and rng.random() < 0.02:
            world.end(rng.choice(list(world.attempts)))
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
