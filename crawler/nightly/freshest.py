"""Choosing by `--strategy freshest`: which stretches are read, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import orjson
import pyarrow as pa

from crawler.models.api import PAGE_SIZE
from crawler.models.page import Page
from crawler.models.seller import PageRange, SellerProgress
from crawler.models.stretches import STRETCH_PAGES
from crawler.nightly.opening import Opened
from crawler.planning.visits import NewSeller, Visits, joined, visits
from crawler.rules.freshness import choose
from crawler.sellers.listing import texts_of
from crawler.store.bases import Bases
from crawler.store.journal import Journal


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be read tonight: groups of sellers, one after the other, each seller at its first page.

    Those that must be read tonight are a group, so that nothing else spends their credits. One that is to be
    read as far as the credits go is chosen only where nothing else is.

    `depths`: how many full pages those have that are read whole. `overdue` stretches stay older than
    `--max-age`; `bearable_budget` is the smallest budget with which none would. `known` is what stands for
    sellers, for what is chosen next.
    """

    groups: list[list[SellerProgress]]
    depths: Mapping[str, int]
    overdue: int
    bearable_budget: int
    known: Bases


def choose_to_read(opened: Opened, budget: int, known: Bases | None = None) -> Chosen:
    """Choose what a budget buys tonight of the sellers that were not read whole.

    `known` is what stands for sellers, from an earlier choice of this night: the budget is what it has left.
    """
    night, journal = opened.night, opened.journal
    ids = night.listed.without(journal.carried.read_whole()).ids
    received = {
        seller_id: {p.page_num: p for p in pages} for seller_id, pages in journal.carried.unfinished()
    }
    is_rest = known is not None
    known = journal.carried.bases() if known is None else known
    found = visits(
        ids,
        known,
        {seller_id: {n: page.listed for n, page in pages.items()} for seller_id, pages in received.items()},
        new_seller(journal),
        night.crawl_date,
        night.run.max_age,
    )
    choice = choose(found.stretches, budget, night.run.max_age, is_rest=is_rest)
    # Without a credit nothing is chosen: the first is then, so that the run ends by its budget.
    chosen = [*range(len(found.stretches))][:1] if budget <= 0 else choice.chosen
    must, may = _progress_of(chosen, found, ids, received, night.run.max_age)
    is_more = sum(map(found.stretches.costs.__getitem__, chosen)) > budget
    if is_more and may and len(must) + len(may) > 1:
        may.pop()
    depths = _depths([s.seller_id for s in (*must, *may) if not s.stretches], known)
    groups = [group for group in (must, may) if group]
    return Chosen(groups, depths, len(choice.overdue), choice.bearable_budget, known)


def _depths(whole: Sequence[str], known: Bases) -> dict[str, int]:
    """How many full pages some sellers have, of those that are known."""
    places = zip(whole, known.places_of(pa.array(whole, pa.string())), strict=True)
    return {seller_id: known.videos[place] // PAGE_SIZE for seller_id, place in places if place is not None}


def new_seller(journal: Journal) -> NewSeller:
    """What is expected of a new seller: as the nights before, or else tonight's pages so far, have it."""
    if (noted := journal.meta("new_seller")) is not None:
        return NewSeller(*orjson.loads(noted))
    pages = journal.carried.mean_pages(STRETCH_PAGES)
    return NewSeller() if pages is None else NewSeller(ceil(pages))


def _progress_of(
    chosen: Sequence[int],
    found: Visits,
    ids: pa.Array[Any],
    received: Mapping[str, Mapping[int, Page]],
    max_age: int,
) -> tuple[list[SellerProgress], list[SellerProgress]]:
    """The sellers of chosen stretches, at the first page to be read: those that must be, and the others."""
    stretches = found.stretches
    by_seller: dict[int, list[int]] = {}
    for number in chosen:
        by_seller.setdefault(stretches.sellers[number], []).append(number)
    must, may = list[SellerProgress](), list[SellerProgress]()
    chosen_ids = texts_of(ids.take(pa.array([*by_seller], pa.int64())))
    for seller_id, numbers in zip(chosen_ids, by_seller.values(), strict=True):
        pages = joined([found.pages(number) for number in numbers])
        is_due = any(stretches.are_known[number] and stretches.ages[number] >= max_age for number in numbers)
        (must if is_due else may).append(_progress(seller_id, pages, received.get(seller_id, {})))
    return must, may


def _progress(seller_id: str, stretches: Sequence[PageRange], received: Mapping[int, Page]) -> SellerProgress:
    """A seller at the first page of its stretches. No page that was received tonight is asked for again."""
    first = stretches[0].first
    while first - 1 in received:
        first -= 1
    progress = SellerProgress(seller_id, next_page=first)
    for page_num in range(first, stretches[0].first):
        progress.received(received[page_num])
    if first == 1 and len(stretches) == 1 and stretches[0].last is None:
        early = {number: page for number, page in received.items() if number >= progress.next_page}
        return replace(progress, early_pages=early) if early else progress
    missing = tuple(page for pages in stretches for page in _missing(pages, received))
    return replace(progress, stretches=missing)


def _missing(pages: PageRange, received: Mapping[int, Page]) -> Iterator[PageRange]:
    """What is left of some pages, of which the first is missing; nothing beyond the end of the list."""
    first, last = pages
    for page_num in sorted(number for number in received if number > first and number <= (last or number)):
        if page_num > first:
            yield PageRange(first, page_num - 1)
        first = page_num + 1
        if received[page_num].listed < PAGE_SIZE:
            return
    if last is None or first <= last:
        yield PageRange(first, last)
