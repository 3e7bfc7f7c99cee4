"""Publishing: what the journal has replaces the date's snapshot, where it differs and may."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from crawler import events
from crawler.engine.stop import stop_reason_of, weightiest
from crawler.history.review import plan_of
from crawler.models.api import SORT_COLUMNS
from crawler.models.errors import BudgetSpentError, CrawlerError, ImplausibleError, InputError, OutputError
from crawler.models.seller import Strategy
from crawler.nightly import tally
from crawler.nightly.crawling import CrawlOutcome
from crawler.nightly.dates import require_begun
from crawler.nightly.holding import STAYS_HELD, disbelieve, hold_back, still_held
from crawler.nightly.opening import Opened
from crawler.nightly.rebuilding import outdated_notes
from crawler.nightly.replace_guard import build, give_up_lost
from crawler.report.run_report import Counts
from crawler.rules.plausibility import Plausibility
from crawler.store.digests import damage_of_published
from crawler.store.held import release
from crawler.store.journal import Journal
from crawler.store.layout import PUBLISHED_KINDS
from crawler.store.parts import Audit
from crawler.store.snapshot import HeldBackError, Reviewed, RowCounts, SnapshotPlan


@dataclass(frozen=True, slots=True)
class Published:
    """What is published of the crawl date.

    `is_published`: for every listed seller it is what the journal has. `rows` are None where it is not known
    of which rows; of a night that is held back they are those that it would have. `stop_reason` is why the
    run ended early.
    """

    is_published: bool
    counts: Counts
    rows: RowCounts | None
    stop_reason: CrawlerError | None


def publish(opened: Opened, outcome: CrawlOutcome) -> Published:
    """Publish what the journal has, where it differs from what is published.

    What keeps it from that is the stop reason of the answer: nothing is raised for it.
    """
    step = _Publishing(opened, outcome.stop_reason)
    try:
        step.run(outcome)
    except OutputError as error:
        step.stop_reason = error
    except HeldBackError as held:
        step.hold(held.counts, held.reviewed)
    for note in outdated_notes(opened.night.commands, opened.run_id):
        opened.notes.add(note)
    step.stop_reason = opened.displacement or step.stop_reason or _too_small(opened, step.rows)
    counts = step.published_counts or step.counted().counts
    return Published(step.is_published, counts, step.rows, step.stop_reason)


def _too_small(opened: Opened, rows: RowCounts | None) -> BudgetSpentError | None:
    """What to say where a budget was not enough for what `--max-age` asks for, or for any page at all."""
    if rows is not None and rows.stale:
        reason = f"pages of {rows.stale} sellers are older than --max-age allows: raise --budget"
        return BudgetSpentError(reason)
    if rows is None and opened.night.run.strategy is Strategy.FRESHEST and opened.account.left == 0:
        return BudgetSpentError("the credit budget is spent, and no page came: raise --budget")
    return None


class _Publishing:
    """One attempt to publish; what it has found when it fails is still of use to the report."""

    def __init__(self, opened: Opened, stop_reason: CrawlerError | None) -> None:
        self._opened = opened
        self._counted: tally.Tally | None = None
        self.stop_reason = stop_reason
        self.published_counts: Counts | None = None
        self.rows: RowCounts | None = None
        self.is_published = False

    def run(self, outcome: CrawlOutcome) -> None:
        """Publish, or find that it need not be, or must not be yet. Raises `OutputError`."""
        if isinstance(self.stop_reason, OutputError):
            raise self.stop_reason
        if isinstance(self.stop_reason, InputError):
            # Nothing was sent: what is published stays as it is.
            return
        opened, night, journal = self._opened, self._opened.night, self._opened.journal
        opened.guard()
        if (reasons := self._why_held(outcome)) is not None:
            self._note_rows(RowCounts(verdict=Plausibility.IMPLAUSIBLE, reasons=reasons))
            return
        require_begun(night.crawl_date, night.world.now(), outcome.clock_offset)
        journal.previous.replace()
        mark, rows = journal.mark(), journal.meta("published_rows")
        hidden = self._note_hidden()
        is_same_list = hidden or journal.meta("published_list") == self._list_digest()
        if rows is not None and is_same_list and mark == journal.meta("published_mark") and self._is_whole():
            self.published_counts = None if hidden else self._counts_of(mark)
            self._note_rows(_rows_from_json(rows))
            self.is_published = not hidden
            return
        if not opened.store.replace_guard.may_replace(night.listed.ids):
            opened.notes.add(events.SNAPSHOT_KEPT())
        elif _has_answers(journal):
            self._note_rows(build(night.world, opened.store.segments, self._plan, self._give_up_lost))
            counts = f"{journal.mark()}\n{self.counted().counts.as_json()}"
            journal.note(published_list=self._list_digest(), published_counts=counts)
            release(journal)
            self.is_published = not hidden

    def hold(self, rows: RowCounts, reviewed: Reviewed) -> None:
        """Keep the night in the journal alone, since it is implausible."""
        self._note_rows(rows)
        found = (rows.reasons, reviewed.to_recheck, reviewed.shown_by, reviewed.hits)
        self.stop_reason = hold_back(self._opened, self.counted(), self.stop_reason, *found)

    def _why_held(self, outcome: CrawlOutcome) -> list[str] | None:
        """Why nothing can be published, which is noted; None where that must be judged."""
        if outcome.disbelief is not None:
            self.stop_reason = disbelieve(self._opened, self.counted(), self.stop_reason, outcome.disbelief)
            return [*outcome.disbelief.reasons]
        if (held := still_held(self._opened)) is not None:
            self.stop_reason = weightiest(self.stop_reason, ImplausibleError(STAYS_HELD))
            return held.reasons
        return None

    def _note_hidden(self) -> bool:
        """Note whose new rows are not published yet; returns whether any of them are listed."""
        total = inside = 0
        for ids in self._opened.journal.previous.hidden():
            total += len(ids)
            inside += sum(self._opened.night.listed.contains([str(i) for i in ids.to_pylist()]))
        if total:
            others = total - inside
            rest = f"; a run with the list of that crawl goes on with {others} of them that this one lacks"
            kept = events.FRESH_KEPT(sellers=total, not_listed=others, rest_words=rest if others else "")
            self._opened.notes.add(kept)
        return inside > 0

    def _is_whole(self) -> bool:
        """Whether what was published is there, as it was then."""
        night, day = self._opened.night, self._opened.night.crawl_date
        if not all(night.layout.snapshot(kind, day).is_dir() for kind in PUBLISHED_KINDS):
            return False
        damage = damage_of_published(night.data, day)
        if damage is not None:
            self._opened.notes.add(events.SNAPSHOT_REBUILT(damage=damage, crawl_date=day))
        return damage is None

    def _list_digest(self) -> str:
        """Equal where `sellers/` would name the same sellers, and the same reason for what they lack.

        By another `--max-age` others of the sellers that bases stand for are overdue.
        """
        night = self._opened.night
        age = night.run.max_age if self._opened.journal.carried.has_bases else ""
        return f"{night.listed.digest()} {stop_reason_of(self.stop_reason)} {age}".rstrip()

    def counted(self) -> tally.Tally:
        """The listed sellers as they have ended, by the stop reason so far."""
        if self._counted is None:
            reason, opened = stop_reason_of(self.stop_reason), self._opened
            self._counted = tally.count(opened.journal, opened.night.listed, reason)
        return self._counted

    def _counts_of(self, mark: str) -> Counts | None:
        """What was counted when this state of the journal was published: counting millions takes a while."""
        of_mark, _, text = (self._opened.journal.meta("published_counts") or "").partition("\n")
        counts = Counts.from_json(text) if of_mark == mark else None
        return None if counts is None else tally.with_list(counts, self._opened.night.listed)

    def _give_up_lost(self) -> None:
        opened = self._opened
        if lost := give_up_lost(opened.night, opened.journal, opened.notes):
            text = f"rows of {lost} sellers can no longer be carried: run the same command again"
            self.stop_reason = self.stop_reason or OutputError(text)
            self._counted = None

    def _plan(self) -> SnapshotPlan:
        night, counted = self._opened.night, self.counted()
        above, reason = counted.counts.certain_above, stop_reason_of(self.stop_reason)
        certain = None if above is None else (SORT_COLUMNS[night.run.sort], above)
        run_id, unknown = self._opened.run_id, counted.pending.ids
        late_from = self._opened.late_from
        return plan_of(night.settings, run_id, night.crawl_date, unknown, reason, late_from, certain=certain)

    def _note_rows(self, rows: RowCounts) -> None:
        """Take over the snapshot's rows, and note what its audit found."""
        self.rows, notes, audit = rows, self._opened.notes, rows.audit
        for reason in rows.reasons:
            is_odd = rows.verdict == Plausibility.ODD
            notes.add((events.VERDICT_ODD if is_odd else events.VERDICT_IMPLAUSIBLE)(reason=reason))
        for damage in (*rows.warnings, *rows.damages):
            if not notes.has_about(damage):
                notes.add(events.SNAPSHOT_NOT_COMPARED(damage=damage))
        for damage in rows.raw_damages:
            notes.add(events.RAW_DAMAGED(damage=damage))
        if audit.wrong:
            found = events.AUDIT_DIFFERS(
                audited=audit.audited,
                wrong=audit.wrong,
                missed=audit.missed,
                gone=audit.gone,
                changed=audit.changed,
            )
            notes.add(found)


def _has_answers(journal: Journal) -> bool:
    """Whether there is anything to publish: answers that were forgotten leave nothing.

    A snapshot that has only rows of bases is built anew: the run has forgotten its failures, to ask again,
    and may have had no credit for it.
    """
    if any(map(len, journal.sellers.answered())) or any(journal.previous.all()):
        return True
    rows = journal.meta("published_rows")
    return rows is not None and not _rows_from_json(rows).received and journal.carried.has_bases


def _rows_from_json(text: str) -> RowCounts:
    """The rows that a snapshot was published with, as the journal noted them; what it lacks is 0."""
    known = orjson.loads(text)
    audit = Audit(**known.pop("audit", {}))
    return RowCounts(**known, audit=audit)
