"""The part of a run that lives on the event loop: engine, client and writers, built and closed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial

from crawler.engine.credits import Credits
from crawler.engine.gates import Gates, RequestCounts
from crawler.engine.pace import Pace
from crawler.engine.pool import Crawl, ProbeCounts
from crawler.engine.stop import Stop
from crawler.models.errors import BudgetSpentError, CrawlerError, InterruptedRunError, OutputError
from crawler.models.page import Match, Page
from crawler.models.seller import Ending
from crawler.nightly.signals import Signals
from crawler.nightly.world import World
from crawler.options import CreditSettings, Settings
from crawler.ports import Api, TellsTime
from crawler.report.progress import Progress
from crawler.rules.address import AddressCheck
from crawler.rules.best_first import BestFirst
from crawler.rules.budget import lease_day, lease_size, month_begin, month_end, utc_day
from crawler.rules.clock import doubt_by_api, is_future
from crawler.rules.lookahead import LookaheadRule
from crawler.rules.order import Frontier
from crawler.rules.outage import Breaker
from crawler.rules.paging import PagingRule
from crawler.rules.retry import RetryRule
from crawler.rules.sizing import PoolSize
from crawler.rules.top import Top
from crawler.store.group_commit import GroupCommit
from crawler.store.ledger import BillingMonth, Ledger
from crawler.store.segments import SegmentWriter

_TICK = 0.25
_QUIET = 1.05
_DATES_ENOUGH = 3
"""Answers whose Date must agree before a run ends for it in its midst."""


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


@dataclass(frozen=True, slots=True)
class Account:
    """Whose credits a run spends: the ledger, the run, its date, the budgets and the clock of the month."""

    ledger: Ledger
    run_id: str
    crawl_date: date
    limits: CreditSettings
    now: Callable[[], datetime]
    guard: Callable[[], None] = lambda: None

    @property
    def budget(self) -> int | None:
        """The date's budget."""
        return self.limits.budget

    @property
    def month(self) -> BillingMonth:
        """The billing month as the clock now tells it."""
        now = self.now()
        began = month_begin(utc_day(now), self.limits.month_begins)
        return BillingMonth(began, self.limits.monthly_budget, lease_day(now))

    def reserve(self, lease: Callable[[int | None], int]) -> int:
        """Reserve credits.

        Raises `BudgetSpentError` where nothing is left, `DisplacedError` where the ledger is not at its path.
        """
        self.guard()
        month = self.month
        size = self.ledger.reserve(self.run_id, self.crawl_date, self.budget, lease, month)
        if size == 0:
            raise BudgetSpentError("; ".join(self._spent(month)))
        return size

    def told(self) -> str:
        """What the budgets have had to bear so far, in words."""
        month, told = self.month, "no credit budget"
        if self.budget is not None:
            told = f"{self.ledger.spent_for(self.crawl_date)} of {self.budget} credits spent"
        if month.budget is not None:
            spent = self.ledger.spent_since(month.began, month.lease_day)
            told += f", {spent} of {month.budget} since {month.began}"
        return told

    def _spent(self, month: BillingMonth) -> Iterator[str]:
        if self.budget is not None and self.ledger.spent_for(self.crawl_date) >= self.budget:
            yield "the credit budget is spent: raise --budget, or run again on another crawl date"
        if month.budget is not None and self.ledger.spent_since(month.began, month.lease_day) >= month.budget:
            end = month_end(month.began, self.limits.month_begins)
            yield f"the monthly budget is spent: raise credits.monthly_budget, or run again from {end} (UTC)"


def quiet_seconds(qps: float, ledger: Ledger) -> float:
    """How long the pace must wait, since an earlier process may have sent right before this one began.

    When it did is not asked: after a step of the clock nobody could tell.
    """
    return max(1.0, 1.0 / qps) * _QUIET if ledger.runs() else 0.0


def no_match(_page: Page) -> Match | None:
    """No first page is compared with anything."""
    return None


@dataclass(frozen=True, slots=True)
class Task:
    """What a session is to crawl, and by which rules; see `Crawl`."""

    frontier: Frontier | BestFirst
    top: Top | None = None
    lookahead: LookaheadRule | None = None
    match: Callable[[Page], Match | None] = no_match
    to_mend: list[str] | None = None


@dataclass(slots=True)
class Session:
    """One crawl from its first request to its last record.

    `quiet` is how many seconds pass before the first request, for the pace's sake. Afterwards `counts`
    tells what was sent, `busy` for how many seconds, and `stop_reason` why it ended early.
    """

    settings: Settings
    key: str
    world: World
    signals: Signals
    account: Account
    staging: SegmentWriter
    quiet: float
    address: AddressCheck = field(default_factory=AddressCheck)
    counts: RequestCounts = field(default_factory=RequestCounts)
    busy: float = 0.0
    stop_reason: CrawlerError | None = None
    probes: ProbeCounts = field(default_factory=ProbeCounts)
    after_rejects: ProbeCounts = field(default_factory=ProbeCounts)
    clock_offset: timedelta | None = None

    async def crawl(self, task: Task, total: int, ended: int) -> None:
        """Crawl what the frontier holds; `total` and `ended` count the listed sellers for the display."""
        loop = asyncio.get_running_loop()
        stop = Stop()
        self.signals.on_stop = partial(_call_soon, loop, stop)
        if self.signals.received is not None:
            stop.set(InterruptedRunError(self.signals.received))
        began = loop.time()
        world, account = self.world, self.account
        with world.executor("journal") as writer, world.executor("ledger") as counter:
            credit = Credits(_LedgerPort(account, self.settings.run.qps, counter))
            interval = self.settings.journal.commit_ms / 1000
            journal = GroupCommit(self.staging, account.run_id, writer, interval)
            try:
                async with world.api(self.settings, self.key) as api:
                    await self._drive(task, api, credit, journal, stop, total, ended)
            except Exception:
                # A fault of the program: nobody sends any more, so that what was sent is known all the same.
                with suppress(CrawlerError):
                    await self._settle(credit, counter)
                raise
            finally:
                self.signals.on_stop = lambda _number: None
                await journal.close()
                self.busy = loop.time() - began
                self.stop_reason = stop.reason
            await self._settle(credit, counter)

    async def _settle(self, credit: Credits, counter: Executor) -> None:
        """Return to the ledger what was leased and not sent."""
        ledger, run_id = self.account.ledger, self.account.run_id
        await asyncio.get_running_loop().run_in_executor(counter, ledger.settle, run_id, credit.charged)

    async def _drive(
        self,
        task: Task,
        api: Api,
        credit: Credits,
        journal: GroupCommit,
        stop: Stop,
        total: int,
        ended: int,
    ) -> None:
        s, run = self.settings, self.settings.run
        breaker = Breaker(run.patience)
        pace = Pace(run.qps, s.api.retry_after_cap)
        pace.hold(self.quiet)
        retry = RetryRule(run.attempts, run.backoff)
        gates = Gates(api, credit, pace, breaker, retry, stop, run.patience, self.world.rng)
        self.counts = gates.counts
        budget, spent = self.account.budget, self.account.ledger.spent_for(self.account.crawl_date)
        figures = LiveFigures(total, ended, budget, spent, gates.counts)
        crawl = Crawl(
            task.frontier,
            gates,
            journal,
            PagingRule(run.stop, run.max_pages, run.min_value),
            PoolSize(run.qps, None if run.workers == "auto" else run.workers, self.world.connections),
            breaker,
            stop,
            run.grace,
            top=task.top,
            probe_share=run.probe,
            lookahead=task.lookahead,
            match=task.match,
            to_mend=task.to_mend,
            address=self.address,
            on_page=partial(_count_page, figures),
            on_end=partial(_count_end, figures),
        )
        self.probes, self.after_rejects = crawl.probes, crawl.after_rejects
        try:
            await self._watch(crawl, figures, stop, api)
        finally:
            self._read_clock(api)

    def _read_clock(self, api: Api) -> int:
        """Take over how far the API's clock is ahead of ours; returns from how many answers that is known."""
        clock = api.clock if isinstance(api, TellsTime) else None
        if clock is None or not isinstance(api, TellsTime):
            return 0
        self.clock_offset = clock - self.world.now()
        return api.dates_read

    def require_begun_date(self) -> None:
        """Raise `OutputError` where the crawl date lies in the API's future: it is not published."""
        now, day = self.world.now(), self.account.crawl_date
        if is_future(day, now, self.clock_offset):
            raise OutputError(
                f"crawl date {day} lies in the API's future and is not published: "
                f"{doubt_by_api(now, self.clock_offset)}; what was paid for is kept in its journal: the same "
                "command publishes it once that date has come"
            )

    async def _watch(self, crawl: Crawl, figures: LiveFigures, stop: Stop, api: Api) -> None:
        """Run the crawl beside its progress display and the watch over free space."""
        log = self.settings.log
        live = sys.stderr.isatty() and not (log.no_progress or log.quiet)
        with Progress(figures, live=live) as progress:
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(self._tick(progress, stop, api))
                try:
                    await crawl.run()
                finally:
                    watcher.cancel()

    async def _tick(self, progress: Progress, stop: Stop, api: Api) -> None:
        while True:
            await asyncio.sleep(_TICK)
            progress.tick()
            try:
                self.account.guard()
                check_room(self.settings, self.world)
                if self._read_clock(api) >= _DATES_ENOUGH:
                    self.require_begun_date()
            except OutputError as error:
                stop.set(error)


def check_room(settings: Settings, world: World) -> None:
    """Raise `OutputError` where less than the reserve is free under the data folder."""
    reserve = settings.journal.reserve_mib << 20
    data = settings.run.data
    free = world.free_bytes(data.absolute())
    if free < reserve:
        raise OutputError(
            f"only {free >> 20} MiB are free under {data}, {reserve >> 20} MiB are kept in reserve: "
            "make room (or lower journal.reserve_mib), then run the same command again"
        )


class _LedgerPort:
    """The engine's ledger port: leases are written by a thread of their own."""

    def __init__(self, account: Account, qps: float, executor: Executor) -> None:
        self._account = account
        self._qps = qps
        self._executor = executor

    async def reserve(self, in_use: int) -> int:
        lease = partial(lease_size, self._qps, in_use)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._account.reserve, lease)


def _call_soon(loop: asyncio.AbstractEventLoop, stop: Stop, number: int) -> None:
    loop.call_soon_threadsafe(stop.set, InterruptedRunError(number))


def _count_page(figures: LiveFigures, page: Page) -> None:
    figures.pages += 1
    figures.rows += page.row_count or 0


def _count_end(figures: LiveFigures, _seller_id: str, _ending: Ending) -> None:
    figures.ended += 1
