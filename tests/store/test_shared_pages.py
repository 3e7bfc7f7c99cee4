"""Pages that several sellers have in common, as the judge counts them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.models.api import PAGE_SIZE
from crawler.models.page import Page
from crawler.store.journal import Journal
from crawler.store.records import Record


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "2026-11-23.1.sqlite") as journal:
        yield journal


def received(journal: Journal, *pages: tuple[str, int, int, int]) -> None:
    """Pages by seller, number, rows and fingerprint."""
    found = (Page(seller, number, b"{}", rows, ids, 0, "") for seller, number, rows, ids in pages)
    journal.write([Record(page.seller_id, "run", 1, page, None) for page in found])


def shared(journal: Journal) -> tuple[tuple[int, int], set[str]]:
    sellers = {str(i) for ids in journal.reader.with_shared_pages() for i in ids.to_pylist()}
    return journal.reader.page_facts().shared, sellers


def test_pages_of_another_seller_count(journal: Journal) -> None:
    received(journal, ("a", 1, 3, 1), ("b", 1, 3, 1), ("c", 1, PAGE_SIZE, 2), ("d", 1, PAGE_SIZE, 3))
    received(journal, ("c", 2, PAGE_SIZE, 4), ("d", 2, 2, 4), ("e", 1, PAGE_SIZE, 5))
    assert shared(journal) == ((4, 5), {"a", "b", "c", "d"})


def test_a_last_video_a_repeat_and_an_empty_page_do_not(journal: Journal) -> None:
    received(journal, ("a", 1, PAGE_SIZE, 1), ("a", 2, PAGE_SIZE, 1), ("a", 3, 1, 2))
    received(journal, ("b", 1, PAGE_SIZE, 3), ("b", 2, 1, 2), ("c", 1, 0, 0), ("d", 1, 0, 0))
    assert shared(journal) == ((0, 2), set())
