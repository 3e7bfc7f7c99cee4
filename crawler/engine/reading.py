"""One piece of work: ask through the gates, tell the seller what happened, carry out its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

from crawler import events
from crawler.engine.gates import DeferredError, Gates
from crawler.engine.next_work import NextWork, ToRepair, Work
from crawler.engine.seller import Answer, Defer, Event, Keep, Park, Policies, Seller, SellerState
from crawler.models.errors import CrawlerError, RefusedError, ThrottledError, UnavailableError
from crawler.models.page import Page
from crawler.models.seller import Ending, PageRequest, SellerProgress, SellerStatus, StopReason
from crawler.ports import Journal
from crawler.rules.drift import Repair
from crawler.rules.sizing import PoolSize

Pending = Coroutine[None, None, None] | None
"""What is to be awaited, if anything is."""

_REST_CARRIED = Ending(SellerStatus.COMPLETE, StopReason.CARRIED)
_AT_REST = (SellerState.WAITING, SellerState.ENDED)


@dataclass(slots=True)
class Reader:
    """Does the work of a crawl's workers.

    `on_page` and `on_end` are informed of journaled pages and of ended sellers; `repairs`: sellers that end
    with gaps are to be repaired.
    """

    work: NextWork
    gates: Gates
    journal: Journal
    size: PoolSize
    policies: Policies
    on_page: Callable[[Page], None]
    on_end: Callable[[str, Ending], None]
    repairs: bool
    _unreported: list[SellerProgress] = field(default_factory=list)

    def do(self, work: Work) -> Pending:
        """Begin a piece of work; returns what is to be awaited until all that came of it is durable."""
        if isinstance(work, SellerProgress):
            return self._take_turn(work)
        if isinstance(work, PageRequest):
            seller = self._seller_of(work)
            return self._carry_out(seller, self._feed(seller, Event.DUE, work))
        if isinstance(work, ToRepair):
            return self._repair(work.seller_id)
        return self.give_up(work.request)

    def give_up(self, request: PageRequest) -> Pending:
        """Tell a seller that its page cannot be had; returns what is to be awaited."""
        return self._carry_out(self._seller_of(request), self._failed(request))

    async def finish(self) -> None:
        """Journal which sellers have ended without what was in flight, and credits that brought no page."""
        try:
            while self.work.address.at_fault:
                await ended(self.give_up(self.work.address.at_fault.popleft()))
            for seller in list(self.work.sellers.values()):
                await ended(self._carry_out(seller, self._feed(seller, Event.STOPPED)))
            for progress in self._unreported:
                if progress.credits:
                    await self.journal.end(progress.seller_id, progress.take_unreported_credits(), None)
        except CrawlerError as reason:
            self.gates.stop.set(reason)

    def _take_turn(self, progress: SellerProgress) -> Pending:
        seller = self.work.sellers.get(progress.seller_id)
        if seller is None:
            seller = self.work.sellers[progress.seller_id] = Seller(progress, self.policies)
        in_doubt = progress.seller_id in self.work.address.in_doubt
        return self._carry_out(seller, self._feed(seller, Event.PASSED_OVER if in_doubt else Event.TURN))

    async def _ask(self, seller: Seller, request: PageRequest) -> None:
        sent_at = None
        try:
            try:
                page, sent_at = await self.gates.ask(request)
            except (DeferredError, ThrottledError, UnavailableError, RefusedError) as error:
                answer = self._without_page(seller, request, error)
            else:
                self.work.address.prove()
                answer = self._feed(seller, Event.PAGE_CAME, page)
            following = self._carry_out(seller, answer)
            if following is not None:
                await following
                if sent_at is not None:
                    self.size.measured(asyncio.get_running_loop().time() - sent_at)
        finally:
            if request.seller.credits:
                self._unreported.append(request.seller)

    def _without_page(self, seller: Seller, request: PageRequest, error: Exception) -> Answer:
        """Tell the seller why no page came."""
        if isinstance(error, RefusedError):
            return self._refused(seller, request, error)
        if not isinstance(error, UnavailableError):
            return self._feed(seller, Event.DEFERRED, request)
        # Where nobody has been answered at all, it is the API that fails, however few sellers there are.
        if self.gates.retry.is_at_fault(request) and not self.gates.breaker.nobody_answered:
            return self._failed(request)
        return self._feed(seller, Event.NO_ANSWER, request)

    def _refused(self, seller: Seller, request: PageRequest, refusal: RefusedError) -> Answer:
        self._feed(seller, Event.REFUSED)
        request.reason = str(refusal)
        if refusal.of_address and not self.work.address.is_proven:
            self.work.address.keep_in_doubt(request, refusal.kind)
            return ()
        self.work.address.prove()
        request.retriable = False
        return self._failed(request)

    def _failed(self, request: PageRequest) -> Answer:
        self.gates.breaker.found_failing(request.seller.seller_id)
        return self._feed(self._seller_of(request), Event.UNOBTAINABLE, request)

    def _seller_of(self, request: PageRequest) -> Seller:
        return self.work.sellers[request.seller.seller_id]

    def _feed(self, seller: Seller, event: Event, subject: Page | PageRequest | None = None) -> Answer:
        """Tell the seller, and forget it where nothing of it is in flight."""
        answer = seller.on(event, subject)
        if seller.state in _AT_REST:
            self.work.sellers.pop(seller.progress.seller_id, None)
        return answer

    def _carry_out(self, seller: Seller, answer: Answer) -> Pending:
        """Do what the seller decided, and return its last part where that is to be awaited."""
        for action in answer:
            if isinstance(action, PageRequest):
                return self._ask(seller, action)
            if isinstance(action, Keep):
                return self._keep(seller, action)
            if isinstance(action, Ending):
                return self._end(seller.progress, action)
            if isinstance(action, Park):
                self.work.parked.park(action.request)
            elif isinstance(action, Defer):
                self.work.defer(action.request)
            else:
                self.work.frontier.put_back(seller.progress)
        return None

    async def _keep(self, seller: Seller, keep: Keep) -> None:
        page, progress = keep.page, seller.progress
        await self.journal.append(page, progress.take_unreported_credits(), keep.ending, keep.notes)
        self.work.frontier.learn(page)
        if self.policies.top is not None:
            self.policies.top.learn(page)
        self.on_page(page)
        if keep.ending is not None:
            self._note_end(progress, keep.ending)
        else:
            if progress.ended and progress.stretches:
                self.on_end(progress.seller_id, _REST_CARRIED)
            self._carry_out(seller, self._feed(seller, Event.KEPT))

    async def _end(self, progress: SellerProgress, ending: Ending) -> None:
        await self.journal.end(progress.seller_id, progress.take_unreported_credits(), ending)
        self._note_end(progress, ending)

    def _note_end(self, progress: SellerProgress, ending: Ending) -> None:
        if self.repairs and progress.drifted and ending.status is SellerStatus.COMPLETE:
            self.work.to_repair.append(progress.seller_id)
        if ending.status is SellerStatus.FAILED:
            log_failure(progress, ending)
        self.on_end(progress.seller_id, ending)

    async def _repair(self, seller_id: str) -> None:
        """Begin to read pages of an ended seller again (`--repair-drift`)."""
        progress, repair = SellerProgress(seller_id), Repair(*await self.journal.drifted(seller_id))
        self.work.sellers[seller_id] = Seller(progress, self.policies, repair)
        await ended(self._take_turn(progress))


def log_failure(progress: SellerProgress, ending: Ending) -> None:
    """Log that a seller has failed, and which run asks for it again."""
    failed = events.SELLER_FAILED(
        seller=progress.seller_id,
        page=progress.next_page,
        reason=ending.error,
        kind=ending.kind,
        is_final=not ending.retriable,
        then_words="the next run of this date" if ending.retriable else "only a run with --retry-failed",
    )
    failed.log()


async def ended(following: Pending) -> None:
    """Wait for what is to be awaited, if anything is."""
    if following is not None:
        await following
