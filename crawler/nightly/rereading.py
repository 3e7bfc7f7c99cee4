"""Making a date's files anew from its kept answers: what `crawler rebuild` does, under the lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

from crawler import events
from crawler.history.answers import restore
from crawler.history.figures import pending_in, stop_reason_in
from crawler.history.reader import UnreadableError, published_dates
from crawler.history.review import plan_of
from crawler.models.errors import CrawlerError, ImplausibleError, InputError, OutputError
from crawler.nightly.dates import late_from_in
from crawler.nightly.folders import check_room, open_folder
from crawler.nightly.left_by_workers import take_in
from crawler.nightly.nights import write_nights_of
from crawler.nightly.rebuilding import outdated_notes
from crawler.nightly.replace_guard import ReplaceGuard, build
from crawler.nightly.shell import Commands
from crawler.nightly.suspicion import why_held
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.sellers.listing import missing
from crawler.store.journal import Journal
from crawler.store.layout import Layout, StagedFolder
from crawler.store.ledger import Ledger
from crawler.store.lock import Guard
from crawler.store.publishing import clean_staging
from crawler.store.segments import SegmentWriter
from crawler.store.segments_anew import SegmentsAnew
from crawler.store.snapshot import NOBODY, HeldBackError, RowCounts, SnapshotPlan


@dataclass(slots=True)
class MadeAnew:
    """What was made anew: `rows` are published, from `pages`; `kept_words` says what is as it was."""

    rows: int
    pages: int
    kept_words: str
    notes: list[str] = field(default_factory=list)


def make_anew(settings: Settings, crawl_date: date, world: World) -> MadeAnew:
    """Derive the files of a published date anew from its answers, and put them in the place of the others.

    The answers are those of its journal, or those in `raw/`. Sends nothing. Raises `InputError` where there
    are none, nothing is published or the night is held back; `DataLockedError` while a run holds the folder;
    `ImplausibleError` where the new files are; `OutputError` where they cannot be written, or would lack rows
    that are published. The published files then stay.
    """
    data = settings.run.data
    run_id = world.run_id(world.now(), "-rebuild")
    with open_folder(data, run_id) as guard:
        check_room(settings, world)
        if crawl_date not in published_dates(data):
            raise InputError(
                f"nothing is published for {crawl_date} under {data}: there is nothing to rebuild"
            )
        made = _Rebuild(settings, world, crawl_date, run_id, guard).run()
        _note_rows(settings, crawl_date, made.rows, run_id, world)
        made.notes.extend(outdated_notes(Commands(data, []), run_id))
        clean_staging(data)
    return made


def _note_rows(settings: Settings, day: date, rows: int, run_id: str, world: World) -> None:
    """Note how many rows are published now, if a ledger knows the date, and write the table of all nights."""
    if not Layout(settings.run.data).ledger.exists():
        return
    with Ledger(settings.run.data) as ledger:
        if (known := ledger.date(day)) is not None:
            ledger.note(known.latest.run_id, replace(known.latest.facts, published_rows=rows))
            write_nights_of(settings.run, ledger, run_id, world.now())


@dataclass(frozen=True, slots=True)
class _Rebuild:
    settings: Settings
    world: World
    day: date
    run_id: str
    guard: Guard
    notes: list[str] = field(default_factory=list)

    def run(self) -> MadeAnew:
        with self._own_journal() as writer:
            if writer is not None:
                anew = SegmentsAnew.read(writer.journal, writer.read)
                self.notes.extend(anew.lost)
                if anew.pages:
                    return self._from_journal(writer, anew)
                # What is to be published is not less than what this journal has: it may replace it later.
                writer.journal.note(publishing=f"{writer.journal.meta('publishing') or ''} {self.run_id}")
            return self._from_files()

    @contextmanager
    def _own_journal(self) -> Iterator[SegmentWriter | None]:
        """The journal that the published files were built from; None where it is gone or cannot be used."""
        path = Layout(self.settings.run.data).latest_journal(self.day)
        with ExitStack() as stack:
            writer = None
            if path.exists():
                try:
                    writer = self._opened(path, stack)
                except OutputError as error:
                    self.notes.append(f"the journal is not used: {error}")
            yield writer

    def _opened(self, path: Path, stack: ExitStack) -> SegmentWriter | None:
        journal = stack.enter_context(Journal(path))
        self.guard.watch(path)
        journal.guard = self.guard
        writer = self.world.staging(journal, self.settings.output.keep_raw)
        stack.callback(writer.close)
        if repaired := str(writer.repairs):
            self.notes.append(events.JOURNAL_REPAIRED(path=path, repairs=repaired))
        if recovered := take_in(writer, self.day, self.settings.run.qps, self.world.sleep):
            self.notes.append(recovered)
        if reasons := why_held(journal):
            accept = Commands(self.settings.run.data, []).accept(self.day)
            raise InputError(
                f"crawl date {self.day} is held back ({' '.join(reasons)}): run the same command as before "
                f"again, or publish it as it is by {accept}; then it can be rebuilt"
            )
        if not journal.has_pages or not ReplaceGuard(journal, self.settings.run.data, self.day).is_ours:
            return None
        writer.flush()
        return writer

    def _from_journal(self, writer: SegmentWriter, anew: SegmentsAnew) -> MadeAnew:
        data, journal = self.settings.run.data, writer.journal
        unknown = missing(pending_in(data, self.day), journal.sellers.known())
        reason = stop_reason_in(data, self.day)
        plan = plan_of(self.settings, self.run_id, self.day, unknown, reason, self._late_from())
        try:
            rows = self._published(writer, plan)
        except CrawlerError:
            anew.undo()
            raise
        writer.remove_strays()
        words = f"{anew.kept} pages have the rows that they had, as their answers are not kept or damaged"
        return MadeAnew(rows.written, anew.pages, words if anew.kept else "", self.notes)

    def _from_files(self) -> MadeAnew:
        """Make a journal of the answers in `raw/`, which is used for this alone."""
        folder = StagedFolder(self.settings.run.data, f"{self.run_id}-answers").read_anew
        with ExitStack() as stack:
            journal = stack.enter_context(Journal(folder.journal(self.day, 1), survive_power_loss=False))
            journal.guard = self.guard
            writer = stack.enter_context(closing(self.world.staging(journal, True)))
            try:
                restored = restore(writer, self.settings.run.data, self.day)
            except UnreadableError as error:
                raise OutputError(f"the files of {self.day} cannot be read: {error}") from None
            plan = plan_of(self.settings, self.run_id, self.day, NOBODY, None, self._late_from())
            rows = self._published(writer, plan)
        words = (
            f"{restored.kept} sellers have the rows that they had: carried, of an earlier crawl, or not all "
            "of their answers are kept and intact"
        )
        notes = [*self.notes, *restored.lost]
        return MadeAnew(rows.written, restored.pages, words if restored.kept else "", notes)

    def _late_from(self) -> datetime | None:
        return late_from_in(self.settings.run, self.day, self.world.now())

    def _published(self, writer: SegmentWriter, plan: SnapshotPlan) -> RowCounts:
        """Publish what a journal has. Raises `CrawlerError` where that must not be."""
        try:
            rows = build(self.world, writer, lambda: plan, self._refuse)
        except HeldBackError as held:
            reasons = held.counts.reasons
            raise ImplausibleError(
                f"the new files are implausible, so the published ones stay: {' '.join(reasons)}",
                reasons,
            ) from None
        self.notes.extend((*rows.warnings, *rows.raw_damages))
        return rows

    def _refuse(self) -> None:
        raise OutputError(
            f"nothing was replaced: rows of {self.day} that cannot be read anew are in files that are "
            "damaged or gone from videos/, and would be missing; restore these from a copy first"
        )
