"""A page, its rows, and what it says beyond them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple
from zlib import crc32


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
