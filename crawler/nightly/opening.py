"""Opening a crawl date: lock, folders, ledger and journal; what must be refused is refused here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from math import inf

from crawler import events
from crawler.models.errors import DisplacedError
from crawler.nightly.account import Account, count_lost_credits, initial_pause_s
from crawler.nightly.before import what_went_wrong
from crawler.nightly.dates import DateRule
from crawler.nightly.folders import check_room, open_folder
from crawler.nightly.journal_opening import JournalOpening, OpenJournal
from crawler.nightly.night import Night, Notes
from crawler.rules.dates import doubt_by_last_run, stamp
from crawler.store.journal import Journal
from crawler.store.layout import log_of
from crawler.store.ledger import Ledger
from crawler.store.lock import Guard
from crawler.store.progress_file import ProgressFile


@dataclass(frozen=True, slots=True)
class Opened:
    """A crawl date that is open for this run, which holds the lock: what every later step is given.

    `initial_pause_s` says how many seconds must pass before the first request under a ceiling. `guard`
    raises where what is open is no longer at its path. What is received from `late_from` on is late.
    `is_clock_doubtful`: nothing may be removed for its age.
    """

    night: Night
    run_id: str
    started_at: str
    dates: DateRule
    guard: Guard
    ledger: Ledger
    store: OpenJournal
    account: Account
    initial_pause_s: Callable[[float], float]
    late_from: datetime
    is_clock_doubtful: bool
    notes: Notes
    progress: ProgressFile

    @property
    def journal(self) -> Journal:
        """The journal of the crawl date."""
        return self.store.journal

    @property
    def displacement(self) -> DisplacedError | None:
        """Why lock, ledger and journal must not be used any more; None where they may."""
        try:
            self.guard()
        except DisplacedError as error:
            return error
        return None


def open_date(night: Night, stack: ExitStack) -> Opened:
    """Open the night's crawl date; lock, ledger and journal are held until the stack is closed.

    Raises `CrawlerError` where nothing can be begun.
    """
    now, data = night.world.now(), night.data
    run_id = night.world.run_id(now)
    guard = stack.enter_context(open_folder(data, run_id, night.world.uptime))
    check_room(night.settings, night.world)
    ledger = stack.enter_context(Ledger(data))
    guard.watch(ledger.path, log_of(ledger.path))
    dates, notes = DateRule.of(night.run, now), Notes()
    night.note_form(notes)
    runs, days = ledger.runs(), ledger.dates()
    night.require_open(ledger, dates)
    account = Account(ledger, run_id, night.crawl_date, night.settings.credits, night.world.now, guard)
    store = JournalOpening(night, account, guard, notes).open(stack)
    for text in night.before or ():
        notes.add(text, is_logged=True)
    notes.has_warning |= bool(night.before)
    if night.before is None:
        for text in what_went_wrong(runs, days, night.crawl_date, night.run, dates, night.flags):
            notes.add(text)
    night.note_unfinished(ledger, dates, notes)
    for warning in night.listed.warnings:
        notes.add(warning)
    began = next((day.began for day in days if day.crawl_date == night.crawl_date), now)
    if why_late := dates.why_late(night.crawl_date, began):
        notes.add(events.DATE_LATE(crawl_date=night.crawl_date, reason=why_late))
    doubt = doubt_by_last_run(night.world.now(), ledger.last_moment())
    if doubt is not None:
        notes.add(doubt)
    pause_s = partial(initial_pause_s, guard.free_for_s if runs else inf)
    started_at = stamp(now)
    count_lost_credits(ledger, store.journal, night, run_id, started_at, notes)
    ledger.begin(run_id, night.crawl_date, started_at, night.facts)
    started = events.RUN_STARTED(
        run=run_id,
        sellers=len(night.listed),
        crawl_date=night.crawl_date,
        qps=night.settings.qps,
        budget=account.budget,
        monthly_budget=account.limits.monthly_budget,
        credits_words=account.in_words(),
    )
    started.log()
    # Last, so that it is removed while the guard still knows every file.
    progress = stack.enter_context(
        ProgressFile(data, run_id, night.crawl_date, lambda: stamp(night.world.now()), guard)
    )
    return Opened(
        night,
        run_id,
        started_at,
        dates,
        guard,
        ledger,
        store,
        account,
        pause_s,
        dates.late_from(night.crawl_date, began),
        doubt is not None,
        notes,
        progress,
    )
