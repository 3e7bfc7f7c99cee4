"""A journal's sellers: which have ended, which go on or are carried, and what each has in sum."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime
from itertools import compress, groupby, starmap
from math import inf
from operator import itemgetter
from typing import Any

import orjson
import pyarrow as pa

from crawler.models.api import MAX_PAGE_NUM, PAGE_SIZE
from crawler.models.page import Gap, Page
from crawler.models.seller import SellerProgress, StopRule
from crawler.models.stretches import read_since
from crawler.store import journal_sql as sql
from crawler.store.bases import Bases
from crawler.store.journal_database import JournalDatabase
from crawler.store.layout import JournalFiles
from crawler.store.previous_crawls import PreviousCrawls
from crawler.store.records import Base, PageFacts, SellerSummary, base_row, last_read_of

_NO_PREVIOUS = (None, False)


class SellerStates:
    """A journal's sellers by how far they have come."""

    def __init__(self, database: JournalDatabase) -> None:
        self._database = database

    def reopen(
        self,
        listed: Callable[[list[str]], list[bool]],
        *,
        retry_refused: bool = False,
        max_pages: int = MAX_PAGE_NUM,
        min_value: float | None = None,
        stop: StopRule = StopRule.SHORT,
    ) -> None:
        """Let listed sellers go on whose reason to end no longer holds; `top` always: K may be another."""
        values = {
            "retry_refused": retry_refused,
            "max_pages": max_pages,
            "min_value": min_value,
            "stop": stop,
        }
        self._database.sort_pages()
        # All are found before any is changed: a query may miss what is deleted under it.
        ended = list(self._database.ids(sql.SELLERS_TO_REOPEN, values))
        with self._database.changing() as db:
            for some in ended:
                ids: list[Any] = some.to_pylist()
                db.executemany(sql.REOPEN, [(i,) for i in compress(ids, listed(ids))])

    @property
    def has_endings(self) -> bool:
        """Whether any seller has ended."""
        return bool(self._database.one(sql.ANY_ENDED))

    def settled(self) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers that have ended, and that no later run of itself tries again."""
        return self._database.ids(sql.SETTLED)

    def refused(self) -> Iterator[pa.Array[Any]]:
        """IDs of the failed sellers that only `retry_refused` opens again."""
        return self._database.ids(sql.REFUSED)

    def answered(self) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers that have a page or have ended."""
        return self._database.ids(sql.ANSWERED)

    def answered_after(self, seq: int) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers that have a page that came after the one numbered `seq`."""
        return self._database.ids(sql.ANSWERED_AFTER, {"after": seq})

    def known(self) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers that have a summary: those, and any that cost something."""
        return self._database.ids(sql.KNOWN)

    def ended(self) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers that need no further page."""
        return self._database.ids(sql.ENDED)

    def begun(self, *, carried: bool = False) -> Iterator[SellerProgress]:
        """Sellers with pages that have not ended, or are `carried`; of a page's readings the last counts."""
        self._database.sort_pages()
        drifted = {row[0] for row in self._database.connection.execute(sql.SELLERS_WITH_GAPS)}
        found = self._database.connection.execute(sql.BEGUN, {"carried": carried})
        for seller_id, rows in groupby(found, key=itemgetter(0)):
            progress = SellerProgress(seller_id, drifted=seller_id in drifted)
            for page in map(_page, rows):
                if page.page_num == progress.next_page:
                    progress.received(page)
                else:
                    progress.early_pages = {**(progress.early_pages or {}), page.page_num: page}
            yield progress

    def drifted(self, seller_id: str) -> tuple[list[Gap], dict[int, int]]:
        """The gaps of a seller that are not repaired, and the fingerprint of each of its pages.

        As first read: a repair that was broken off begins again.
        """
        self._database.sort_pages()
        db = self._database.connection
        gaps = [Gap(*row) for row in db.execute(sql.GAPS_OF_SELLER, (seller_id,))]
        return gaps, dict(db.execute(sql.FINGERPRINTS, (seller_id,)).fetchall())

    def to_repair(self) -> list[str]:
        """Sellers that are complete, but for gaps that are not repaired."""
        return [row[0] for row in self._database.connection.execute(sql.COMPLETE_WITH_GAPS)]


def _page(row: tuple[Any, ...]) -> Page:
    """A page without its body, from a row of `BEGUN`."""
    seller_id, page_num, row_count, fingerprint, total, last_value, last_hash, rejected, _ = row
    known = (seller_id, page_num, b"", row_count, fingerprint, 0, "", total, last_value)
    return Page(*known, stored_last_id_hash=last_hash, rejected=rejected)


class CarriedSellers:
    """A journal's sellers of which rows are taken from earlier snapshots, and what is left to read."""

    def __init__(self, database: JournalDatabase) -> None:
        self._database = database

    def matched_days(self) -> list[date]:
        """The crawl dates of the snapshots that sellers are carried from or compared with."""
        return [date.fromisoformat(row[0]) for row in self._database.connection.execute(sql.MATCHED_DAYS)]

    def of_day(self, day: date) -> dict[str, int]:
        """The sellers that are carried from a snapshot, and how many videos each has there."""
        found = self._database.connection.execute(sql.CARRIED_OF_DAY, {"day": day.isoformat()})
        return dict(found.fetchall())

    def stand_on(self, bases: Bases) -> None:
        """Note what stands for sellers, in one transaction; of a seller that has a base the first counts."""
        with self._database.changing() as db:
            db.executemany(sql.ADD_BASE, starmap(base_row, bases.items()))

    def mean_pages(self, most: int) -> float | None:
        """Pages of the sellers whose first page was received, on average, at most so many each."""
        mean: float | None = self._database.connection.execute(sql.MEAN_PAGES, {"most": most}).fetchone()[0]
        return mean

    def with_base(self) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers that something stands for."""
        return self._database.ids(sql.WITH_BASE)

    def bases(self) -> Bases:
        """What stands for each seller."""
        found = Bases()
        for seller_id, source, videos, stretches, rates in self._database.connection.execute(sql.BASES):
            found.add(seller_id, date.fromisoformat(source), videos, stretches)
            found.add_rates(orjson.loads(rates))
        return found

    def unfinished(self) -> Iterator[tuple[str, list[Page]]]:
        """The pages of each seller that has some and has not ended; of a page's readings the last counts."""
        self._database.sort_pages()
        found = self._database.connection.execute(sql.BEGUN, {"carried": True})
        for seller_id, rows in groupby(found, key=itemgetter(0)):
            yield seller_id, [*map(_page, rows)]

    def read_whole(self) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers that have ended, and are not carried."""
        return self._database.ids(sql.NOT_CARRIED)

    @property
    def has_bases(self) -> bool:
        """Whether anything stands for sellers that are not read."""
        return bool(self._database.one(sql.ANY_BASE))

    def since(self) -> dict[str, date]:
        """Of which sellers only rows are taken that were crawled for this date or a later one."""
        found = self._database.connection.execute(sql.BASES_SINCE)
        return {seller_id: date.fromisoformat(since) for seller_id, since in found}

    def give_up(self, ids: Iterable[str]) -> None:
        """Let sellers go on that were carried."""
        lost = [(seller_id,) for seller_id in ids]
        with self._database.changing() as db:
            for statement in sql.GIVE_UP_CARRIED:
                db.executemany(statement, lost)


class JournalReader:
    """Sums over a journal's pages; the journal may be written meanwhile."""

    def __init__(self, database: JournalDatabase, previous: PreviousCrawls) -> None:
        self._database = database
        self._previous = previous

    def summaries(self) -> Iterator[SellerSummary]:
        """Every seller that the journal knows, by seller_id, as it is being crawled."""
        self._database.sort_pages()
        all_previous = self._previous.all()
        previous, is_final = next(all_previous, _NO_PREVIOUS)
        found = self._database.connection.execute(sql.ALL_SUMMARIES)
        for *values, after, earlier, gaps, source, videos, stretches, rates in found:
            summary = SellerSummary.of_row(values)
            base = None if source is None else _base(source, videos, stretches, rates)
            if base is not None:
                summary = self._on_base(summary, base, sql.STRETCH_PAGES)
            summary = self._up_to_gap(summary) if gaps else summary
            summary = summary._replace(after=after, credits=summary.credits + earlier, other_credits=earlier)
            if previous is not None and previous.seller.seller_id == summary.seller_id:
                if previous.seller.upto is None:
                    previous = previous._replace(seller=previous.seller._replace(upto=after))
                if base is not None:
                    kept = self._on_base(previous.seller, base, sql.PREVIOUS_STRETCH_PAGES)
                    previous = previous._replace(seller=kept)
                summary = summary._replace(previous=previous)
                summary = summary.shown if is_final else summary
                previous, is_final = next(all_previous, _NO_PREVIOUS)
            yield summary

    def _up_to_gap(self, seller: SellerSummary) -> SellerSummary:
        """A seller whose pages have gaps: only those before the first one limit what may be missing."""
        most: float | None = inf
        wanted = 1
        rows = self._database.connection.execute(sql.LAST_VALUES, (seller.seller_id,))
        for page_num, last_value in rows:  # pragma: no branch - the first gap ends it
            if page_num > wanted:
                break
            most = None if most is None or last_value is None else min(most, last_value)
            wanted = page_num + 1
        return seller._replace(max_remaining_value=most if wanted > 1 else None, missing=wanted)

    def page_sizes(self, after: str, last: str, *, shown: bool = False) -> Iterator[tuple[str, int, int]]:
        """Seller, number and rows of each page of the sellers above `after`, up to `last`, in that order.

        Of a seller the crawl under way counts, or with `shown` the one that is to be published; of a page
        that was received more than once, the longest reading.
        """
        self._database.sort_pages()
        values = {"after": after, "last": last, "shown": shown}
        yield from self._database.connection.execute(sql.PAGE_SIZES, values)

    def _on_base(self, summary: SellerSummary, base: Base, pages: str) -> SellerSummary:
        """A seller with what stands for it, and with what its pages add to that; `pages` asks for them."""
        crawl_date = date.fromisoformat(JournalFiles(self._database.path).crawl_date)
        if base.source == crawl_date or summary.is_published:
            # What stands for the rows of the date's own snapshot, once its journal is lost.
            is_of_it = base.source == crawl_date and summary.is_published
            return summary._replace(base=base) if is_of_it else summary
        if summary.pages:
            values = {"seller_id": summary.seller_id, "size": PAGE_SIZE}
            found = self._database.connection.execute(pages, values)
            rows = {page_num: count for page_num, count, _ in found}
            base = base._replace(last_read=read_since(base.last_read, rows, crawl_date))
        return summary.on(base)

    @property
    def has_long_pages(self) -> bool:
        """Whether the API sent more rows on some page than a page is to have."""
        return max(map(self._database.one, sql.LONGEST_PAGES)) > PAGE_SIZE

    def page_facts(self) -> PageFacts:
        """Sellers by their pages; those of crawls that others are to replace do not count."""
        self._database.sort_pages()
        db = self._database.connection
        short = db.execute(sql.SHORT_FIRST_PAGES, {"size": PAGE_SIZE}).fetchone()
        return PageFacts(short, db.execute(sql.SHARED_PAGES).fetchone())

    def first_pages_after(self, seq: int) -> Iterator[tuple[int, str, int, int, int]]:
        """First pages that came after the one numbered `seq`, in the order received.

        Of each its number, its seller, how many of its rows can be kept, its fingerprint, and when it came,
        in milliseconds.
        """
        yield from self._database.connection.execute(sql.FIRST_PAGES_AFTER, (seq,))

    def with_shared_pages(self) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers that `PageFacts.shared` counts."""
        return self._database.ids(sql.WITH_SHARED_PAGES)

    def pages(self, ids: Iterable[str]) -> int:
        """How many pages of some sellers were received."""
        db = self._database.connection
        return sum(db.execute(sql.COUNT_PAGES, (seller_id,)).fetchone()[0] for seller_id in ids)

    def credits(self) -> int:
        """Credits that are known to have been spent on this generation."""
        return self._database.one(sql.CREDITS)

    @property
    def last_received(self) -> str | None:
        """When the last page came, as an ISO time; None where there is no page."""
        found = self._database.one(sql.LAST_RECEIVED)
        return None if found < 0 else datetime.fromtimestamp(found / 1000, UTC).isoformat()


def _base(source: str, videos: int, stretches: str, rates: str) -> Base:
    return Base(date.fromisoformat(source), videos, last_read_of(stretches), orjson.loads(rates))
