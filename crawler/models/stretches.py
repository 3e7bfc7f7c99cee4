"""Stretches: the pages of a seller that are read, and grow old, together.

Each has `STRETCH_PAGES` pages, the last one goes on to the list's end. What is known of a seller's stretches
is the crawl date for which each was last read to its end: `LastRead`, in the order of the pages. None in it
stands for pages that were never read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from crawler.models.api import PAGE_SIZE
from crawler.models.seller import PageRange

STRETCH_PAGES = 8
"""Smaller ones leave less gain unseen. But of larger sellers it is learnt late what is gone."""

LastRead = Sequence[date | None]


def oldest(last_read: LastRead) -> date | None:
    """The oldest of the dates; None where there is none."""
    return min((day for day in last_read if day is not None), default=None)


def pages_of(number: int, count: int) -> PageRange:
    """The pages of one of a seller's `count` stretches, numbered from 0."""
    first = number * STRETCH_PAGES + 1
    return PageRange(first, None if number == count - 1 else first + STRETCH_PAGES - 1)


def pages_expected(videos: int) -> int:
    """Pages that a seller of so many videos takes: the last one is short, and may be empty."""
    return videos // PAGE_SIZE + 1


def stretches_of(videos: int) -> int:
    """Stretches that a seller of so many videos has."""
    return -(-pages_expected(videos) // STRETCH_PAGES)


def read_whole(videos: int, day: date) -> list[date | None]:
    """What is known of a seller that was read to its end."""
    return [day] * stretches_of(videos)


def read_in_part(pages: int, day: date) -> list[date | None]:
    """What is known of a seller of which the first `pages` pages were read, and more are left."""
    return [*[day] * (pages // STRETCH_PAGES), None]


def read_since(before: LastRead, rows: Mapping[int, int], day: date) -> list[date | None]:
    """What is known after pages were received for a date; `rows`: how many each has, by its number.

    A stretch is read once all of its pages are there, or the list ended among them: at an empty page, or at
    one of fewer than `PAGE_SIZE` rows after which none came. What follows the end of the list is forgotten.
    """
    known = [*before]
    for number in range(max(rows, default=0) // STRETCH_PAGES + 1):
        end = _read_to(number, rows)
        if end is None:
            continue
        known += [None] * (number + 1 - len(known))
        known[number] = day
        if _ends_list(end, rows):
            # An empty page tells that the list ended with the page before it.
            is_there = rows[end] > 0 or end % STRETCH_PAGES != 1 or not number
            return known[: number + 1] if is_there else known[:number]
        if number == len(known) - 1:
            known.append(None)
    return known


def _read_to(number: int, rows: Mapping[int, int]) -> int | None:
    """The last page of a stretch that was read to its end, or to the list's; None where pages are missing."""
    first = number * STRETCH_PAGES + 1
    for page_num in range(first, first + STRETCH_PAGES):
        if page_num not in rows:
            return None
        if _ends_list(page_num, rows):
            return page_num
    return first + STRETCH_PAGES - 1


def _ends_list(page_num: int, rows: Mapping[int, int]) -> bool:
    """Whether the list ends with a page: with `--stop empty` a short one is followed by another."""
    return rows[page_num] == 0 or (rows[page_num] < PAGE_SIZE and page_num + 1 not in rows)


def first_missing(pages: PageRange, rows: Mapping[int, int]) -> int | None:
    """The first page of a stretch that is not there; None where it, or the list, was read to its end."""
    page_num = pages.first
    while page_num in rows:
        if _ends_list(page_num, rows) or page_num == pages.last:
            return None
        page_num += 1
    return page_num
