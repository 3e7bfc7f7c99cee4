"""What two rooms agree on: the engine reaches wire and disk through these. Open it to swap a part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from crawler import events
from crawler.models.keys import KeySettings
from crawler.models.latency import Latencies
from crawler.models.page import NO_NOTES, Gap, Page, PageNotes
from crawler.models.seller import Ending, SellerStatus


class Departure(Protocol):
    """The moment a request leaves: the API client calls it with a connection at hand.

    `key` is the number of the key that the request carries; it is right once `leave` has returned true.
    """

    label: str
    key: int

    async def leave(self, ready: Callable[[], bool]) -> bool:
        """Wait for a place in the pace; then the request counts as sent, and must leave at once.

        False where `ready()` is then false: nothing counts as sent, call it again with another connection.
        """


class Api(Protocol):
    """Asks for one page."""

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        """Send exactly one request.

        Raises `ThrottledError`, `UnavailableError`, `RefusedError`, `KeyRefusedError` or
        `QuotaUsedUpError`, and sets `departure.label` to the status, or to a word for its absence.
        """


@runtime_checkable
class TellsTime(Protocol):
    """An `Api` that says what its clock says."""

    @property
    def clock(self) -> tuple[datetime, int] | None:
        """What the API's clock says now, and from how many answers that is known; None where it is not."""


class Journal(Protocol):
    """Keeps pages; each call returns when the record is durable."""

    async def append(
        self, page: Page, credits_spent: int, ending: Ending | None, notes: PageNotes = NO_NOTES
    ) -> None:
        """Keep a page, its cost and notes, and with the last one how its seller ended."""

    async def end(self, seller_id: str, credits_spent: int, ending: Ending | None) -> None:
        """Keep what a seller cost without a further page, and how it ended if it has."""

    async def drifted(self, seller_id: str) -> tuple[list[Gap], dict[int, int]]:
        """The gaps of a seller that are not repaired, and the fingerprint of each of its pages."""


class Ledger(Protocol):
    """Counts credits on disk before they are spent."""

    async def reserve(self, in_use: int) -> int:
        """Reserve a lease and return its size; `in_use` credits are in use or wanted now.

        Where nothing is left it is 0, or a `BudgetSpentError` that says which budget is spent.
        """


class KeyLedger(Protocol):
    """Counts the credits of several keys on disk before they are spent."""

    async def reserve_for(self, key: KeySettings, in_use: int) -> int:
        """Reserve a lease for a key and return its size; `in_use` credits are in use or wanted now.

        Raises `BudgetSpentError` where the budget of date or month has nothing left, `KeySpentError` where
        only those of the key have.
        """

    async def give_back(self, key: KeySettings, spent: int) -> None:
        """Return all that this run has reserved for a key beyond what it has spent."""


@dataclass(slots=True)
class WorkerFigures:
    """How a crawl by workers stands: how many work at the moment, and how many shards are done and begun."""

    working: int = 0
    shards_done: int = 0
    shards_begun: int = 0

    def __str__(self) -> str:
        return f"{self.working} workers, shards {self.shards_done}/{self.shards_begun}"


@dataclass(slots=True)
class CrawlFigures:
    """What a crawl has done so far; read while it goes on, from any thread.

    Of the `total` listed sellers `ended` have ended, `failed` of them by a failure. Earlier runs have spent
    `spent_before` credits of the crawl date's `budget`. `by_status`: requests sent, by how they ended;
    `latencies`: by how long they took. `workers`: where others crawl for this process.
    """

    total: int
    ended: int
    budget: int | None
    spent_before: int
    by_status: Mapping[str, int]
    latencies: Latencies
    count_sent: Callable[[], int]
    failed: int = 0
    pages: int = 0
    rows: int = 0
    workers: WorkerFigures | None = None

    @property
    def sent(self) -> int:
        """Requests sent."""
        return self.count_sent()

    def count_page(self, page: Page) -> None:
        """Count a page that was read."""
        self.pages += 1
        self.rows += page.row_count or 0

    def count_end(self, _seller_id: str, ending: Ending) -> None:
        """Count a seller that has ended."""
        self.ended += 1
        self.failed += ending.status is SellerStatus.FAILED


class Observer(Protocol):
    """Looks on while a run goes its way."""

    def crawling(self, figures: CrawlFigures) -> None:
        """A crawl begins, or goes on with other sellers."""

    def notes(self) -> Sequence[events.Sentence]:
        """What the report is to say of what the observer did."""


class Unobserved:
    """Nobody looks on."""

    def crawling(self, _figures: CrawlFigures) -> None:
        """Nothing is done."""

    def notes(self) -> Sequence[events.Sentence]:
        """No notes."""
        return ()


UNOBSERVED = Unobserved()
