"""Opening the journal of a crawl date: repaired, taken over or renewed, and ready for further pages."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from crawler.models.encodings import as_text
from crawler.nightly.building import give_up_lost
from crawler.nightly.folders import watch_database
from crawler.nightly.fresh import usable_generation
from crawler.nightly.going_on import keep_list
from crawler.nightly.night import Night, Notes
from crawler.nightly.replace_guard import ReplaceGuard, slices
from crawler.nightly.resumable import has_begun, published_before, require_journal
from crawler.store.files import output_errors
from crawler.store.journal import Journal
from crawler.store.ledger import Ledger
from crawler.store.lock import Guard
from crawler.store.log_check import unread_commits
from crawler.store.segments import SegmentWriter


@dataclass(frozen=True, slots=True)
class OpenJournal:
    """A journal that is ready for pages, the writer of its segments, and what it may replace."""

    journal: Journal
    segments: SegmentWriter
    replace_guard: ReplaceGuard


@dataclass(frozen=True, slots=True)
class JournalOpening:
    """Opens the journal of a night's crawl date, and notes what had to be repaired or given up."""

    night: Night
    run_id: str
    ledger: Ledger
    guard: Guard
    notes: Notes

    def open(self, stack: ExitStack) -> OpenJournal:
        """Open the journal until the stack is closed.

        Raises `InputError` where the run must not go on with it, `OutputError` where it cannot be used.
        """
        night, data = self.night, self.night.data
        path = night.layout.journal(night.crawl_date, max(1, self._generation()))
        published = None
        if not has_begun(path):
            published = published_before(data, night.crawl_date, night.listed, night.sorting)
        power_loss = night.settings.journal.sync == "power-loss"
        journal = stack.enter_context(Journal(path, survive_power_loss=power_loss))
        watch_database(self.guard, path)
        journal.guard = self.guard
        if published is not None:
            published.take_over(journal)
            self.notes.add(
                f"the journal of {night.crawl_date} is lost: the former snapshot stands for the sellers that "
                "it has, and those that it has in full are not paid for again"
            )
        # First of all: the guard is only as good as what the journal says of itself.
        segments = night.world.staging(journal)
        stack.callback(segments.close)
        if repaired := str(segments.repairs):
            self.notes.add(f"{journal.path} was damaged: {repaired}")
        return self._begin(journal, segments)

    def _generation(self) -> int:
        """The generation of the journal to go on with; 0 or a new one where it is to be made."""
        night = self.night
        generation = night.layout.latest_generation(night.crawl_date)
        self._note_unread_commits(night.layout.journal(night.crawl_date, max(1, generation)))
        if night.run.fresh:
            return usable_generation(night, self.run_id, self.notes, generation)
        require_journal(self.ledger, night.data, night.crawl_date, generation)
        return generation

    def _note_unread_commits(self, path: Path) -> None:
        """Note what a damaged log costs before SQLite opens it, which says nothing of it."""
        with output_errors(str(path)):
            unread = unread_commits(path)
        if unread:
            self.notes.add(f"{path}-wal was damaged: {unread} commits cannot be read and are asked for again")

    def _begin(self, journal: Journal, segments: SegmentWriter) -> OpenJournal:
        """Note what the date is crawled with, and let the sellers go on that can."""
        night, run = self.night, self.night.run
        journal.require(sort=run.sort, order=run.order)
        if night.source == "-":
            keep_list(journal.path, run.column or "seller_id", night.listed.ids)
        journal.note(source=as_text(_lasting(night.source)), flags=self._flags(), options=night.options)
        replace_guard = ReplaceGuard(journal, night.data, night.crawl_date)
        replace_guard.record_required_sellers(night.listed.ids)
        journal.previous.replace()
        if run.fresh and (journal.has_pages or journal.sellers.has_endings or journal.previous.has_renewed):
            segments.flush()
            journal.previous.renew(slices(night.listed.ids))
        journal.sellers.reopen(
            night.listed.contains,
            retry_refused=run.retry_failed,
            max_pages=run.max_pages,
            min_value=run.min_value,
            stop=run.stop,
        )
        give_up_lost(night, journal, self.notes, "they are read in full now, from their second page on")
        return OpenJournal(journal, segments, replace_guard)

    def _flags(self) -> str:
        """The run's flags as the journal notes them, leading to the same files from every folder."""
        flags = self.night.flags
        pairs = zip(["", *flags], flags, strict=False)
        return json.dumps([_lasting(word) if before == "--config" else word for before, word in pairs])


def _lasting(path: str) -> str:
    """A path that leads to the same file from every folder."""
    return path if path == "-" else os.path.abspath(path)  # noqa: PTH100 - links stay as they are
