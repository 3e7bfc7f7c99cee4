"""What a worker does next. Open it to learn in which order pages are asked for."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from typing import NamedTuple

from crawler.engine.seller import Seller, SellerState
from crawler.models.seller import PageRequest, SellerProgress
from crawler.rules.address import AddressCheck
from crawler.rules.best_first import BestFirst
from crawler.rules.order import Frontier
from crawler.rules.outage import Breaker
from crawler.rules.recovery import HARD_ATTEMPTS, RetryRule

_GOLDEN_RATIO = 0.618034
"""Multiples of it, without their whole part, are spread evenly however many there are."""


class Parked:
    """Parked pages of all sellers, each until its request's `due`; times are the breaker's.

    A page whose attempts were used up while nobody was answered is undecided: it stays until somebody is.
    """

    def __init__(self, breaker: Breaker, retry: RetryRule) -> None:
        self._breaker = breaker
        self._retry = retry
        self._number = count()
        self._waiting: list[tuple[float, int, PageRequest]] = []
        self._undecided: list[PageRequest] = []

    def __bool__(self) -> bool:
        return bool(self._waiting or self._undecided)

    def park(self, request: PageRequest) -> None:
        """Take a page that is to be asked for again."""
        if request.failures >= self._retry.attempts and self._breaker.failures_in_a_row:
            self._undecided.append(request)
        else:
            heappush(self._waiting, (request.due, next(self._number), request))

    def take(self, now: float) -> PageRequest | None:
        """Give a page that is due; None where there is none."""
        return heappop(self._waiting)[2] if self.is_due(now) else None

    def take_trial(self) -> PageRequest | None:
        """Give the page that failed least, due or not: the API is down."""
        trial = min(self._all(), key=lambda request: request.failures, default=None)
        self._undecided = [request for request in self._undecided if request is not trial]
        self._waiting = [entry for entry in self._waiting if entry[2] is not trial]
        heapify(self._waiting)
        return trial

    @property
    def trials_left(self) -> int:
        """How many trials these pages have left, if each but one is to keep an attempt for afterwards."""
        parked = self._all()
        return sum(HARD_ATTEMPTS - request.failures for request in parked) - (len(parked) - 1)

    def is_due(self, now: float) -> bool:
        """Whether `take` has something to give."""
        self._decide()
        return bool(self._waiting) and self._waiting[0][0] <= now

    def give_up(self) -> list[PageRequest]:
        """Take the undecided pages, where nobody else is left who might be answered."""
        self._decide()
        if self._waiting:
            return []
        undecided, self._undecided = self._undecided, []
        return undecided

    def _all(self) -> list[PageRequest]:
        return [*(request for _, _, request in self._waiting), *self._undecided]

    def _decide(self) -> None:
        """Let undecided pages be asked for again, once somebody was answered."""
        if self._undecided and not self._breaker.failures_in_a_row:
            undecided, self._undecided = self._undecided, []
            for request in undecided:
                self.park(request)


class AtFault(NamedTuple):
    """A refused page whose seller is to fail."""

    request: PageRequest


class ToRepair(NamedTuple):
    """An ended seller with gaps."""

    seller_id: str


Work = SellerProgress | PageRequest | AtFault | ToRepair
"""A seller whose turn it is, a page to ask for again, a seller to fail, or one to repair."""


@dataclass(slots=True)
class NextWork:
    """Chooses from refused pages, parked pages, the frontier, and last the ended sellers to repair.

    `sellers` are those of which anything is in flight, parked or in doubt; `deferred` are the requests that
    did not leave because the address was in doubt.
    """

    frontier: Frontier | BestFirst
    parked: Parked
    breaker: Breaker
    address: AddressCheck
    to_repair: deque[str]
    deferred: list[PageRequest] = field(default_factory=list)
    sellers: dict[str, Seller] = field(default_factory=dict)

    @property
    def may_take_turn(self) -> bool:
        """Whether a seller is left whose turn can come."""
        some = bool(self.deferred) or not self.frontier.empty
        return some and (not self.address.is_doubtful or self.address.may_ask)

    def is_there(self, now: float) -> bool:
        """Whether `take` may have something to give."""
        if self.may_take_turn or self._may_repair or self.address.at_fault:
            return True
        return bool(self.parked) if self.breaker.is_open else self.parked.is_due(now)

    def defer(self, request: PageRequest) -> None:
        """Keep a request that did not fail."""
        if self.address.defers(request):
            self.deferred.append(request)
        else:
            self.parked.park(request)

    def take(self, now: float) -> Work | None:
        """Give what is next: pages that are due, then sellers; while the API is down, parked pages last."""
        if self.address.at_fault:
            return AtFault(self.address.at_fault.popleft())
        if self.deferred and not self.address.is_doubtful:
            return self.deferred.pop()
        is_down = self.breaker.is_open
        if self.parked and not is_down and (due := self.parked.take(now)) is not None:
            return due
        turn = self._take_spread() if self.address.is_doubtful else self.frontier.take()
        if turn is not None:
            return turn
        if is_down:
            if self.breaker.nobody_answered:
                self.breaker.trials_left = self.parked.trials_left
            if (trial := self.parked.take_trial()) is not None:
                return trial
        return ToRepair(self.to_repair.popleft()) if self._may_repair else None

    @property
    def _may_repair(self) -> bool:
        """Whether repairs are next: after all else, so that no unread page goes without its credit."""
        return bool(self.to_repair) and all(
            seller.state is SellerState.REPAIRING for seller in self.sellers.values()
        )

    def _take_spread(self) -> SellerProgress | PageRequest | None:
        """Give a seller from another part of the list: those not taken yet, then those deferred."""
        if not self.address.may_ask:
            return None
        seller = self.frontier.take_spread()
        if seller is None and self.deferred:
            place = int(len(self.deferred) * (len(self.address.asked) * _GOLDEN_RATIO % 1.0))
            request = self.deferred.pop(place)
            self.address.asked.add(request.seller.seller_id)
            return request
        seller = seller or self.frontier.take()
        if seller is not None:
            self.address.asked.add(seller.seller_id)
        return seller
