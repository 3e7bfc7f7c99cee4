"""The crawl: a pool of workers over the frontier, until every seller has ended or the run must stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from crawler.engine.gates import Gates, GaveUpError
from crawler.engine.ports import Journal
from crawler.engine.stop import Stop
from crawler.errors import CrawlerError, InterruptedRunError, RefusedError
from crawler.models import MAX_PAGE_NUM, Ending, Page, SellerProgress, SellerStatus, StopReason
from crawler.rules.best_first import BestFirst
from crawler.rules.breaker import Breaker
from crawler.rules.frontier import Frontier
from crawler.rules.paging import PagingRule, Step
from crawler.rules.retry import HARD_ATTEMPTS
from crawler.rules.sizing import PoolSize
from crawler.rules.top import Top

_TICK = 0.1


@dataclass(frozen=True, slots=True)
class Failure:
    """A seller that failed: at which page, and why."""

    seller_id: str
    page_num: int
    reason: str


@dataclass(slots=True)
class ProbeCounts:
    """Pages asked for after a short one, and the rows that they held: the short-page rule loses these."""

    sent: int = 0
    rows_found: int = 0


class Crawl:
    """One crawl of one seller list.

    `top` ends sellers that hide nothing better than what is certain; `probe_share` is how large a share
    of the credits goes to the page after a short one. `on_page` and `on_end` tell a progress display
    about journaled pages and ended sellers.
    """

    def __init__(
        self,
        frontier: Frontier | BestFirst,
        gates: Gates,
        journal: Journal,
        paging: PagingRule,
        size: PoolSize,
        breaker: Breaker,
        stop: Stop,
        grace: float,
        top: Top | None = None,
        probe_share: float = 0.0,
        on_page: Callable[[Page], None] = lambda _page: None,
        on_end: Callable[[str, Ending], None] = lambda _seller, _ending: None,
    ) -> None:
        self._frontier = frontier
        self._gates = gates
        self._journal = journal
        self._paging = paging
        self._size = size
        self._breaker = breaker
        self._stop = stop
        self._grace = grace
        self._top = top
        self._probe_share = probe_share
        self._on_page = on_page
        self._on_end = on_end
        # Ordered, so that a simulated night replays exactly.
        self._workers: dict[asyncio.Task[None], None] = {}
        self._doubtful: list[tuple[SellerProgress, str]] = []
        self._unsettled: list[SellerProgress] = []
        self.failures: list[Failure] = []
        self.probes = ProbeCounts()
        self._probes_begun = 0

    async def run(self) -> None:
        """Work until nothing is left to do or `stop` was set and all in flight has ended."""
        async with asyncio.TaskGroup() as group:
            while await self._tend(group):
                await asyncio.sleep(0 if not self._workers else _TICK)
        await self._settle()

    async def _tend(self, group: asyncio.TaskGroup) -> bool:
        """Keep the number of workers right; False when the crawl is over."""
        if self._stop.reason is not None:
            self._end_grace()
            return bool(self._workers)
        if self._doubtful and (
            self._breaker.is_open or not self._breaker.streak_unbroken or not self._workers
        ):
            await self._judge_doubtful_safely()
        while not self._frontier.empty and len(self._workers) < self._size.target:
            worker = group.create_task(self._work())
            self._workers[worker] = None
            worker.add_done_callback(self._workers.pop)
        return bool(self._workers) or bool(self._doubtful)

    def _end_grace(self) -> None:
        interrupted = isinstance(self._stop.reason, InterruptedRunError)
        if interrupted and asyncio.get_running_loop().time() >= self._stop.at + self._grace:
            for worker in self._workers:
                worker.cancel()

    async def _work(self) -> None:
        try:
            while self._stop.reason is None and len(self._workers) <= self._size.target:
                seller = self._frontier.take()
                if seller is None:
                    return
                try:
                    await self._advance(seller)
                finally:
                    if seller.credits:
                        self._unsettled.append(seller)
        except CrawlerError as reason:
            self._stop.set(reason)

    async def _settle(self) -> None:
        """Tell the journal what was spent on pages that never came."""
        try:
            for seller in self._unsettled:
                if seller.credits:
                    await self._journal.end(seller.seller_id, seller.hand_over(), None)
        except CrawlerError as reason:
            self._stop.set(reason)

    async def _advance(self, seller: SellerProgress) -> None:
        """Read one page of the seller and decide what follows."""
        limit = self._limit(seller)
        if limit is not None:
            await self._end(seller, Ending(SellerStatus.PARTIAL, limit))
            return
        try:
            page, sent_at = await self._gates.fetch(seller)
        except GaveUpError as failure:
            self._doubtful.append((seller, str(failure)))
            return
        except RefusedError as refusal:
            await self._fail(seller, str(refusal), retriable=False)
            return
        step = self._paging.after(seller, page)
        if step is Step.ASK_AGAIN:
            seller.null_seen = True
            self._frontier.put_back(seller)
            return
        ending = self._unless_probed(seller, page, step)
        await self._journal.append(page, seller.hand_over(), ending)
        self._size.measured(asyncio.get_running_loop().time() - sent_at)
        seller.received(page)
        self._frontier.learn(page)
        if self._top is not None:
            self._top.learn(page)
        self._on_page(page)
        if ending is None:
            self._frontier.put_back(seller)
        else:
            self._on_end(seller.seller_id, ending)

    def _limit(self, seller: SellerProgress) -> StopReason | None:
        """Why the seller's next page is not wanted, or None."""
        if not self._paging.allows(seller):
            return StopReason.MAX_PAGES
        if self._top is not None and seller.bound <= self._top.threshold:
            return StopReason.TOP
        return None

    def _unless_probed(self, seller: SellerProgress, page: Page, step: Step | Ending) -> Ending | None:
        """The seller's ending, or None where it goes on, if only to try the page after a short one."""
        if seller.probing:
            self.probes.sent += 1
            self.probes.rows_found += page.row_count or 0
        if not isinstance(step, Ending):
            return None
        spent = self._gates.counts.sent
        if (
            step.stop_reason is StopReason.SHORT_PAGE
            and not seller.probing
            and page.page_num < MAX_PAGE_NUM
            and self._probes_begun + 1 <= self._probe_share * (spent + 1)
        ):
            self._probes_begun += 1
            seller.probing = True
            return None
        return step

    async def _judge_doubtful_safely(self) -> None:
        try:
            await self._judge_doubtful()
        except CrawlerError as reason:
            self._stop.set(reason)

    async def _judge_doubtful(self) -> None:
        """Decide over sellers whose attempts were used up while nobody was answered.

        Where the API turns out to be down they were not at fault, and go back to the frontier.
        """
        doubtful, self._doubtful = self._doubtful, []
        for seller, reason in doubtful:
            if self._breaker.is_open and seller.page_failures < HARD_ATTEMPTS:
                self._frontier.put_back(seller)
            else:
                await self._fail(seller, reason, retriable=True)

    async def _fail(self, seller: SellerProgress, reason: str, *, retriable: bool) -> None:
        ending = Ending(SellerStatus.FAILED, StopReason.ERROR, reason, retriable)
        self.failures.append(Failure(seller.seller_id, seller.next_page, reason))
        await self._end(seller, ending)

    async def _end(self, seller: SellerProgress, ending: Ending) -> None:
        await self._journal.end(seller.seller_id, seller.hand_over(), ending)
        self._on_end(seller.seller_id, ending)
