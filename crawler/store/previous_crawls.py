"""Crawls of sellers that `--fresh` replaces: their rows stay published until the new crawl has ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import pyarrow as pa

from crawler.store import journal_sql as sql
from crawler.store.checksums import with_checksum
from crawler.store.journal_database import JournalDatabase
from crawler.store.records import FAILED_BATCH, TAKEN_BATCH, PreviousCrawl, SellerSummary, base_row


class PreviousCrawls:
    """A journal's previous crawls, one for each seller that is crawled anew."""

    def __init__(self, database: JournalDatabase) -> None:
        self._database = database

    def all(self) -> Iterator[tuple[PreviousCrawl, bool]]:
        """The previous crawls that are published, by seller_id, and whether each is final."""
        for *values, after, upto, snapshot, batch, final in self._database.connection.execute(
            sql.PREVIOUS_CRAWLS
        ):
            seller = SellerSummary.of_row(values)._replace(
                after=after, upto=upto, is_published=bool(snapshot)
            )
            yield PreviousCrawl(seller, batch), bool(final)

    def renew(self, listed: Iterable[pa.Array[Any]]) -> None:
        """Crawl sellers anew: each is published as it is until all of them have ended.

        Every page must be in a segment. A seller whose new crawl has not succeeded yet goes on with that.
        """
        with self._changing(listed) as db:
            is_published = self._database.meta("published_mark") == self._database.mark()
            batch = self._database.one(sql.NEWEST_BATCH) + 1
            for statement in sql.RENEW:
                db.execute(statement, {"batch": batch, "last_seq": self._database.last_seq})
            db.execute(sql.SET_PREVIOUS_CHECKSUMS)
            if is_published:
                self._database.set_meta({"published_mark": self._database.mark()})

    def forget(self, sellers: Iterable[pa.Array[Any]], wholly: Sequence[str] = (), **facts: str) -> None:
        """Forget the crawl under way of sellers that are not believed; note facts beside that.

        They are asked again; what they cost stays counted. Of the sellers `wholly`, which are to be among
        them, the previous crawl is forgotten too. Every page must be in a segment.
        """
        with self._changing([pa.array(wholly, pa.string())]) as db:
            db.execute(sql.FORGET_PREVIOUS)
            db.execute(sql.DELETE_PREVIOUS_PAGES)
            _list(db, sellers)
            for statement in sql.FORGET:
                db.execute(statement, {"last_seq": self._database.last_seq})
            self._database.set_meta(facts)

    @contextmanager
    def _changing(self, listed: Iterable[pa.Array[Any]]) -> Iterator[sqlite3.Connection]:
        """A transaction with the tables `listed`, of these sellers, and `moved`, of none."""
        self._database.sort_pages()
        with self._database.changing() as db:
            for name in ("listed", "moved"):
                db.execute(f"CREATE TEMP TABLE {name} (seller_id TEXT PRIMARY KEY) WITHOUT ROWID")
            _list(db, listed)
            yield db
            for name in ("listed", "moved"):
                db.execute(f"DROP TABLE {name}")

    def replace(self) -> None:
        """Let crawls that have ended take the place of the previous ones; where one failed, those stay."""
        with self._database.changing() as db:
            for statement in sql.REPLACE_PREVIOUS:
                db.execute(statement, {"failed": FAILED_BATCH, "taken": TAKEN_BATCH})
            db.execute(sql.SET_PREVIOUS_CHECKSUMS)

    def crawled_anew(self, ids: Iterable[str]) -> dict[str, list[set[int]]]:
        """Of sellers crawled anew to their end: the numbers of their pages now and before.

        By these rows of segments can be compared. Where some pages were left out before, as by `--strategy
        freshest`, they are of those now as well.
        """
        found, db = dict[str, list[set[int]]](), self._database.connection
        for seller_id in ids:
            if db.execute(sql.HAS_ENDED, (seller_id,)).fetchone()[0]:
                now, then = (dict(db.execute(query, (seller_id,))) for query in sql.PAGE_NUMBERS)
                last, read = max(then.values(), default=0), {*then.values()}
                found[seller_id] = [{seq for seq, n in now.items() if n in read or n > last}, {*then}]
        return found

    def take_over(self, sellers: Iterable[tuple[SellerSummary, bool]], source: date, **facts: str) -> None:
        """Know sellers of the date's snapshot whose pages are in no journal; note facts beside them.

        Each comes with whether it is final: it needs no further page. `source` is the snapshot's date.
        """
        with self._database.changing() as db:
            for seller, is_final in sellers:
                take_over(db, seller, source, is_final=is_final)
            db.execute(sql.SET_PREVIOUS_CHECKSUMS)
            self._database.set_meta(facts)

    def lose_pages(self, pages: Iterable[int]) -> None:
        """Forget, in the transaction that is open, damaged pages of previous crawls."""
        db = self._database.connection
        for seq in pages:
            row = db.execute(sql.SELLER_OF_PREVIOUS_PAGE, (seq,)).fetchone()
            if row is not None:
                db.execute(sql.DELETE_PREVIOUS_PAGE, (seq,))
                db.execute(sql.COUNT_PREVIOUS_PAGES, row)
        db.execute(sql.SET_PREVIOUS_CHECKSUMS)

    def hidden(self) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers whose new crawl is published only when all that began with it have ended."""
        return self._database.ids(sql.HIDDEN)

    @property
    def has_renewed(self) -> bool:
        """Whether any seller was crawled anew, so that segments hold rows that are not published."""
        return bool(self._database.one(sql.ANY_RENEWED))

    def is_shown(self, seller_id: str, last_seq: int) -> bool:
        """Whether rows of a seller in the segment up to `last_seq` are of the crawl that is published."""
        begun, after = self._database.connection.execute(sql.SHOWN_RANGE, {"id": seller_id}).fetchone()
        begun = begun or 0
        return last_seq > begun if after is None else after < last_seq <= begun


def take_over(db: sqlite3.Connection, seller: SellerSummary, source: date, *, is_final: bool) -> None:
    """Know, in a transaction that is open, a seller of a snapshot; checksums are to be set after it."""
    batch = TAKEN_BATCH if seller.attempt is None else FAILED_BATCH
    known = {"batch": batch, "source": source.isoformat(), "final": is_final}
    own_credits = seller.credits - seller.other_credits
    db.execute(sql.TAKE_OVER, {**seller._asdict(), **known, "own_credits": own_credits})
    if seller.base is not None and is_final:
        db.execute(sql.ADD_BASE, base_row(seller.seller_id, seller.base))
    db.execute(sql.KEEP_COST, with_checksum((seller.seller_id, 0, seller.credits)))


def _list(db: sqlite3.Connection, sellers: Iterable[pa.Array[Any]]) -> None:
    for ids in sellers:
        db.executemany("INSERT OR IGNORE INTO listed VALUES (?)", ((i,) for i in ids.to_pylist()))
