"""One run of one crawl date, from the lock to the report."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from itertools import compress
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.api.rows import read_rows
from crawler.history.carried import PinnedRows
from crawler.history.carrying import CarryMatcher, CarryRule
from crawler.history.snapshots import History
from crawler.models.api import PAGE_SIZE, SORT_COLUMNS
from crawler.models.choices import Strategy
from crawler.models.errors import (
    ApiDownError,
    BudgetSpentError,
    CarriedRowsLostError,
    CrawlerError,
    DisplacedError,
    InputError,
    InterruptedRunError,
    KeyRefusedError,
    OutputError,
    QuotaUsedUpError,
)
from crawler.models.page import Match, Page
from crawler.models.seller import SellerProgress, SellerStatus, StopReason
from crawler.nightly import tally
from crawler.nightly.dates import DateRule, close_command, place_of, what_is_left
from crawler.nightly.going_on import run_command
from crawler.nightly.opening import (
    account_for,
    account_for_others,
    has_begun,
    is_address_proven,
    prepare_folders,
    published_before,
    require_journal,
    require_usable,
)
from crawler.nightly.replace_guard import ReplaceGuard, slices
from crawler.nightly.session import Account, Session, Task, check_room, no_match, quiet_seconds
from crawler.nightly.signals import Signals
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.report.progress import LOG
from crawler.report.run_report import RunReport, count_stops
from crawler.rules.address import MOST_ASKED, AddressCheck
from crawler.rules.best_first import BestFirst
from crawler.rules.clock import doubt_by_api, doubt_by_last_run
from crawler.rules.lookahead import LookaheadRule
from crawler.rules.order import Frontier
from crawler.rules.spread import spread_places
from crawler.rules.top import Top
from crawler.sellers.listing import SellerList, as_text
from crawler.store.digests import damage_of_published
from crawler.store.failpoints import reached
from crawler.store.files import output_errors, write_whole
from crawler.store.journal import Journal
from crawler.store.layout import SNAPSHOT_KINDS, VIDEOS, JournalFiles, Layout, RunFolder, StagedFolder, log_of
from crawler.store.ledger import Ledger, Outcome
from crawler.store.lock import hold_lock
from crawler.store.log_check import unread_commits
from crawler.store.parts import deduplicated
from crawler.store.publishing import NOBODY, SnapshotPlan
from crawler.store.retention import prune
from crawler.store.segments import SegmentWriter
from crawler.store.sqlite import state_errors

_STOP_REASONS: dict[type[CrawlerError], StopReason] = {
    BudgetSpentError: StopReason.BUDGET,
    QuotaUsedUpError: StopReason.QUOTA,
    KeyRefusedError: StopReason.KEY_REFUSED,
    ApiDownError: StopReason.API_DOWN,
    InterruptedRunError: StopReason.INTERRUPTED,
    OutputError: StopReason.OUTPUT,
}
_T = TypeVar("_T")
_BUILDS = 4
"""Attempts to build a snapshot: each but the last may find damage in a file that rows are carried from."""
_SECRET = 8
"""Characters from which on a key is struck out of what is printed: a shorter one may be part of any word."""
_COUNTED = ("sellers", "stops", "failures", "certain_above", "drift")
_NO_ROWS = {"received": 0, "duplicate": 0, "rejected": 0, "written": 0}


class NightlyRun:
    """Crawl, publish, report; `go` may be called once.

    `flags` are what sets these settings again, for commands to be shown; `options` is the same for
    `--resume`, kept in the journal.
    """

    def __init__(
        self,
        settings: Settings,
        key: str,
        listed: SellerList,
        source: str,
        crawl_date: date,
        signals: Signals,
        world: World,
        flags: Sequence[str] = (),
        options: str = "{}",
    ) -> None:
        self._settings = settings
        self._flags = list(flags)
        self._options = options
        self._key = key
        self._listed = listed
        self._source = source
        self._date = crawl_date
        self._signals = signals
        self._world = world
        now = world.now()
        self._run_id = f"{now:%Y%m%dT%H%M%SZ}-{world.token()}"
        self._report = RunReport(self._run_id, crawl_date.isoformat(), _stamp(now))
        self._stop_reason: CrawlerError | None = None
        self._layout = Layout(settings.run.data)
        self._is_clock_doubtful = False
        self._dates = DateRule(now, settings.run.late_after)
        self._place = place_of(self._flags)

    def go(self) -> RunReport:
        """Do the night's work.

        Raises `CrawlerError` where nothing could be begun.
        """
        data = self._settings.run.data
        with ExitStack() as stack:
            self._guard = stack.enter_context(hold_lock(data, self._run_id))
            stack.enter_context(state_errors(self._layout.state))
            prepare_folders(data)
            check_room(self._settings, self._world)
            self._ledger = stack.enter_context(Ledger(data))
            self._watch(self._ledger.path)
            self._require_open_date()
            self._open_journal(data, stack)
            self._begin()
            try:
                self._crawl()
                self._publish()
            except OutputError as error:
                self._stop_reason = error
            self._conclude()
            if not self._is_clock_doubtful and self._is_in_place():
                prune(data, self._settings.run.keep_days, self._ledger.unpublished())
        return self._report

    def _watch(self, database: Path) -> None:
        """Watch a database that was opened just now, and its log."""
        self._guard.watch(database, log_of(database))

    def _is_in_place(self) -> bool:
        """Whether lock, ledger and journal are still at their paths; where not, that is why the run ends."""
        try:
            self._guard()
        except DisplacedError as error:
            self._stop_reason = error
            return False
        return True

    def _open_journal(self, data: Path, stack: ExitStack) -> None:
        run = self._settings.run
        power_loss = self._settings.journal.sync == "power-loss"
        sorting = f"{run.sort} {run.order}"
        generation = self._layout.latest_generation(self._date)
        self._note_unread_commits(self._layout.journal(self._date, max(1, generation)))
        if run.fresh:
            generation = self._usable(data, generation, sorting)
        else:
            require_journal(self._ledger, data, self._date, generation)
        path = self._layout.journal(self._date, max(1, generation))
        published = None
        if not has_begun(path):
            published = published_before(data, self._date, self._listed, sorting)
        self._journal = journal = stack.enter_context(Journal(path, survive_power_loss=power_loss))
        self._watch(path)
        journal.guard = self._guard
        if published is not None:
            published.take_over(journal)
            self._note(
                f"the journal of {self._date} is lost: the former snapshot stands for the sellers that it "
                "has, and those that it has in full are not paid for again"
            )
        # First of all: the guard is only as good as what the journal says of itself.
        self._staging = self._world.staging(journal)
        stack.callback(self._staging.close)
        if repaired := str(self._staging.repairs):
            self._note(f"{journal.path} was damaged: {repaired}")
        journal.require(sort=run.sort, order=run.order)
        self._keep_list(path)
        journal.note(
            source=as_text(_lasting(self._source)),
            flags=json.dumps(
                [
                    _lasting(word) if before == "--config" else word
                    for before, word in zip(["", *self._flags], self._flags, strict=False)
                ]
            ),
            options=self._options,
        )
        self._replace_guard = ReplaceGuard(journal, data, self._date)
        self._replace_guard.record_required_sellers(self._listed.ids)
        journal.replace_former()
        if run.fresh:
            self._renew()
        journal.reopen(
            self._listed.contains,
            retry_refused=run.retry_failed,
            max_pages=run.max_pages,
            min_value=run.min_value,
            stop=run.stop,
        )
        self._give_up_lost(journal, "they are read in full now, from their second page on")

    def _note_unread_commits(self, journal: Path) -> None:
        """Note what a damaged log costs before SQLite opens it, which says nothing of it."""
        with output_errors(str(journal)):
            unread = unread_commits(journal)
        if unread:
            self._note(f"{journal}-wal was damaged: {unread} commits cannot be read and are asked for again")

    def _give_up_lost(self, journal: Journal, then: str) -> int:
        """Let sellers go on whose rows can no longer be carried; returns how many."""
        carried = PinnedRows(journal, self._settings.run.data, self._date)
        for damage in carried.damages:
            self._note(f"{damage}: no rows are carried from it")
        if carried.kept:
            self._note(
                f"{len(carried.kept)} sellers keep the carried rows that {self._date} was published with"
            )
        lost = carried.lost
        if lost:
            journal.give_up_carrying(lost)
            listed = sum(self._listed.contains(lost))
            told = f"rows of {len(lost)} sellers were to be carried from there: {then}"
            if listed < len(lost):
                told += f" ({len(lost) - listed} of them are not in the list and keep their first page only)"
            self._note(told)
        return len(lost)

    def _keep_list(self, journal: Path) -> None:
        """Keep a list that came from standard input: the command that goes on with the date needs one."""
        if self._source != "-":
            return
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({self._settings.run.column or "seller_id": self._listed.ids}), sink)
        kept = JournalFiles(journal).piped_list
        with output_errors(str(kept)):
            write_whole(kept, memoryview(sink.getvalue()), private=True)

    def _usable(self, data: Path, generation: int, sorting: str) -> int:
        """The generation of the journal that a `--fresh` crawl goes on with; a new one where it cannot."""
        if not generation:
            return generation
        run, path = self._settings.run, self._layout.journal(self._date, generation)
        try:
            if repaired := require_usable(path, sort=run.sort, order=run.order):
                self._note(f"{path} was damaged: {repaired}")
        except CrawlerError as error:
            self._note(f"the journal of {self._date} cannot be used any further, a new one is begun: {error}")
        else:
            return generation
        # Refused before anything is changed, where the rest of the date could not be kept.
        published_before(data, self._date, self._listed, sorting)
        try:
            self._publish_former(path)
        except CrawlerError as error:
            self._note(f"what the crawl before had paid for last is not published: {error}")
        return generation + 1

    def _renew(self) -> None:
        """Crawl the listed sellers anew, where the date has been crawled before."""
        journal = self._journal
        if journal.has_pages or journal.has_endings or journal.has_renewed:
            self._staging.flush()
            journal.renew(slices(self._listed.ids))

    def _publish_former(self, path: Path) -> None:
        """Before a date is crawled anew, show what an earlier, killed run of it paid for."""
        with Journal(path) as former:
            changed = former.meta("published_mark") != former.mark()
            replace_guard = ReplaceGuard(former, self._settings.run.data, self._date)
            if changed and former.has_pages and replace_guard.is_ours:
                replace_guard.announce(f"{self._run_id}-former")
                staging = self._world.staging(former)
                self._build(staging, f"{self._run_id}-former", None)

    def _begin(self) -> None:
        self._note_unfinished()
        for warning in self._listed.warnings:
            self._note(warning)
        limits = self._settings.credits
        now = self._world.now
        self._account = Account(self._ledger, self._run_id, self._date, limits, now, self._guard)
        doubt = doubt_by_last_run(now(), self._ledger.last_moment())
        if doubt is not None:
            self._is_clock_doubtful = True
            self._note(doubt)
        self._quiet = quiet_seconds(self._settings.run.qps, self._ledger)
        others = account_for_others(self._ledger, self._settings.run.data, self._date, self._run_id)
        if others:
            self._note(
                f"the ledger had lost {others} credits that the journals of other crawl dates know; "
                "they count again"
            )
        unknown = account_for(self._journal, self._ledger, self._date, self._run_id, self._report.started_at)
        if unknown:
            self._note(
                f"the ledger had lost {unknown} credits that the journal knows were spent; they count again"
            )
        self._ledger.begin(self._run_id, self._date, self._report.started_at)
        LOG.info(
            "run %s: %d sellers for crawl date %s, at most %g requests/s, %s",
            self._run_id,
            len(self._listed),
            self._date,
            self._settings.run.qps,
            self._account.told(),
        )

    def _note_unfinished(self) -> None:
        """Note all unfinished earlier dates in one line, which --quiet leaves to the report."""
        days = [day for day in self._dates.unfinished(self._ledger.dates()) if day.crawl_date < self._date]
        if not days:
            return
        newest, oldest = days[0], days[-1]
        left = what_is_left(newest)
        text = f"crawl date {newest.crawl_date} is unfinished ({left})"
        if len(days) > 1:
            text = f"{len(days)} crawl dates from {oldest.crawl_date} on are unfinished; the newest: {text}"
        close = close_command(newest.crawl_date, self._place)
        go_on = run_command(self._ledger, self._settings.run.data, newest.crawl_date, self._place)
        self._report.notes.append(f"{text}; end it as it is by: {close}; go on with it by: {go_on}")
        LOG.info("%s", self._report.notes[-1])

    def _require_open_date(self) -> None:
        """Raise `InputError` where only `--late` goes on with the crawl date."""
        day = self._ledger.date(self._date)
        if day is None or self._settings.run.late or not self._dates.is_closed(day):
            return
        fresh = ["--fresh"] if self._settings.run.fresh else []
        raise InputError(
            f"crawl date {self._date} {self._dates.why_closed(day)}: nothing was sent; "
            f"go on with it by: {self._command(*fresh)}"
        )

    def _crawl(self) -> None:
        begun = list(self._journal.begun(carried=not self._settings.run.carry_forward))
        inside = self._listed.contains([seller.seller_id for seller in begun])
        begun = [seller for seller, is_listed in zip(begun, inside, strict=True) if is_listed]
        fresh = self._listed.without(self._journal.ended())
        if len(fresh):
            fresh = fresh.without(self._journal.answered())
        account = self._account
        url = self._settings.api.url.replace(self._key, "***")
        self._session = Session(
            self._settings,
            self._key,
            self._world,
            self._signals,
            account,
            self._staging,
            self._quiet,
            AddressCheck(url, is_proven=is_address_proven(self._journal, url)),
        )
        to_mend = self._sellers_to_mend()
        if not begun and not len(fresh) and not to_mend:
            LOG.info("nothing left to do for crawl date %s", self._date)
            return
        ended = len(self._listed) - len(fresh) - len(begun)
        try:
            self._world.run(self._session.crawl(self._task(fresh, begun, to_mend), len(self._listed), ended))
        finally:
            self._stop_reason = self._session.stop_reason

    def _sellers_to_mend(self) -> list[str] | None:
        run = self._settings.run
        if not run.repair_drift or run.top is not None:
            return None
        drifted = self._journal.to_mend()
        return [s for s, inside in zip(drifted, self._listed.contains(drifted), strict=True) if inside]

    def _task(self, fresh: SellerList, begun: list[SellerProgress], to_mend: list[str] | None) -> Task:
        run, history = self._settings.run, History(self._settings.run.data, self._date)
        spread = fresh.ids.take(pa.array(spread_places(len(fresh), MOST_ASKED), pa.int64())).to_pylist()
        if run.top is not None:
            return Task(BestFirst(fresh, begun, by_max_remaining_value=True, spread=spread), self._top())
        match = self._matcher()
        if run.strategy is Strategy.BEST_FIRST:
            worth: dict[str, array[float]] = {}
            worth = self._guess(history, lambda: history.page_values(run.sort), worth)
            return Task(BestFirst(fresh, begun, worth, spread=spread), None, None, match, to_mend)
        if run.strategy is Strategy.BREADTH_FIRST or run.min_value is not None:
            return Task(Frontier(fresh, begun, run.strategy, spread), None, None, match, to_mend)
        depths: dict[str, int] = {}
        if run.lookahead != "off":
            depths = self._guess(history, lambda: history.depths(run.lookahead_pages), depths)
        ahead = LookaheadRule(run.lookahead, run.lookahead_pages, run.max_pages, depths)
        ordered = fresh
        if not self._is_budgeted:
            ordered = self._guess(history, lambda: self._deepest_first(fresh, history), fresh)
        return Task(Frontier(ordered, begun, run.strategy, spread), None, ahead, match, to_mend)

    def _guess(self, history: History, read: Callable[[], _T], otherwise: _T) -> _T:
        """What earlier snapshots advise; `otherwise` where that fails: no night depends on it."""
        try:
            found = read()
        except Exception as error:  # noqa: BLE001 - whatever damage does to statistics
            self._note(f"earlier snapshots are not used to order this run: {type(error).__name__}: {error}")
            return otherwise
        for warning in history.warnings:
            self._note(warning)
        return found

    @property
    def _is_budgeted(self) -> bool:
        """Whether credits may run out: then the list's own order says who comes first."""
        limits = self._settings.credits
        return limits.budget is not None or limits.monthly_budget is not None

    def _deepest_first(self, fresh: SellerList, history: History) -> SellerList:
        """The deepest first, so that no seller is left to be read page after page when all else is done.

        One that was never read may be deep: it comes before those that are known to be shallow.
        """
        known = history.videos(fresh.ids)
        if known.null_count == len(fresh):
            return fresh
        depth: Any = pc.divide(known, pa.scalar(PAGE_SIZE, pa.int64()))
        unknown = pa.scalar(self._settings.run.lookahead_pages, pa.int64())
        order = pc.sort_indices(pc.negate(pc.fill_null(depth, unknown)))
        return replace(fresh, ids=fresh.ids.take(order))

    def _matcher(self) -> Callable[[Page], Match | None]:
        """What compares first pages with the last snapshot, where sellers may be carried forward."""
        run = self._settings.run
        if not run.carry_forward:
            return no_match
        rule = CarryRule(self._date, run.max_age, run.audit)
        matcher = CarryMatcher(self._journal, run.data, rule, f"{run.sort} {run.order}", read_rows)
        for warning in matcher.warnings:
            self._note(warning)
        return matcher.match

    def _top(self) -> Top | None:
        """The K best so far, where the run is to end with them."""
        run = self._settings.run
        if run.top is None:
            return None
        top = Top(run.top)
        self._staging.flush()
        names = ("seller_id", "video_id", SORT_COLUMNS[run.sort])
        folder = StagedFolder.of(run.data, f"{self._run_id}-top").folder
        for sellers, pieces in deduplicated(self._journal, folder, None):
            known = [seller.seller_id for seller in sellers]
            listed = set(compress(known, self._listed.contains(known)))
            for kept in pieces:
                own = kept.columns(names)
                told: Iterator[Any] = zip(*(own[name].to_pylist() for name in names), strict=True)
                top.add(((s, video), value or 0.0) for s, video, value in told if s in listed)
        return top

    def _publish(self) -> None:
        """Publish what the journal has, where it differs from what is published."""
        if isinstance(self._stop_reason, OutputError):
            raise self._stop_reason
        self._guard()
        self._session.require_begun_date()
        journal = self._journal
        journal.replace_former()
        mark, rows = journal.mark(), journal.meta("published_rows")
        hidden = self._tell_hidden()
        same = hidden or journal.meta("published_list") == self._list_digest()
        if mark == journal.meta("published_mark") and rows is not None and same and self._is_whole():
            if hidden:
                self._count()
            else:
                self._tell_former_counts(mark)
            self._tell_rows(orjson.loads(rows))
            self._report.published = not hidden
            return
        counted = self._count()
        if not self._replace_guard.may_replace(self._listed.ids):
            self._note(
                "the former snapshot stands until every seller of the new one has ended; a plain run goes on"
            )
        elif journal.has_pages or journal.has_endings or journal.has_renewed:
            self._replace_guard.announce(self._run_id)
            self._tell_rows(self._build(self._staging, self._run_id, counted))
            told = orjson.dumps({name: getattr(self._report, name) for name in _COUNTED}).decode()
            journal.note(published_list=self._list_digest(), published_counts=f"{journal.mark()}\n{told}")
            self._report.published = not hidden

    def _tell_hidden(self) -> bool:
        """Say whose new rows are not published yet; returns whether any of them are listed."""
        total = listed = 0
        for ids in self._journal.hidden():
            total += len(ids)
            listed += sum(self._listed.contains([str(i) for i in ids.to_pylist()]))
        if total:
            text = (
                f"the former snapshot stands for the {total} sellers of a --fresh crawl that has not ended, "
                "until all of them have"
            )
            if listed < total:
                text += (
                    f"; {total - listed} of them are not in this list: a run with the list of that crawl "
                    "goes on with them"
                )
            self._note(text)
        return listed > 0

    def _is_whole(self) -> bool:
        """Whether what was published is there, as it was then."""
        data = self._settings.run.data
        if not all(self._layout.snapshot(kind, self._date).is_dir() for kind in SNAPSHOT_KINDS):
            return False
        damage = damage_of_published(data, self._date)
        if damage is not None:
            self._note(f"{damage}: the snapshot of {self._date} is built again from its journal")
        return damage is None

    def _list_digest(self) -> str:
        """Equal where `sellers/` would tell of the same sellers, and the same reason for what they lack."""
        return f"{self._listed.digest()} {self._reason()}"

    def _build(self, staging: SegmentWriter, run_id: str, counted: tally.Tally | None) -> dict[str, Any]:
        for left in reversed(range(_BUILDS)):
            try:
                return asdict(self._world.publish(staging, self._plan_of(run_id, counted)))
            except CarriedRowsLostError:
                if not left:
                    raise
                lost = self._give_up_lost(staging.journal, "the next run of this date reads them in full")
                if lost and counted is not None:
                    told = f"rows of {lost} sellers can no longer be carried: run the same command again"
                    self._stop_reason = self._stop_reason or OutputError(told)
                    counted = self._count()
        raise OutputError("the snapshot could not be built")

    def _plan_of(self, run_id: str, counted: tally.Tally | None) -> SnapshotPlan:
        pending = NOBODY if counted is None else counted.pending.ids
        above = None if counted is None else counted.certain_above
        certain = None if above is None else (SORT_COLUMNS[self._settings.run.sort], above)
        return SnapshotPlan(self._settings.run.data, run_id, self._date, pending, self._reason(), certain)

    def _tell_rows(self, counts: dict[str, Any]) -> None:
        report = self._report
        report.certain_rows = counts.pop("certain", 0)
        carried, saved = counts.pop("carried_sellers", 0), counts.pop("saved", 0)
        audit = counts.pop("audit", {})
        for damage in counts.pop("damages", []):
            if not any(note.startswith(damage) for note in report.notes):
                self._note(f"{damage}: no rows are compared with it")
        report.rows = counts
        report.carry_forward = {"carried": carried, "credits_saved": saved, **audit}
        if audit.get("wrong"):
            self._note(
                f"of {audit['audited']} sellers that could have been carried but were crawled in full, "
                f"{audit['wrong']} differ from the last snapshot: {audit['missed']} videos would have been "
                f"missing, {audit['gone']} too many, {audit['changed']} with old counts"
            )

    def _reason(self) -> StopReason | None:
        return None if self._stop_reason is None else _STOP_REASONS.get(type(self._stop_reason))

    def _tell_former_counts(self, mark: str) -> None:
        """Tell what was counted when this state of the journal was published: millions take a while."""
        of_mark, _, told = (self._journal.meta("published_counts") or "").partition("\n")
        if of_mark != mark:
            self._count()
            return
        for name, value in orjson.loads(told).items():
            setattr(self._report, name, value)
        self._tell_list()

    def _tell_list(self) -> None:
        """What the list tells beside its sellers; equal lists of sellers may differ in that."""
        self._report.sellers |= {
            "bad_ids_skipped": self._listed.bad_count,
            "repeated_in_list": self._listed.repeated,
        }

    def _count(self) -> tally.Tally:
        counted = tally.count(self._journal, self._listed, self._reason())
        self._report.sellers = {
            "total": len(self._listed),
            **{status.value: counted.statuses[status] for status in SellerStatus},
            "not_listed": counted.not_listed,
            "kept": counted.kept,
        }
        self._tell_list()
        self._report.stops = count_stops(+counted.stops)
        self._report.failures = counted.failures
        self._report.certain_above = counted.certain_above
        told = {"overlap": counted.overlap, "gaps": counted.drift, "sellers": counted.drifted}
        self._report.drift = told
        return counted

    def _conclude(self) -> None:
        """Write the report, and say in one line what happened."""
        self._is_in_place()
        self._note_clock()
        if not self._report.sellers:
            self._count()
        if self._signals.received is not None and not isinstance(self._stop_reason, OutputError):
            self._stop_reason = InterruptedRunError(self._signals.received)
        report, data = self._report, self._settings.run.data
        report.exit_code = self._exit_code()
        report.message = "" if self._stop_reason is None else str(self._stop_reason)
        report.status = self._status()
        report.finished_at = _stamp(self._world.now())
        report.rows = report.rows or dict(_NO_ROWS)
        self._count_requests()
        self._tell_probes()
        self._tell_drift()
        if (doubt := self._session.address.doubt) and not isinstance(self._stop_reason, ApiDownError):
            self._note(f"{doubt}; a later run asks for them again")
        self._tell_kept()
        if self._settings.run.fresh and not report.published:
            self._note(f"go on with it by: {self._command()}")
        outcome = self._outcome()
        try:
            self._ledger.finish(self._run_id, report.finished_at, report.exit_code, outcome)
            reached("ledger.finish")
            report.credits = self._credit_figures()
            retried = ["--retry-failed"] if report.exit_code == 4 and outcome.refused else []
            in_place = self._guard.is_data_in_place
            report.go_on = self._command(*retried) if self._is_unfinished and in_place else ""
            if in_place:
                write_whole(RunFolder.of(data, self._run_id).report, report.as_json())
            else:
                LOG.error("no report is written: %s is another folder now, or none", data)
            reached("report.written")
        except (CrawlerError, OSError) as error:
            LOG.error("cannot write the report: %s", error)
            report.exit_code = OutputError.exit_code
            with suppress(CrawlerError):
                self._ledger.finish(self._run_id, report.finished_at, report.exit_code, outcome)
            report.credits = report.credits or self._credit_figures()
        else:
            if in_place:
                self._write_page()
        if report.exit_code == 0:
            LOG.info("%s", report.summary())
        else:
            LOG.error("%s", report.reason())

    def _note_clock(self) -> None:
        doubt = doubt_by_api(self._world.now(), self._session.clock_offset)
        if doubt is not None:
            self._is_clock_doubtful = True
            self._note(doubt)

    def _outcome(self) -> Outcome:
        sellers = self._report.sellers
        refused = 0
        if sellers["failed"]:
            batches: Iterator[Any] = self._journal.refused()
            refused = sum(self._listed.contains(ids.to_pylist()).count(True) for ids in batches)
        rows = self._report.rows["written"]
        return Outcome(rows, sellers["total"], sellers["complete"], sellers["failed"], refused)

    def _write_page(self) -> None:
        """Show the report to people.

        It stands already: whatever goes wrong here costs the page, not what the night has told.
        """
        try:
            from crawler.report.page import as_page  # noqa: PLC0415 - no request waits for it

            page = as_page(asdict(self._report)).encode()
            write_whole(RunFolder.of(self._settings.run.data, self._run_id).page, page)
        except Exception as error:  # noqa: BLE001 - a fault of the page is no fault of the night
            LOG.warning("cannot write report.html: %s: %s", type(error).__name__, error)

    def _count_requests(self) -> None:
        counts, busy = self._session.counts, self._session.busy
        self._report.requests = {
            "sent": counts.sent,
            "ok": counts.ok,
            "retried": counts.retried,
            "by_status": dict(counts.by_status),
        }
        last = counts.last_error
        self._report.errors = {
            "by_kind": dict(counts.errors.most_common()),
            "last": None
            if last is None
            else {"seller": last.seller_id, "page": last.page_num, "kind": last.kind, "reason": last.reason},
        }
        self._report.qps = {
            "limit": self._settings.run.qps,
            "achieved": round(counts.sent / busy, 3) if busy else 0.0,
        }

    def _tell_probes(self) -> None:
        probes = self._session.probes
        self._report.probes = {"sent": probes.sent, "rows_found": probes.rows_found}
        if probes.rows_found:
            self._note(
                f"{probes.sent} pages after a short one held {probes.rows_found} rows: "
                "the short-page rule loses such rows; use --stop empty"
            )
        beyond = self._session.after_rejects
        self._report.after_rejects = {"pages": beyond.sent, "rows_found": beyond.rows_found}
        if beyond.sent:
            self._note(
                f"{beyond.sent} pages were asked for because the page before, a short one, held rows that "
                f"could not be kept (rejects.jsonl has them); rows found on them: {beyond.rows_found}"
            )

    def _tell_drift(self) -> None:
        drift = self._report.drift
        if drift["gaps"]:
            self._note(
                f"the lists of {drift['sellers']} sellers changed while they were read, at {drift['gaps']} "
                "pairs of pages: rows may have slipped through there; --repair-drift reads such pages again"
            )

    def _tell_kept(self) -> None:
        """Say which sellers of the date are published as they were before this run."""
        others, failed = self._report.sellers["not_listed"], self._report.sellers["kept"]
        if others:
            text = f"{others} sellers of {self._date} are not in the list: they stay as they are"
            self._report.notes.append(text)
            LOG.info("%s", text)
        if failed:
            self._note(
                f"{failed} sellers that failed keep the rows of their crawl before (kept_status in sellers/)"
            )

    def _credit_figures(self) -> dict[str, int | None]:
        return {
            "budget": self._settings.credits.budget,
            "spent": self._session.counts.sent,
            "spent_for_date": self._ledger.spent_for(self._date),
            "monthly_budget": self._settings.credits.monthly_budget,
            "spent_for_month": self._ledger.spent_since(
                self._account.month.began, self._account.month.lease_day
            ),
        }

    def _exit_code(self) -> int:
        if self._stop_reason is not None:
            return self._stop_reason.exit_code
        return 4 if self._report.sellers["failed"] else 0

    @property
    def _is_unfinished(self) -> bool:
        return self._report.exit_code != 0 or not self._report.published

    def _status(self) -> str:
        if self._report.exit_code == 0:
            return "complete"
        live = self._layout.snapshot(VIDEOS, self._date)
        return "partial" if live.exists() else "failed"

    def _note(self, text: str) -> None:
        if text not in self._report.notes:
            self._report.notes.append(text)
            LOG.warning("%s", text)

    def _command(self, *extra: str) -> str:
        """What goes on with this run's crawl date: its own list, and whatever is not set by default here."""
        day = self._ledger.date(self._date)
        if day is not None and self._dates.is_closed(day):
            extra = (*extra, "--late")
        data, own, variables = self._settings.run.data, (self._source, self._flags), self._more_of_the_month()
        command = run_command(self._ledger, data, self._date, self._place, own, extra, variables)
        return command.replace(self._key, "***") if len(self._key) >= _SECRET else command

    def _more_of_the_month(self) -> list[str]:
        """What lets a command spend at least a credit for each seller, where the month's budget is spent."""
        monthly = self._settings.credits.monthly_budget
        if monthly is None or not isinstance(self._stop_reason, BudgetSpentError):
            return []
        spent, day = self._ledger.spent_since(self._account.month.began), self._ledger.date(self._date)
        left = 0 if day is None else day.pending
        return [f"CRAWLER_CREDITS_MONTHLY_BUDGET={spent + max(1, left)}"] if spent >= monthly else []


def _lasting(path: str) -> str:
    """A path that leads to the same file from every folder."""
    return path if path == "-" else os.path.abspath(path)  # noqa: PTH100 - links stay as they are


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
