"""Publishing without a crawl: a crawl date is closed as it is, or a night that was held back is accepted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import pyarrow as pa

from crawler.history.figures import pending_in
from crawler.history.review import plan_of
from crawler.models.errors import InputError
from crawler.models.seller import StopReason
from crawler.nightly.dates import DateRule
from crawler.nightly.folders import open_folder
from crawler.nightly.left_by_workers import is_left, take_in
from crawler.nightly.nights import write_nights_of
from crawler.nightly.rebuilding import outdated_notes
from crawler.nightly.replace_guard import ReplaceGuard, build, leave_out_lost
from crawler.nightly.run_facts import has_late_pages
from crawler.nightly.shell import Commands
from crawler.nightly.suspicion import why_held
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.rules.dates import stamp
from crawler.sellers.listing import missing
from crawler.store.held import Held, accept, pending, release
from crawler.store.journal import Journal
from crawler.store.layout import Layout
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import ACCEPT, DateRecord, Outcome
from crawler.store.snapshot import HeldBackError, RowCounts


@dataclass(frozen=True, slots=True)
class ByHand:
    """What was done: rows published just now (None: nothing was to be published), and notes.

    `closed_at` is when the date was closed, `held_for` why the night was held back, `left` how many sellers
    its run had not come to.
    """

    rows: int | None
    notes: list[str]
    closed_at: str = ""
    held_for: Sequence[str] = ()
    left: int = 0


def close_date(settings: Settings, crawl_date: date, world: World) -> ByHand:
    """End a crawl date as it is; once closed, it is published again only where its journal has more.

    Sends nothing. Raises `InputError` where no run of the date ever began, `DataLockedError` while a run
    holds the folder, `OutputError` where it cannot be published: then it is not closed.
    """
    with _open(settings, crawl_date, world, "-close", "close") as opened:
        rows = None if opened.journal is None else _publish_the_rest(opened, opened.journal)
        opened.ledger.close(crawl_date, f"{opened.began.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
        closed = opened.ledger.date(crawl_date)
        opened.note_published(opened.day.latest.run_id, rows)
    return ByHand(rows, opened.notes, closed_at=(closed and closed.closed_at) or "")


def accept_date(settings: Settings, crawl_date: date, world: World) -> ByHand:
    """Publish a night that was held back; later runs of the date are not held back either.

    Sends nothing. Raises `InputError` where the date's night is not held back, `DataLockedError` while a run
    holds the folder, `OutputError` where it cannot be published.
    """
    from crawler.nightly.page_making import refresh_index  # noqa: PLC0415 - heavy

    with _open(settings, crawl_date, world, ACCEPT, "publish") as opened:
        journal, ledger, run_id = opened.journal, opened.ledger, opened.run_id
        held = None if journal is None else Held.of(journal)
        if journal is None or held is None:
            raise InputError(f"crawl date {crawl_date} is not held back: nothing to publish")
        reason = None if held.stop_reason is None else StopReason(held.stop_reason)
        accept(journal)
        rows = opened.publish(journal, pending(journal), reason)
        ledger.begin(run_id, crawl_date, stamp(opened.began))
        left = Outcome(rows.written, held.sellers, held.complete, held.failed, opened.day.refused)
        ledger.finish(run_id, stamp(world.now()), held.exit_code, left)
        release(journal)
        opened.note_published(run_id, rows.written)
        opened.notes.extend(refresh_index(settings.run, ledger, world.now()))
    left_over = held.sellers - held.complete - held.failed
    return ByHand(rows.written, opened.notes, held_for=held.reasons, left=left_over)


@dataclass(frozen=True, slots=True)
class _OpenDate:
    """A crawl date that some run began, open for this process; `journal` is None where it was pruned."""

    settings: Settings
    world: World
    run_id: str
    began: datetime
    ledger: Ledger
    day: DateRecord
    journal: Journal | None
    notes: list[str] = field(default_factory=list)

    @property
    def late_from(self) -> datetime:
        """From when on rows of the date are late."""
        rule = DateRule.of(self.settings.run, self.began)
        return rule.late_from(self.day.crawl_date, self.day.began)

    def note_published(self, run_id: str, rows: int | None) -> None:
        """Note in the ledger what is published now, as a fact of that run, and write the table of all nights.

        `rows` are those that were published just now; None: nothing was.
        """
        known, run = self.day.latest.facts, self.settings.run
        if rows is not None:
            is_late = bool(known.is_late) or (
                self.journal is not None and has_late_pages(self.journal, self.late_from)
            )
            self.ledger.note(
                run_id, replace(known, is_published=True, is_held=False, published_rows=rows, is_late=is_late)
            )
        write_nights_of(run, self.ledger, self.run_id, self.world.now())

    def take_in(self) -> None:
        """Take what workers of a killed run have left into the journal."""
        if self.journal is not None and is_left(self.journal):
            with closing(self.world.staging(self.journal, self.settings.output.keep_raw)) as segments:
                day, qps = self.day.crawl_date, self.settings.run.qps
                if recovered := take_in(segments, day, qps, self.world.sleep):
                    self.notes.append(recovered)

    def publish(self, journal: Journal, unknown: pa.Array[Any], reason: StopReason | None) -> RowCounts:
        """Publish what the journal has; the `unknown` are listed sellers of which it has nothing."""
        day = self.day.crawl_date
        plan = plan_of(self.settings, self.run_id, day, unknown, reason, self.late_from)
        with closing(self.world.staging(journal, self.settings.output.keep_raw)) as segments:
            give_up = partial(leave_out_lost, journal, plan, self.notes)
            rows = build(self.world, segments, lambda: plan, give_up)
        self.notes.extend((*rows.warnings, *rows.raw_damages))
        self.notes.extend(outdated_notes(Commands(self.settings.run.data, []), self.run_id))
        return rows


@contextmanager
def _open(settings: Settings, crawl_date: date, world: World, suffix: str, verb: str) -> Iterator[_OpenDate]:
    """Open a crawl date under the lock; raises `InputError` where no run of it ever began."""
    data, began = settings.run.data, world.now()
    run_id = world.run_id(began, suffix)
    with open_folder(data, run_id) as guard, ExitStack() as stack:
        ledger = stack.enter_context(Ledger(data)) if Layout(data).ledger.exists() else None
        day = None if ledger is None else ledger.date(crawl_date)
        if ledger is None or day is None:
            raise InputError(f"no run under {data} was begun for crawl date {crawl_date}: nothing to {verb}")
        path, journal = Layout(data).latest_journal(crawl_date), None
        if path.exists():
            journal = stack.enter_context(Journal(path))
            guard.watch(path)
            journal.guard = guard
        opened = _OpenDate(settings, world, run_id, began, ledger, day, journal)
        opened.take_in()
        yield opened


def _publish_the_rest(opened: _OpenDate, journal: Journal) -> int | None:
    """Publish what the journal has, where it differs from what is published; returns how many rows."""
    data, crawl_date, notes = opened.settings.run.data, opened.day.crawl_date, opened.notes
    if reasons := why_held(journal):
        notes.append(f"the night is implausible and is not published: {' '.join(reasons)}")
        return None
    journal.previous.replace()
    hidden = sum(map(len, journal.previous.hidden()))
    kept = f"what that crawl paid for is in {journal.path} alone, and a run with --late goes on with it"
    if hidden:
        notes.append(
            f"the previous snapshot stays published for the {hidden} sellers of a --fresh crawl that is "
            f"not complete; {kept}"
        )
    if not journal.has_pages or journal.meta("published_mark") == journal.mark():
        return None
    if not ReplaceGuard(journal, data, crawl_date).is_ours:
        notes.append(
            "the previous snapshot stays published, as the crawl that was to replace it is not complete; "
            f"{kept}"
        )
        return None
    unknown = missing(pending_in(data, crawl_date), journal.sellers.known())
    try:
        return opened.publish(journal, unknown, StopReason.INTERRUPTED).written
    except HeldBackError as held:
        notes.append(f"the night is implausible and is not published: {' '.join(held.counts.reasons)}")
        return None
