"""Catching up: before tonight's crawl date, a run goes on with the newest unfinished one.

It does so where `run.catch_up` says so. Whatever becomes of the earlier date, tonight's is crawled.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime

from crawler import events
from crawler.api.proxies import proxy_for
from crawler.exit_codes import BUDGET_SPENT
from crawler.models.errors import CrawlerError, InterruptedRunError
from crawler.nightly.before import what_went_wrong
from crawler.nightly.dates import DateRule
from crawler.nightly.night import Night
from crawler.nightly.resuming import as_begun
from crawler.nightly.run import run_night
from crawler.sellers.reading import read_sellers
from crawler.settings.load import Loaded
from crawler.settings.resume import flags_of, options_of
from crawler.store.layout import RunFolder
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import RunRecord
from crawler.store.lock import holder_of


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The date to go on with first; `findings` is what tonight's report says of the nights before."""

    crawl_date: date
    findings: Sequence[events.Sentence]


def date_to_catch_up(loaded: Loaded, tonight: date, now: datetime) -> Unfinished | None:
    """The newest unfinished date before tonight's; None where there is none, or it is not to be gone on with.

    Left is every date once tonight's has begun, one whose budget is spent, and one whose last two runs died:
    its next one might take tonight's with it. What cannot be read here is said by tonight's run.
    """
    run = loaded.settings.run
    is_by_hand = run.resume or run.fresh or run.crawl_date is not None
    if run.catch_up == "none" or is_by_hand:
        return None
    with suppress(CrawlerError, OSError, sqlite3.Error):
        if holder_of(run.data) is not None:
            return None
        with Ledger(run.data, only_read=True) as ledger:
            runs, days = ledger.runs(), ledger.dates()
        if any(day.crawl_date >= tonight for day in days):
            return None
        rule = DateRule.of(run, now)
        for day in rule.unfinished(days):
            is_spent = day.latest.exit_code == BUDGET_SPENT.number
            if not is_spent and not _died_twice(runs, day.crawl_date):
                findings = what_went_wrong(runs, days, tonight, run, rule, flags_of(loaded))
                return Unfinished(day.crawl_date, findings)
    return None


def _died_twice(runs: Sequence[RunRecord], day: date) -> bool:
    latest = [run for run in runs if run.crawl_date == day.isoformat() and not run.is_check][:2]
    return len(latest) == 2 and all(run.finished_at is None for run in latest)


def catch_up(found: Unfinished, loaded: Loaded, tonight: Night) -> list[events.Sentence]:
    """Go on with the date, under its own options; returns what tonight's report says of it and before.

    Raises `InterruptedRunError` where a signal asks to stop, and nothing else.
    """
    day = found.crawl_date
    events.CATCH_UP_STARTED(crawl_date=day).log()
    try:
        report = run_night(_night(day, loaded, tonight))
    except Exception as error:  # noqa: BLE001 - tonight's date is crawled all the same
        is_known = isinstance(error, CrawlerError)
        what = " ".join(str(error).split()) if is_known else f"a fault of the program, {type(error).__name__}"
        how = events.CATCH_UP_FAILED(crawl_date=day, reason=what)
        for sentence in (*found.findings, how):
            sentence.log()
    else:
        path = RunFolder(loaded.settings.run.data, report.run_id).report
        code, summary = report.exit_code, report.summary()
        how = events.CATCH_UP_ENDED(crawl_date=day, exit_code=code, summary_words=summary, report=path)
    if tonight.signals.received is not None:
        raise InterruptedRunError(tonight.signals.received)
    return [*found.findings, how]


def _night(day: date, loaded: Loaded, tonight: Night) -> Night:
    """The night of an earlier date, as its last run was asked to do it."""
    loaded, source = as_begun(loaded, day)
    settings = loaded.settings
    proxy_for(settings.api.url)
    listed = read_sellers(source, column=settings.run.column, skip_bad_ids=settings.run.skip_bad_ids)
    flags, stored = flags_of(loaded), options_of(loaded)
    keys, signals, world = tonight.keys, tonight.signals, tonight.world
    return Night(settings, keys, listed, source, day, signals, world, flags, stored)
