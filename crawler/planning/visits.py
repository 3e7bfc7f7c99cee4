"""What may be read tonight: each stretch with its cost, its age and what it is expected to have gained."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple
from zlib import crc32

import pyarrow as pa

from crawler.models.api import PAGE_SIZE
from crawler.models.seller import PageRange
from crawler.models.stretches import (
    STRETCH_PAGES,
    LastRead,
    first_missing,
    pages_expected,
    pages_of,
    read_in_part,
    read_since,
)
from crawler.rules.freshness import Stretches
from crawler.sellers.listing import texts_of
from crawler.store.bases import Bases
from crawler.store.records import Base


class NewSeller(NamedTuple):
    """What is expected of a seller never read: the pages of its first stretch, and its gain in a night."""

    pages: int = STRETCH_PAGES
    rate: float = 0.0


@dataclass(slots=True)
class Visits:
    """The stretches that may be read tonight, and the pages of each."""

    stretches: Stretches = field(default_factory=Stretches)
    last_pages: array[int] = field(default_factory=lambda: array("I"))
    """The last page of each stretch; 0 where it goes on to the list's end."""

    @property
    def cost(self) -> int:
        """Credits that all of them are expected to take."""
        return sum(self.stretches.costs)

    def pages(self, number: int) -> PageRange:
        """The pages of a stretch."""
        return PageRange(self.stretches.first_pages[number], self.last_pages[number] or None)


def visits(
    ids: pa.Array[Any],
    bases: Bases,
    rows: Mapping[str, Mapping[int, int]],
    new: NewSeller,
    crawl_date: date,
    max_age: int,
) -> Visits:
    """What may be read of the sellers of a list that are not read whole yet.

    `rows`: how many rows each page has that was received for this date, by seller and page number. Of pages
    that were never read no more than one stretch is.
    """
    found = Visits()
    for number, (seller_id, place) in enumerate(zip(texts_of(ids), bases.places_of(ids), strict=True)):
        base, received = None if place is None else bases[place], rows.get(seller_id, {})
        rates = [new.rate] if base is None or not base.rates else base.rates
        for stretch, pages, cost, age in _unread(base, received, crawl_date, new.pages):
            rate = rates[min(stretch, len(rates) - 1)]
            is_cut_off = age is None and _has_rows(base, stretch)
            nights = age or (_age_of_cut_off(seller_id, crawl_date, max_age) if is_cut_off else max_age)
            is_known = age is not None or is_cut_off
            found.stretches.append(number, pages.first, cost, rate, nights, is_known)
            found.last_pages.append(pages.last or 0)
    return found


def _unread(
    base: Base | None, received: Mapping[int, int], crawl_date: date, new_pages: int
) -> Iterator[tuple[int, PageRange, int, int | None]]:
    """The stretches that were not read for this date: number, pages left, their cost, and age in nights."""
    before: LastRead = read_in_part(0, crawl_date) if base is None else base.last_read
    known = read_since(before, received, crawl_date) if received else before
    left = 0 if base is None else pages_expected(base.videos)
    for stretch, day in enumerate(known):
        if day == crawl_date:
            continue
        pages = pages_of(stretch, len(known))
        if day is None:
            # How far the list goes is not known.
            pages = PageRange(pages.first, pages.first + STRETCH_PAGES - 1)
        first = first_missing(pages, received)
        if first is None:
            continue
        cost = (pages.last or max(first, left)) - first + 1
        if base is None and not received:
            cost = min(new_pages, cost)
        yield stretch, PageRange(first, pages.last), cost, None if day is None else (crawl_date - day).days


def _age_of_cut_off(seller_id: str, crawl_date: date, max_age: int) -> int:
    """The age that counts for a stretch that was cut off: when is not known, and its rows grow old too.

    It grows from night to night, so that the stretch is due once in `max_age` nights, each seller's on a
    night of its own.
    """
    return 1 + (crawl_date.toordinal() + crc32(seller_id.encode())) % max_age


def _has_rows(base: Base | None, stretch: int) -> bool:
    """Whether some of a stretch's pages were read at some time."""
    return base is not None and base.videos > stretch * STRETCH_PAGES * PAGE_SIZE


def joined(pages: Sequence[PageRange]) -> tuple[PageRange, ...]:
    """Stretches in the order of their pages, those that follow on each other as one."""
    found: list[PageRange] = []
    for each in sorted(pages):
        if found and found[-1].last == each.first - 1:
            found[-1] = PageRange(found[-1].first, each.last)
        else:
            found.append(each)
    return tuple(found)
