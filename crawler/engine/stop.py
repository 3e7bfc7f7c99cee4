"""How a run stops: one reason, no new request, and whoever only waits is woken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from crawler import events
from crawler.exit_codes import verdict_of
from crawler.models.errors import (
    ApiDownError,
    BudgetSpentError,
    CrawlerError,
    ImplausibleError,
    InterruptedRunError,
    KeyRefusedError,
    OutputError,
    QuotaUsedUpError,
)
from crawler.models.seller import StopReason

_STOP_REASONS: dict[type[CrawlerError], StopReason] = {
    OutputError: StopReason.OUTPUT,
    InterruptedRunError: StopReason.INTERRUPTED,
    KeyRefusedError: StopReason.KEY_REFUSED,
    QuotaUsedUpError: StopReason.QUOTA,
    ApiDownError: StopReason.API_DOWN,
    ImplausibleError: StopReason.IMPLAUSIBLE,
    BudgetSpentError: StopReason.BUDGET,
}
"""In the order in which they are reported where several hold (contract, exit codes)."""


def stop_reason_of(error: CrawlerError | None) -> StopReason | None:
    """Why sellers that have not ended stopped; None where nothing ended the run, or its files were lost."""
    return None if error is None else _STOP_REASONS.get(type(error))


def weightiest(first: CrawlerError | None, second: CrawlerError) -> CrawlerError:
    """Of two reasons the one that is reported."""
    return second if first is None or _weight(second) < _weight(first) else first


class Stop:
    """Set once with the reason; tasks inside `interruptible()` are cancelled then.

    `disbelief` is why the answers cannot be believed, whatever weightier reason is reported.
    """

    def __init__(self) -> None:
        self.reason: CrawlerError | None = None
        self.disbelief: ImplausibleError | None = None
        self.at = 0.0
        # Ordered, so that a simulated night replays exactly.
        self._waiting: dict[asyncio.Task[object], None] = {}

    def set(self, reason: CrawlerError) -> None:
        """Ask the run to stop; of several reasons the weightiest is reported."""
        if self.reason is None:
            self.at = asyncio.get_running_loop().time()
            events.RUN_STOPPING(verdict=verdict_of(reason.exit_code), exit_code=reason.exit_code).log()
        self.reason = weightiest(self.reason, reason)
        if isinstance(reason, ImplausibleError):
            self.disbelief = reason
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
        assert task is not None, "only tasks wait"  # noqa: S101 - an invariant
        self._waiting[task] = None
        try:
            yield
        finally:
            del self._waiting[task]


def _weight(reason: CrawlerError) -> int:
    return next((i for i, kind in enumerate(_STOP_REASONS) if isinstance(reason, kind)), len(_STOP_REASONS))
