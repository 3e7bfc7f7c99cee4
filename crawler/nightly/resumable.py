"""What of a crawl date's journal or snapshot a run can go on with, and what it must refuse."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from crawler.history.takeover import PublishedDate
from crawler.models.errors import InputError
from crawler.nightly.replace_guard import slices
from crawler.sellers.listing import SellerList, missing
from crawler.store.journal import Journal
from crawler.store.layout import Layout
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import FINISHED
from crawler.store.repair import repair


def require_journal(ledger: Ledger, data: Path, crawl_date: date, generation: int) -> None:
    """Raise `InputError` where pages of the crawl date were paid for, but their journal is gone."""
    spent = ledger.spent_by_runs(crawl_date)
    path = Layout(data).journal(crawl_date, max(1, generation))
    if not spent or (generation and _has_begun(path, data, crawl_date, generation)):
        return
    finished = ledger.latest_exit_code(crawl_date) in FINISHED
    told = "is finished and its journal was pruned" if finished else f"has lost its journal {path}"
    raise InputError(
        f"crawl date {crawl_date} {told}: restore it, or pay again with --fresh ({spent} credits were spent)"
    )


def _has_begun(path: Path, data: Path, crawl_date: date, generation: int) -> bool:
    if generation > 1 and Layout(data).journal(crawl_date, generation - 1).exists():
        return True
    with Journal(path) as journal:
        return journal.meta("source") is not None


def has_begun(path: Path) -> bool:
    """Whether a journal is there that a run has begun to use.

    Raises `CrawlerError` where it cannot be read.
    """
    if not path.exists():
        return False
    with Journal(path) as journal:
        return journal.meta("source") is not None or journal.has_pages or journal.sellers.has_endings


def require_usable(path: Path, **sorting: str) -> str:
    """Raise `CrawlerError` where a journal is gone, or its pages are sorted in another way.

    Returns what was repaired of it, as a sentence; empty where nothing was damaged.
    """
    if not has_begun(path):
        raise InputError(f"{path} is lost")
    with Journal(path) as journal:
        repaired = str(repair(journal))
        journal.require(**sorting)
        return repaired


def published_before(data: Path, crawl_date: date, listed: SellerList, sorting: str) -> PublishedDate | None:
    """The snapshot of a date that a new journal is to take over; None where there is none.

    Raises `InputError` where it cannot be used, or has sellers beyond the list, sorted in another way.
    """
    published = PublishedDate.found(data, crawl_date)
    if published is None or published.sorting in {"", sorting}:
        return published
    others = sum(len(missing(ids, slices(listed.ids))) for ids in published.with_rows())
    if others:
        was, now = (_as_flags(told) for told in (published.sorting, sorting))
        raise InputError(
            f"crawl date {crawl_date} was crawled with {was}, not {now}, and {others} of its sellers are not "
            f"in the list: use {was}, or a list with all of its sellers"
        )
    return published


def _as_flags(sorting: str) -> str:
    sort, _, order = sorting.partition(" ")
    return f"--sort {sort} --order {order}"
