"""A process on virtual time that a test can kill at any step: its loop, its threads, and broken promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future
from datetime import UTC, date, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from virtual_time import VirtualLoop

BEGIN = 1000.0
"""The time of a loop when it begins."""
LONGEST = 3 * 86_400.0
MOST_STEPS = 2_000_000


class Crash(BaseException):
    """The process is gone."""


class BrokenPromiseError(AssertionError):
    """A promise did not hold."""


def expect(holds: bool, what: str) -> None:
    """Raise `BrokenPromiseError` where a promise does not hold."""
    if not holds:
        raise BrokenPromiseError(what)


class WirelessApi:
    """An API that opens and closes no connection."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.sleep(0)


class SlowExecutor(Executor):
    """One thread's work, done in order after a delay on the virtual clock."""

    def __init__(self, delay: Callable[[], float]) -> None:
        self._delay = delay
        self._free_at = 0.0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it when earlier work is done and its own delay has passed."""
        loop, future = asyncio.get_running_loop(), Future[Any]()
        self._free_at = max(self._free_at, loop.time()) + self._delay()
        loop.call_at(self._free_at, self._work, loop, future, lambda: fn(*args, **kwargs))
        return future

    @staticmethod
    def _work(loop: asyncio.AbstractEventLoop, future: Future[Any], work: Callable[[], Any]) -> None:
        try:
            future.set_result(work())
        except Crash:
            assert isinstance(loop, CrashingLoop)
            loop.crash_now = True
        except Exception as error:  # noqa: BLE001 - handed on to whoever waits
            future.set_exception(error)


class CrashingLoop(VirtualLoop):
    """Virtual time that can end at any step, as a killed process does."""

    def __init__(self, crash_at: int | None) -> None:
        super().__init__()
        self.steps = 0
        self.crash_now = False
        self._crash_at = crash_at
        self.set_exception_handler(lambda _loop, _context: None)

    def on_step(self) -> None:
        """Called before each step of the loop."""
        self.steps += 1
        if self.crash_now or self.steps == self._crash_at:
            raise Crash
        if self.steps > MOST_STEPS or self.time() > LONGEST:
            raise BrokenPromiseError(f"the run hangs: step {self.steps}, second {self.time():.0f}")

    def _run_once(self) -> None:
        self.on_step()
        # A step takes time: otherwise a wait shorter than the clock's grain would never end.
        self.stall(1e-6)
        super()._run_once()  # type: ignore[misc]  # the one method that every step goes through


class Evening:
    """The virtual clock of a date's runs, one after the other; `loop` is that of the run under way."""

    day: date
    clock: float
    loop: CrashingLoop | None

    @property
    def passed(self) -> float:
        """Seconds since the first run of the date began."""
        return self.clock + (self.loop.time() - BEGIN if self.loop is not None else 0.0)

    def now(self) -> datetime:
        """The time of the date, whose first run begins at one o'clock."""
        began = datetime(self.day.year, self.day.month, self.day.day, 1, tzinfo=UTC)
        return began + timedelta(seconds=self.passed)

    def drive(
        self,
        main: Coroutine[Any, Any, None],
        crash_at: int | None,
        signal_at: float | None,
        receive: Callable[[int], object],
    ) -> None:
        """Run on a loop of its own, which may crash at a step, or receive SIGTERM at a second."""
        self.loop = loop = CrashingLoop(crash_at)
        asyncio.set_event_loop(loop)
        if signal_at is not None:
            loop.call_at(BEGIN + signal_at, receive, 15)
        try:
            loop.run_until_complete(main)
        finally:
            asyncio.set_event_loop(None)
        loop.close()

    def end_run(self, pause: float) -> None:
        """Let the run be over, and some seconds pass after it."""
        self.clock = self.passed + pause
        self.loop = None
