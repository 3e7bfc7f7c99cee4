"""What the journal takes and returns, as values: what is known of a page, a segment or a seller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from functools import lru_cache
from math import inf
from typing import Any, NamedTuple

import orjson

from crawler.models.page import NO_NOTES, Page, PageNotes
from crawler.models.seller import Ending, SellerStatus, StopReason
from crawler.models.stretches import LastRead, oldest
from crawler.store.checksums import with_checksum

FAILED_BATCH, TAKEN_BATCH = 0, -1
"""See `PreviousCrawl`; numbers from 1 are those of `--fresh` crawls that have not ended."""

_TEXTS_KEPT = 4096
"""Most sellers have one stretch, and so one of as many texts as there were nights."""


class Record(NamedTuple):
    """What one group commit writes for one seller: a page, an ending, both, or only what it cost."""

    seller_id: str
    run_id: str
    credits: int
    page: Page | None
    ending: Ending | None
    notes: PageNotes = NO_NOTES


class StoredPage(NamedTuple):
    """A page as segments are built from it; `seq` counts pages in the order received."""

    seq: int
    seller_id: str
    page_num: int
    received_at: int
    request_id: str
    run_id: str
    body: bytes


def blocks(pages: Iterable[StoredPage], max_bytes: int, max_pages: float = inf) -> Iterator[list[StoredPage]]:
    """Pages in their order, in lists that end once they have so many bytes of bodies, or so many pages."""
    block: list[StoredPage] = []
    size = 0
    for page in pages:
        block.append(page)
        size += len(page.body)
        if size >= max_bytes or len(block) >= max_pages:
            yield block
            block, size = [], 0
    if block:
        yield block


class Segment(NamedTuple):
    """The rows of the pages `first_seq` to `last_seq`, how many were rejected, and its pieces' checksums."""

    name: str
    first_seq: int
    last_seq: int
    rejected: int
    pieces: str


class Base(NamedTuple):
    """What stands for a seller as far as no page of it is received: its rows of the snapshot of `source`.

    It has `videos` rows there, without those crawled for a date before `since`: of these every page was read
    again since. `last_read` is what is known of its stretches, `rates` how much each is expected to gain in a
    night; see `models.stretches`.
    """

    source: date
    videos: int
    last_read: LastRead
    rates: Sequence[float]
    since: date | None = None

    @property
    def oldest(self) -> date | None:
        """When the stretch was read that was read longest ago; None where none ever was."""
        return oldest(self.last_read)

    @property
    def status(self) -> SellerStatus:
        """How complete it is."""
        return SellerStatus.PARTIAL if None in self.last_read else SellerStatus.COMPLETE


@lru_cache(_TEXTS_KEPT)
def last_read_of(stretches: str) -> LastRead:
    """When each stretch was last read, by the text that the journal and `sellers/` have of it."""
    return [day and date.fromisoformat(day) for day in orjson.loads(stretches)]


def text_of(last_read: LastRead) -> str:
    """The text that `last_read_of` reads."""
    return orjson.dumps([day and day.isoformat() for day in last_read]).decode()


def base_row(seller_id: str, base: Base) -> tuple[Any, ...]:
    """A base as the journal keeps it."""
    since, rates = base.since and base.since.isoformat(), orjson.dumps([*base.rates]).decode()
    values = (seller_id, base.source.isoformat(), base.videos, since, text_of(base.last_read), rates)
    return with_checksum(values)


class SellerSummary(NamedTuple):
    """A seller as the journal knows it: times in epoch milliseconds, `size` in bytes of JSON.

    No video that its pages do not hold is worth more than `max_remaining_value`, by what the API sorts by;
    None where that is not known. `overlap`: rows that came again on the next page, as the list moved.
    `drift`: gaps that were not repaired. `matched`: the snapshot with the same first page, and how many
    videos it has. `missing`: the first page that was not received.

    Its pages are those received after the page `after`, up to the page `upto` where that is set. `credits`
    counts all that was spent on the seller for this date, `other_credits` what of it went to other crawls of
    the seller. `is_published`: its rows are those of the date's snapshot as it was published, from `matched`.
    `previous`: the crawl whose rows are published in place of this one's. `attempt`: how the crawl that was
    to replace these rows has gone. `base`: what stands for it; None where it was read to its end.
    """

    seller_id: str
    status: SellerStatus
    stop_reason: StopReason | None
    pages: int
    credits: int
    error: str | None
    first_crawled_at: int | None
    last_crawled_at: int | None
    run_id: str | None
    rows: int
    size: int
    max_remaining_value: float | None
    overlap: int
    drift: int
    matched: date | None
    matched_videos: int
    missing: int
    after: int = 0
    upto: int | None = None
    other_credits: int = 0
    is_published: bool = False
    previous: PreviousCrawl | None = None
    attempt: Attempt | None = None
    base: Base | None = None

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> SellerSummary:
        """A summary as the journal's queries return it."""
        seller_id, status, reason, *rest, source, videos, missing = row
        begun = SellerStatus.PARTIAL if rest[0] else SellerStatus.PENDING
        known = begun if status is None else SellerStatus(status)
        stopped = None if reason is None else StopReason(reason)
        matched = None if source is None else date.fromisoformat(source)
        values: list[Any] = [seller_id, known, stopped, *rest, matched, videos, missing]
        return cls(*values)

    @property
    def is_carried(self) -> bool:
        """Whether its rows beyond the first page are those of the snapshot that it matched."""
        return self.stop_reason is StopReason.CARRIED and not self.is_published

    @property
    def is_renewing(self) -> bool:
        """Whether `--fresh` goes on with this crawl of the seller, since it has not succeeded yet."""
        return self.previous is not None and self.previous.batch >= FAILED_BATCH

    def on(self, base: Base) -> SellerSummary:
        """The seller where `base` stands for what was not read."""
        if self.status is SellerStatus.COMPLETE:
            return self
        if self.status is SellerStatus.FAILED:
            return self._replace(base=base)
        return _carried(self, base)

    def with_ages(self, stretches: str | None, drift: float) -> SellerSummary:
        """A seller of a published snapshot, with how old its rows are, by its row of `sellers/`."""
        if stretches is None or self.matched is None:
            return self
        day, last_read = self.matched, last_read_of(stretches)
        nights = sum((day - each).days for each in last_read if each is not None)
        # Only their sum is known.
        rates = [drift / max(1, nights)] * len(last_read)
        return self._replace(base=Base(day, self.matched_videos, last_read, rates))

    @property
    def shown(self) -> SellerSummary:
        """The crawl of the seller whose rows are to be published."""
        if self.previous is None and self.base is not None and self.status is SellerStatus.FAILED:
            attempt = Attempt(self.status, self.stop_reason, self.error)
            return _carried(self, self.base)._replace(error=None, attempt=attempt)
        if self.previous is None:
            return self
        kept, batch = self.previous
        kept = kept.shown._replace(credits=self.credits, other_credits=self.credits - kept.credits)
        failed = batch == FAILED_BATCH
        return kept._replace(attempt=Attempt(self.status, self.stop_reason, self.error)) if failed else kept


def _carried(seller: SellerSummary, base: Base) -> SellerSummary:
    """A seller whose rows beside those received are those of its base."""
    return seller._replace(
        status=base.status,
        stop_reason=StopReason.CARRIED,
        base=base,
        matched=base.source,
        matched_videos=base.videos,
    )


class PreviousCrawl(NamedTuple):
    """A crawl of a seller that another one is to replace, together with all others of its `batch`.

    In `FAILED_BATCH` are the sellers whose new crawl failed, in `TAKEN_BATCH` those that were taken over
    from the date's snapshot: of these each is replaced by itself.
    """

    seller: SellerSummary
    batch: int


class Attempt(NamedTuple):
    """How the crawl of a seller has gone that was to replace its published rows."""

    status: SellerStatus
    stop_reason: StopReason | None
    error: str | None


class PageFacts(NamedTuple):
    """Sellers by their pages, each as how many of how many.

    `short_first`: with a first page of 1 to 9 rows, of those whose second page has rows. `shared`: with a
    page that has the same video IDs as a page of another seller, and several if it is not the first one, of
    those whose first page has rows that could be kept.
    """

    short_first: tuple[int, int]
    shared: tuple[int, int]
