"""Concluding: why the run ended, what is reported of it, and what can be removed."""

from __future__ import annotations

from dataclasses import replace

from crawler.models.errors import (
    BudgetSpentError,
    CrawlerError,
    DisplacedError,
    InterruptedRunError,
    OutputError,
)
from crawler.nightly import tally
from crawler.nightly.crawling import CrawlOutcome
from crawler.nightly.opened import Opened
from crawler.nightly.publishing import Published
from crawler.nightly.recording import record
from crawler.nightly.reporting import draft, note_findings
from crawler.report.progress import LOG
from crawler.report.run_report import RunReport
from crawler.rules.clock import doubt_by_api
from crawler.rules.stop_reasons import stop_reason_of
from crawler.store.retention import prune


def conclude(opened: Opened, outcome: CrawlOutcome, published: Published) -> RunReport:
    """Write the report, say in one line what happened, and remove what is of no more use."""
    night, notes = opened.night, opened.notes
    stop_reason = _displacement(opened) or published.stop_reason
    doubt = doubt_by_api(night.world.now(), outcome.clock_offset)
    if doubt is not None:
        notes.add(doubt)
    counts = published.counts
    if counts is None:
        counts = tally.count(opened.journal, night.listed, stop_reason_of(stop_reason)).counts
    if night.signals.received is not None and not isinstance(stop_reason, OutputError):
        stop_reason = InterruptedRunError(night.signals.received)
    report = draft(opened, outcome, published, counts, stop_reason)
    note_findings(notes, report, outcome.address_doubt, stop_reason, night.crawl_date)
    variables = _more_of_the_month(opened, stop_reason)
    if night.run.fresh and not report.published:
        notes.add(f"go on with it by: {night.command(opened.ledger, opened.dates, variables=variables)}")
    report = record(opened, replace(report, notes=notes.texts), variables)
    if report.exit_code == 0:
        LOG.info("%s", report.summary())
    else:
        LOG.error("%s", report.reason())
    if doubt is None and not opened.is_clock_doubtful and _displacement(opened) is None:
        prune(night.data, night.run.keep_days, opened.ledger.unpublished())
    return report


def _displacement(opened: Opened) -> DisplacedError | None:
    """Why lock, ledger and journal must not be used any more; None where they are still at their paths."""
    try:
        opened.guard()
    except DisplacedError as error:
        return error
    return None


def _more_of_the_month(opened: Opened, stop_reason: CrawlerError | None) -> list[str]:
    """What lets a command spend at least a credit for each seller, where the month's budget is spent."""
    account = opened.account
    monthly = account.limits.monthly_budget
    if monthly is None or not isinstance(stop_reason, BudgetSpentError):
        return []
    spent, day = opened.ledger.spent_since(account.month.began), opened.ledger.date(account.crawl_date)
    left = 0 if day is None else day.pending
    return [f"CRAWLER_CREDITS_MONTHLY_BUDGET={spent + max(1, left)}"] if spent >= monthly else []
