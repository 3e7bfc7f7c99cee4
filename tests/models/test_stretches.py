"""Stretches: which of them count as read after the pages that came."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from crawler.models.api import PAGE_SIZE
from crawler.models.stretches import (
    STRETCH_PAGES,
    first_missing,
    pages_expected,
    pages_of,
    read_in_part,
    read_since,
    read_whole,
)

DAY = date(2026, 11, 23)
EARLIER = DAY - timedelta(5)
VIDEOS = st.integers(0, 700)


def pages_with_rows(videos: int) -> dict[int, int]:
    """How many rows each page has, the short or empty last one too."""
    return {n: min(PAGE_SIZE, videos - (n - 1) * PAGE_SIZE) for n in range(1, pages_expected(videos) + 1)}


@given(VIDEOS, VIDEOS)
def test_a_seller_read_to_its_end_has_no_other_date_left(before: int, videos: int) -> None:
    known = read_since(read_whole(before, EARLIER), pages_with_rows(videos), DAY)
    # an empty page that would begin a stretch tells that the list ended with the one before
    pages = pages_expected(videos) - (videos > 0 and videos % (PAGE_SIZE * STRETCH_PAGES) == 0)
    assert known == [DAY] * -(-pages // STRETCH_PAGES)


@given(VIDEOS, st.data())
def test_a_stretch_counts_as_read_only_if_each_of_its_pages_came(videos: int, data: st.DataObject) -> None:
    whole = pages_with_rows(videos)
    missing = data.draw(st.sets(st.sampled_from(sorted(whole)), min_size=1))
    before = read_whole(videos, EARLIER)
    known = read_since(before, {n: rows for n, rows in whole.items() if n not in missing}, DAY)
    for number in {(page - 1) // STRETCH_PAGES for page in missing}:
        assert number >= len(known) or known[number] != DAY
    # nothing that is there is ever forgotten, but for what lies behind the end of the list
    assert len(known) >= len(before) - (videos % (PAGE_SIZE * STRETCH_PAGES) == 0)


@given(VIDEOS, st.integers(1, 60))
def test_what_is_left_of_a_seller_is_found_page_after_page(videos: int, cut: int) -> None:
    whole = pages_with_rows(videos)
    received = {n: rows for n, rows in whole.items() if n <= cut}
    known = read_since(read_in_part(0, EARLIER), received, DAY)
    while None in known:
        pages = pages_of(known.index(None), len(known))
        page_num = first_missing(pages, received)
        assert page_num is not None
        assert page_num == len(received) + 1
        received[page_num] = whole[page_num]
        known = read_since(known, received, DAY)
    assert received == whole


def test_a_list_that_grew_beyond_its_last_stretch_goes_on() -> None:
    full = dict.fromkeys(range(1, STRETCH_PAGES + 1), PAGE_SIZE)
    assert read_since([EARLIER], full, DAY) == [DAY, None]
    assert read_since([EARLIER, EARLIER], full, DAY) == [DAY, EARLIER]
    assert read_since([EARLIER, EARLIER, EARLIER], {STRETCH_PAGES + 1: 3}, DAY) == [EARLIER, DAY]


@given(st.integers(1, 700), st.data())
def test_a_short_page_amid_a_list_does_not_end_it_where_only_an_empty_one_does(
    videos: int, data: st.DataObject
) -> None:
    whole = pages_with_rows(videos)
    whole[len(whole) + (whole[len(whole)] > 0)] = 0
    short = data.draw(st.sampled_from(sorted(whole)[:-1] or [1]))
    whole[short] = min(whole[short], 4)
    if whole[short]:
        known = read_since(read_whole(videos, EARLIER), whole, DAY)
        assert None not in known
        assert set(known) == {DAY}
        assert len(known) >= (len(whole) - 1) // STRETCH_PAGES
        assert first_missing(pages_of(0, 1), whole) is None
        assert first_missing(pages_of(0, 1), {n: rows for n, rows in whole.items() if rows}) in {
            None,
            len(whole),
        }
