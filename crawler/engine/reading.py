"""One piece of work: ask through the gates, tell the seller what happened, carry out its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from crawler.engine.gates import Gates, GaveUpError, HeldBackError
from crawler.engine.next_work import AtFault, NextWork, ToRepair, Work
from crawler.engine.seller import (
    Action,
    Ask,
    Defer,
    Drop,
    Due,
    End,
    Event,
    FoundAtFault,
    GaveUp,
    HeldBack,
    Keep,
    Kept,
    NoAnswer,
    NullData,
    Offer,
    PageCame,
    Park,
    Policies,
    Refused,
    ReportFailure,
    Retry,
    Seller,
    SellerState,
    Stopped,
    Throttled,
    Turn,
)
from crawler.engine.stop import Stop
from crawler.models.errors import CrawlerError, RefusedError, ThrottledError, UnavailableError
from crawler.models.page import Page
from crawler.models.seller import Ending, PageRequest, SellerProgress, SellerStatus
from crawler.ports import Journal
from crawler.rules.drift import Repair
from crawler.rules.outage import Breaker
from crawler.rules.sizing import PoolSize

_TURN, _KEPT, _NO_ANSWER, _THROTTLED = Turn(), Kept(), NoAnswer(), Throttled()
_HELD_BACK, _REFUSED, _STOPPED = HeldBack(), Refused(), Stopped()
_AT_REST = (SellerState.WAITING, SellerState.ENDED)


@dataclass(frozen=True, slots=True)
class Failure:
    """A seller that failed: at which page, and why."""

    seller_id: str
    page_num: int
    reason: str


@dataclass(frozen=True, slots=True)
class Observers:
    """Who is informed of journaled pages and of ended sellers."""

    on_page: Callable[[Page], None] = lambda _page: None
    on_end: Callable[[str, Ending], None] = lambda _seller, _ending: None


class Reader:
    """Does the work of a crawl's workers. `failures` are the sellers that failed, in that order."""

    def __init__(
        self,
        work: NextWork,
        gates: Gates,
        journal: Journal,
        breaker: Breaker,
        size: PoolSize,
        stop: Stop,
        policies: Policies,
        observers: Observers,
        *,
        repairs: bool,
    ) -> None:
        self._work = work
        self._frontier = work.frontier
        self._parked = work.parked
        self._address = work.address
        self._gates = gates
        self._journal = journal
        self._breaker = breaker
        self._size = size
        self._stop = stop
        self._policies = policies
        self._observers = observers
        self._repairs = repairs
        self._sellers: dict[str, Seller] = {}
        self._unreported: list[SellerProgress] = []
        self.failures: list[Failure] = []

    def do(self, work: Work) -> Coroutine[None, None, None] | None:
        """Begin a piece of work; returns what is to be awaited until all that came of it is durable."""
        if isinstance(work, SellerProgress):
            return self._take_turn(work)
        if isinstance(work, PageRequest):
            seller = self._seller_of(work)
            return self._carry_out(seller, self._feed(seller, Due(work.page_num)), work)
        if isinstance(work, ToRepair):
            return self._repair(work.seller_id)
        request = work.request
        return self._fail(request, FoundAtFault(request.page_num, request.reason, work.retriable))

    def give_up(self, request: PageRequest) -> Coroutine[None, None, None] | None:
        """Fail a seller by a page whose attempts are used up; returns what is to be awaited."""
        return self._fail(request, GaveUp(request.page_num, request.reason))

    async def finish(self) -> None:
        """Journal which sellers have ended without what was in flight, and what was spent in vain."""
        try:
            while self._address.at_fault:
                await ended(self.do(AtFault(*self._address.at_fault.popleft())))
            for seller in list(self._sellers.values()):
                await ended(self._carry_out(seller, self._feed(seller, _STOPPED)))
            for progress in self._unreported:
                if progress.credits:
                    await self._journal.end(progress.seller_id, progress.take_unreported_credits(), None)
        except CrawlerError as reason:
            self._stop.set(reason)

    def _take_turn(self, progress: SellerProgress) -> Coroutine[None, None, None] | None:
        if self._address.holds(progress.seller_id):
            return None
        seller = self._sellers.get(progress.seller_id)
        if seller is None:
            seller = Seller(progress, self._policies)
            self._sellers[progress.seller_id] = seller
        return self._carry_out(seller, self._feed(seller, _TURN))

    async def _ask(self, seller: Seller, request: PageRequest) -> None:
        self._work.reading += 1
        sent_at = 0.0
        try:
            try:
                page, sent_at = await self._gates.ask(request)
            except (HeldBackError, ThrottledError, UnavailableError, RefusedError) as error:
                actions = self._without_page(seller, request, error)
            else:
                self._address.prove()
                if self._parked.tried:
                    self._parked.release(request.seller.seller_id)
                actions = self._feed(seller, _event_of(page))
            following = self._carry_out(seller, actions, request, sent_at)
            if following is not None:
                await following
        finally:
            self._work.reading -= 1
            if request.seller.credits:
                self._unreported.append(request.seller)

    def _without_page(self, seller: Seller, request: PageRequest, error: Exception) -> tuple[Action, ...]:
        """Tell the seller why no page came."""
        if isinstance(error, UnavailableError):
            # Where nobody has been answered at all, it is the API that fails, however few sellers there are.
            if self._gates.retry.is_at_fault(request) and not self._breaker.nobody_answered:
                return self._failed(request, GaveUp(request.page_num, request.reason))
            return self._feed(seller, _NO_ANSWER)
        if isinstance(error, RefusedError):
            return self._refused(seller, request, error)
        return self._feed(seller, _HELD_BACK if isinstance(error, HeldBackError) else _THROTTLED)

    def _refused(self, seller: Seller, request: PageRequest, refusal: RefusedError) -> tuple[Action, ...]:
        self._feed(seller, _REFUSED)
        request.reason = str(refusal)
        address = self._address
        if refusal.of_address and not address.is_proven:
            address.hold(request, refusal.kind)
            return ()
        address.prove()
        return self._failed(request, FoundAtFault(request.page_num, request.reason, retriable=False))

    def _failed(self, request: PageRequest, event: GaveUp | FoundAtFault) -> tuple[Action, ...]:
        self._breaker.found_failing(request.seller.seller_id)
        self._parked.release(request.seller.seller_id)
        return self._feed(self._seller_of(request), event)

    def _seller_of(self, request: PageRequest) -> Seller:
        return self._sellers[request.seller.seller_id]

    def _feed(self, seller: Seller, event: Event) -> tuple[Action, ...]:
        """Tell the seller, and forget it where nothing of it is in flight."""
        actions = seller.on(event)
        if seller.state in _AT_REST:
            self._sellers.pop(seller.progress.seller_id, None)
        return actions

    def _fail(self, request: PageRequest, event: GaveUp | FoundAtFault) -> Coroutine[None, None, None] | None:
        return self._carry_out(self._seller_of(request), self._failed(request, event))

    def _carry_out(
        self,
        seller: Seller,
        actions: tuple[Action, ...],
        request: PageRequest | None = None,
        sent_at: float = 0.0,
    ) -> Coroutine[None, None, None] | None:
        """Do what the seller decided, and return its last part where that is to be awaited.

        `request` is the one that was answered or is due, `sent_at` when it was sent.
        """
        for action in actions:
            if isinstance(action, Ask):
                return self._ask(seller, PageRequest(seller.progress, action.page_num, again=action.again))
            if isinstance(action, Keep):
                return self._keep(seller, action, sent_at)
            if isinstance(action, End):
                return self._end(seller.progress, action.ending)
            if isinstance(action, Offer):
                self._frontier.put_back(seller.progress)
            elif isinstance(action, ReportFailure):
                self.failures.append(Failure(seller.progress.seller_id, action.page_num, action.reason))
            elif request is not None:
                if isinstance(action, Retry):
                    return self._ask(seller, request)
                self._set_aside(action, request)
        return None

    def _set_aside(self, action: Park | Defer | Drop, request: PageRequest) -> None:
        """Keep a request for later, or forget it."""
        if isinstance(action, Park):
            self._parked.park(request)
        elif isinstance(action, Defer):
            self._work.defer(request)
        else:
            self._parked.release(request.seller.seller_id)

    async def _keep(self, seller: Seller, keep: Keep, sent_at: float) -> None:
        page, progress = keep.page, seller.progress
        await self._journal.append(page, progress.take_unreported_credits(), keep.ending, keep.notes)
        self._size.measured(asyncio.get_running_loop().time() - sent_at)
        self._frontier.learn(page)
        if self._policies.top is not None:
            self._policies.top.learn(page)
        self._observers.on_page(page)
        if keep.ending is not None:
            self._note_end(progress, keep.ending)
            return
        for _ in self._feed(seller, _KEPT):
            self._frontier.put_back(progress)

    async def _end(self, progress: SellerProgress, ending: Ending) -> None:
        await self._journal.end(progress.seller_id, progress.take_unreported_credits(), ending)
        self._note_end(progress, ending)

    def _note_end(self, progress: SellerProgress, ending: Ending) -> None:
        if self._repairs and progress.drifted and ending.status is SellerStatus.COMPLETE:
            self._work.repair_later(progress.seller_id)
        self._observers.on_end(progress.seller_id, ending)

    async def _repair(self, seller_id: str) -> None:
        """Read pages of an ended seller again, until it wants no more or the run stops."""
        progress = SellerProgress(seller_id)
        seller = Seller(progress, self._policies, Repair(*await self._journal.drifted(seller_id)))
        try:
            actions = seller.on(_TURN)
            while actions:
                (action,) = actions
                actions = seller.on(await self._repair_step(progress, action))
        finally:
            if progress.credits:
                self._unreported.append(progress)

    async def _repair_step(self, progress: SellerProgress, action: Action) -> Event:
        """Carry out one answer of a seller that is repaired; returns what happened."""
        if isinstance(action, Keep):
            await self._journal.append(action.page, progress.take_unreported_credits(), None, action.notes)
            self._observers.on_page(action.page)
            return _KEPT
        if not isinstance(action, Ask) or self._stop.reason is not None:
            return _STOPPED
        try:
            page, _ = await self._gates.fetch(PageRequest(progress, action.page_num))
        except GaveUpError as failure:
            return GaveUp(action.page_num, str(failure))
        except RefusedError:
            return _REFUSED
        self._address.prove()
        return _event_of(page)


async def ended(following: Coroutine[None, None, None] | None) -> None:
    """Wait for what is to be awaited, if anything is."""
    if following is not None:
        await following


def _event_of(page: Page) -> PageCame | NullData:
    return NullData(page) if page.row_count is None else PageCame(page)
