"""One timer for all requests under way: all have the same time, so the oldest is the next to be late."""

from __future__ import annotations

import asyncio


class Deadlines:
    """Aborts the transport of a request that takes longer than `seconds`: whoever reads from it wakes.

    `asyncio.timeout` would make a timer and a context for each request, and take 4 us of CPU for them.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[asyncio.Transport, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport) -> None:
        """Note that a request leaves now."""
        loop = asyncio.get_running_loop()
        self._due[transport] = due = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(due, self._look)

    def end(self, transport: asyncio.Transport) -> bool:
        """Note that a request has ended; whether its time was over."""
        return self._due.pop(transport, None) is None

    def close(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = []
        for transport, due in self._due.items():
            if due > now:
                break
            late.append(transport)
        for transport in late:
            del self._due[transport]
            transport.abort()
        self._timer = None
        if self._due:
            self._timer = loop.call_at(next(iter(self._due.values())), self._look)
