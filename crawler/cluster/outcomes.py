"""How an attempt at a shard ended, and what that means for the run."""

from __future__ import annotations

from enum import StrEnum

from crawler.models.errors import (
    ApiDownError,
    BudgetSpentError,
    CrawlerError,
    InterruptedRunError,
    KeyRefusedError,
    OutputError,
    QuotaUsedUpError,
)


class Outcome(StrEnum):
    """How an attempt ended."""

    DONE = "done"
    """Each of its sellers has ended."""
    STOPPED = "stopped"
    """The driver said so."""
    UNANSWERED = "unanswered"
    """Nobody answered this worker, while others were answered."""
    DOWN = "down"
    """The API is down, as far as this worker can see."""
    IN_DOUBT = "in_doubt"
    """Some of its sellers were refused as by a wrong address: whether it is one, only all sellers show."""
    BUDGET = "budget"
    REFUSED = "refused"
    USED_UP = "used_up"
    OUTPUT = "output"
    """Its pages could not be written."""
    FAULT = "fault"
    """A fault of the program."""


class UnansweredError(CrawlerError):
    """The worker is not answered, and others are."""


class StoppedError(CrawlerError):
    """The driver ended the run."""


class WorkerFaultError(Exception):
    """A fault of the program in a worker."""


_ERRORS: dict[Outcome, type[CrawlerError]] = {
    Outcome.DOWN: ApiDownError,
    Outcome.BUDGET: BudgetSpentError,
    Outcome.REFUSED: KeyRefusedError,
    Outcome.USED_UP: QuotaUsedUpError,
    Outcome.OUTPUT: OutputError,
}


def outcome_of(reason: CrawlerError | None) -> Outcome:
    """How an attempt ended that stopped for this reason."""
    if reason is None:
        return Outcome.DONE
    if isinstance(reason, UnansweredError):
        return Outcome.UNANSWERED
    if isinstance(reason, StoppedError | InterruptedRunError):
        return Outcome.STOPPED
    return next((o for o, kind in _ERRORS.items() if isinstance(reason, kind)), Outcome.FAULT)


def error_of(outcome: Outcome, message: str) -> CrawlerError | None:
    """What ends the run, where an attempt ended so; None where others go on."""
    kind = _ERRORS.get(outcome)
    return None if kind is None else kind(message)
