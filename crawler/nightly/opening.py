"""Opening a crawl date: lock, folders, ledger and journal; what must be refused is refused here."""

from __future__ import annotations

from contextlib import ExitStack

from crawler.nightly.account import Account, initial_hold_s
from crawler.nightly.date_gate import note_unfinished, require_open_date
from crawler.nightly.dates import DateRule
from crawler.nightly.folders import check_room, prepare_folders, watch_database
from crawler.nightly.journal_opening import JournalOpening
from crawler.nightly.lost_ledger import recover
from crawler.nightly.night import Night, Notes
from crawler.nightly.opened import Opened
from crawler.report.progress import LOG
from crawler.rules.clock import doubt_by_last_run
from crawler.rules.dates import stamp
from crawler.store.ledger import Ledger
from crawler.store.lock import hold_lock
from crawler.store.sqlite import state_errors


def open_date(night: Night, stack: ExitStack) -> Opened:
    """Open the night's crawl date; lock, ledger and journal are held until the stack is closed.

    Raises `CrawlerError` where nothing can be begun.
    """
    now, data = night.world.now(), night.data
    run_id = f"{now:%Y%m%dT%H%M%SZ}-{night.world.token()}"
    guard = stack.enter_context(hold_lock(data, run_id))
    stack.enter_context(state_errors(night.layout.state))
    prepare_folders(data)
    check_room(night.settings, night.world)
    ledger = stack.enter_context(Ledger(data))
    watch_database(guard, ledger.path)
    dates, notes = DateRule(now, night.run.late_after), Notes()
    require_open_date(night, ledger, dates)
    store = JournalOpening(night, run_id, ledger, guard, notes).open(stack)
    note_unfinished(night, ledger, dates, notes)
    for warning in night.listed.warnings:
        notes.add(warning)
    doubt = doubt_by_last_run(night.world.now(), ledger.last_moment())
    if doubt is not None:
        notes.add(doubt)
    hold_s = initial_hold_s(night.run.qps, ledger)
    account = Account(ledger, run_id, night.crawl_date, night.settings.credits, night.world.now, guard)
    opened = Opened(
        night, run_id, stamp(now), dates, guard, ledger, store, account, hold_s, doubt is not None, notes
    )
    _begin(opened)
    return opened


def _begin(opened: Opened) -> None:
    """Let the ledger know of the run, and of credits that it had lost."""
    night, ledger, run_id = opened.night, opened.ledger, opened.run_id
    recover(ledger, opened.journal, night, run_id, opened.started_at, opened.notes)
    ledger.begin(run_id, night.crawl_date, opened.started_at)
    LOG.info(
        "run %s: %d sellers for crawl date %s, at most %g requests/s, %s",
        run_id,
        len(night.listed),
        night.crawl_date,
        night.run.qps,
        opened.account.in_words(),
    )
