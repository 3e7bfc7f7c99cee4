"""Concluding: why the run ended; its report in the ledger, as a file and as a page; what can be removed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import orjson

from crawler import events
from crawler.exit_codes import SELLERS_FAILED
from crawler.models.errors import BudgetSpentError, CrawlerError, InterruptedRunError, OutputError
from crawler.nightly.crawling import CrawlOutcome
from crawler.nightly.opening import Opened
from crawler.nightly.publishing import Published
from crawler.nightly.reporting import draft, note_findings
from crawler.nightly.showing import show_night
from crawler.report.run_report import Credits, RunReport
from crawler.rules.dates import doubt_by_api
from crawler.store.failpoints import reached
from crawler.store.files import write_whole
from crawler.store.layout import RunFolder
from crawler.store.ledger_records import Outcome
from crawler.store.retention import prune

Amended = Callable[[RunReport], RunReport]


def conclude(opened: Opened, outcome: CrawlOutcome, published: Published, amended: Amended) -> RunReport:
    """Write the report, say in one line what happened, and remove what is of no more use.

    The ledger is about what is published here: only the report is `amended`.
    """
    night, notes, stop_reason = opened.night, opened.notes, published.stop_reason
    doubt = doubt_by_api(night.world.now(), outcome.clock_offset)
    if doubt is not None:
        notes.add(doubt)
    if night.signals.received is not None and not isinstance(stop_reason, OutputError):
        stop_reason = InterruptedRunError(night.signals.received)
    report = draft(opened, outcome, published, stop_reason)
    note_findings(opened, report, outcome.address_doubt, stop_reason)
    variables = _more_of_the_month(opened, stop_reason)
    if night.run.fresh and not report.published:
        go_on = night.command(opened.ledger, opened.dates, variables=variables)
        notes.add(events.FRESH_UNFINISHED(go_on=go_on))
    for note in night.observer.notes():
        notes.add(note)
    _write_series(opened, outcome)
    report = replace(report, notes=notes.texts, is_warning=notes.has_warning)
    report = _record(opened, report, variables, amended)
    if doubt is None and not opened.is_clock_doubtful and opened.displacement is None:
        prune(night.data, night.run.keep_days, opened.ledger.unpublished())
    # After it, so that the index leads to no page that has just gone.
    show_night(opened, published, report)
    report.as_event().log()
    return report


def _more_of_the_month(opened: Opened, stop_reason: CrawlerError | None) -> list[str]:
    """What lets a command spend at least a credit for each seller, where the month's budget is spent."""
    account = opened.account
    monthly = account.limits.monthly_budget
    if monthly is None or not isinstance(stop_reason, BudgetSpentError):
        return []
    spent, day = opened.ledger.spent_since(account.month.began), opened.ledger.date(account.crawl_date)
    left = 0 if day is None else day.pending
    return [f"CRAWLER_CREDITS_MONTHLY_BUDGET={spent + max(1, left)}"] if spent >= monthly else []


def _record(opened: Opened, report: RunReport, variables: list[str], amended: Amended) -> RunReport:
    """Finish the run in the ledger and write its report; where that fails, the exit code becomes 8."""
    night, ledger, run_id = opened.night, opened.ledger, opened.run_id
    left, spent = _left(opened, report), None
    try:
        ledger.finish(run_id, report.finished_at, report.exit_code, left)
        reached("ledger.finish")
        spent = _credits(opened, report)
        report = replace(report, credits=spent)
        is_in_place = opened.guard.is_data_in_place
        if report.is_unfinished and is_in_place:
            retries = report.exit_code == SELLERS_FAILED.number and left.refused
            retried = ["--retry-failed"] if retries else []
            report = replace(report, go_on=night.command(ledger, opened.dates, retried, variables))
        report = amended(report)
        if is_in_place:
            write_whole(RunFolder(night.data, run_id).report, report.as_json())
        else:
            events.REPORT_MISPLACED(folder=night.data).log()
        reached("report.written")
    except (CrawlerError, OSError) as error:
        events.REPORT_FAILED(reason=error).log()
        report = replace(report, exit_code=OutputError.exit_code)
        with suppress(CrawlerError):
            ledger.finish(run_id, report.finished_at, report.exit_code, left)
        return replace(report, credits=spent or _credits(opened, report))
    return report


def _left(opened: Opened, report: RunReport) -> Outcome:
    """What the run leaves, as the ledger notes it."""
    sellers, refused = report.sellers, 0
    if sellers["failed"]:
        for ids in opened.journal.sellers.refused():
            refused += sum(opened.night.listed.contains(list(map(str, ids.to_pylist()))))
    return Outcome(report.rows["written"], sellers["total"], sellers["complete"], sellers["failed"], refused)


def _credits(opened: Opened, report: RunReport) -> Credits:
    account, ledger = opened.account, opened.ledger
    return Credits(
        budget=account.limits.budget,
        spent=report.requests.sent + report.requests.unaccounted,
        spent_for_date=ledger.spent_for(account.crawl_date),
        monthly_budget=account.limits.monthly_budget,
        spent_for_month=ledger.spent_since(account.month.began, account.month.lease_day),
    )


def _write_series(opened: Opened, outcome: CrawlOutcome) -> None:
    """Write how the crawl went from second to second; where that cannot be, its charts are missing."""
    if not outcome.series.seconds or not opened.guard.is_data_in_place:
        return
    try:
        content = orjson.dumps(outcome.series, option=orjson.OPT_APPEND_NEWLINE)
        write_whole(RunFolder(opened.night.data, opened.run_id).series, content)
    except OSError as error:
        events.SERIES_FAILED(reason=error).log()
