"""One piece of work: ask through the gates, tell the seller what happened, carry out its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from crawler.engine import actions, events
from crawler.engine.gates import Gates, HeldBackError
from crawler.engine.next_work import AtFault, NextWork, ToRepair, Work
from crawler.engine.repairing import Repairer
from crawler.engine.seller import Policies, Seller, SellerState
from crawler.engine.stop import Stop
from crawler.models.errors import CrawlerError, RefusedError, ThrottledError, UnavailableError
from crawler.models.page import Page
from crawler.models.seller import Ending, PageRequest, SellerProgress, SellerStatus
from crawler.ports import Journal
from crawler.rules.outage import Breaker
from crawler.rules.sizing import PoolSize

_TURN, _KEPT, _NO_ANSWER, _THROTTLED = events.Turn(), events.Kept(), events.NoAnswer(), events.Throttled()
_HELD_BACK, _REFUSED, _STOPPED = events.HeldBack(), events.Refused(), events.Stopped()
Pending = Coroutine[None, None, None] | None
"""What is to be awaited, if anything is."""

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
        self._repairer = Repairer(
            gates, journal, work.address, stop, policies, observers.on_page, self._unreported
        )
        self.failures: list[Failure] = []

    def do(self, work: Work) -> Pending:
        """Begin a piece of work; returns what is to be awaited until all that came of it is durable."""
        if isinstance(work, SellerProgress):
            return self._take_turn(work)
        if isinstance(work, PageRequest):
            seller = self._seller_of(work)
            return self._carry_out(seller, self._feed(seller, events.Due(work.page_num)), work)
        if isinstance(work, ToRepair):
            return self._repairer.repair(work.seller_id)
        request = work.request
        return self._fail(request, events.FoundAtFault(request.page_num, request.reason, work.retriable))

    def give_up(self, request: PageRequest) -> Pending:
        """Fail a seller by a page whose attempts are used up; returns what is to be awaited."""
        return self._fail(request, events.GaveUp(request.page_num, request.reason))

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

    def _take_turn(self, progress: SellerProgress) -> Pending:
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
                answer = self._without_page(seller, request, error)
            else:
                self._address.prove()
                if self._parked.tried:
                    self._parked.release(request.seller.seller_id)
                answer = self._feed(seller, events.of_page(page))
            following = self._carry_out(seller, answer, request, sent_at)
            if following is not None:
                await following
        finally:
            self._work.reading -= 1
            if request.seller.credits:
                self._unreported.append(request.seller)

    def _without_page(self, seller: Seller, request: PageRequest, error: Exception) -> actions.Answer:
        """Tell the seller why no page came."""
        if isinstance(error, UnavailableError):
            # Where nobody has been answered at all, it is the API that fails, however few sellers there are.
            if self._gates.retry.is_at_fault(request) and not self._breaker.nobody_answered:
                return self._failed(request, events.GaveUp(request.page_num, request.reason))
            return self._feed(seller, _NO_ANSWER)
        if isinstance(error, RefusedError):
            return self._refused(seller, request, error)
        return self._feed(seller, _HELD_BACK if isinstance(error, HeldBackError) else _THROTTLED)

    def _refused(self, seller: Seller, request: PageRequest, refusal: RefusedError) -> actions.Answer:
        self._feed(seller, _REFUSED)
        request.reason = str(refusal)
        address = self._address
        if refusal.of_address and not address.is_proven:
            address.hold(request, refusal.kind)
            return ()
        address.prove()
        return self._failed(request, events.FoundAtFault(request.page_num, request.reason, retriable=False))

    def _failed(self, request: PageRequest, event: events.Unobtainable) -> actions.Answer:
        self._breaker.found_failing(request.seller.seller_id)
        self._parked.release(request.seller.seller_id)
        return self._feed(self._seller_of(request), event)

    def _seller_of(self, request: PageRequest) -> Seller:
        return self._sellers[request.seller.seller_id]

    def _feed(self, seller: Seller, event: events.Event) -> actions.Answer:
        """Tell the seller, and forget it where nothing of it is in flight."""
        answer = seller.on(event)
        if seller.state in _AT_REST:
            self._sellers.pop(seller.progress.seller_id, None)
        return answer

    def _fail(self, request: PageRequest, event: events.Unobtainable) -> Pending:
        return self._carry_out(self._seller_of(request), self._failed(request, event))

    def _carry_out(
        self,
        seller: Seller,
        answer: actions.Answer,
        request: PageRequest | None = None,
        sent_at: float = 0.0,
    ) -> Pending:
        """Do what the seller decided, and return its last part where that is to be awaited.

        `request` is the one that was answered or is due, `sent_at` when it was sent.
        """
        for action in answer:
            if isinstance(action, actions.Ask):
                return self._ask(seller, PageRequest(seller.progress, action.page_num, again=action.again))
            if isinstance(action, actions.Keep):
                return self._keep(seller, action, sent_at)
            if isinstance(action, actions.End):
                return self._end(seller.progress, action.ending)
            if isinstance(action, actions.Offer):
                self._frontier.put_back(seller.progress)
            elif isinstance(action, actions.ReportFailure):
                self.failures.append(Failure(seller.progress.seller_id, action.page_num, action.reason))
            elif request is not None:
                if isinstance(action, actions.Retry):
                    return self._ask(seller, request)
                self._set_aside(action, request)
        return None

    def _set_aside(self, action: actions.Park | actions.Defer | actions.Drop, request: PageRequest) -> None:
        """Keep a request for later, or forget it."""
        if isinstance(action, actions.Park):
            self._parked.park(request)
        elif isinstance(action, actions.Defer):
            self._work.defer(request)
        else:
            self._parked.release(request.seller.seller_id)

    async def _keep(self, seller: Seller, keep: actions.Keep, sent_at: float) -> None:
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


async def ended(following: Pending) -> None:
    """Wait for what is to be awaited, if anything is."""
    if following is not None:
        await following
