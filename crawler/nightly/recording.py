"""Keeping what a night reports: in the ledger, as `report.json`, and as a page for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from crawler.exit_codes import SELLERS_FAILED
from crawler.models.errors import CrawlerError, OutputError
from crawler.nightly.opened import Opened
from crawler.report.progress import LOG
from crawler.report.run_report import Credits, RunReport
from crawler.store.failpoints import reached
from crawler.store.files import write_whole
from crawler.store.layout import RunFolder
from crawler.store.ledger_records import Outcome


def record(opened: Opened, report: RunReport, variables: list[str]) -> RunReport:
    """Finish the run in the ledger and write its report; where that fails, the exit code becomes 8."""
    night, ledger, run_id = opened.night, opened.ledger, opened.run_id
    left, spent = _left(opened, report), None
    try:
        ledger.finish(run_id, report.finished_at, report.exit_code, left)
        reached("ledger.finish")
        spent = _credits(opened, report)
        report = replace(report, credits=spent)
        in_place = opened.guard.is_data_in_place
        if report.is_unfinished and in_place:
            retries = report.exit_code == SELLERS_FAILED.number and left.refused
            retried = ["--retry-failed"] if retries else []
            report = replace(report, go_on=night.command(ledger, opened.dates, retried, variables))
        if in_place:
            write_whole(RunFolder(night.data, run_id).report, report.as_json())
        else:
            LOG.error("no report is written: %s is another folder now, or none", night.data)
        reached("report.written")
    except (CrawlerError, OSError) as error:
        LOG.error("cannot write the report: %s", error)
        report = replace(report, exit_code=OutputError.exit_code)
        with suppress(CrawlerError):
            ledger.finish(run_id, report.finished_at, report.exit_code, left)
        return replace(report, credits=spent or _credits(opened, report))
    if in_place:
        _write_page(opened, report)
    return report


def _left(opened: Opened, report: RunReport) -> Outcome:
    """What the run leaves, as the ledger notes it."""
    sellers, refused = report.sellers, 0
    if sellers["failed"]:
        batches: Iterator[Any] = opened.journal.sellers.refused()
        refused = sum(opened.night.listed.contains(ids.to_pylist()).count(True) for ids in batches)
    return Outcome(report.rows["written"], sellers["total"], sellers["complete"], sellers["failed"], refused)


def _credits(opened: Opened, report: RunReport) -> Credits:
    account, ledger = opened.account, opened.ledger
    return Credits(
        budget=account.limits.budget,
        spent=report.requests.sent,
        spent_for_date=ledger.spent_for(account.crawl_date),
        monthly_budget=account.limits.monthly_budget,
        spent_for_month=ledger.spent_since(account.month.began, account.month.lease_day),
    )


def _write_page(opened: Opened, report: RunReport) -> None:
    """Write the report for people.

    The other one is written already: whatever goes wrong here costs the page alone.
    """
    try:
        from crawler.report.page import as_page  # noqa: PLC0415 - no request waits for it

        page = as_page(asdict(report)).encode()
        write_whole(RunFolder(opened.night.data, opened.run_id).page, page)
    except Exception as error:  # noqa: BLE001 - a fault of the page is no fault of the night
        LOG.warning("cannot write report.html: %s: %s", type(error).__name__, error)
