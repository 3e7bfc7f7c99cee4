"""The words of `seller.TRANSITIONS`: what may happen to a seller, and what it may answer."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from crawler.models.page import Page, PageNotes
from crawler.models.seller import Ending, PageRequest


class Event(StrEnum):
    """What happened; some events come with a page, or with the request that they are about."""

    TURN = "turn"
    """The frontier gives the seller: it may ask for a page."""
    PASSED_OVER = "passed over"
    """The same, but it must not ask: a refusal of it is in doubt."""
    PAGE_CAME = "page came"
    """With the page; its `data` may be null."""
    KEPT = "page kept"
    """A page of the seller is durable."""
    NO_ANSWER = "no answer"
    """With a request that brought no usable answer, and may be repeated."""
    DEFERRED = "deferred"
    """With a request that has not failed: a 429 came, or it was not sent (API down, address in doubt)."""
    REFUSED = "refused"
    """The API refuses a page. That is an answer; `UNOBTAINABLE` follows where it is the seller's fault."""
    UNOBTAINABLE = "unobtainable"
    """With a request whose page cannot be had; its `reason` says why."""
    DUE = "due"
    """With a request that was parked or deferred, and may be sent."""
    STOPPED = "stopped"
    """The run is over: nothing in flight is left."""


class Park(NamedTuple):
    """Keep a request that failed until its next attempt is due."""

    request: PageRequest


class Defer(NamedTuple):
    """Keep a request that did not fail until it may be sent."""

    request: PageRequest


class Offer(NamedTuple):
    """Put the seller into the frontier."""


class Keep(NamedTuple):
    """Journal a page, and with the last one how its seller ended."""

    page: Page
    notes: PageNotes
    ending: Ending | None


Action = PageRequest | Park | Defer | Offer | Keep | Ending
"""What is to be done: a request is to be sent, an ending to be journaled."""

Answer = tuple[Action, ...]
"""What a seller answers to an event; at most the last part is to be awaited."""
