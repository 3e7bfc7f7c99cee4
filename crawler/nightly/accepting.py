"""Accepting a night that was held back: it is published as it is, after a person has looked at it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

from crawler.history.judging import judge_with
from crawler.models.errors import InputError
from crawler.models.seller import StopReason
from crawler.nightly.folders import prepare_folders
from crawler.nightly.limits import limits_of
from crawler.nightly.replace_guard import build, leave_out_lost
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.rules.dates import stamp
from crawler.store.held import Held, pending, release
from crawler.store.journal import Journal
from crawler.store.layout import Layout
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import Outcome
from crawler.store.lock import hold_lock
from crawler.store.snapshot import SnapshotPlan
from crawler.store.sqlite import state_errors


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was published: its rows, why the night had been held back, and notes."""

    rows: int
    reasons: list[str]
    notes: list[str]


def accept_date(settings: Settings, crawl_date: date, world: World) -> Accepted:
    """Publish a night that was held back.

    Sends nothing. Raises `InputError` where the date's night is not held back, `DataLockedError` while a run
    holds the folder, `OutputError` where it cannot be published.
    """
    data, layout = settings.run.data, Layout(settings.run.data)
    now = world.now()
    run_id = world.run_id(now, "-accept")
    with ExitStack() as stack:
        guard = stack.enter_context(hold_lock(data, run_id))
        stack.enter_context(state_errors(layout.state))
        path = layout.latest_journal(crawl_date)
        if not path.exists() or not layout.ledger.exists():
            raise InputError(f"no run under {data} was begun for crawl date {crawl_date}: nothing to publish")
        ledger = stack.enter_context(Ledger(data))
        journal = stack.enter_context(Journal(path))
        guard.watch(path)
        journal.guard = guard
        held = Held.of(journal)
        if held is None:
            raise InputError(f"crawl date {crawl_date} is not held back: nothing to publish")
        prepare_folders(data)
        segments = world.staging(journal)
        stack.callback(segments.close)
        notes: list[str] = []
        plan = SnapshotPlan(
            data,
            run_id,
            crawl_date,
            pending(journal),
            None if held.stop_reason is None else StopReason(held.stop_reason),
            window=timedelta(days=settings.history.window),
            data_lag=timedelta(hours=settings.history.data_lag),
            judge=judge_with(limits_of(settings.plausibility), is_accepted=True),
        )

        rows = build(world, segments, lambda: plan, partial(leave_out_lost, journal, plan, notes))
        before = ledger.date(crawl_date)
        refused = 0 if before is None else before.refused
        ledger.begin(run_id, crawl_date, stamp(now))
        left = Outcome(rows.written, held.sellers, held.complete, held.failed, refused)
        ledger.finish(run_id, stamp(world.now()), held.exit_code, left)
        release(journal)
    return Accepted(rows.written, held.reasons, [*notes, *rows.warnings])
