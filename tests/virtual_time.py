"""An event loop whose clock moves only when nobody has anything left to do: hours pass in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_TICK = 1e-9
"""The shortest timer."""


class _Selector(selectors.BaseSelector):
    """Polls what is registered, and passes waiting time by moving the clock."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 1000.0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = self._real.select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            raise RuntimeError("every task waits for something that nobody will do")
        self.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time, for one thread; `stall` moves the clock as a blocked process would.

    The clock starts at 1000.0 and is good for three months: later times leave a float no nanoseconds.
    `lateness`: seconds by which its timers fire late.
    """

    lateness = 0.0

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self.slow_callback_duration = 1e9
        # asyncio fires timers this much early: below a tick, so that one set again needs the clock to move.
        self._clock_resolution = _TICK / 2

    def time(self) -> float:
        return self._virtual.now

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        # Who waits for a time that rounds to now counts on a real clock, which has moved when it looks again.
        due = max(when + self.lateness, self._virtual.now + _TICK)
        return super().call_at(due, callback, *args, context=context)

    def stall(self, seconds: float) -> None:
        """Let time pass in which nobody could do anything."""
        self._virtual.now += seconds


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
