"""Why sellers are unfinished when a run ends early: from the error that ended it."""

from __future__ import annotations

from crawler.models.errors import (
    ApiDownError,
    BudgetSpentError,
    CrawlerError,
    InterruptedRunError,
    KeyRefusedError,
    OutputError,
    QuotaUsedUpError,
)
from crawler.models.seller import StopReason

_STOP_REASONS: dict[type[CrawlerError], StopReason] = {
    BudgetSpentError: StopReason.BUDGET,
    QuotaUsedUpError: StopReason.QUOTA,
    KeyRefusedError: StopReason.KEY_REFUSED,
    ApiDownError: StopReason.API_DOWN,
    InterruptedRunError: StopReason.INTERRUPTED,
    OutputError: StopReason.OUTPUT,
}


def stop_reason_of(error: CrawlerError | None) -> StopReason | None:
    """Why sellers that have not ended stopped; None where nothing ended the run, or its files were lost."""
    return None if error is None else _STOP_REASONS.get(type(error))
