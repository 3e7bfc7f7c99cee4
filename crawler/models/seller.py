"""How far a seller has been read, which of its pages is next, and how it ended."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import NamedTuple

from crawler.models.api import PAGE_SIZE
from crawler.models.page import Page


class StopRule(StrEnum):
    """Which page ends a seller."""

    SHORT = "short"
    EMPTY = "empty"


class Strategy(StrEnum):
    """Which page is asked for next when there is a choice."""

    DEPTH_FIRST = "depth-first"
    BREADTH_FIRST = "breadth-first"
    BEST_FIRST = "best-first"
    FRESHEST = "freshest"


class SellerStatus(StrEnum):
    """How complete a seller's videos are."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"
    PENDING = "pending"


class StopReason(StrEnum):
    """Why no further page of a seller was asked for."""

    SHORT_PAGE = "short_page"
    EMPTY_PAGE = "empty_page"
    REPEATED_PAGE = "repeated_page"
    CARRIED = "carried"
    MAX_PAGES = "max_pages"
    MIN_VALUE = "min_value"
    TOP = "top"
    ERROR = "error"
    BUDGET = "budget"
    QUOTA = "quota"
    KEY_REFUSED = "key_refused"
    API_DOWN = "api_down"
    IMPLAUSIBLE = "implausible"
    INTERRUPTED = "interrupted"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a seller ended: written with its last page, or alone where no page came.

    `kind` is the status of a failure, or names what failed; it is not written.
    """

    status: SellerStatus
    stop_reason: StopReason
    error: str | None = None
    retriable: bool = False
    kind: str = field(default="", compare=False)


class PageRange(NamedTuple):
    """Pages to read; `last` is the last of them, None: the last of the list."""

    first: int
    last: int | None


@dataclass(slots=True)
class SellerProgress:
    """How far one seller has been read in the order of its pages; `rows` counts them as received.

    `credits`: what it has cost that the journal does not know of yet. `last_page_rejected`: some of the last
    page's rows could not be kept. `null_seen`: the next page's `data` was null once. `probing`: the last page
    was short, and the next one is asked for all the same. `total`, `last_value`, `id_hashes` and
    `stored_last_id_hash` are the last page's; no later video is worth more than `max_remaining_value`.
    `early_pages` came before their turn, by number. `drifted`: it has gaps. `stretches` are the pages that
    are to be read, those under way first; without any all pages are.
    """

    seller_id: str
    next_page: int = 1
    pages: int = 0
    rows: int = 0
    credits: int = 0
    last_page_full: bool = False
    last_page_empty: bool = False
    last_page_rejected: bool = False
    null_seen: bool = False
    probing: bool = False
    total: float = 0.0
    last_value: float | None = None
    max_remaining_value: float = inf
    id_hashes: Sequence[int] = ()
    stored_last_id_hash: int = 0
    fingerprints: set[int] = field(default_factory=set)
    early_pages: dict[int, Page] | None = None
    drifted: bool = False
    ended: bool = False
    stretches: tuple[PageRange, ...] = ()

    def take_unreported_credits(self) -> int:
        """Credits that the journal does not know of yet; they then count as reported."""
        unreported, self.credits = self.credits, 0
        return unreported

    @property
    def has_read_stretch(self) -> bool:
        """Whether the stretch under way is read to its last page."""
        return bool(self.stretches) and self.stretches[0].last == self.next_page - 1

    def begin_next_stretch(self) -> bool:
        """Turn to the next stretch; False where none is left."""
        if len(self.stretches) < 2:
            return False
        self.stretches = self.stretches[1:]
        self.next_page = self.stretches[0].first
        # Pages that do not follow on each other are not compared.
        self.id_hashes, self.stored_last_id_hash, self.last_value = (), 0, None
        return True

    def received(self, page: Page) -> None:
        """Move on by one page, the next in order."""
        count = page.row_count or 0
        self.next_page = page.page_num + 1
        self.pages += 1
        self.rows += count
        self.last_page_full, self.last_page_empty = count >= PAGE_SIZE, count == 0
        self.last_page_rejected = page.rejected > 0
        self.null_seen = False
        self.total, self.last_value = page.total, page.last_value
        self.id_hashes = array("q", map(hash, page.ids))
        self.stored_last_id_hash = page.stored_last_id_hash
        self.max_remaining_value = (
            inf if page.last_value is None else min(self.max_remaining_value, page.last_value)
        )
        self.fingerprints.add(page.fingerprint)


@dataclass(slots=True)
class PageRequest:
    """A page to ask for: `sent` counts its requests in this run, `failures` those that count as attempts.

    `again`: it was null before. `faults`: failures with somebody answered between them; `streak` is the
    breaker's at the last of them, `reason` its message, and `due` when the next attempt may be made. `kind`
    is the last failure's status, or names what failed.
    `retriable`: where the page cannot be had, a later run may ask for it.
    """

    seller: SellerProgress
    page_num: int
    sent: int = 0
    failures: int = 0
    again: bool = False
    faults: int = 0
    streak: int = 0
    reason: str = ""
    kind: str = ""
    due: float = 0.0
    retriable: bool = True
