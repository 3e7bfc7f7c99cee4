"""A journal made anew of a published snapshot's sellers, once the pages that were kept of it are in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from datetime import date

from crawler.models.seller import StopReason
from crawler.store import journal_sql as sql
from crawler.store.checksums import with_checksum
from crawler.store.journal import Journal
from crawler.store.previous_crawls import take_over
from crawler.store.records import SellerSummary


def restore_sellers(journal: Journal, sellers: Iterable[SellerSummary], day: date) -> tuple[int, list[str]]:
    """Note how a snapshot's sellers ended beside their pages; returns how many are whole, and the others.

    A seller that lacks a page, or whose rows were carried or are of an earlier crawl, is to be published with
    the rows that the snapshot has of it.
    """
    whole, others = 0, list[str]()
    journal.sort_pages()
    with journal.changing() as db:
        for seller in sellers:
            if _is_whole(db, seller):
                whole += 1
                _note_ending(db, seller)
                continue
            take_over(db, seller, day, is_final=True)
            if (attempt := seller.attempt) is not None:
                ended = (seller.seller_id, attempt.status, attempt.stop_reason, attempt.error, 0)
                db.execute(sql.END_SELLER, with_checksum((*ended, seller.run_id or "")))
            if seller.matched_videos:
                others.append(seller.seller_id)
        db.execute(sql.SET_PREVIOUS_CHECKSUMS)
    return whole, others


def _is_whole(db: sqlite3.Connection, seller: SellerSummary) -> bool:
    """Whether every page of a seller is there, and all its rows come from these."""
    is_carried = seller.stop_reason is StopReason.CARRIED or seller.rows != seller.matched_videos
    if seller.attempt is not None or is_carried or not seller.pages:
        return False
    found = db.execute(sql.READ_SPAN, (seller.seller_id,)).fetchone()
    return bool(found == (seller.pages, seller.first_crawled_at, seller.last_crawled_at))


def _note_ending(db: sqlite3.Connection, seller: SellerSummary) -> None:
    """Note of a seller what its pages do not say: how it ended, what it cost, and the gaps between them."""
    own, name = seller.credits - seller.other_credits, seller.seller_id
    db.execute(sql.ADD_COST, with_checksum((name, own)))
    if seller.other_credits:
        db.execute(sql.KEEP_COST, with_checksum((name, 0, seller.other_credits)))
    if seller.stop_reason is not None:
        ended = (name, seller.status, seller.stop_reason, seller.error, 0, seller.run_id)
        db.execute(sql.END_SELLER, with_checksum(ended))
    db.executemany(sql.SET_GAP, map(with_checksum, _gaps(seller)))


def _gaps(seller: SellerSummary) -> Iterator[tuple[str, int, int, int]]:
    """Gaps that have the seller's overlap and drift in sum; between which pages they were is not known."""
    for number in range(max(seller.drift, bool(seller.overlap))):
        yield seller.seller_id, number, 0 if number else seller.overlap, int(number >= seller.drift)
