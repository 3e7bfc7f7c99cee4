"""The process of a run: the signals that stop it, and how many connections it may have open."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from crawler.models.errors import InputError
from crawler.rules.sizing import MAX_WORKERS

OWN_FILES = 48
"""Files that a run may have open beside its connections: journal, ledger, segments, a file a region."""
_MIN_FILES = OWN_FILES + 16


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
        earlier = {number: signal.signal(number, self._handle) for number in wanted}
        try:
            yield
        finally:
            for number, handler in earlier.items():
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
        """Redirect output to the null device where its terminal is gone: each write would fail."""
        for number in self._terminals:
            if not os.isatty(number):
                os.dup2(os.open(os.devnull, os.O_RDWR), number)


def allow_connections() -> int:
    """How many connections may be open at once, after raising the limit of open files as far as is of use.

    Raises `InputError` where the limit is too low for any run.
    """
    wanted = OWN_FILES + MAX_WORKERS
    limit = _raised(wanted)
    if limit < _MIN_FILES:
        raise InputError(
            f"this process may open {limit} files, and a run needs {_MIN_FILES}: raise the limit "
            "(`ulimit -n 4096`, or LimitNOFILE= of a systemd service)"
        )
    return min(limit, wanted) - OWN_FILES


def _raised(wanted: int) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    raised = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    except (OSError, ValueError):
        return soft
    return raised
