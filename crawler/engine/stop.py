"""How a run stops: one reason, no new request, and whoever only waits is woken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from crawler.models.errors import (
    ApiDownError,
    BudgetSpentError,
    CrawlerError,
    InterruptedRunError,
    KeyRefusedError,
    OutputError,
    QuotaUsedUpError,
)

_PRECEDENCE = (
    OutputError,
    InterruptedRunError,
    KeyRefusedError,
    QuotaUsedUpError,
    ApiDownError,
    BudgetSpentError,
)
"""Which reason is reported where several hold (contract, exit codes)."""


class Stop:
    """Set once with the reason; tasks inside `interruptible()` are cancelled then."""

    def __init__(self) -> None:
        self.reason: CrawlerError | None = None
        self.at = 0.0
        # Ordered, so that a simulated night replays exactly.
        self._waiting: dict[asyncio.Task[object], None] = {}

    def set(self, reason: CrawlerError) -> None:
        """Ask the run to stop; of several reasons the weightiest is reported."""
        if self.reason is None:
            self.at = asyncio.get_running_loop().time()
        if self.reason is None or _weight(reason) < _weight(self.reason):
            self.reason = reason
        for task in list(self._waiting):
            task.cancel()

    def raise_if_stopping(self) -> None:
        """Raise `asyncio.CancelledError` if the run is stopping."""
        if self.reason is not None:
            raise asyncio.CancelledError

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Mark a wait that has nothing to lose; a stop ends it with `asyncio.CancelledError`."""
        self.raise_if_stopping()
        task = asyncio.current_task()
        if task is None or task in self._waiting:
            yield
            return
        self._waiting[task] = None
        try:
            yield
        finally:
            del self._waiting[task]


def _weight(reason: CrawlerError) -> int:
    return next((i for i, kind in enumerate(_PRECEDENCE) if isinstance(reason, kind)), len(_PRECEDENCE))
