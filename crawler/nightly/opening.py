"""Opening a crawl date: what a run can go on with, and what it must refuse before anything is sent."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import date
from pathlib import Path

from crawler.history.takeover import PublishedDate
from crawler.models.errors import CrawlerError, InputError, OutputError
from crawler.nightly.replace_guard import slices
from crawler.sellers.listing import SellerList, missing
from crawler.store.files import make_private_folder, output_errors, tighten_tree
from crawler.store.journal import Journal
from crawler.store.layout import SNAPSHOT_KINDS, JournalFiles, Layout, journals_below
from crawler.store.ledger import FINISHED, Ledger
from crawler.store.publishing import clean_staging
from crawler.store.repair import repair


def prepare_folders(data: Path) -> None:
    """Make the folders that a run writes, and remove what a killed one left half-built.

    Raises `OutputError` where a snapshot could not be moved from staging to its place.
    """
    clean_staging(data)
    layout = Layout(data)
    state = layout.state
    with output_errors(str(state)):
        for folder in (layout.staging, layout.digests):
            make_private_folder(folder)
    tighten_tree(state)
    for folder in (*map(layout.kind, SNAPSHOT_KINDS), layout.runs):
        with output_errors(str(folder)):
            folder.mkdir(parents=True, exist_ok=True)
            apart = folder.stat().st_dev != state.stat().st_dev
        if apart and folder != layout.runs:
            raise OutputError(
                f"{folder} lies on another file system than {state}: a snapshot could not be put in its "
                "place in one step; keep both on one"
            )


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
        return journal.meta("source") is not None or journal.has_pages or journal.has_endings


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


def account_for(journal: Journal, ledger: Ledger, crawl_date: date, run_id: str, now: str) -> int:
    """Tell a ledger that was lost of what the journal knows was spent; returns how many credits."""
    unknown = journal.credits() - ledger.spent_by_runs(crawl_date)
    if unknown > 0:
        _recover(ledger, f"{run_id}-recovered", crawl_date, now, unknown, exit_code=1)
    return max(0, unknown)


def account_for_others(ledger: Ledger, data: Path, crawl_date: date, run_id: str) -> int:
    """Tell a ledger without any run of what the journals of other dates know; returns how many credits.

    They count for the day on which the journal's last page came. A journal that cannot be read is left out.
    """
    total = 0
    if ledger.runs():
        return total
    for path in sorted(journals_below(Layout(data).journals)):
        with suppress(ValueError, CrawlerError, sqlite3.Error):
            day = date.fromisoformat(JournalFiles(path).crawl_date)
            if day == crawl_date:
                continue
            with Journal(path, only_read=True) as journal:
                moment, unknown = journal.last_received, journal.credits()
                is_published = journal.meta("published_mark") == journal.mark()
            if moment is not None:
                name = f"{run_id}-recovered-{path.stem}"
                _recover(ledger, name, day, moment, unknown, exit_code=0 if is_published else 1)
                total += unknown
    return total


def _recover(
    ledger: Ledger, run_id: str, crawl_date: date, moment: str, unknown: int, *, exit_code: int
) -> None:
    ledger.begin(run_id, crawl_date, moment)
    ledger.reserve(run_id, crawl_date, None, lambda _left: unknown)
    ledger.finish(run_id, moment, exit_code)


def is_address_proven(journal: Journal, url: str) -> bool:
    """Whether pages of this journal came from the API's address `url`; notes that it is asked from now on.

    Which run brought pages is seen when the next one begins: a killed run cannot note it.
    """
    asked, before = journal.meta("asked_url"), int(journal.meta("asked_from") or 0)
    if asked is not None and journal.last_seq > before:
        journal.note(answered_url=asked)
    journal.note(asked_url=url, asked_from=str(journal.last_seq))
    return journal.meta("answered_url") == url
