"""Deterministic simulation of crawls by workers: driver, workers and leases, from one seed each.

The real coordinator, attempts, shares, logs and journal work on a virtual clock. Messages are late or lost,
workers are killed or cut off, and the driver is killed and begun again, until all is read or the budget is
spent. Whatever happens, the ceiling and the budget hold as the API sees them, what is given up sends and
writes no more, and no page is paid for again but what was under way.

    python tests/cluster_nights.py --seeds 2000 [--first 0] [--jobs 2] [--replay SEED]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial
from hashlib import blake2b
from itertools import count, pairwise
from pathlib import Path
from random import Random
from typing import Any

import msgpack
import orjson
from seeds import Played, own_folder, play_all
from virtual_process import SlowExecutor, WirelessApi, expect
from virtual_time import run_virtual

from crawler.api.columns import read_batch
from crawler.cluster.attempt import Attempt
from crawler.cluster.attempts import Terms
from crawler.cluster.coordinator import TEND_S, Coordinator
from crawler.cluster.link import LinkError
from crawler.cluster.messages import Assignment, Begin, LostError, as_plain, reply_of
from crawler.cluster.shard_sellers import Readings
from crawler.cluster.surroundings import Surroundings
from crawler.engine.credits import Credits
from crawler.engine.gates import Gates
from crawler.engine.pace import Pace
from crawler.engine.pool import Crawl
from crawler.engine.seller import Policies
from crawler.engine.stop import Stop
from crawler.history.carrying import digest_of, page_digest
from crawler.models.errors import BudgetSpentError, RefusedError, ThrottledError, UnavailableError
from crawler.models.page import KnownFirstPage, Match, Page
from crawler.models.seller import SellerProgress, Strategy
from crawler.options import Settings
from crawler.ports import Departure
from crawler.rules.budget import lease_size
from crawler.rules.order import Frontier
from crawler.rules.outage import Breaker
from crawler.rules.recovery import RetryRule
from crawler.rules.shards import Shard, cut, shard_of, shards_to_repair
from crawler.rules.shares import TRANSFER_MARGIN, Shares
from crawler.rules.sizing import PoolSize
from crawler.rules.windows import window_of
from crawler.store.absorbing import absorb, absorb_all, next_fence
from crawler.store.attempt_log import AttemptLog
from crawler.store.group_commit import GroupCommit, SegmentStore
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles
from crawler.store.record_frames import decode, encode
from crawler.store.records import Record
from crawler.store.segments import SegmentWriter

LEASE_S = 4.0
COMMIT_S = 0.05
UNDER_WAY_S = 2.0
"""A page that was asked for so shortly before an accident may have been under way."""
LONGEST_S = 4 * 3600.0


def now() -> float:
    """The virtual time."""
    return asyncio.get_running_loop().time()


@dataclass(frozen=True)
class Request:
    """One request as the API saw it; `got`: it was answered with a page."""

    at: float
    driver: int
    worker: int
    fence: int
    page: tuple[str, int]
    got: bool


@dataclass
class Shop:
    """What the API has, and what it saw."""

    rng: Random
    sizes: dict[str, int]
    latency: float
    throttling: float
    failing: float
    bad: set[str]
    requests: list[Request] = field(default_factory=list)
    drift: int = 0
    """After so many requests of a seller one more video comes in; 0 for never."""
    asked: Counter[str] = field(default_factory=Counter)

    def ids(self, seller_id: str, page_num: int) -> list[str]:
        """A page's videos, as the list is now."""
        new = self.asked[seller_id] // self.drift if self.drift else 0
        places = range((page_num - 1) * 10 - new, min(page_num * 10 - new, self.sizes[seller_id]))
        return [f"{seller_id}{place + 500:05}" for place in places]

    def page(self, seller_id: str, page_num: int) -> Page:
        """A page as it arrives now."""
        ids = self.ids(seller_id, page_num)
        fingerprint = int.from_bytes(blake2b(repr(ids).encode(), digest_size=7).digest())
        return Page(seller_id, page_num, body_of(ids), len(ids), fingerprint, int(now() * 1000), "r", ids=ids)


def body_of(ids: Sequence[str]) -> bytes:
    """The answer with these videos."""
    return orjson.dumps({"code": 0, "data": [{"video_id": i} for i in ids]})


class Api(WirelessApi):
    """The API as one attempt reaches it."""

    def __init__(self, night: Night, worker: Worker) -> None:
        self._night, self._worker, self.fence = night, worker, 0

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        """See the engine's port."""
        shop, rng = self._night.shop, self._night.rng
        await asyncio.sleep(rng.random() * 0.01)
        await self._worker.require_alive()
        while not await departure.leave(lambda: rng.random() > 0.02):
            await asyncio.sleep(0.001)
        await self._worker.require_alive()
        sent = Request(
            now(), self._worker.driver, self._worker.number, self.fence, (seller_id, page_num), got=False
        )
        place = len(shop.requests)
        shop.requests.append(sent)
        shop.asked[seller_id] += 1
        await asyncio.sleep(shop.latency * (0.5 + rng.random()))
        await self._worker.require_alive()
        if rng.random() < shop.throttling:
            departure.label = "429"
            raise ThrottledError("429", 0.5)
        if rng.random() < shop.failing:
            departure.label = "500"
            raise UnavailableError("500")
        if seller_id in shop.bad:
            departure.label = "400"
            raise RefusedError("400", "400")
        departure.label = "200"
        shop.requests[place] = replace(sent, got=True)
        return shop.page(seller_id, page_num)


class Books:
    """What a driver keeps on disk: the real journal, and a ledger of one number."""

    def __init__(self, night: Night) -> None:
        self._night = night
        self.is_dead = False

    async def next_fence(self) -> int:
        """See the coordinator's port."""
        await self._write()
        return next_fence(self._night.segments.journal)

    async def drifted(self, sellers: Sequence[str]) -> dict[str, Readings]:
        """See the coordinator's port."""
        await self._write()
        return {each: self._night.segments.journal.sellers.drifted(each) for each in sellers}

    async def reserve(self, _key: int, in_use: int) -> int:
        """See the coordinator's port."""
        await self._write()
        night = self._night
        left = None if night.budget is None else night.budget - night.reserved
        size = lease_size(night.qps, in_use, left)
        if size <= 0:
            raise BudgetSpentError("spent")
        night.reserved += size
        return size

    async def keep(self, frame: bytes) -> Sequence[Record]:
        """See the coordinator's port."""
        await self._write()
        records = decode(frame)
        self._night.segments.write(records)
        return records

    async def absorb(self, fence: int, up_to: int | None) -> Sequence[Record]:
        """See the coordinator's port."""
        await self._write()
        return [record for records in absorb(self._night.segments, fence, up_to) for record in records]

    async def _write(self) -> None:
        await asyncio.sleep(0.002)
        if self.is_dead:
            await asyncio.Event().wait()


class Link:
    """The way to the driver: late, lossy, and cut at times."""

    def __init__(self, night: Night, worker: Worker) -> None:
        self._night, self._worker = night, worker

    async def call(self, message: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """See `Link`."""
        sent_at = now()
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._call(message)
        except TimeoutError:
            raise LinkError("timeout") from None
        if message["op"] == "renew" and not reply.get("lost"):
            self._night.leased_until[message["fence"]] = sent_at + LEASE_S
        return reply

    async def _call(self, message: dict[str, Any]) -> dict[str, Any]:
        night, rng, driver = self._night, self._night.rng, self._worker.coordinator
        await asyncio.sleep(rng.choice((0.001, 0.01, 0.1)) * rng.random())
        await self._worker.require_alive()
        await self._require_way()
        if driver is not night.coordinator:
            raise LinkError("the driver is gone")
        answering = asyncio.ensure_future(driver.handle(_sent(message)))
        night.dangling.append(answering)
        reply = _sent(await asyncio.shield(answering))
        await asyncio.sleep(rng.choice((0.001, 0.01, 0.1)) * rng.random())
        await self._worker.require_alive()
        await self._require_way()
        return reply

    async def _require_way(self) -> None:
        """Go on where the way is open; else fail at once, or be heard of no more."""
        if now() < self._worker.cut_until or self._night.rng.random() < self._night.loss:
            if self._night.rng.random() < 0.5:
                await asyncio.Event().wait()
            raise LinkError("lost")


class Log:
    """An attempt's log, on the disk that driver and workers share."""

    def __init__(self, path: Path, worker: Worker) -> None:
        self._log, self._worker = AttemptLog(path), worker

    async def append(self, records: list[Record]) -> int:
        """See `RecordLog`."""
        await asyncio.sleep(0.002)
        await self._worker.require_alive()
        return self._log.append(encode(records))


@dataclass
class Worker:
    """A process that takes shards; `is_dead`: it was killed. Its way to the driver is cut for a while."""

    number: int
    driver: int
    coordinator: Coordinator
    shares_folder: bool
    is_dead: bool = False
    cut_until: float = 0.0
    places: list[deque[float]] = field(default_factory=list)

    async def require_alive(self) -> None:
        """Wait for ever where it was killed."""
        if self.is_dead:
            await asyncio.Event().wait()


class Night:
    """A crawl date, from its first driver to its last."""

    coordinator: Coordinator | None = None
    reserved = 0
    drivers = 0

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = rng = Random(seed)
        count = rng.choice((1, 3, 10, 25))
        sizes = {str(7_000_000_000 + n): rng.choice((0, 3, 10, 25, 40, 131, 304)) for n in range(count)}
        bad = {seller for seller in sizes if rng.random() < 0.05}
        throttling, failing = rng.choice((0, 0, 0.02)), rng.choice((0, 0, 0.05))
        self.shop = Shop(rng, sizes, rng.choice((0.02, 0.2)), throttling, failing, bad)
        self.qps = rng.choice((1.0, 5.0, 20.0, 100.0))
        self.workers = rng.choice((1, 2, 4, 8))
        self.loss = rng.choice((0.0, 0.0, 0.02, 0.1))
        cost = sum(size // 10 + 1 for size in sizes.values())
        self.budget = rng.choice((None, None, cost + 30, cost // 2 + 1))
        self.is_calm = rng.random() < 0.2
        self._move_lists(Random(f"{seed} moves"))
        self.segments = SegmentWriter(Journal(folder / "2026-11-23.1.sqlite"), read_batch)
        self.settings = _settings(self.qps)
        self.accidents: list[float] = []
        """When a worker was killed or cut off, or the driver killed."""
        self.given_up: dict[int, float] = {}
        self.leased_until: dict[int, float] = {}
        self.dangling: list[asyncio.Future[Any]] = []
        self.seen_fences: dict[int, tuple[int, int]] = {}

    def _move_lists(self, rng: Random) -> None:
        """Let lists drift while they are read, and some be known from a night before."""
        self.known: dict[str, KnownFirstPage] = {}
        self.repairs = False
        if rng.random() < 0.4:
            self.shop.drift, self.repairs = rng.choice((2, 5, 9)), rng.random() < 0.8
            if rng.random() < 0.4:
                self.is_calm, self.loss, self.shop.throttling, self.shop.failing = True, 0.0, 0.0, 0.0
        if rng.random() < 0.4:
            for seller, size in self.shop.sizes.items():
                digest = page_digest(seller, body_of(self.shop.ids(seller, 1)))
                if size > 10 and digest is not None and rng.random() < 0.7:
                    match = Match(date(2026, 11, 22), size, carried=rng.random() < 0.8)
                    self.known[seller] = KnownFirstPage(digest ^ (rng.random() < 0.3), match)

    async def play(self) -> None:
        """Play it to its end."""
        while True:
            self.drivers += 1
            if await self._drive():
                return
            expect(now() < 1000.0 + LONGEST_S, "the crawl hangs")
            await asyncio.sleep(self.rng.random() * 3)

    async def _drive(self) -> bool:
        """One driver, from its start until all is done (True) or it is killed."""
        if self.drivers > 1:
            await asyncio.sleep(LEASE_S + window_of(self.qps) + TRANSFER_MARGIN)
            absorb_all(self.segments)
        stop, books = Stop(), Books(self)
        files = JournalFiles(self.segments.journal.path)
        terms = Terms("1", f"run-{self.drivers}", LEASE_S, 1, lambda f: str(files.attempt_log(f)))
        lost: list[Shard] = []
        self.coordinator = coordinator = Coordinator(
            terms, books, Shares(self.qps), stop, now, on_free=lost.append
        )
        self.shards = self._shards()
        to_repair = self.segments.journal.sellers.to_repair() if self.repairs else []
        is_repairing = not self.repairs
        queue = deque(self.shards)
        for shard in queue:
            coordinator.add(shard)
        tasks = self._begin(coordinator, queue)
        dies_at = now() + self.rng.uniform(0.5, 30) if not self.is_calm and self.rng.random() < 0.5 else 1e18
        while now() < dies_at:
            await asyncio.sleep(TEND_S)
            expect(now() < 1000.0 + LONGEST_S, "the crawl hangs")
            _raise_errors(tasks)
            self._note_given_up(coordinator)
            is_over = all(shard.is_done for shard in self.shards) or stop.reason is not None
            if is_over and stop.reason is None and not is_repairing:
                is_repairing, is_over = True, False
                self._begin_repair(to_repair, queue)
            if is_over and not coordinator.attempts:
                expect(
                    self.budget is None or self.reserved <= self.budget, f"{self.reserved} of {self.budget}"
                )
                self.reserved -= sum(
                    [self.reserved_by_run - charged for charged in coordinator.credits.charged]
                )
                self.stop_reason = stop.reason
                for task in tasks:
                    task.cancel()
                return True
            for shard in lost:
                if not shard.is_done and shard not in queue:
                    queue.append(shard)
            lost.clear()
        books.is_dead = True
        self.coordinator = None
        self.accidents.append(now())
        tasks[0].cancel()
        return False

    def _begin_repair(self, to_repair: list[str], queue: deque[Shard]) -> None:
        """Let what drifted be repaired, as `nightly/workers.py` does when all else is read."""
        found = dict.fromkeys([*to_repair, *(i for shard in self.shards for i in shard.drifted)])
        expect({*found} == {*self.segments.journal.sellers.to_repair()}, f"the driver knows of {[*found]}")
        numbers = count(len(self.shards) + 1)
        self.shards = [*self.shards, *shards_to_repair([*found], self.workers, self.qps, numbers)]
        for shard in self.shards:
            if shard.is_repair and self.coordinator is not None:
                self.coordinator.add(shard)
                queue.append(shard)

    def _begin(self, coordinator: Coordinator, queue: deque[Shard]) -> list[asyncio.Future[Any]]:
        works = [coordinator.tend(), *(self._work(n, coordinator, queue) for n in range(self.workers))]
        works += [] if self.is_calm else [self._harm()]
        tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(work) for work in works]
        self.dangling += tasks
        return tasks

    @property
    def reserved_by_run(self) -> int:
        """What the last driver reserved: earlier ones were killed, so that theirs stays."""
        return self.reserved - self.reserved_before

    reserved_before = 0
    stop_reason: Any = None

    def _shards(self) -> list[Shard]:
        self.reserved_before = self.reserved
        journal = self.segments.journal
        begun = list(journal.sellers.begun())
        known = {i for ids in journal.sellers.answered() for i in ids.to_pylist()}
        fresh = [seller for seller in self.shop.sizes if seller not in known]
        frontier = Frontier(fresh, begun, Strategy.DEPTH_FIRST)
        sellers: list[SellerProgress] = []
        while (seller := frontier.take()) is not None:
            sellers.append(seller)
        pieces = cut(sellers, lambda ids: [3] * len(ids), self.rng.choice((3, 9, 30)))
        return [shard_of(number, piece, {}, self.known.get) for number, piece in enumerate(pieces, 1)]

    def _note_given_up(self, coordinator: Coordinator) -> None:
        for fence, (driver, _) in self.seen_fences.items():
            if driver == self.drivers and fence not in coordinator.attempts:
                self.given_up.setdefault(fence, now())

    # --- Workers

    async def _work(self, number: int, coordinator: Coordinator, queue: deque[Shard]) -> None:
        """A place of a cluster: a worker, and another one after it where it was killed."""
        while True:
            worker = Worker(number, self.drivers, coordinator, shares_folder=self.rng.random() < 0.7)
            living = asyncio.ensure_future(self._live(worker, queue))
            self.dangling.append(living)
            self._alive[number] = worker
            while not worker.is_dead and not living.done():
                await asyncio.sleep(TEND_S)
            if living.done() and (error := living.exception()) is not None:
                raise error
            await asyncio.sleep(1 + self.rng.random())

    @property
    def _alive(self) -> dict[int, Worker]:
        found: dict[int, Worker] = self.__dict__.setdefault("_workers", {})
        return found

    async def _live(self, worker: Worker, queue: deque[Shard]) -> None:
        while True:
            if queue:
                shard = queue.popleft()
                if not await self._attempt(worker, shard) and not shard.is_done:
                    queue.append(shard)
            await asyncio.sleep(0.05)

    async def _attempt(self, worker: Worker, shard: Shard) -> bool:
        """Try a shard; False where no attempt began."""
        link, api, logs = Link(self, worker), Api(self, worker), list[list[Any]]()
        name = f"{worker.driver}:{worker.number}"
        begin = Begin(shard=shard.number, worker=name, version="1", can_share=worker.shares_folder)
        try:
            assignment = reply_of(Assignment, await link.call(as_plain(begin), 10 * LEASE_S))
        except (LinkError, LostError):
            return False
        if assignment.nothing:
            return True
        api.fence = assignment.fence
        self.seen_fences[assignment.fence] = (worker.driver, worker.number)
        log = Log(Path(assignment.log), worker) if assignment.log else None
        around = Surroundings(
            settings=self.settings,
            link=link,
            pages=Link(self, worker),
            api=api,
            log=log,
            rng=self.rng,
            now=partial(datetime.now, UTC),
            clock=now,
            connections=50,
            logs=logs,
            places=worker.places,
        )
        await Attempt(assignment, around).run()
        return True

    async def _harm(self) -> None:
        """Kill workers, and cut them off."""
        for _ in range(self.rng.choice((0, 1, 3, 6))):
            await asyncio.sleep(self.rng.expovariate(1 / 4))
            worker = self._alive.get(self.rng.randrange(self.workers))
            if worker is None:
                continue
            self.accidents.append(now())
            if self.rng.random() < 0.5:
                worker.is_dead = True
            else:
                worker.cut_until = now() + self.rng.choice((1.0, 2 * LEASE_S))

    # --- Promises

    def check(self) -> None:
        """Raise `BrokenPromiseError` where a promise does not hold."""
        requests = sorted(self.shop.requests, key=lambda request: request.at)
        self._check_ceiling(requests)
        expect(self.reserved >= len(requests), f"the ledger has {self.reserved}, {len(requests)} were sent")
        expect(self.budget is None or len(requests) <= self.budget, f"{len(requests)} sent, {self.budget}")
        for request in requests:
            lost_at = self.given_up.get(request.fence, 1e18)
            expect(
                request.at <= lost_at, f"attempt {request.fence} was given up at {lost_at}, and sent later"
            )
        self._check_pages(requests)

    def _check_ceiling(self, requests: list[Request]) -> None:
        count = max(1, int(self.qps))
        for first, beyond in zip(requests, requests[count:], strict=False):
            gap = beyond.at - first.at
            expect(gap >= 1.0, f"{count + 1} requests in {gap} s at {self.qps} a second, from {first.at}")

    def _check_pages(self, requests: list[Request]) -> None:
        got = defaultdict(list)
        for request in requests:
            if request.got:
                got[request.page].append(request.at)
        for page, times in got.items():
            vain = [pair for pair in pairwise(times) if not self._is_excused(*pair)]
            # Of a list that drifted a page is read again once.
            expect(len(vain) <= self.repairs, f"{page} was paid for at {times}, accidents {self.accidents}")
        journal = self.segments.journal
        pages = set(journal.connection.execute("SELECT seller_id, page_num FROM page").fetchall())
        twice = journal.connection.execute(
            "SELECT seller_id, page_num FROM page GROUP BY 1, 2, received_at HAVING count(*) > 1"
        ).fetchall()
        expect(not twice, f"{twice} were received once, and are in the journal twice")
        ended = {i for ids in journal.sellers.ended() for i in ids.to_pylist()}
        found = journal.connection.execute("SELECT seller_id FROM seller WHERE stop_reason = 'carried'")
        carried = {row[0] for row in found}
        if self.stop_reason is None:
            expect(ended == set(self.shop.sizes), f"{set(self.shop.sizes) - ended} have not ended")
        for seller, size in self.shop.sizes.items():
            if seller in ended - carried and seller not in self.shop.bad and not self.shop.failing:
                wanted = {(seller, n) for n in range(1, size // 10 + 2)}
                expect(wanted <= pages, f"{seller} ended without {wanted - pages}")
        if self.stop_reason is None and self.repairs and not self.shop.failing:
            gaps = journal.sellers.to_repair()
            expect(not gaps, f"gaps of {gaps} are not repaired")

    def _is_excused(self, at: float, then: float) -> bool:
        """Whether a page that came may be asked for again: it was lost, or its repair was broken off."""
        if self.loss > 0 or any(at - 0.5 <= moment <= at + UNDER_WAY_S for moment in self.accidents):
            return True
        is_broken_off = self.repairs and any(at <= moment <= then for moment in self.accidents)
        return is_broken_off or (bool(self.accidents) and self._was_cut(at))

    def _was_cut(self, at: float) -> bool:
        """Whether a worker may have been cut off then: what it reads until its lease ends is lost."""
        return any(moment <= at <= moment + LEASE_S for moment in self.accidents)


def _raise_errors(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise error


def _sent(plain: dict[str, Any]) -> dict[str, Any]:
    """A message as it arrives."""
    arrived: dict[str, Any] = msgpack.unpackb(msgpack.packb(plain))
    return arrived


def _settings(qps: float) -> Settings:
    base = Settings()
    run = replace(base.run, qps=qps, patience=60.0)
    return replace(base, run=run, journal=replace(base.journal, commit_ms=int(COMMIT_S * 1000)))


class PlainApi(WirelessApi):
    """The same shop on a day without accidents, as one process reaches it."""

    def __init__(self, shop: Shop) -> None:
        self._shop = replace(shop, asked=Counter())

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        """See the engine's port."""
        await departure.leave(lambda: True)
        self._shop.asked[seller_id] += 1
        await asyncio.sleep(self._shop.latency)
        if seller_id in self._shop.bad:
            departure.label = "400"
            raise RefusedError("400", "400")
        departure.label = "200"
        return self._shop.page(seller_id, page_num)


class Credit:
    """A ledger without a limit."""

    async def reserve(self, in_use: int) -> int:
        """See the engine's port."""
        return in_use


async def crawl_by_one_process(night: Night, segments: SegmentWriter) -> None:
    """Crawl the list of a night as `--executor local` does."""
    stop, run = Stop(), night.settings.run
    breaker, retry = Breaker(60.0), RetryRule(run.attempts, run.backoff)
    parts = Credits(Credit(), stop), Pace(1000.0, 60.0, stop), breaker, retry
    gates = Gates(PlainApi(night.shop), *parts, stop, 60.0, Random(0))
    journal = GroupCommit(SegmentStore(segments, SlowExecutor(lambda: 0.002)), "one", COMMIT_S)
    policies = Policies(known_first_page=night.known.get, digest_of=digest_of)
    frontier = Frontier([*night.shop.sizes], (), Strategy.DEPTH_FIRST)
    to_repair: list[str] | None = [] if night.repairs else None
    parts_of_crawl = frontier, gates, journal, PoolSize(1000.0, None, 50), 1.0, policies
    await Crawl(*parts_of_crawl, to_repair=to_repair).run()
    await journal.close()


def check_against_one_process(night: Night, folder: Path) -> None:
    """Raise `BrokenPromiseError` where the journal is another than that of one process.

    A list that drifts with each request is the same only where nothing was asked for again.
    """
    if night.stop_reason is not None or night.shop.failing:
        return
    if night.shop.drift and (not night.is_calm or night.loss or night.shop.throttling):
        return
    (folder / "one").mkdir()
    segments = SegmentWriter(Journal(folder / "one" / "2026-11-23.1.sqlite"), read_batch)
    run_virtual(crawl_by_one_process(night, segments))
    for table, columns in _COMPARED.items():
        ours, theirs = (
            {*journal.connection.execute(f"SELECT {columns} FROM {table}")}
            for journal in (night.segments.journal, segments.journal)
        )
        expect(ours == theirs, f"{table}: {ours - theirs} here, {theirs - ours} in one process")


_COMPARED = {
    "page": "seller_id, page_num, fingerprint, row_count",
    "seller": "seller_id, status, stop_reason",
    "seam": "seller_id, page_num, overlap, mended",
    "matched": "seller_id, source, videos",
}


def play(seed: int, folder: Path) -> Night:
    """Play a seed. Raises `BrokenPromiseError`."""
    night = Night(seed, folder)

    async def main() -> None:
        try:
            await night.play()
        finally:
            for task in night.dangling:
                task.cancel()

    run_virtual(main())
    night.check()
    check_against_one_process(night, folder)
    return night


def play_safely(seed: int) -> Played:
    """Play a seed in a folder of its own."""
    try:
        with own_folder("cluster-") as folder:
            night = play(seed, folder)
    except BaseException as error:
        what = error if not isinstance(error, BaseExceptionGroup) else error.exceptions[0]
        if os.environ.get("TELL"):
            raise
        return seed, f"{type(what).__name__}: {what}", "", 0, 0
    digest = blake2b(repr(night.shop.requests).encode(), digest_size=8).hexdigest()
    return seed, None, digest, night.drivers, len(night.shop.requests)


def main() -> int:
    """Play many seeds, or one again."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--replay", type=int)
    options = parser.parse_args()
    if options.replay is not None:
        print(play_safely(options.replay))
        return 0
    seeds = range(options.first, options.first + options.seeds)
    return play_all(play_safely, seeds, options.jobs, "crawls", 50, 5)


if __name__ == "__main__":
    sys.exit(main())
