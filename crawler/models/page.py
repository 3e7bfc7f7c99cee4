"""A page as the API answered it, its rows as columns, and what else it shows: gaps, and a match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple
from zlib import crc32

from crawler.models.api import PAGE_SIZE


@dataclass(slots=True)
class Page:
    """One page as the API answered it.

    `body` is the whole answer as strict JSON; `row_count` counts the rows as received, None where `data` was
    null; `fingerprint` is equal for pages with the same video IDs in the same order; `received_at` is in
    epoch milliseconds. `ids` are those of all rows; `rejected` counts those that cannot be kept. `values` are
    what the API sorts the other rows by, `total` is their sum, and `last_value` the last one (None where they
    do not descend). `stored_last_id_hash`: the journal keeps this hash of the last ID in place of the IDs.
    """

    seller_id: str
    page_num: int
    body: bytes
    row_count: int | None
    fingerprint: int
    received_at: int
    request_id: str
    total: float = field(default=0.0, compare=False)
    last_value: float | None = field(default=None, compare=False)
    ids: Sequence[str] = field(default=(), compare=False, repr=False)
    values: Sequence[float] = field(default=(), compare=False, repr=False)
    stored_last_id_hash: int = field(default=0, compare=False, repr=False)
    rejected: int = field(default=0, compare=False)

    @property
    def listed(self) -> int:
        """Rows of the list on it; one of which some were rejected counts as full, since it ends no list."""
        return max(PAGE_SIZE, self.row_count or 0) if self.rejected else self.row_count or 0


def last_id_hash(page: Page) -> int:
    """The stable hash of a page's last ID; 0 where that is not known."""
    return stable_hash(page.ids[-1]) if page.ids else page.stored_last_id_hash


def stable_hash(video_id: str) -> int:
    """CRC-32 of the ID. Unlike `hash()`, equal in every process."""
    return crc32(video_id.encode(errors="surrogatepass"))


class Gap(NamedTuple):
    """A page that does not follow on the one before, of which `overlap` rows came again: the list changed."""

    page_num: int
    overlap: int


class Match(NamedTuple):
    """A seller whose first page is that of an earlier snapshot, which has `rows` videos of it.

    `carried`: the rest is taken from there; else it is crawled to audit the matching.
    """

    source: date
    rows: int
    carried: bool


class KnownFirstPage(NamedTuple):
    """The digest of a seller's first page in an earlier snapshot, and what follows where it is the same."""

    digest: int
    match: Match


@dataclass(frozen=True, slots=True)
class PageNotes:
    """What a page showed beyond its rows; `repaired_beyond`: all gaps after this page are repaired."""

    gaps: tuple[Gap, ...] = ()
    repaired_beyond: int | None = None
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
    """A page's rows as columns: one of `values` for each of `API_COLUMNS` and `extra`; `places` from 1."""

    places: list[int]
    values: dict[str, list[Any]]
    rejects: list[Reject]


@dataclass(frozen=True, slots=True)
class RowBatch:
    """The rows of some pages as a table of `api.columns.ROW_SCHEMA`, and rejects with their page, from 0."""

    rows: Any
    rejects: list[tuple[int, Reject]]
