"""What a journal holds, summed up: by seller for publishing and plans, and in all for the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import inf

from crawler.models.api import PAGE_SIZE
from crawler.store import journal_sql as sql
from crawler.store.former_crawls import FormerCrawls
from crawler.store.journal_database import JournalDatabase
from crawler.store.journal_meta import mark
from crawler.store.records import SellerSummary


class JournalReader:
    """Sums over a journal's pages; the journal may be written meanwhile."""

    def __init__(self, database: JournalDatabase, former: FormerCrawls) -> None:
        self._database = database
        self._former = former

    def summaries(self) -> Iterator[SellerSummary]:
        """Every seller that the journal knows, by seller_id, as it is being crawled."""
        self._database.sort_pages()
        formers = self._former.all()
        former = next(formers, None)
        for *values, after, earlier, gaps in self._database.connection.execute(sql.ALL_SUMMARIES):
            summary = SellerSummary.of_row(values)
            summary = self._up_to_gap(summary) if gaps else summary
            summary = summary._replace(after=after, credits=summary.credits + earlier, other_credits=earlier)
            if former is not None and former[0].seller.seller_id == summary.seller_id:
                (kept, is_final), former = former, next(formers, None)
                kept = kept._replace(seller=kept.seller._replace(upto=after))
                summary = summary._replace(former=kept)
                summary = summary.shown if is_final else summary
            yield summary

    def _up_to_gap(self, seller: SellerSummary) -> SellerSummary:
        """A seller whose pages have gaps: only those before the first one bound what is missing."""
        bound: float | None = inf
        wanted = 1
        for page_num, least in self._database.connection.execute(sql.LAST_VALUES, (seller.seller_id,)):
            if page_num > wanted:
                break
            bound = None if bound is None or least is None else min(bound, least)
            wanted = page_num + 1
        return seller._replace(bound=bound if wanted > 1 else None, missing=wanted)

    def page_sizes(self, after: str, last: str, *, shown: bool = False) -> Iterator[tuple[str, int, int]]:
        """Seller, number and rows of each page of the sellers above `after`, up to `last`, in that order.

        Of a seller the crawl under way counts, or with `shown` the one that is to be published; of a page
        that was received more than once, the longest reading.
        """
        self._database.sort_pages()
        values = {"after": after, "last": last, "shown": shown}
        yield from self._database.connection.execute(sql.PAGE_SIZES, values)

    @property
    def has_long_pages(self) -> bool:
        """Whether the API sent more rows on some page than a page is to have."""
        return max(map(self._database.one, sql.LONGEST_PAGES)) > PAGE_SIZE

    def credits(self) -> int:
        """Credits that are known to have been spent on this generation."""
        return self._database.one(sql.CREDITS)

    @property
    def last_received(self) -> str | None:
        """When the last page came, as an ISO time; None where there is no page."""
        found = self._database.one(sql.LAST_RECEIVED)
        return None if found < 0 else datetime.fromtimestamp(found / 1000, UTC).isoformat()

    def mark(self) -> str:
        """A text that differs where what is to be published differs: equal marks, equal snapshot."""
        return mark(self._database)
