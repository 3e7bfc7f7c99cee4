"""What is to be done after an event: a seller decides on it, and `reading` carries it out."""

from __future__ import annotations

from typing import NamedTuple

from crawler.models.page import Page, PageNotes
from crawler.models.seller import Ending


class Ask(NamedTuple):
    """Ask for a page; `again`: it was null before."""

    page_num: int
    again: bool = False


class Retry(NamedTuple):
    """Ask for the parked page that is due."""


class Drop(NamedTuple):
    """Forget the parked page that is due: it is of no use any more."""


class Park(NamedTuple):
    """Keep a request that failed until its next attempt is due."""


class Defer(NamedTuple):
    """Keep a request that did not fail until it may be sent."""


class Offer(NamedTuple):
    """Put the seller into the frontier."""


class Keep(NamedTuple):
    """Journal a page, and with the last one how its seller ended."""

    page: Page
    notes: PageNotes
    ending: Ending | None


class End(NamedTuple):
    """Journal how the seller ended."""

    ending: Ending


class ReportFailure(NamedTuple):
    """Report that the seller fails, and at which page."""

    page_num: int
    reason: str


Action = Ask | Retry | Drop | Park | Defer | Offer | Keep | End | ReportFailure
Answer = tuple[Action, ...]
"""What a seller answers to an event; at most the last part is to be awaited."""
