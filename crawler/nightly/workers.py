"""A crawl by workers in other processes: the driver's ledger and journal, and the tasks of the shards."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from itertools import chain, count
from typing import Any

import crawler
from crawler import events
from crawler.cluster.attempts import Terms
from crawler.cluster.comms import listening, parts_of
from crawler.cluster.coordinator import TEND_S, Coordinator
from crawler.cluster.dask_cluster import Cluster, Task, cluster, security_of
from crawler.cluster.figures import sum_up
from crawler.cluster.lease import boot_time
from crawler.cluster.task import Job
from crawler.engine.gates import RequestCounts
from crawler.engine.key_lane import KeyLane
from crawler.engine.stop import Stop
from crawler.events import Sentence
from crawler.models.errors import ApiDownError, CrawlerError, InputError, OutputError
from crawler.models.page import Page
from crawler.models.seller import Ending
from crawler.nightly.choosing import Choice, Rules
from crawler.nightly.driver_books import DriverBooks
from crawler.nightly.left_by_workers import LEASE, remove_probe
from crawler.nightly.opening import Opened
from crawler.nightly.sharding import shards_of
from crawler.options import Settings
from crawler.ports import CrawlFigures, WorkerFigures
from crawler.report.series import Sampler
from crawler.rules.paging import ShortPageProbes
from crawler.rules.shards import Shard, shards_to_repair
from crawler.rules.shares import Shares
from crawler.store.files import make_private_folder, output_errors, write_whole
from crawler.store.layout import JournalFiles

_AHEAD = 2
"""Tasks for each worker that are handed out: the next one waits where the last one ends."""
_MOST_IDLE = 10
"""Tasks of a shard in a row that brought no page."""
_NOTHING_CAME = (
    "shard {} was begun {} times and brought nothing, the last error was: {}; look at the logs of the "
    "workers, then run the same command again: nothing that was paid for is lost"
)
_POLL_S = 0.5
_GONE = (
    "the Dask scheduler is gone: start it and its workers, then run the same command again; "
    "nothing that was paid for is lost"
)


@asynccontextmanager
async def workers_of(
    opened: Opened, stop: Stop, writer: Executor, counter: Executor
) -> AsyncIterator[Workers]:
    """Workers under the run's ledger and pace; at their end every record is durable, unused credits returned.

    Raises `InputError` where there are no workers, or of another version.
    """
    loop, settings, journal = asyncio.get_running_loop(), opened.night.settings, opened.journal
    books = DriverBooks(opened, writer, counter)
    async with cluster(settings.run, settings.dask) as found:
        workers = Workers(opened, stop, found, books)
        await loop.run_in_executor(writer, lambda: journal.note(**{LEASE: str(settings.dask.lease_s)}))
        is_over = False
        try:
            address, handle = _address(settings), workers.coordinator.handle
            way = address, workers.token, handle, workers.security, _scheduler_host(settings)
            async with listening(*way) as contact:
                workers.contact = contact
                await asyncio.sleep(opened.initial_pause_s(settings.run.qps))
                async with asyncio.TaskGroup() as group:
                    tending = [
                        group.create_task(work) for work in (workers.coordinator.tend(), workers.refresh_on())
                    ]
                    yield workers
                    for task in tending:
                        task.cancel()
                is_over = True
        finally:
            workers.refresh()
            remove_probe(journal)
            if is_over:
                await loop.run_in_executor(writer, journal.forget, LEASE)
            with suppress(CrawlerError):
                await books.return_unused(workers.coordinator.credits.charged)
    coordinator = workers.coordinator
    if coordinator.by_files or coordinator.by_driver:
        shared = events.WORKERS_SHARED(by_files=coordinator.by_files, by_driver=coordinator.by_driver)
        opened.notes.add(shared)


class Workers:
    """Crawls as `Crawling` says, by the workers of a cluster; `contact` is where they reach this process."""

    contact = ""

    def __init__(self, opened: Opened, stop: Stop, found: Cluster, books: DriverBooks) -> None:
        settings, night = opened.night.settings, opened.night
        self._opened, self._stop, self._cluster = opened, stop, found
        self.token, self.security = secrets.token_hex(16), security_of(settings.dask)
        self._probe = _write_probe(opened, self.token) if settings.dask.pages != "driver" else ""
        keys = [key.qps for key in settings.api.keys or ()]
        files, workers = JournalFiles(opened.journal.path), settings.run.workers
        terms = Terms(
            version=crawler.__version__,
            run_id=opened.run_id,
            lease_s=settings.dask.lease_s,
            keys=max(1, len(keys)),
            log_of=lambda fence: str(files.attempt_log(fence).absolute()),
            workers=None if workers == "auto" else max(1, workers // found.slots),
            must_share=settings.dask.pages == "files",
        )
        self.lanes: Sequence[KeyLane] = books.lanes
        # A task of the same name would not be run again.
        self._numbers = count(1)
        self._free = asyncio.Event()
        self.coordinator = Coordinator(
            terms,
            books,
            Shares(settings.run.qps, keys),
            stop,
            boot_time,
            on_page=self._on_page,
            on_end=self._on_end,
            on_retired=books.retire,
            on_free=lambda _shard: self._wake(),
            on_log=_log,
            note=opened.notes.add,
        )
        self.counts, self.probes, self.sampler = RequestCounts(), ShortPageProbes(), Sampler()
        budget, spent = opened.account.budget, opened.ledger.spent_for(night.crawl_date)
        counts, total = self.counts, len(night.listed)
        self.figures = CrawlFigures(
            total, 0, budget, spent, counts.by_status, counts.latencies, lambda: counts.sent
        )
        self.figures.workers = self._standing = WorkerFigures()
        self._rules: Rules | None = None
        self._to_repair: dict[str, None] | None = None
        """Ended sellers with gaps, in their order; None where gaps are left."""
        self._job_settings = Settings(
            api=settings.api, run=settings.run, journal=settings.journal, dask=settings.dask
        )

    @property
    def clock(self) -> tuple[datetime, int] | None:
        """See `Crawling`."""
        if (found := self.coordinator.news.clock) is None:
            return None
        offset_s, answers = found
        return self._opened.night.world.now() + timedelta(seconds=offset_s), answers

    async def crawl(self, choice: Choice, rules: Rules) -> None:
        """See `Crawling`."""
        self._rules, self.figures.ended = rules, choice.ended
        self.coordinator.doubts.address = choice.address
        self.coordinator.news.is_address_proven |= choice.address.is_proven
        sellers = len(self._opened.night.listed) - choice.ended
        executor = self._opened.night.run.executor
        events.WORKERS_STARTED(slots=self._cluster.slots, executor=executor, sellers=sellers).log()
        slots, qps = self._cluster.slots, self._opened.night.settings.qps
        self._to_repair = None if choice.to_repair is None else dict.fromkeys(choice.to_repair)
        await self._read_all(shards_of(self._opened, rules, slots, self._numbers))
        # After all else, so that no unread page goes without its credit.
        to_repair, self._to_repair = self._to_repair or {}, None
        await self._read_all(shards_to_repair([*to_repair], slots, qps, self._numbers))
        self.refresh()

    async def refresh_on(self) -> None:
        """Keep the figures up to date."""
        while True:
            await asyncio.sleep(TEND_S)
            self.refresh()

    def refresh(self) -> None:
        """Sum up what all attempts have sent."""
        coordinator = self.coordinator
        self._standing.working = len(coordinator.attempts)
        live = (attempt.figures for attempt in coordinator.attempts.values())
        sum_up([*coordinator.past_figures, *live], self.counts, self.probes, self.lanes)
        self.counts.unaccounted = coordinator.credits.unaccounted

    # --- Shards

    async def _read_all(self, shards: Iterator[Shard]) -> None:
        """Have shards read until all are done or the run stops."""
        left, doubts = shards, self.coordinator.doubts
        while await self._read(left):
            await self.coordinator.settle_doubts()
            if doubts.address.in_doubt and doubts.address.conclude():
                self._stop.set(ApiDownError(doubts.address.doubt))
            await self.coordinator.settle_doubts()
            left = chain(doubts.take_waiting(), shards)

    async def _read(self, shards: Iterator[Shard]) -> bool:
        """Have shards read, as long as the address is not in doubt; False where there was nothing to do."""
        places, doubts, is_any = (
            asyncio.Semaphore(_AHEAD * self._cluster.slots),
            self.coordinator.doubts,
            False,
        )
        async with asyncio.TaskGroup() as group:
            while await places.acquire() and self._stop.reason is None and not doubts.address.is_doubtful:
                if (shard := await asyncio.to_thread(next, shards, None)) is None:
                    break
                is_any = True
                task = group.create_task(self._see_through(shard))
                task.add_done_callback(lambda _task: places.release())
        return is_any and self._stop.reason is None

    async def _see_through(self, shard: Shard) -> None:
        """Have a shard read, again and again until it is done or the run stops."""
        self.coordinator.add(shard)
        self._standing.shards_begun += not shard.tries
        idle = tasks = 0
        try:
            while not (shard.is_done or self.coordinator.doubts.defers(shard)) and self._stop.reason is None:
                pages, tasks = shard.pages, tasks + 1
                error = await self._follow(shard, self._cluster.submit(self._job(shard), tasks))
                if not self._cluster.is_there and not shard.is_done:
                    self._stop.set(OutputError(_GONE))
                    return
                if isinstance(error, InputError):
                    self._stop.set(self._refused_by_worker(error))
                    return
                idle = 0 if shard.pages > pages else idle + 1
                if idle == _MOST_IDLE and not shard.is_done:
                    self._stop.set(OutputError(_NOTHING_CAME.format(shard.number, idle, error)))
                    return
                if not shard.is_done:
                    await asyncio.sleep(TEND_S)
        finally:
            self._standing.shards_done += shard.is_done
            if self._to_repair is not None:
                self._to_repair.update(dict.fromkeys(shard.drifted))
            self.coordinator.remove(shard)

    def _refused_by_worker(self, error: InputError) -> CrawlerError:
        """What a worker's settings end the run with: where something was sent it is not untouched."""
        text = f"a worker cannot be used: {error}; each reads the key on its own host"
        return OutputError(text) if self.counts.sent else InputError(text)

    async def _follow(self, shard: Shard, task: Task) -> BaseException | None:
        """Wait until a task has ended or is given up; returns what it raised."""
        result = asyncio.ensure_future(self._cluster.error_of(task))
        begun = shard.tries
        try:
            while not result.done():
                self._free.clear()
                waker = asyncio.ensure_future(self._free.wait())
                await asyncio.wait((result, waker), timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
                waker.cancel()
                is_idle = not any(a.shard is shard for a in self.coordinator.attempts.values())
                is_lost = shard.tries > begun and is_idle and not shard.is_done
                if not result.done() and is_idle and (is_lost or self._stop.reason is not None):
                    await self._cluster.cancel(task)
                    return None
            return result.result()
        finally:
            result.cancel()

    def _wake(self) -> None:
        self._free.set()

    def _job(self, shard: Shard) -> Job:
        return Job(self.contact, self.token, shard.number, self._job_settings, self.security, self._probe)

    # --- What comes

    def _on_page(self, page: Page) -> None:
        self.figures.count_page(page)
        if self._rules is not None:
            self._rules.watch.read(page, self._stop, lambda: self.counts.sent)

    def _on_end(self, seller_id: str, ending: Ending | None) -> None:
        if ending is None:
            self.figures.ended += 1
        else:
            self.figures.count_end(seller_id, ending)


def _write_probe(opened: Opened, token: str) -> str:
    path = JournalFiles(opened.journal.path).attempt_probe
    with output_errors(str(path)):
        make_private_folder(path.parent)
        write_whole(path, token.encode(), private=True)
    return str(path.absolute())


def _scheduler_host(settings: Settings) -> str:
    """The host that workers are near to; empty for processes of this one."""
    return "" if settings.run.scheduler is None else parts_of(settings.run.scheduler)[1]


def _address(settings: Settings) -> str:
    """Where this process listens for its workers."""
    dask = settings.dask
    if dask.listen is not None:
        return dask.listen
    protocol = "tls" if dask.tls_cert_file is not None else "tcp"
    return f"{protocol}://{'127.0.0.1' if settings.run.executor == 'processes' else '0.0.0.0'}:0"  # noqa: S104


def _log(line: Sequence[Any]) -> None:
    """Log what a worker logged, but for what the run says itself."""
    name, text, fields = line
    if name != events.RUN_STOPPING.name and (sentence := Sentence.of(name, text, dict(fields))) is not None:
        sentence.log()
