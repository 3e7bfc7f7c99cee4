"""SIGINT, SIGTERM and SIGHUP."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType


class Signals:
    """The first signal asks for a clean stop, the second ends the process at once.

    Ending at once loses nothing: what the journal has is durable, and open leases count as spent.
    SIGHUP counts as SIGTERM; but a terminal that closes sends several, so it never ends the process at once.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.on_stop: Callable[[int], None] = lambda _number: None
        self._terminals = [number for number in range(3) if os.isatty(number)]

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals for as long as the block runs; SIGHUP stays ignored where it was (`nohup`)."""
        wanted = [signal.SIGINT, signal.SIGTERM]
        wanted += [] if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [signal.SIGHUP]
        former = {s: signal.signal(s, self._handle) for s in wanted}
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
        if number == signal.SIGHUP:
            self._leave_terminals()
            if self.received is not None:
                return
        if self.received is not None:
            with suppress(OSError):
                os.write(2, b"crawler: ended at once by a second signal; run the same command again\n")
            os._exit(128 + number)
        self.receive(number)

    def _leave_terminals(self) -> None:
        """Let what is still printed go nowhere where its terminal is gone: each write would fail."""
        for number in self._terminals:
            if not os.isatty(number):
                os.dup2(os.open(os.devnull, os.O_RDWR), number)
