"""The crawl: a pool of workers, until every seller has ended or the run must stop.

Which page is next, `next_work` decides; what becomes of it, `reading` and `seller`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from crawler.engine.gates import Gates
from crawler.engine.next_work import NextWork, Parked
from crawler.engine.reading import Reader, ended
from crawler.engine.seller import Policies
from crawler.models.errors import ApiDownError, CrawlerError, InterruptedRunError
from crawler.models.page import Page
from crawler.models.seller import Ending
from crawler.ports import Journal
from crawler.rules.address import AddressCheck
from crawler.rules.best_first import BestFirst
from crawler.rules.order import Frontier
from crawler.rules.outage import DOWN_SELLERS
from crawler.rules.sizing import PoolSize

_TICK = 0.1
"""Seconds after which the number of workers is looked at again."""

_HIRED_AT_ONCE = 64


class Crawl:
    """One crawl of one seller list.

    `grace` is how many seconds requests in flight get after an interruption. `to_repair` are ended sellers
    whose gaps are still to be repaired; None leaves every gap. `address` knows whether the API's address is
    proven to be right. `on_page` and `on_end` are informed of journaled pages and ended sellers.
    """

    def __init__(
        self,
        frontier: Frontier | BestFirst,
        gates: Gates,
        journal: Journal,
        size: PoolSize,
        grace: float,
        policies: Policies,
        *,
        to_repair: Iterable[str] | None = None,
        address: AddressCheck | None = None,
        on_page: Callable[[Page], None] = lambda _page: None,
        on_end: Callable[[str, Ending], None] = lambda _seller, _ending: None,
    ) -> None:
        self._gates, self._breaker, self._stop = gates, gates.breaker, gates.stop
        self._size, self._grace = size, grace
        self._address = address or AddressCheck()
        gates.defers = self._address.defers
        self._parked = Parked(gates.breaker, gates.retry)
        self._next = NextWork(frontier, self._parked, gates.breaker, self._address, deque(to_repair or ()))
        repairs = to_repair is not None
        self._reader = Reader(self._next, gates, journal, size, policies, on_page, on_end, repairs)
        # Ordered, so that a simulated night replays exactly.
        self._workers: dict[asyncio.Task[None], None] = {}
        self._is_idle = asyncio.Event()

    async def run(self) -> None:
        """Work until nothing is left to do or `stop` was set and all in flight has ended."""
        async with asyncio.TaskGroup() as group:
            while await self._tend(group):
                self._is_idle.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_TICK):
                        await self._is_idle.wait()
        await self._reader.finish()

    async def _tend(self, group: asyncio.TaskGroup) -> bool:
        """Keep the number of workers right; False when the crawl is over."""
        if self._stop.reason is not None:
            if isinstance(self._stop.reason, InterruptedRunError) and _now() >= self._stop.at + self._grace:
                for worker in self._workers:
                    worker.cancel()
            return bool(self._workers)
        if not self._workers and not self._breaker.is_open and not self._next.may_take_turn:
            await self._give_up_safely()
        is_done = not self._workers and not self._parked and not self._next.is_there(_now())
        if is_done and self._address.in_doubt and self._address.conclude():
            self._stop.set(ApiDownError(self._address.doubt))
        for _ in range(0, self._wanted, _HIRED_AT_ONCE):
            for _ in range(min(self._wanted, _HIRED_AT_ONCE)):
                worker = group.create_task(self._work())
                self._workers[worker] = None
                worker.add_done_callback(self._leave)
            # These take their work first: a short list leaves none for further ones.
            await asyncio.sleep(0)
        return bool(self._workers) or bool(self._parked) or self._next.is_there(_now())

    @property
    def _wanted(self) -> int:
        """How many more workers there is work for: while the API is down, one for a trial."""
        room = max(0, self._most_workers - len(self._workers))
        if self._breaker.is_open:
            room = min(room, int(self._gates.may_try))
        return room if room and self._next.is_there(_now()) else 0

    @property
    def _most_workers(self) -> int:
        """Few while nobody is answered: to find out whether the API is down must not cost much."""
        target = self._size.target
        return min(target, DOWN_SELLERS) if self._breaker.is_shaky or self._address.in_doubt else target

    def _leave(self, worker: asyncio.Task[None]) -> None:
        del self._workers[worker]
        if not self._workers:
            self._is_idle.set()

    async def _work(self) -> None:
        try:
            # Only what is parked depends on the time.
            while self._is_on_duty and (work := self._next.take(_now() if self._parked else 0.0)) is not None:
                if (following := self._reader.do(work)) is not None:
                    await following
        except CrawlerError as reason:
            self._stop.set(reason)

    @property
    def _is_on_duty(self) -> bool:
        if self._stop.reason is not None or len(self._workers) > self._most_workers:
            return False
        return not self._breaker.is_open or self._gates.may_try

    async def _give_up_safely(self) -> None:
        """Fail what is undecided: nobody is left whose answer could show that the API was down.

        Where nobody has been answered at all, wait for the API instead.
        """
        if self._breaker.nobody_answered:
            if self._parked and self._breaker.is_shaky:
                self._breaker.open(_now(), self._parked.trials_left)
                self._gates.warn_of_outage()
            return
        try:
            for request in self._parked.give_up():
                await ended(self._reader.give_up(request))
        except CrawlerError as reason:
            self._stop.set(reason)


def _now() -> float:
    return asyncio.get_running_loop().time()
