"""One timer for all requests under way: all have the same time, so the oldest is the next to be late."""

from __future__ import annotations

import asyncio
from typing import Any


class Deadlines:
    """Cancels a task whose request takes longer than `seconds`.

    `asyncio.timeout` would make a timer and a context for each request, and take 4 us of CPU for them.
    To abort its transport is not enough: where that is closed already, a body that was spoilt wakes nobody.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[asyncio.Task[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> asyncio.Task[Any]:
        """Note that a request of the current task leaves now; returns the task."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._due[task] = due = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(due, self._look)
        return task

    def end(self, task: asyncio.Task[Any]) -> bool:
        """Note that its request has ended; whether the task was cancelled for that being late alone."""
        return self._due.pop(task, None) is None and task.uncancel() == 0

    def close(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = []
        for task, due in self._due.items():
            if due > now:
                break
            late.append(task)
        for task in late:
            del self._due[task]
            task.cancel()
        self._timer = None
        if self._due:
            self._timer = loop.call_at(next(iter(self._due.values())), self._look)
