"""Takers of places under load on the virtual clock, and the ceiling that they must not exceed."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from math import floor
from random import Random

from virtual_time import VirtualLoop


def stall(seconds: float) -> None:
    """Let the loop do nothing for some seconds."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.stall(seconds)


def window(qps: float) -> tuple[int, float]:
    """How many places fit into how many seconds."""
    return max(1, floor(qps)), max(1.0, 1.0 / qps)


def assert_ceiling(used: list[float], qps: float) -> None:
    """Assert that no window has more places than fit into it."""
    count, seconds = window(qps)
    for first, beyond in zip(used, used[count:], strict=False):
        assert beyond - first >= seconds, f"{count + 1} places in {beyond - first} s at {qps} a second"


class Takers(ABC):
    """Takers who want every place that they can get, on a loop that stalls now and then."""

    rng: Random
    jitter: float
    stalls: float

    async def take_all(self, takers: int, seconds: float) -> None:
        """Have so many of them take places for some seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for _ in range(takers):
                    group.create_task(self._take_on())
                if self.stalls:
                    group.create_task(self._stall())

    @abstractmethod
    async def take(self) -> None:
        """Take one place, and answer its request."""

    async def _take_on(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(0, self.jitter))
            await self.take()

    async def _stall(self) -> None:
        while True:
            await asyncio.sleep(self.rng.expovariate(1 / self.stalls))
            stall(self.rng.choice([0.001, 0.05, 0.3, 1.5]))
