"""Crawling: the part of a run on the event loop, watched from its first request to its last record."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

from crawler.engine.gates import RequestCounts
from crawler.engine.key_lane import KeyLane
from crawler.engine.stop import Stop
from crawler.models.errors import (
    CrawlerError,
    ImplausibleError,
    InputError,
    InterruptedRunError,
    OutputError,
)
from crawler.nightly.choosing import Choice
from crawler.nightly.dates import require_begun
from crawler.nightly.executors import Crawling, opened_executor
from crawler.nightly.folders import check_room
from crawler.nightly.opening import Opened
from crawler.nightly.serving_backups import BackupServer
from crawler.report.progress import Progress
from crawler.report.series import Series
from crawler.rules.paging import ProbeCounts

_TICK_S = 0.25
_MIN_DATES = 3
"""Answers whose Date must agree before a run ends for it in its midst."""


@dataclass(frozen=True, slots=True)
class CrawlOutcome:
    """What a crawl sent and found.

    `busy` is how many seconds it took, `stop_reason` why it ended early, `disbelief` why its answers cannot
    be believed, `clock_offset` how far the API's clock is ahead of ours, `address_doubt` what speaks against
    the API's address, `series` how it went second by second; `lanes` are the keys, where there are several.
    """

    counts: RequestCounts = field(default_factory=RequestCounts)
    busy: float = 0.0
    stop_reason: CrawlerError | None = None
    disbelief: ImplausibleError | None = None
    probes: ProbeCounts = field(default_factory=ProbeCounts)
    after_rejects: ProbeCounts = field(default_factory=ProbeCounts)
    clock_offset: timedelta | None = None
    address_doubt: str = ""
    series: Series = field(default_factory=Series)
    lanes: Sequence[KeyLane] = ()


def crawl(opened: Opened, choice: Choice) -> CrawlOutcome:
    """Crawl what was chosen, and, as long as nothing ends that early, what is chosen then.

    Why it ended early is in the outcome: also where choosing raises a `CrawlerError`. Raises only faults of
    the program.
    """
    if choice.rules is None and choice.then is None:
        return CrawlOutcome()
    session = _Session(opened, choice)
    try:
        opened.night.world.run(session.crawl())
    except (InputError, OutputError) as error:
        return session.outcome(error)
    return session.outcome(None)


class _Session:
    """One crawl on its event loop, under watch: engine, client and writers are built, used and closed."""

    def __init__(self, opened: Opened, choice: Choice) -> None:
        self._opened = opened
        self._choice = choice
        self._stop = Stop()
        self._engine: Crawling | None = None
        self._clock_offset: timedelta | None = None
        self._busy = 0.0
        self._lanes: Sequence[KeyLane] = ()

    def outcome(self, error: CrawlerError | None) -> CrawlOutcome:
        """What came of the crawl, which has ended; `error` is what ended it from outside."""
        outcome = CrawlOutcome(
            busy=self._busy,
            stop_reason=error or self._stop.reason,
            disbelief=self._stop.disbelief,
            clock_offset=self._clock_offset,
            address_doubt=self._choice.address.doubt,
            lanes=self._lanes,
        )
        if self._engine is None:
            return outcome
        probes = self._engine.probes
        return replace(
            outcome,
            counts=self._engine.counts,
            probes=probes.probes,
            after_rejects=probes.after_rejects,
            series=self._engine.sampler.series(),
        )

    async def crawl(self) -> None:
        """Crawl to the end, or until a stop; then every record is durable, unused credits are returned."""
        loop, night, stop = asyncio.get_running_loop(), self._opened.night, self._stop
        night.signals.on_stop = partial(_call_soon, loop, stop)
        if night.signals.received is not None:
            stop.set(InterruptedRunError(night.signals.received))
        began = loop.time()
        with night.world.executor("journal") as writer, night.world.executor("ledger") as counter:
            backups = BackupServer(self._opened, writer, counter)
            try:
                async with opened_executor(self._opened, stop, writer, counter) as engine:
                    self._engine, self._lanes = engine, engine.lanes
                    await self._crawl_choice(engine, backups)
                    while self._choice.then is not None and stop.reason is None:
                        try:
                            self._choice = self._choice.then(engine.counts.sent)
                        except ImplausibleError as error:
                            stop.set(error)
                        else:
                            await self._crawl_choice(engine, backups)
            finally:
                night.signals.on_stop = lambda _number: None
                self._busy = loop.time() - began
                self._sample(is_last=True)

    async def _crawl_choice(self, engine: Crawling, backups: BackupServer) -> None:
        if self._choice.rules is None:
            return
        log = self._opened.night.settings.log
        self._opened.night.observer.crawling(engine.figures)
        live = sys.stderr.isatty() and not (log.no_progress or log.quiet)
        try:
            with Progress(engine.figures, live=live) as progress:
                async with asyncio.TaskGroup() as group:
                    watcher = group.create_task(self._watch(progress, engine, backups))
                    try:
                        await engine.crawl(self._choice, self._choice.rules)
                    finally:
                        watcher.cancel()
        finally:
            self._read_clock(engine)

    async def _watch(self, progress: Progress, engine: Crawling, backups: BackupServer) -> None:
        """Draw the display, answer backups, and stop where room, files or clock make the crawl useless."""
        night = self._opened.night
        while True:
            self._sample()
            await asyncio.sleep(_TICK_S)
            progress.tick()
            await backups.answer()
            try:
                self._opened.account.guard()
                self._opened.progress.tick(engine.figures)
                check_room(night.settings, night.world)
                if self._read_clock(engine) >= _MIN_DATES:
                    require_begun(night.crawl_date, night.world.now(), self._clock_offset)
            except OutputError as error:
                self._stop.set(error)

    def _sample(self, *, is_last: bool = False) -> None:
        if self._engine is not None:
            now = asyncio.get_running_loop().time()
            self._engine.sampler.look(self._engine.figures, now, is_last=is_last)

    def _read_clock(self, engine: Crawling) -> int:
        """Note how far the API's clock is ahead of ours; returns from how many answers that is known."""
        if (clock := engine.clock) is None:
            return 0
        now, answers = clock
        self._clock_offset = now - self._opened.night.world.now()
        return answers


def _call_soon(loop: asyncio.AbstractEventLoop, stop: Stop, number: int) -> None:
    loop.call_soon_threadsafe(stop.set, InterruptedRunError(number))
