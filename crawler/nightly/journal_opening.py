"""Opening the journal of a crawl date: repaired, taken over or renewed, and ready for further pages."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil

import pyarrow as pa
import pyarrow.parquet as pq

from crawler import events
from crawler.history.takeover import require_not_archived
from crawler.models.encodings import as_text
from crawler.models.errors import InputError, InterruptedRunError
from crawler.nightly.account import Account
from crawler.nightly.left_by_workers import take_in
from crawler.nightly.night import Night, Notes
from crawler.nightly.replace_guard import ReplaceGuard, give_up_lost, slices
from crawler.nightly.resumable import has_begun, published_before, require_journal, usable_generation
from crawler.nightly.shell import whole_path
from crawler.nightly.suspicion import Suspicion
from crawler.store.files import output_errors, write_whole
from crawler.store.held import forget_accepted, release, to_recheck
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles, log_of
from crawler.store.lock import Guard
from crawler.store.segments import SegmentWriter
from crawler.store.sqlite import unread_commits

_WAIT_STEP_S = 0.25


@dataclass(frozen=True, slots=True)
class OpenJournal:
    """A journal that is ready for pages, the writer of its segments, and what it may replace.

    `suspicion` is what canaries of earlier runs have answered, where these can be believed so far.
    """

    journal: Journal
    segments: SegmentWriter
    replace_guard: ReplaceGuard
    suspicion: Suspicion | None = None


@dataclass(frozen=True, slots=True)
class JournalOpening:
    """Opens the journal of a night's crawl date, and notes what had to be repaired or given up."""

    night: Night
    account: Account
    guard: Guard
    notes: Notes

    def open(self, stack: ExitStack) -> OpenJournal:
        """Open the journal until the stack is closed.

        Raises `InputError` where the run must not go on with it, `OutputError` where it cannot be used.
        """
        night = self.night
        path = night.layout.journal(night.crawl_date, max(1, self._generation()))
        published = None if has_begun(path) else published_before(night)
        power_loss = night.settings.journal.sync == "power-loss"
        journal = stack.enter_context(Journal(path, survive_power_loss=power_loss))
        self.guard.watch(path, log_of(path))
        journal.guard = self.guard
        if published is not None:
            published.take_over(journal)
            self.notes.add(events.JOURNAL_LOST(crawl_date=night.crawl_date))
        # First of all: the guard is only as good as what the journal says of itself.
        segments = night.world.staging(journal, night.settings.output.keep_raw)
        stack.callback(segments.close)
        if repaired := str(segments.repairs):
            self.notes.add(events.JOURNAL_REPAIRED(path=journal.path, repairs=repaired))
        if recovered := take_in(segments, night.crawl_date, night.run.qps, self._wait):
            self.notes.add(recovered)
        return self._begin(journal, segments)

    def _wait(self, seconds: float) -> None:
        """Let seconds pass. Raises `InterruptedRunError` where a signal comes."""
        signals, sleep = self.night.signals, self.night.world.sleep
        for _ in range(ceil(seconds / _WAIT_STEP_S)):
            if signals.received is not None:
                raise InterruptedRunError(signals.received)
            sleep(_WAIT_STEP_S)

    def _generation(self) -> int:
        """The generation of the journal to go on with; 0 or a new one where it is to be made."""
        night = self.night
        generation = night.layout.latest_generation(night.crawl_date)
        path = night.layout.journal(night.crawl_date, max(1, generation))
        # SQLite says nothing of what a damaged log costs: it is read before SQLite opens it.
        with output_errors(str(path)):
            unread = unread_commits(path)
        if unread:
            self.notes.add(events.JOURNAL_CUT(path=log_of(path), commits=unread))
        if not path.exists():
            require_not_archived(night.data, night.crawl_date)
        if night.run.fresh:
            return usable_generation(night, self.account.run_id, self.notes, generation)
        require_journal(night, self.account.ledger, generation)
        return generation

    def _begin(self, journal: Journal, segments: SegmentWriter) -> OpenJournal:
        """Note what the date is crawled with, and let the sellers go on that can."""
        night, run = self.night, self.night.run
        if run.fresh and journal.carried.has_bases:
            raise InputError(
                f"crawl date {night.crawl_date} was begun with --strategy freshest: --fresh cannot crawl it "
                "anew; without --fresh and with another strategy all that was not read is read"
            )
        journal.require(sort=run.sort, order=run.order)
        self._note_list(journal)
        replace_guard = ReplaceGuard(journal, night.data, night.crawl_date)
        replace_guard.record_required_sellers(night.listed.ids)
        self._forget_suspicious(journal, segments)
        if run.fresh:
            forget_accepted(journal)
        if run.fresh or not len(to_recheck(journal)):
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
        return OpenJournal(journal, segments, replace_guard, None if run.fresh else Suspicion.of(journal))

    def _forget_suspicious(self, journal: Journal, segments: SegmentWriter) -> None:
        """Forget the answers of runs before that their canaries speak against."""
        suspicion = Suspicion.of(journal)
        if suspicion is None or not (asked := suspicion.forget(segments, self.account.left)):
            return
        if suspicion.is_justified:
            release(journal)
            self.notes.add(events.ANSWERS_DISBELIEVED(sellers=asked))
        else:
            self.notes.add(events.ANSWERS_DOUBTED(sellers=asked))

    def _note_list(self, journal: Journal) -> None:
        """Note list, flags and options; paths lead to the same files from every folder.

        A list from standard input is kept: the command that goes on with the date needs one.
        """
        night, source = self.night, self.night.source
        if source == "-":
            sink, kept = pa.BufferOutputStream(), JournalFiles(journal.path).piped_list
            pq.write_table(pa.table({night.run.column or "seller_id": night.listed.ids}), sink)
            with output_errors(str(kept)):
                write_whole(kept, memoryview(sink.getvalue()), private=True)
        else:
            source = whole_path(source)
        flags = list(night.flags)
        if "--config" in flags:
            at = flags.index("--config") + 1
            flags[at] = whole_path(flags[at])
        journal.note(source=as_text(source), flags=json.dumps(flags), options=night.options)
