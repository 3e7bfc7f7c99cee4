"""The words that all rooms share: pages, sellers, columns, and why a seller stopped."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from math import inf
from typing import Any, Literal, NamedTuple
from zlib import crc32

PAGE_SIZE = 10
"""Rows a page: the most the API gives."""

MAX_PAGE_NUM = 100_000
"""The API's last page number."""


class SortField(StrEnum):
    """What the API sorts a seller's videos by."""

    VIEWS = "views"
    SALES = "sales"
    GMV = "gmv"


SORT_COLUMNS = {
    SortField.VIEWS: "total_views_cnt",
    SortField.SALES: "total_video_sale_cnt",
    SortField.GMV: "total_video_sale_gmv_amt",
}
"""The column of what the API sorts by."""


class SortOrder(StrEnum):
    """Which way the API sorts."""

    DESC = "desc"
    ASC = "asc"


class StopRule(StrEnum):
    """Which page ends a seller."""

    SHORT = "short"
    EMPTY = "empty"


class Strategy(StrEnum):
    """Which page is asked for next when there is a choice."""

    DEPTH_FIRST = "depth-first"
    BREADTH_FIRST = "breadth-first"
    BEST_FIRST = "best-first"


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
    INTERRUPTED = "interrupted"
    OUTPUT = "output"


@dataclass(slots=True)
class Page:
    """One page as the API answered it.

    `body` is the whole answer as JSON that orjson reads and writes (UTF-8); `row_count` counts the rows as
    received and is `None` where `data` was null; `fingerprint` is equal for two pages exactly when they
    hold the same video IDs in the same order (64 bits); `received_at` is in epoch milliseconds.

    `ids` are those of all rows; `rejected` counts those that cannot be kept. `values` are what the API sorts
    the other rows by; `total` sums them, `least` is the last one (`None` where they are not in descending
    order, or there is none). `edge` is the last row's mark, where its page was read back and no ID is known.
    """

    seller_id: str
    page_num: int
    body: bytes
    row_count: int | None
    fingerprint: int
    received_at: int
    request_id: str
    total: float = field(default=0.0, compare=False)
    least: float | None = field(default=None, compare=False)
    ids: Sequence[str] = field(default=(), compare=False, repr=False)
    values: Sequence[float] = field(default=(), compare=False, repr=False)
    edge: int = field(default=0, compare=False, repr=False)
    rejected: int = field(default=0, compare=False)


def edge_of(page: Page) -> int:
    """What a page's last row is known by once the page is forgotten; 0 where that is not known."""
    return mark_of(page.ids[-1]) if page.ids else page.edge


def mark_of(video_id: str) -> int:
    """The same number in every process, other than `hash`."""
    return crc32(video_id.encode(errors="surrogatepass"))


class Seam(NamedTuple):
    """A page that does not follow on the one before it: the list moved between the two readings.

    `overlap`: rows of the page before that came again.
    """

    page_num: int
    overlap: int


class Match(NamedTuple):
    """A seller whose first page is that of an earlier snapshot, which has `rows` videos of it.

    `carried`: the rest is taken from there; else it is crawled all the same, to tell how often that
    would have been wrong.
    """

    source: date
    rows: int
    carried: bool


@dataclass(frozen=True, slots=True)
class PageNotes:
    """What a page told beyond its rows: kept with it.

    `mended`: every seam of the seller beyond this page is.
    """

    seams: tuple[Seam, ...] = ()
    mended: int | None = None
    match: Match | None = None


NO_NOTES = PageNotes()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a seller ended: written with its last page, or alone where no page came."""

    status: SellerStatus
    stop_reason: StopReason
    error: str | None = None
    retriable: bool = False


ColumnKind = Literal["string", "int64", "float64", "seconds"]


class Column(NamedTuple):
    """A column filled from a field of the API's rows; `seconds` are epoch seconds in the API."""

    name: str
    kind: ColumnKind


API_COLUMNS = (
    Column("video_id", "string"),
    Column("user_id", "string"),
    Column("nick_name", "string"),
    Column("video_desc", "string"),
    Column("avatar", "string"),
    Column("reflow_cover", "string"),
    Column("create_time", "seconds"),
    Column("total_views_cnt", "int64"),
    Column("total_digg_cnt", "int64"),
    Column("total_comments_cnt", "int64"),
    Column("total_shares_cnt", "int64"),
    Column("total_video_sale_cnt", "int64"),
    Column("total_video_sale_gmv_amt", "float64"),
    Column("region", "string"),
)
"""What the schema knows of a row; every other field goes to `extra`."""


@dataclass(slots=True)
class SellerProgress:
    """How far one seller has been read in the order of its pages; `rows` counts them as received.

    `last_page_rejected`: some of its last page's rows could not be kept.
    `null_seen`: the `data` of the page that is next was null once. `credits`: what it has cost that the
    journal was not told yet. `probing`: its last page was short, and the next one is asked for all the
    same. `total`, `least` and `edge` are the last page's, `marks` its IDs' hashes; no video still to come
    is worth more than `bound`. `held`: pages that came before their turn, by number. `drifted`: it has
    seams. `leaving`: its end is known, and what of it is in flight is not asked for again.
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
    least: float | None = None
    bound: float = inf
    marks: Sequence[int] = ()
    edge: int = 0
    fingerprints: set[int] = field(default_factory=set)
    held: dict[int, Page] | None = None
    drifted: bool = False
    leaving: bool = False
    ended: bool = False

    def hand_over(self) -> int:
        """Credits to tell the journal of, which then count as told."""
        told, self.credits = self.credits, 0
        return told

    def received(self, page: Page) -> None:
        """Move on by one page, the next in order."""
        count = page.row_count or 0
        self.next_page = page.page_num + 1
        self.pages += 1
        self.rows += count
        self.last_page_full, self.last_page_empty = count >= PAGE_SIZE, count == 0
        self.last_page_rejected = page.rejected > 0
        self.null_seen = False
        self.total, self.least = page.total, page.least
        self.marks = array("q", map(hash, page.ids))
        self.edge = page.edge
        self.bound = inf if page.least is None else min(self.bound, page.least)
        self.fingerprints.add(page.fingerprint)


@dataclass(slots=True)
class PageRequest:
    """A page to ask for: `sent` counts its requests in this run, `failures` those that count as attempts.

    `again`: it was null before. `faults` are the failures with somebody answered between them, `streak` is
    the breaker's at the last of them, `reason` its message, and `due` when the next attempt may be made.
    """

    seller: SellerProgress
    page_num: int
    sent: int = 0
    failures: int = 0
    again: bool = False
    faults: int = 0
    streak: int = 0
    reason: str = ""
    due: float = 0.0


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that could not be kept: its place on the page (from 1), itself as received, and why."""

    place: int
    row: Any
    reason: str


@dataclass(frozen=True, slots=True)
class PageRows:
    """A page's rows as columns of equal length.

    `values` holds one list for each of `API_COLUMNS` and for `extra`; `places` tells each kept row's
    place on the page, from 1.
    """

    places: list[int]
    values: dict[str, list[Any]]
    rejects: list[Reject]
