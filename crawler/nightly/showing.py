"""What is shown of a night beside its report: its row in `nights/`, and its page. Open it to show more."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict

from crawler import events
from crawler.models.errors import CrawlerError
from crawler.nightly.nights import write_nights_of
from crawler.nightly.opening import Opened
from crawler.nightly.publishing import Published
from crawler.nightly.run_facts import facts_at_end
from crawler.report.run_report import RunReport
from crawler.store.layout import RunFolder


def show_night(opened: Opened, published: Published, report: RunReport) -> None:
    """Write the table of all nights, and the page: whatever goes wrong here costs these alone."""
    if not opened.guard.is_data_in_place:
        return
    if opened.displacement is None:
        _write_nights(opened, published, report)
    if RunFolder(opened.night.data, opened.run_id).report.exists():
        _write_page(opened, report)


def _write_nights(opened: Opened, published: Published, report: RunReport) -> None:
    night, ledger, run_id = opened.night, opened.ledger, opened.run_id
    try:
        ledger.note(run_id, facts_at_end(opened, published, report))
    except (CrawlerError, sqlite3.Error) as error:
        events.NIGHTS_FAILED(reason=error).log()
    else:
        write_nights_of(night.run, ledger, run_id, night.world.now())


def _write_page(opened: Opened, report: RunReport) -> None:
    """Write the report for people beside `report.json`."""
    night = opened.night
    try:
        from crawler.nightly.page_making import write_pages  # noqa: PLC0415 - no request waits for it

        write_pages(night.data, asdict(report), opened.ledger.runs(), night.run.every, night.world.now())
    except Exception as error:  # noqa: BLE001 - a fault of the page is no fault of the night
        remake = night.commands.page(report.run_id)
        events.PAGE_FAILED(reason=f"{type(error).__name__}: {error}", remake=remake).log()
