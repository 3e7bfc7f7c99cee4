"""The one place where parts are built, wired and closed: the nightly job."""

from __future__ import annotations

import asyncio
import os
import secrets
import shlex
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from crawler.engine.crawl import Crawl
from crawler.engine.credits import Credits
from crawler.engine.gates import Gates, RequestCounts
from crawler.engine.pace import Pace
from crawler.engine.stop import Stop
from crawler.errors import (
    ApiDownError,
    BudgetSpentError,
    CrawlerError,
    InputError,
    InterruptedRunError,
    KeyRefusedError,
    OutputError,
    QuotaUsedUpError,
)
from crawler.models import Ending, Page, SellerStatus, StopReason
from crawler.report.progress import LOG, Progress, set_up_logging
from crawler.report.run_report import FAILURES_TOLD, RunReport, count_stops
from crawler.rules.breaker import Breaker
from crawler.rules.budget import lease_size
from crawler.rules.frontier import Frontier
from crawler.rules.paging import PagingRule
from crawler.rules.retry import RetryRule
from crawler.rules.sizing import MAX_WORKERS, PoolSize
from crawler.sellers import SellerList, read_sellers
from crawler.settings import Loaded, Settings, read_key
from crawler.store.files import free_bytes, write_whole
from crawler.store.ledger import Ledger
from crawler.store.lock import hold_lock

_TICK = 0.25
_STOP_REASONS: dict[type[CrawlerError], StopReason] = {
    BudgetSpentError: StopReason.BUDGET,
    QuotaUsedUpError: StopReason.QUOTA,
    KeyRefusedError: StopReason.KEY_REFUSED,
    ApiDownError: StopReason.API_DOWN,
    InterruptedRunError: StopReason.INTERRUPTED,
    OutputError: StopReason.OUTPUT,
}


@dataclass(slots=True)
class LiveFigures:
    """What the progress display reads."""

    total: int
    ended: int
    budget: int | None
    spent_before: int
    counts: RequestCounts
    pages: int = 0
    rows: int = 0

    @property
    def sent(self) -> int:
        """Requests sent so far."""
        return self.counts.sent


class Signals:
    """SIGINT and SIGTERM: the first asks for a clean stop, the second ends the process at once.

    Ending at once loses nothing: what the journal has is durable, and open leases count as spent.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.on_stop: Callable[[int], None] = lambda _number: None

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle both signals for as long as the block runs."""
        former = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        self.on_stop(number)


def run_command(loaded: Loaded, sellers: str | None) -> int:
    """Run the nightly job; returns its exit code.

    Raises `CrawlerError` where nothing could be begun.
    """
    settings = loaded.settings
    set_up_logging(settings.log.format, quiet=settings.log.quiet)
    for warning in loaded.warnings:
        LOG.warning("%s", warning)
    key = read_key(settings, os.environ)
    source, crawl_date = _source_and_date(settings, sellers)
    listed = read_sellers(source, column=settings.run.column, skip_bad_ids=settings.run.skip_bad_ids)
    signals = Signals()
    with signals.handled():
        run = NightlyRun(settings, key, listed, source, crawl_date, signals)
        report = run.go()
    if settings.run.json_report:
        sys.stdout.buffer.write(report.as_json())
        sys.stdout.flush()
    return report.exit_code


def _source_and_date(settings: Settings, sellers: str | None) -> tuple[str, date]:
    today = datetime.now(ZoneInfo(settings.run.timezone)).date()
    crawl_date = settings.run.crawl_date or today
    if not settings.run.resume:
        if sellers is None:
            raise InputError("no seller list: name a CSV file, or - for standard input")
        return sellers, crawl_date
    from crawler.store.journal import Journal, journal_path, latest_generation  # noqa: PLC0415 - heavy

    data = settings.run.data
    with Ledger(data) as ledger:
        found = unfinished(ledger)
    if not found:
        raise InputError(f"nothing to resume under {data}: every crawl date is finished")
    latest = date.fromisoformat(max(found))
    with Journal(journal_path(data, latest, latest_generation(data, latest))) as journal:
        source = sellers or journal.meta("source")
    if source is None or source == "-":
        raise InputError(f"name the seller list of {latest}: it came from standard input")
    return source, latest


def unfinished(ledger: Ledger) -> set[str]:
    """Crawl dates whose latest run left something to do."""
    latest: dict[str, int | None] = {}
    for run in ledger.runs():
        latest.setdefault(run.crawl_date, run.exit_code)
    return {day for day, code in latest.items() if code not in {0, 4}}


class NightlyRun:
    """One run of one crawl date, from the lock to the report."""

    def __init__(
        self,
        settings: Settings,
        key: str,
        listed: SellerList,
        source: str,
        crawl_date: date,
        signals: Signals,
    ) -> None:
        self._settings = settings
        self._key = key
        self._listed = listed
        self._source = source
        self._date = crawl_date
        self._signals = signals
        now = datetime.now(UTC)
        self._run_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self._report = RunReport(self._run_id, crawl_date.isoformat(), _stamp(now))
        self._stop_reason: CrawlerError | None = None
        self._counts = RequestCounts()
        self._busy = 0.0

    def go(self) -> RunReport:
        """Crawl, publish, report."""
        data = self._settings.run.data
        with ExitStack() as stack:
            stack.enter_context(hold_lock(data, self._run_id))
            self._check_room()
            self._prepare(data, stack)
            try:
                self._crawl()
                self._publish()
            except OutputError as error:
                self._stop_reason = error
            self._conclude()
        _thin(data, self._settings.run.keep_days)
        return self._report

    def _prepare(self, data: Path, stack: ExitStack) -> None:
        from crawler.store.snapshot import clean_staging  # noqa: PLC0415 - heavy

        clean_staging(data)
        self._ledger = stack.enter_context(Ledger(data))
        self._generation = self._open_journal(data, stack)
        for earlier in sorted(unfinished(self._ledger) - {self._date.isoformat()}):
            if earlier < self._date.isoformat():
                self._note(f"crawl date {earlier} is unfinished; go on with it by: {self._command(earlier)}")
        if self._listed.bad_count:
            self._note(f"{self._listed.bad_count} bad lines of {self._listed.name} were skipped")
        self._spent_before = self._ledger.spent_for(self._date)
        self._ledger.begin(self._run_id, self._date, self._report.started_at)
        LOG.info(
            "run %s: %d sellers for crawl date %s, at most %g requests/s, %s",
            self._run_id,
            len(self._listed),
            self._date,
            self._settings.run.qps,
            self._budget_words(),
        )

    def _open_journal(self, data: Path, stack: ExitStack) -> int:
        from crawler.store.journal import Journal, journal_path, latest_generation  # noqa: PLC0415 - heavy

        run = self._settings.run
        power_loss = self._settings.journal.sync == "power-loss"
        generation = max(1, latest_generation(data, self._date))
        path = journal_path(data, self._date, generation)
        if run.fresh and path.exists():
            self._publish_former(path)
            generation += 1
            path = journal_path(data, self._date, generation)
        self._journal = stack.enter_context(Journal(path, survive_power_loss=power_loss))
        self._journal.require(sort=run.sort, order=run.order)
        self._journal.note(source=self._source)
        self._journal.reopen(retry_refused=run.retry_failed, max_pages=run.max_pages)
        return generation

    def _publish_former(self, path: Path) -> None:
        """Before a date is crawled anew, show what an earlier, killed run of it paid for."""
        from crawler.store.journal import Journal  # noqa: PLC0415 - heavy

        with Journal(path) as former:
            if former.meta("published_mark") != former.mark() and former.meta("fresh_waits") is None:
                self._publish_from(former, f"{self._run_id}-former", pending=[])

    def _crawl(self) -> None:
        self._ended = self._journal.ended()
        begun = list(self._journal.begun())
        known = self._ended | {seller.seller_id for seller in begun}
        listed_begun = _only_listed(begun, self._listed)
        fresh = (seller_id for seller_id in self._listed if seller_id not in known)
        frontier = Frontier(fresh, listed_begun, self._settings.run.strategy)
        if not listed_begun and all(seller_id in self._ended for seller_id in self._listed):
            LOG.info("nothing left to do for crawl date %s", self._date)
            return
        asyncio.run(self._crawl_async(frontier))

    async def _crawl_async(self, frontier: Frontier) -> None:
        from crawler.api.client import ApiClient  # noqa: PLC0415 - heavy
        from crawler.store.group_commit import GroupCommit  # noqa: PLC0415 - heavy

        s = self._settings
        loop = asyncio.get_running_loop()
        stop = Stop()
        self._signals.on_stop = lambda number: _call_soon(loop, stop, number)
        if self._signals.received is not None:
            stop.set(InterruptedRunError(self._signals.received))
        began = loop.time()
        size = PoolSize(s.run.qps, None if s.run.workers == "auto" else s.run.workers)
        breaker = Breaker(s.run.patience)
        with ThreadPoolExecutor(1, "journal") as writer, ThreadPoolExecutor(1, "ledger") as counter:
            credit = Credits(_LedgerPort(self._ledger, self._run_id, self._date, s, counter))
            journal = GroupCommit(self._journal, self._run_id, writer, s.journal.commit_ms / 1000)
            async with ApiClient(
                s.api.url,
                self._key,
                sort=s.run.sort,
                order=s.run.order,
                timeout=s.api.timeout,
                connect_timeout=s.api.connect_timeout,
                connections=MAX_WORKERS,
            ) as api:
                pace = Pace(s.run.qps, s.api.retry_after_cap)
                retry = RetryRule(s.run.attempts, s.run.backoff)
                gates = Gates(api, credit, pace, breaker, retry, stop, s.run.patience, Random())  # noqa: S311 - jitter
                self._counts = gates.counts
                figures = LiveFigures(
                    len(self._listed), len(self._ended), s.credits.budget, self._spent_before, gates.counts
                )
                crawl = Crawl(
                    frontier,
                    gates,
                    journal,
                    PagingRule(s.run.stop, s.run.max_pages),
                    size,
                    breaker,
                    stop,
                    s.run.grace,
                    on_page=partial(_count_page, figures),
                    on_end=partial(_count_end, figures),
                )
                try:
                    await self._watch(crawl, figures, stop)
                finally:
                    self._signals.on_stop = lambda _number: None
                    await journal.close()
                    self._busy = loop.time() - began
                    self._stop_reason = stop.reason
            await loop.run_in_executor(counter, self._ledger.settle, self._run_id, credit.spent)

    async def _watch(self, crawl: Crawl, figures: LiveFigures, stop: Stop) -> None:
        """Run the crawl beside its progress display and the watch over free space."""
        log = self._settings.log
        live = sys.stderr.isatty() and not (log.no_progress or log.quiet)
        with Progress(figures, live=live) as progress:
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(self._tick(progress, stop))
                try:
                    await crawl.run()
                finally:
                    watcher.cancel()

    async def _tick(self, progress: Progress, stop: Stop) -> None:
        while True:
            await asyncio.sleep(_TICK)
            progress.tick()
            try:
                self._check_room()
            except OutputError as error:
                stop.set(error)

    def _check_room(self) -> None:
        reserve = self._settings.journal.reserve_mib << 20
        data = self._settings.run.data
        free = free_bytes(data.absolute())
        if free < reserve:
            raise OutputError(
                f"only {free >> 20} MiB are free under {data}, {reserve >> 20} MiB are kept in reserve: "
                "make room (or lower journal.reserve_mib), then run the same command again"
            )

    def _publish(self) -> None:
        """Publish what the journal has, where it differs from what is published."""
        self._tally()
        mark = self._journal.mark()
        rows = self._journal.meta("published_rows")
        unlisted = self._journal.meta("published_sellers") != str(len(self._listed))
        if isinstance(self._stop_reason, OutputError):
            raise self._stop_reason
        if mark == self._journal.meta("published_mark") and rows is not None and not unlisted:
            self._report.rows = orjson.loads(rows)
            self._report.published = True
            return
        if self._fresh_waits():
            self._journal.note(fresh_waits="1")
            self._note(
                "the former snapshot stands until every seller of the new one has ended; a plain run goes on"
            )
            self._report.rows = {"received": 0, "duplicate": 0, "rejected": 0, "written": 0}
            return
        if mark.startswith("0 ") and not self._ended and self._report.sellers["failed"] == 0:
            self._report.rows = {"received": 0, "duplicate": 0, "rejected": 0, "written": 0}
            return
        self._report.rows = self._publish_from(self._journal, self._run_id, self._pending)
        self._journal.note(published_sellers=str(len(self._listed)))
        self._report.published = True

    def _fresh_waits(self) -> bool:
        """Whether a snapshot of an earlier generation must stand for now."""
        live = self._settings.run.data / "videos" / f"crawl_date={self._date.isoformat()}"
        waits = self._generation > 1 and live.exists() and self._journal.meta("published_mark") is None
        left = self._report.sellers["pending"] or self._unfinished
        return bool(waits and left)

    def _publish_from(self, journal: Any, run_id: str, pending: Any) -> dict[str, int]:
        from crawler.api.rows import read_rows  # noqa: PLC0415 - heavy
        from crawler.store.snapshot import SnapshotPlan, publish  # noqa: PLC0415 - heavy

        reason = None if self._stop_reason is None else _STOP_REASONS.get(type(self._stop_reason))
        plan = SnapshotPlan(self._settings.run.data, run_id, self._date, pending, reason)
        return asdict(publish(journal, read_rows, plan))

    def _tally(self) -> None:
        """Count the listed sellers by status and stop reason."""
        statuses: Counter[str] = Counter()
        stops: Counter[str | None] = Counter()
        failures: list[dict[str, Any]] = []
        self._unfinished = False
        known: set[str] = set()
        summaries = list(self._journal.summaries())
        listed = _membership([s.seller_id for s in summaries], self._listed)
        reason = None if self._stop_reason is None else _STOP_REASONS.get(type(self._stop_reason))
        for seller, is_listed in zip(summaries, listed, strict=True):
            known.add(seller.seller_id)
            if not is_listed:
                continue
            statuses[seller.status] += 1
            stops[seller.stop_reason or reason] += 1
            self._unfinished |= seller.stop_reason is None
            if seller.status is SellerStatus.FAILED and len(failures) < FAILURES_TOLD:
                failures.append(
                    {"seller": seller.seller_id, "page": seller.pages + 1, "reason": seller.error}
                )
        self._pending = [seller_id for seller_id in self._listed if seller_id not in known]
        statuses["pending"] = len(self._pending)
        stops[reason] += len(self._pending)
        self._report.sellers = {
            "total": len(self._listed),
            **{status.value: statuses[status] for status in SellerStatus},
            "bad_ids_skipped": self._listed.bad_count,
            "repeated_in_list": self._listed.repeated,
        }
        self._report.stops = count_stops(+stops)
        self._report.failures = failures

    def _conclude(self) -> None:
        """Settle, write the report, and say in one line what happened."""
        if not self._report.sellers:
            self._tally()
        if self._signals.received is not None and not isinstance(self._stop_reason, OutputError):
            self._stop_reason = InterruptedRunError(self._signals.received)
        report, s = self._report, self._settings
        report.exit_code = self._exit_code()
        report.message = "" if self._stop_reason is None else str(self._stop_reason)
        report.status = self._status()
        report.finished_at = _stamp(datetime.now(UTC))
        report.rows = report.rows or {"received": 0, "duplicate": 0, "rejected": 0, "written": 0}
        counts = self._counts
        report.requests = {
            "sent": counts.sent,
            "ok": counts.ok,
            "retried": counts.retried,
            "by_status": dict(counts.by_status),
        }
        report.qps = {
            "limit": s.run.qps,
            "achieved": round(counts.sent / self._busy, 3) if self._busy else 0.0,
        }
        try:
            self._ledger.finish(self._run_id, report.finished_at, report.exit_code)
            report.credits = self._credit_figures()
            write_whole(s.run.data / "runs" / self._run_id / "report.json", report.as_json())
        except (CrawlerError, OSError) as error:
            LOG.error("cannot write the report: %s", error)
            report.exit_code = OutputError.exit_code
            report.credits = report.credits or self._credit_figures()
        level = LOG.info if report.exit_code in {0, 3, 130, 143} else LOG.error
        level("%s", report.summary())

    def _credit_figures(self) -> dict[str, int | None]:
        return {
            "budget": self._settings.credits.budget,
            "spent": self._counts.sent,
            "spent_for_date": self._ledger.spent_for(self._date),
        }

    def _exit_code(self) -> int:
        if self._stop_reason is not None:
            return self._stop_reason.exit_code
        return 4 if self._report.sellers["failed"] else 0

    def _status(self) -> str:
        if self._report.exit_code == 0:
            return "complete"
        return "partial" if self._report.published or self._generation > 1 else "failed"

    def _note(self, text: str) -> None:
        self._report.notes.append(text)
        LOG.warning("%s", text)

    def _command(self, crawl_date: str) -> str:
        data = shlex.quote(str(self._settings.run.data))
        return f"crawler run {shlex.quote(self._source)} --data {data} --crawl-date {crawl_date}"

    def _budget_words(self) -> str:
        budget = self._settings.credits.budget
        return "no credit budget" if budget is None else f"{self._spent_before} of {budget} credits spent"


class _LedgerPort:
    """The engine's ledger port: leases are written by a thread of their own."""

    def __init__(
        self, ledger: Ledger, run_id: str, crawl_date: date, settings: Settings, executor: ThreadPoolExecutor
    ) -> None:
        lease = partial(lease_size, settings.run.qps)
        self._reserve = partial(ledger.reserve, run_id, crawl_date, settings.credits.budget, lease)
        self._executor = executor

    async def reserve(self) -> int:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._reserve)


def _call_soon(loop: asyncio.AbstractEventLoop, stop: Stop, number: int) -> None:
    loop.call_soon_threadsafe(stop.set, InterruptedRunError(number))


def _count_page(figures: LiveFigures, page: Page) -> None:
    figures.pages += 1
    figures.rows += page.row_count or 0


def _count_end(figures: LiveFigures, _seller_id: str, _ending: Ending) -> None:
    figures.ended += 1


def _membership(ids: list[str], listed: SellerList) -> list[bool]:
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415

    return [bool(inside) for inside in pc.is_in(pa.array(ids, pa.string()), value_set=listed.ids).to_pylist()]


def _only_listed(begun: list[Any], listed: SellerList) -> list[Any]:
    if not begun:
        return []
    inside = _membership([seller.seller_id for seller in begun], listed)
    return [seller for seller, is_listed in zip(begun, inside, strict=True) if is_listed]


def _thin(data: Path, keep_days: int) -> None:
    """Remove old run folders and journals; the ledger and the snapshots stay."""
    oldest = time.time() - timedelta(days=keep_days).total_seconds()
    for run in (data / "runs").glob("*"):
        if run.is_dir() and run.stat().st_mtime < oldest:
            shutil.rmtree(run, ignore_errors=True)
    for journal in (data / "state" / "journal").glob("*.sqlite*"):
        if journal.stat().st_mtime < oldest:
            journal.unlink(missing_ok=True)


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
