"""What may happen to a seller that is being read: the events of `seller.TRANSITIONS`."""

from __future__ import annotations

from typing import NamedTuple

from crawler.models.page import Page


class Turn(NamedTuple):
    """The frontier gives the seller: it may ask for a page."""


class PageCame(NamedTuple):
    """A page came that holds data."""

    page: Page


class NullData(NamedTuple):
    """A page came whose `data` is null."""

    page: Page


class Kept(NamedTuple):
    """A page of the seller is durable."""


class NoAnswer(NamedTuple):
    """A request brought no usable answer, and may be repeated."""


class Throttled(NamedTuple):
    """A request was answered by a 429."""


class HeldBack(NamedTuple):
    """A request was not sent: the API is down, or its address is in doubt."""


class Refused(NamedTuple):
    """The API refuses a page. That is an answer; whose fault it is, `FoundAtFault` says."""


class GaveUp(NamedTuple):
    """A page's attempts are used up."""

    page_num: int
    reason: str


class FoundAtFault(NamedTuple):
    """A refusal is the seller's fault; `retriable`: a later run may ask again."""

    page_num: int
    reason: str
    retriable: bool


class Due(NamedTuple):
    """A page that was parked may be asked for again."""

    page_num: int


class Stopped(NamedTuple):
    """The run is over: nothing in flight is left."""


Event = (
    Turn | PageCame | NullData | Kept | NoAnswer | Throttled | HeldBack | Refused | GaveUp | FoundAtFault
    | Due | Stopped
)  # fmt: skip
Unobtainable = GaveUp | FoundAtFault
"""A page cannot be had."""


def of_page(page: Page) -> PageCame | NullData:
    """The event of a page that came."""
    return NullData(page) if page.row_count is None else PageCame(page)
