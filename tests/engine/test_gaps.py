"""A journal with gaps: a seller's pages that came before their turn, and what a later run makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from crawler.models.api import PAGE_SIZE
from crawler.models.page import Gap, Page, PageNotes
from crawler.models.seller import Ending, SellerProgress, SellerStatus, StopReason, StopRule
from crawler.rules.drift import Repair, gap_before
from crawler.rules.paging import PagingRule
from crawler.store.journal import Journal
from crawler.store.records import Record

COMPLETE = Ending(SellerStatus.COMPLETE, StopReason.SHORT_PAGE)


def page(page_num: int, last_value: float | None = 50.0, rows: int = PAGE_SIZE) -> Page:
    return Page("s", page_num, b'{"data":[]}', rows, page_num, 0, "", 0.0, last_value)


@pytest.fixture
def journal(tmp_path: Path) -> Iterable[Journal]:
    with Journal(tmp_path / "2026-11-23.1.sqlite") as journal:
        yield journal


def write(journal: Journal, pages: Iterable[Page], ending: Ending | None = None) -> None:
    journal.write(Record("s", "r", 1, page, None) for page in pages)
    if ending is not None:
        journal.write([Record("s", "r", 0, None, ending)])


def reopened(journal: Journal, *, max_pages: int = 100, min_value: float | None = None) -> bool:
    journal.sellers.reopen(lambda ids: [True] * len(ids), max_pages=max_pages, min_value=min_value)
    return not journal.sellers.has_endings


@pytest.mark.parametrize(("max_pages", "more"), [(2, False), (3, False), (4, True), (20, True)])
def test_a_larger_limit_counts_the_pages_up_to_it(journal: Journal, max_pages: int, *, more: bool) -> None:
    """Page 20 was read ahead by a run without a limit; then one ended the seller with page 3."""
    write(journal, map(page, (1, 2, 3, 20)), Ending(SellerStatus.PARTIAL, StopReason.MAX_PAGES))
    assert reopened(journal, max_pages=max_pages) == more


@pytest.mark.parametrize(("min_value", "more"), [(90.0, False), (80.0, True), (50.0, True), (None, True)])
def test_a_lower_value_is_compared_with_the_pages_before_the_gap(
    journal: Journal, min_value: float | None, *, more: bool
) -> None:
    pages = [page(1, 100.0), page(2, 90.0), page(3, 80.0), page(20, 5.0)]
    write(journal, pages, Ending(SellerStatus.PARTIAL, StopReason.MIN_VALUE))
    assert reopened(journal, min_value=min_value) == more


def test_the_page_that_failed_is_the_first_that_is_missing(journal: Journal) -> None:
    write(journal, map(page, (1, 2, 3, 5, 6, 7)))
    assert [seller.missing for seller in journal.reader.summaries()] == [4]


def test_pages_read_again_are_not_missing(journal: Journal) -> None:
    write(journal, map(page, (1, 2, 3, 2, 1)))
    assert [seller.missing for seller in journal.reader.summaries()] == [4]


@pytest.mark.parametrize("last", [3, 20])
def test_a_page_out_of_order_limits_no_later_value(journal: Journal, last: int) -> None:
    write(journal, [page(1, 100.0), page(2, None), page(last, 70.0)])
    assert [seller.max_remaining_value for seller in journal.reader.summaries()] == [None]


@pytest.mark.parametrize("stop", StopRule)
def test_an_empty_page_ends_its_seller_though_its_ending_was_not_written(
    journal: Journal, stop: StopRule
) -> None:
    """A kill between the two: another page in flight was being waited for."""
    write(journal, [page(1), page(2), page(3, None, rows=0)])
    (seller,) = journal.sellers.begun()
    assert PagingRule(stop).ended(seller) == Ending(SellerStatus.COMPLETE, StopReason.EMPTY_PAGE)


def test_a_seller_below_the_value_asked_for_costs_no_further_page() -> None:
    """An earlier run without that value was cut short."""
    seller = SellerProgress("s")
    seller.received(page(1, 100.0))
    assert PagingRule(min_value=100.0).ended(seller) is None
    assert PagingRule(min_value=101.0).ended(seller) == Ending(SellerStatus.PARTIAL, StopReason.MIN_VALUE)


def test_pages_whose_last_row_is_not_known_tell_of_no_drift(journal: Journal) -> None:
    """As those are that were written before last rows were marked."""
    write(journal, map(page, (1, 2)))
    (seller,) = journal.sellers.begun()
    assert not seller.id_hashes
    assert not seller.stored_last_id_hash
    assert gap_before(seller, page(3)) is None


def test_a_repair_that_was_broken_off_goes_on_with_what_it_had_not_reached(journal: Journal) -> None:
    """The page that it had read again is no proof that nothing has moved before it."""
    write(journal, map(page, (1, 2)))
    gap = PageNotes((Gap(3, 1),))
    journal.write([Record("s", "r", 1, page(3), COMPLETE, gap)])
    moved = replace(page(2), fingerprint=20)
    journal.write([Record("s", "r", 1, moved, None, PageNotes(repaired_beyond=None))])
    repair = Repair(*journal.sellers.drifted("s"))
    assert repair.page_num == 2
    assert repair.after(moved) is None
    assert repair.page_num == 1
