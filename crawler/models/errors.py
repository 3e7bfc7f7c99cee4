"""Every error that ends a command, with its exit code, and those of a request that brought no page.

A message says what was wrong, where (file, line, seller, page), and what to do. It never holds the API key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from signal import Signals
from typing import ClassVar

from crawler import exit_codes


class CrawlerError(Exception):
    """What ends a command. `label` is what the request that failed is counted under; empty: its status."""

    exit_code: ClassVar[int] = exit_codes.BUG.number
    label = ""


class InputError(CrawlerError):
    """Bad usage, settings or seller list: nothing was sent, nothing was touched."""

    exit_code = exit_codes.BAD_INPUT.number


class BudgetSpentError(CrawlerError):
    """The next request would overrun our own credit budget."""

    exit_code = exit_codes.BUDGET_SPENT.number


class KeyRefusedError(CrawlerError):
    """The API refused the key (401, 403); `detail` says only what it answered, and to whom."""

    exit_code = exit_codes.KEY_REFUSED.number
    detail = ""


class QuotaUsedUpError(CrawlerError):
    """The account's quota is used up (402, or a message that says so); `detail` as of `KeyRefusedError`."""

    exit_code = exit_codes.QUOTA_USED_UP.number
    detail = ""


class DataLockedError(CrawlerError):
    """Another run holds this data folder."""

    exit_code = exit_codes.LOCKED.number


class OutputError(CrawlerError):
    """The disk is full, or the output cannot be written."""

    exit_code = exit_codes.OUTPUT.number


class CarriedRowsLostError(OutputError):
    """Files that rows are carried from were damaged while a snapshot was built from them."""


class DisplacedError(OutputError):
    """The files that a run uses are no longer at their paths: it must not write there."""


class CopyError(OutputError):
    """All is published here, but its copy elsewhere could not be made, or never can be made there."""


class ApiDownError(CrawlerError):
    """No answer for as long as the run's patience lasts."""

    exit_code = exit_codes.API_DOWN.number


class ImplausibleError(CrawlerError):
    """The night cannot be believed: it is held back in its journal, and not published.

    `reasons` says in sentences why. `to_recheck` are to be asked again; none: all that answered this run.
    """

    exit_code = exit_codes.IMPLAUSIBLE.number

    def __init__(self, message: str, reasons: Sequence[str] = (), to_recheck: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.reasons = tuple(reasons) or (message,)
        self.to_recheck = tuple(to_recheck)


class InterruptedRunError(CrawlerError):
    """A signal asked the run to stop; SIGHUP ends it as SIGTERM does."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {Signals(number).name}")
        code = exit_codes.INTERRUPTED if number == Signals.SIGINT else exit_codes.TERMINATED
        self.exit_code = code.number  # type: ignore[misc]  # known only from the signal


class PageError(Exception):
    """One request that brought no page; the run goes on.

    `kind` is a status, or names what failed; empty where only the message says it. `label` is what the
    request is counted under; empty: its status.
    """

    label = ""

    def __init__(self, message: str = "", kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class ThrottledError(PageError):
    """429: the API wants us slower; `retry_after` is in seconds, None where it does not say."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message, "429")
        self.retry_after = retry_after


class UnavailableError(PageError):
    """No usable answer (5xx, time-out, reset, malformed body): asking again may help."""


class RefusedError(PageError):
    """The API refuses this seller (400, 404 and the like); `of_address`: so it answers a wrong address."""

    def __init__(self, message: str = "", kind: str = "", *, of_address: bool = False) -> None:
        super().__init__(message, kind)
        self.of_address = of_address


class KeySpentError(Exception):
    """What a key may cost by its own budgets is spent; the other keys go on."""


@dataclass(frozen=True, slots=True)
class LastError:
    """The last attempt that brought no page."""

    seller: str
    page: int
    kind: str
    reason: str
