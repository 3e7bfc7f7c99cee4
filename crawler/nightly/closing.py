"""Closing a crawl date: what was paid for is published, and no run goes on with it but by `--late`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date
from functools import partial
from pathlib import Path

from crawler.history.figures import pending_in
from crawler.history.judging import judge_with
from crawler.models.errors import InputError
from crawler.models.seller import StopReason
from crawler.nightly.folders import prepare_folders
from crawler.nightly.replace_guard import ReplaceGuard, build, leave_out_lost
from crawler.nightly.world import World
from crawler.rules.plausibility import DEFAULT_LIMITS, Limits
from crawler.sellers.listing import missing
from crawler.store.journal import Journal
from crawler.store.layout import Layout
from crawler.store.ledger import Ledger
from crawler.store.lock import Guard, hold_lock
from crawler.store.snapshot import HeldBackError, SnapshotPlan
from crawler.store.sqlite import state_errors


@dataclass(frozen=True, slots=True)
class Closing:
    """What closing a date did: rows published just now (None: nothing was to be published), and notes."""

    closed_at: str
    rows: int | None
    notes: list[str]


def close_date(data: Path, crawl_date: date, world: World, limits: Limits = DEFAULT_LIMITS) -> Closing:
    """End a crawl date as it is; once closed, it is published again only where its journal has more.

    Sends nothing. Raises `InputError` where no run of the date ever began, `DataLockedError` while a run
    holds the folder, `OutputError` where it cannot be published: then it is not closed.
    """
    now = world.now()
    run_id = world.run_id(now, "-close")
    with ExitStack() as stack:
        guard = stack.enter_context(hold_lock(data, run_id))
        stack.enter_context(state_errors(Layout(data).state))
        if not Layout(data).ledger.exists():
            raise InputError(f"no run was begun under {data}: nothing to close")
        ledger = stack.enter_context(Ledger(data))
        if ledger.date(crawl_date) is None:
            raise InputError(
                f"no run under {data} was begun for crawl date {crawl_date}: there is nothing to close"
            )
        prepare_folders(data)
        notes: list[str] = []
        rows = _publish(data, run_id, crawl_date, world, guard, notes, limits)
        ledger.close(crawl_date, now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"))
        closed = ledger.date(crawl_date)
    return Closing((closed and closed.closed_at) or "", rows, notes)


def _publish(
    data: Path,
    run_id: str,
    crawl_date: date,
    world: World,
    guard: Guard,
    notes: list[str],
    limits: Limits,
) -> int | None:
    """Publish what the date's journal has, where it differs from what is published; returns how many rows."""
    path = Layout(data).latest_journal(crawl_date)
    if not path.exists():
        return None
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(path))
        guard.watch(path)
        journal.guard = guard
        journal.previous.replace()
        hidden = sum(map(len, journal.previous.hidden()))
        kept = f"what that crawl paid for is in {path} alone, and a run with --late goes on with it"
        if hidden:
            notes.append(
                f"the former snapshot stays for the {hidden} sellers of a --fresh crawl that is not "
                f"complete; {kept}"
            )
        if not journal.has_pages or journal.meta("published_mark") == journal.reader.mark():
            return None
        if not ReplaceGuard(journal, data, crawl_date).is_ours:
            notes.append(
                f"the former snapshot stays, as the crawl that was to replace it is not complete; {kept}"
            )
            return None
        segments = world.staging(journal)
        stack.callback(segments.close)
        pending = missing(pending_in(data, crawl_date), journal.sellers.known())
        judge = judge_with(limits)
        plan = SnapshotPlan(data, run_id, crawl_date, pending, StopReason.INTERRUPTED, judge=judge)

        try:
            counts = build(world, segments, lambda: plan, partial(leave_out_lost, journal, plan, notes))
        except HeldBackError as held:
            notes.append(f"the night is implausible and is not published: {' '.join(held.counts.reasons)}")
            return None
        notes.extend(counts.warnings)
        return counts.written
