"""The crawl: a pool of workers over the frontier, until every seller has ended or the run must stop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass

from crawler.engine.gates import Gates, GaveUpError, HeldBackError
from crawler.engine.parked import Parked
from crawler.engine.stop import Stop
from crawler.models.api import MAX_PAGE_NUM
from crawler.models.errors import (
    ApiDownError,
    CrawlerError,
    InterruptedRunError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from crawler.models.page import NO_NOTES, Gap, Match, Page, PageNotes
from crawler.models.seller import Ending, PageRequest, SellerProgress, SellerStatus, StopReason
from crawler.ports import Journal
from crawler.rules.address import AddressCheck
from crawler.rules.best_first import BestFirst
from crawler.rules.drift import Repair, gap_before
from crawler.rules.lookahead import Ahead, LookaheadRule
from crawler.rules.order import Frontier
from crawler.rules.outage import DOWN_SELLERS, Breaker
from crawler.rules.paging import PagingRule, Step
from crawler.rules.sizing import PoolSize
from crawler.rules.top import Top

_TICK = 0.1
_GOLDEN = 0.618034
"""Multiples of it, without their whole part, are spread evenly however many there are."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A seller that failed: at which page, and why."""

    seller_id: str
    page_num: int
    reason: str


@dataclass(slots=True)
class ProbeCounts:
    """Pages asked for beyond a short one, and the rows that they held: the short-page rule loses these."""

    sent: int = 0
    rows_found: int = 0


class Crawl:
    """One crawl of one seller list.

    `top` ends sellers that hide nothing better than what is certain; `probe_share` is how large a share
    of the credits goes to the page after a short one; `match` compares first pages with an earlier
    snapshot. `to_mend` are ended sellers whose gaps are still to be mended; None leaves every gap.
    `address` tells whether the API's address is proven to be right.
    `on_page` and `on_end` tell a progress display about journaled pages and ended sellers.
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
        *,
        top: Top | None = None,
        probe_share: float = 0.0,
        lookahead: LookaheadRule | None = None,
        match: Callable[[Page], Match | None] = lambda _page: None,
        to_mend: Iterable[str] | None = None,
        address: AddressCheck | None = None,
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
        self._lookahead = lookahead or LookaheadRule()
        self._match = match
        self._mends = to_mend is not None
        self._to_mend = deque(to_mend or ())
        self._address = address or AddressCheck()
        gates.holds_back = self._address.holds_back
        self._held_back: list[PageRequest] = []
        self._on_page = on_page
        self._on_end = on_end
        # Ordered, so that a simulated night replays exactly.
        self._workers: dict[asyncio.Task[None], None] = {}
        self._ahead: dict[str, Ahead] = {}
        self._parked = Parked(breaker, gates.retry)
        self._unsettled: list[SellerProgress] = []
        self._reading = 0
        self.failures: list[Failure] = []
        self.probes = ProbeCounts()
        self.after_rejects = ProbeCounts()
        self._probes_begun = 0

    async def run(self) -> None:
        """Work until nothing is left to do or `stop` was set and all in flight has ended."""
        async with asyncio.TaskGroup() as group:
            while await self._tend(group):
                await asyncio.sleep(_TICK)
        await self._settle()

    async def _tend(self, group: asyncio.TaskGroup) -> bool:
        """Keep the number of workers right; False when the crawl is over."""
        if self._stop.reason is not None:
            self._end_grace()
            return bool(self._workers)
        if not self._workers and not self._breaker.is_open and not self._may_take:
            await self._give_up_safely()
        if not self._workers and not self._parked and not self._has_work:
            self._conclude_on_address()
        for _ in range(self._wanted):
            worker = group.create_task(self._work())
            self._workers[worker] = None
            worker.add_done_callback(self._workers.pop)
        return bool(self._workers) or bool(self._parked) or self._has_work

    @property
    def _wanted(self) -> int:
        """How many more workers there is work for: while the API is down, one for a probe."""
        room = max(0, self._most_workers - len(self._workers))
        if not room or not self._has_work:
            return 0
        return min(room, int(self._gates.may_probe)) if self._breaker.is_open else room

    @property
    def _most_workers(self) -> int:
        """Few while nobody is answered: what tells whether the API is down must not cost much."""
        target = self._size.target
        return min(target, DOWN_SELLERS) if self._breaker.is_shaky or self._address.is_doubtful else target

    @property
    def _has_work(self) -> bool:
        if self._may_take or self._may_mend or self._address.at_fault:
            return True
        down = self._breaker.is_open
        return bool(self._parked) if down else self._parked.is_due(asyncio.get_running_loop().time())

    @property
    def _may_take(self) -> bool:
        """Whether there may be a seller to ask first: few more where the address may be wrong."""
        some = bool(self._held_back) or not self._frontier.empty
        return some and (not self._address.is_suspect or self._address.may_ask)

    @property
    def _may_mend(self) -> bool:
        """Whether gaps are next: after all else, so that no unread page goes without its credit."""
        return bool(self._to_mend) and not self._reading and not self._parked

    def _end_grace(self) -> None:
        interrupted = isinstance(self._stop.reason, InterruptedRunError)
        if interrupted and asyncio.get_running_loop().time() >= self._stop.at + self._grace:
            for worker in self._workers:
                worker.cancel()

    async def _work(self) -> None:
        try:
            while self._is_on_duty and (work := self._next_work()) is not None:
                await work
        except CrawlerError as reason:
            self._stop.set(reason)

    @property
    def _is_on_duty(self) -> bool:
        if self._stop.reason is not None or len(self._workers) > self._most_workers:
            return False
        return not self._breaker.is_open or self._gates.may_probe

    def _next_work(self) -> Coroutine[None, None, None] | None:
        """What is next: pages that are due again; to probe the API, rather sellers who have not failed."""
        if self._address.at_fault:
            request, retriable = self._address.at_fault.popleft()
            return self._fail(request, request.reason, retriable=retriable)
        if self._held_back and not self._address.is_suspect:
            return self._ask_again(self._held_back.pop())
        down = self._breaker.is_open
        if self._parked and not down:
            due = self._parked.take(asyncio.get_running_loop().time())
            if due is not None:
                return self._ask_again(due)
        if self._address.is_suspect:
            work = self._next_spread()
        else:
            seller = self._frontier.take()
            work = None if seller is None else self._advance(seller)
        if work is not None:
            return work
        if down and self._breaker.nobody_answered:
            self._breaker.ration(self._parked.probes_left)
        probe = self._parked.take_probe() if down else None
        if probe is not None:
            return self._ask_again(probe)
        return self._mend(self._to_mend.popleft()) if self._may_mend else None

    def _next_spread(self) -> Coroutine[None, None, None] | None:
        """Ask a seller from another part of the list: those not taken yet, then those held back."""
        if not self._address.may_ask:
            return None
        seller = self._frontier.take_spread()
        if seller is None and self._held_back:
            place = int(len(self._held_back) * (self._address.asked * _GOLDEN % 1.0))
            request = self._held_back.pop(place)
            self._address.asks(request.seller.seller_id)
            return self._ask_again(request)
        seller = seller or self._frontier.take()
        if seller is None:
            return None
        self._address.asks(seller.seller_id)
        return self._advance(seller)

    def _conclude_on_address(self) -> None:
        """Stop where everybody was refused as by a wrong path, and nobody is left to ask."""
        if self._address.is_doubtful and self._address.conclude():
            self._stop.set(ApiDownError(self._address.doubt))

    async def _settle(self) -> None:
        """Tell the journal what was spent on pages that never came, and who has ended without them."""
        try:
            while self._address.at_fault:
                request, retriable = self._address.at_fault.popleft()
                await self._fail(request, request.reason, retriable=retriable)
            for ahead in list(self._ahead.values()):
                if ahead.ending is not None:
                    await self._end(ahead.seller, ahead.ending)
            for seller in self._unsettled:
                if seller.credits:
                    await self._journal.end(seller.seller_id, seller.take_unreported_credits(), None)
        except CrawlerError as reason:
            self._stop.set(reason)

    async def _advance(self, seller: SellerProgress) -> None:
        """Read one page of the seller and decide what follows."""
        if seller.ended or self._address.holds(seller.seller_id):
            return
        ahead = self._ahead_of(seller)
        if ahead is not None and ahead.flying and self._breaker.suspects(seller.seller_id):
            return
        ending = self._ending_without_asking(seller)
        if ending is not None and (ahead is None or not ahead.flying):
            await self._end(seller, ending)
            return
        page_num = seller.next_page if ahead is None else ahead.ask()
        if page_num is None:
            return
        if ahead is not None:
            self._offer(seller)
        request = PageRequest(seller, page_num)
        request.again = self._was_null(seller, page_num)
        await self._ask(request)

    async def _ask_again(self, request: PageRequest) -> None:
        ahead = self._ahead.get(request.seller.seller_id)
        if ahead is None or ahead.wants(request.page_num):
            await self._ask(request)
            return
        ahead.landed(request.page_num)
        self._parked.release(request.seller.seller_id)
        await self._go_on(request.seller)

    async def _ask(self, request: PageRequest) -> None:
        self._reading += 1
        try:
            await self._read(request)
        finally:
            self._reading -= 1
            if request.seller.credits:
                self._unsettled.append(request.seller)

    def _was_null(self, seller: SellerProgress, page_num: int) -> bool:
        ahead = self._ahead.get(seller.seller_id)
        is_next = page_num == seller.next_page
        return (is_next and seller.null_seen) or (ahead is not None and page_num in ahead.nulls)

    def _ahead_of(self, seller: SellerProgress) -> Ahead | None:
        ahead = self._ahead.get(seller.seller_id) or self._lookahead.of(seller)
        if ahead is not None:
            ahead.queued = False
            self._ahead[seller.seller_id] = ahead
        return ahead

    def _ending_without_asking(self, seller: SellerProgress) -> Ending | None:
        """How the seller ends if its next page is not wanted; None where it goes on."""
        if self._top is not None and seller.max_remaining_value <= self._top.threshold:
            return Ending(SellerStatus.PARTIAL, StopReason.TOP)
        return self._paging.ended(seller)

    def _offer(self, seller: SellerProgress) -> None:
        """Put a seller back that may have a page to ask for."""
        ahead = self._ahead.get(seller.seller_id)
        if ahead is not None:
            if ahead.queued or ahead.ending is not None:
                return
            ahead.queued = True
        self._frontier.put_back(seller)

    async def _read(self, request: PageRequest) -> None:
        """Fetch a page, decide over it if it is its turn, and keep it."""
        seller = request.seller
        try:
            page, sent_at = await self._gates.ask(request)
        except (HeldBackError, ThrottledError):
            if self._address.holds_back(request):
                self._held_back.append(request)
            else:
                self._parked.park(request)
            return
        except UnavailableError:
            await self._after_failure(request)
            return
        except RefusedError as refusal:
            await self._after_refusal(request, refusal)
            return
        self._address.prove()
        if self._parked.trials:
            self._parked.release(seller.seller_id)
        notes, step = self._decide(seller, page)
        if step is Step.ASK_AGAIN:
            await self._go_on(seller)
            return
        ending = self._ending_now(seller, step)
        await self._journal.append(page, seller.take_unreported_credits(), ending, notes)
        self._size.measured(asyncio.get_running_loop().time() - sent_at)
        self._frontier.learn(page)
        if self._top is not None:
            self._top.learn(page)
        self._on_page(page)
        if ending is None:
            self._offer(seller)
        else:
            self._note_end(seller, ending)

    def _decide(self, seller: SellerProgress, page: Page) -> tuple[PageNotes, Step | Ending]:
        """What a page tells, and what follows: of one before its turn nothing does."""
        ahead = self._ahead.get(seller.seller_id)
        if ahead is None:
            return self._in_turn(seller, page, {})
        ahead.landed(page.page_num)
        if page.page_num == seller.next_page:
            seller.null_seen |= page.page_num in ahead.nulls
            return self._in_turn(seller, page, ahead.held)
        ahead.hold(page)
        return NO_NOTES, Step.ASK_AGAIN if page.row_count is None else Step.NEXT_PAGE

    def _in_turn(
        self, seller: SellerProgress, page: Page, held: dict[int, Page | Ending]
    ) -> tuple[PageNotes, Step | Ending]:
        """Decide over the seller's next page, and over those that waited for it."""
        gaps: list[Gap] = []
        arrival: Page | Ending | None = page
        step: Step | Ending = Step.NEXT_PAGE
        while arrival is not None and step is Step.NEXT_PAGE:
            if isinstance(arrival, Ending):
                self.failures.append(Failure(seller.seller_id, seller.next_page, arrival.error or ""))
                return _notes(seller, gaps, None), arrival
            step = self._paging.after(seller, arrival)
            if step is Step.ASK_AGAIN:
                seller.null_seen = True
                return NO_NOTES, step
            if not isinstance(step, Ending) or step.stop_reason is not StopReason.REPEATED_PAGE:
                gap = gap_before(seller, arrival)
                gaps += [] if gap is None else [gap]
            self._count_probe(seller, arrival)
            seller.received(arrival)
            arrival = held.pop(seller.next_page, None)
        match = self._match(page) if page.page_num == 1 and step is Step.NEXT_PAGE else None
        if match is not None and match.carried:
            step = Ending(SellerStatus.COMPLETE, StopReason.CARRIED)
        return _notes(seller, gaps, match), self._unless_probed(seller, page, step)

    def _ending_now(self, seller: SellerProgress, step: Step | Ending) -> Ending | None:
        """The seller's ending, once nothing of it is in flight."""
        ahead = self._ahead.get(seller.seller_id)
        if ahead is None:
            ending = step if isinstance(step, Ending) else None
        else:
            if isinstance(step, Ending) and ahead.ending is None:
                ahead.ending = step
                seller.leaving = True
            ending = None if ahead.flying else ahead.ending
        if ending is not None:
            seller.ended = True
            self._ahead.pop(seller.seller_id, None)
        return ending

    def _count_probe(self, seller: SellerProgress, page: Page) -> None:
        if seller.probing:
            self.probes.sent += 1
            self.probes.rows_found += page.row_count or 0
        elif self._paging.is_after_rejects(seller):
            self.after_rejects.sent += 1
            self.after_rejects.rows_found += page.row_count or 0

    def _unless_probed(self, seller: SellerProgress, page: Page, step: Step | Ending) -> Step | Ending:
        """What follows: where the page after a short one is tried, the seller goes on."""
        spent = self._gates.counts.sent
        if (
            isinstance(step, Ending)
            and step.stop_reason is StopReason.SHORT_PAGE
            and not seller.probing
            and seller.seller_id not in self._ahead
            and page.page_num < MAX_PAGE_NUM
            and self._probes_begun + 1 <= self._probe_share * (spent + 1)
        ):
            self._probes_begun += 1
            seller.probing = True
            return Step.NEXT_PAGE
        return step

    async def _after_failure(self, request: PageRequest) -> None:
        # Where nobody has been answered at all, it is the API that fails, however few sellers there are.
        if self._gates.retry.is_at_fault(request) and not self._breaker.nobody_answered:
            await self._fail(request, request.reason, retriable=True)
        else:
            self._parked.park(request)

    async def _after_refusal(self, request: PageRequest, refusal: RefusedError) -> None:
        if refusal.of_address and not self._address.is_proven:
            request.reason = str(refusal)
            self._address.hold(request, refusal.kind)
            return
        self._address.prove()
        await self._fail(request, str(refusal), retriable=False)

    async def _give_up_safely(self) -> None:
        """Fail what is doubtful: nobody is left whose answer could tell that the API was down.

        Where nobody has been answered at all, wait for the API instead.
        """
        if self._breaker.nobody_answered:
            if self._parked and self._breaker.is_shaky:
                now = asyncio.get_running_loop().time()
                self._breaker.open_for_few(now, self._parked.probes_left)
                self._gates.warn_of_outage()
            return
        try:
            for request in self._parked.give_up():
                await self._fail(request, request.reason, retriable=True)
        except CrawlerError as reason:
            self._stop.set(reason)

    async def _fail(self, request: PageRequest, reason: str, *, retriable: bool) -> None:
        """End a seller whose page cannot be had; before that page's turn, wait whether it is wanted."""
        seller = request.seller
        ending = Ending(SellerStatus.FAILED, StopReason.ERROR, reason, retriable)
        ahead = self._ahead.get(seller.seller_id)
        if ahead is not None:
            ahead.landed(request.page_num)
            ahead.hold(ending, request.page_num)
        step: Step | Ending = Step.NEXT_PAGE
        if ahead is None or request.page_num == seller.next_page:
            self.failures.append(Failure(seller.seller_id, request.page_num, reason))
            step = ending
        self._breaker.found_sick(seller.seller_id)
        self._parked.release(seller.seller_id)
        await self._go_on(seller, step)

    async def _go_on(self, seller: SellerProgress, step: Step | Ending = Step.NEXT_PAGE) -> None:
        """What follows where no page came: the seller's next one, or its ending if that is due."""
        ending = self._ending_now(seller, step)
        if ending is None:
            self._offer(seller)
        else:
            await self._end(seller, ending)

    async def _end(self, seller: SellerProgress, ending: Ending) -> None:
        seller.ended = True
        self._ahead.pop(seller.seller_id, None)
        await self._journal.end(seller.seller_id, seller.take_unreported_credits(), ending)
        self._note_end(seller, ending)

    def _note_end(self, seller: SellerProgress, ending: Ending) -> None:
        if self._mends and seller.drifted and ending.status is SellerStatus.COMPLETE:
            self._to_mend.append(seller.seller_id)
        self._on_end(seller.seller_id, ending)

    async def _mend(self, seller_id: str) -> None:
        """Read pages of an ended seller again, where its list moved; where one cannot be had, leave it."""
        seller = SellerProgress(seller_id)
        repair = Repair(*await self._journal.drifted(seller_id))
        try:
            while self._stop.reason is None and repair.page_num is not None:
                page, _ = await self._gates.fetch(PageRequest(seller, repair.page_num))
                self._address.prove()
                if page.row_count is None:
                    return
                notes = PageNotes(repaired_beyond=repair.after(page))
                await self._journal.append(page, seller.take_unreported_credits(), None, notes)
                self._on_page(page)
        except (GaveUpError, RefusedError):
            return
        finally:
            if seller.credits:
                self._unsettled.append(seller)


def _notes(seller: SellerProgress, gaps: list[Gap], match: Match | None) -> PageNotes:
    seller.drifted |= bool(gaps)
    return PageNotes(tuple(gaps), match=match) if gaps or match is not None else NO_NOTES
