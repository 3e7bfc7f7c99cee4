"""SIGINT and SIGTERM."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Signals:
    """The first signal asks for a clean stop, the second ends the process at once.

    Ending at once loses nothing: what the journal has is durable, and open leases count as spent.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.on_stop: Callable[[int], None] = lambda _number: None

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle both signals for as long as the block runs."""
        former = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def receive(self, number: int) -> None:
        """Take the first signal."""
        self.received = number
        self.on_stop(number)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.receive(number)
