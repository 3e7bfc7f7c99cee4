"""Choosing by `--strategy freshest`: which stretches are read, and what stands for the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import orjson

from crawler import events
from crawler.history.bases import KnownSnapshot, bases
from crawler.history.pins import NoDigestsError, pinned
from crawler.history.reader import SnapshotFiles, UnreadableError, published_dates
from crawler.models.api import PAGE_SIZE
from crawler.models.page import Page
from crawler.models.seller import PageRange, SellerProgress
from crawler.nightly.opening import Opened
from crawler.planning.rates import learnt_rates
from crawler.planning.visits import NewSeller, joined, visits
from crawler.rules.freshness import choose
from crawler.store.layout import SELLERS, VIDEOS


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be read tonight: sellers in the order in which they are asked for, each at its first page.

    `last` is read with the credits that they leave. `depths`: how many full pages those have that are read
    whole. `overdue` stretches stay older than
    `--max-age`; `bearable_budget` is the smallest budget with which none would.
    """

    sellers: list[SellerProgress]
    last: SellerProgress | None
    depths: Mapping[str, int]
    overdue: int
    bearable_budget: int


def stand_on_bases(opened: Opened) -> None:
    """Note in the journal what stands for each listed seller until it is read.

    The snapshots that rows may be taken from are pinned. Raises `OutputError` where that fails.
    """
    night, journal = opened.night, opened.journal
    left = night.listed.without(journal.carried.with_base()).ids
    if not len(left):
        return
    max_age = night.run.max_age
    found = dict(bases(_snapshots(opened), left, night.crawl_date, max_age))
    learnt = learnt_rates(night.data, night.crawl_date, found, night.run.value)
    for warning in learnt.warnings:
        opened.notes.add(warning)
    journal.carried.stand_on(
        (seller_id, base._replace(rates=learnt.rates[seller_id])) for seller_id, base in found.items()
    )
    journal.note(new_seller=orjson.dumps([*learnt.new]).decode())


def _snapshots(opened: Opened) -> Iterator[KnownSnapshot]:
    """The snapshots before the crawl date that rows can be taken from, newest first; each is pinned."""
    night, oldest = opened.night, opened.night.crawl_date - timedelta(opened.night.settings.history.window)
    for day in published_dates(night.data):
        if not oldest <= day < night.crawl_date:
            continue
        try:
            pin = pinned(opened.journal, night.data, day)
        except NoDigestsError:
            opened.notes.add(
                events.CARRY_UNVERIFIABLE(crawl_dates=[day.isoformat()], folder=night.layout.state)
            )
            continue
        except UnreadableError as error:
            opened.notes.add(events.CARRY_UNREADABLE(crawl_date=day, reason=error))
            continue
        if pin is None:
            continue
        sellers, damaged_sellers = pin.check(SELLERS)
        videos, damages = pin.check(VIDEOS)
        for damage in (*damaged_sellers, *damages):
            opened.notes.add(events.CARRY_DAMAGED(damage=damage))
        files = (SnapshotFiles(tuple(good)) for good in (sellers, videos))
        yield KnownSnapshot(day, next(files), next(files), bool(damages))


def choose_to_read(opened: Opened, budget: int) -> Chosen:
    """Choose what a budget buys tonight of the listed sellers that were not read whole yet."""
    night, journal = opened.night, opened.journal
    ids = [*night.listed.without(journal.carried.read_whole())]
    received = {
        seller_id: {p.page_num: p for p in pages} for seller_id, pages in journal.carried.unfinished()
    }
    known = journal.carried.bases()
    found = visits(
        ids,
        known,
        {
            seller_id: {n: _rows_of(page) for n, page in pages.items()}
            for seller_id, pages in received.items()
        },
        NewSeller(*orjson.loads(journal.meta("new_seller") or "[]")),
        night.crawl_date,
        night.run.max_age,
    )
    choice = choose(found.stretches, budget, night.run.max_age)
    by_seller: dict[int, list[PageRange]] = {}
    for number in choice.chosen:
        by_seller.setdefault(found.stretches[number].seller, []).append(found.pages[number])
    sellers = [
        _progress(ids[seller], joined(pages), received.get(ids[seller], {}))
        for seller, pages in by_seller.items()
    ]
    is_more = sum(found.stretches[number].cost for number in choice.chosen) > budget
    last = sellers.pop() if is_more and len(sellers) > 1 else None
    whole = (s.seller_id for s in sellers if not s.stretches and s.seller_id in known)
    depths = {seller_id: known[seller_id].videos // PAGE_SIZE for seller_id in whole}
    return Chosen(sellers, last, depths, len(choice.overdue), choice.bearable_budget)


def _rows_of(page: Page) -> int:
    """Rows of a page; one of which some were rejected counts as full, since it ends no list."""
    return max(PAGE_SIZE, page.row_count or 0) if page.rejected else page.row_count or 0


def _progress(seller_id: str, stretches: Sequence[PageRange], received: Mapping[int, Page]) -> SellerProgress:
    """A seller at the first page of its stretches, with the pages before it that were received tonight."""
    first = stretches[0].first
    while first - 1 in received:
        first -= 1
    progress = SellerProgress(seller_id, next_page=first)
    for page_num in range(first, stretches[0].first):
        progress.received(received[page_num])
    is_whole = first == 1 and len(stretches) == 1 and stretches[0].last is None
    return progress if is_whole else replace(progress, stretches=tuple(stretches))
