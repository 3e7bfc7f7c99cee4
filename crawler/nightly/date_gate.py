"""Whether a run may go on with its crawl date, and what it says of other dates that are unfinished."""

from __future__ import annotations

import logging

from crawler.models.errors import InputError
from crawler.nightly.dates import DateRule, close_command, what_is_left
from crawler.nightly.going_on import run_command
from crawler.nightly.night import Night, Notes
from crawler.store.ledger import Ledger


def require_open_date(night: Night, ledger: Ledger, dates: DateRule) -> None:
    """Raise `InputError` where only `--late` goes on with the crawl date."""
    day = ledger.date(night.crawl_date)
    if day is None or night.run.late or not dates.is_closed(day):
        return
    fresh = ["--fresh"] if night.run.fresh else []
    raise InputError(
        f"crawl date {night.crawl_date} {dates.why_closed(day)}: nothing was sent; "
        f"go on with it by: {night.command(ledger, dates, fresh)}"
    )


def note_unfinished(night: Night, ledger: Ledger, dates: DateRule, notes: Notes) -> None:
    """Note all unfinished earlier dates in one line, which --quiet leaves to the report."""
    days = [day for day in dates.unfinished(ledger.dates()) if day.crawl_date < night.crawl_date]
    if not days:
        return
    newest, oldest = days[0], days[-1]
    text = f"crawl date {newest.crawl_date} is unfinished ({what_is_left(newest)})"
    if len(days) > 1:
        text = f"{len(days)} crawl dates from {oldest.crawl_date} on are unfinished; the newest: {text}"
    close = close_command(newest.crawl_date, night.place, night.data)
    go_on = run_command(ledger, night.data, newest.crawl_date, night.place)
    notes.add(f"{text}; end it as it is by: {close}; go on with it by: {go_on}", logging.INFO)
