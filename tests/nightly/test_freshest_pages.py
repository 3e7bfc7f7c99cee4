"""Which pages of a chosen stretch `--strategy freshest` asks for, after pages of it came out of order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crawler.models.api import PAGE_SIZE
from crawler.models.page import Page
from crawler.models.seller import PageRange
from crawler.models.stretches import STRETCH_PAGES, first_missing, pages_of
from crawler.nightly.freshest import _progress


@given(st.integers(0, 2), st.sets(st.integers(1, 3 * STRETCH_PAGES)))
def test_each_missing_page_is_asked_for_and_no_other(stretch: int, numbers: set[int]) -> None:
    received = {n: Page("s", n, b"", PAGE_SIZE, n, 0, "r") for n in numbers}
    pages = pages_of(stretch, 4)
    wanted = {*range(pages.first, (pages.last or 0) + 1)} - numbers
    first = first_missing(pages, dict.fromkeys(numbers, PAGE_SIZE))
    assert (first is None) == (not wanted)
    if first is not None:
        progress = _progress("s", [PageRange(first, pages.last)], received)
        asked = [n for begin, end in progress.stretches for n in range(begin, (end or 0) + 1)]
        assert sorted(asked) == sorted(wanted)
