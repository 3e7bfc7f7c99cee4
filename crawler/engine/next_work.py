"""What a worker does next. Open it to learn in which order pages are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from crawler.engine.parked import Parked
from crawler.models.seller import PageRequest, SellerProgress
from crawler.rules.address import AddressCheck
from crawler.rules.best_first import BestFirst
from crawler.rules.order import Frontier
from crawler.rules.outage import Breaker

_GOLDEN_RATIO = 0.618034
"""Multiples of it, without their whole part, are spread evenly however many there are."""


class AtFault(NamedTuple):
    """A refused page whose seller is to fail."""

    request: PageRequest


class ToRepair(NamedTuple):
    """An ended seller with gaps."""

    seller_id: str


Work = SellerProgress | PageRequest | AtFault | ToRepair
"""A seller whose turn it is, a page to ask for again, a seller to fail, or one to repair."""


class NextWork:
    """Chooses from refused pages, parked pages, the frontier, and last the sellers to repair.

    `reading` counts the requests that are being read, `held_back` are those that did not leave because the
    address was in doubt.
    """

    def __init__(
        self,
        frontier: Frontier | BestFirst,
        parked: Parked,
        breaker: Breaker,
        address: AddressCheck,
        to_repair: Iterable[str],
    ) -> None:
        self._breaker = breaker
        self._to_repair = deque(to_repair)
        self.frontier = frontier
        self.parked = parked
        self.address = address
        self.held_back: list[PageRequest] = []
        self.reading = 0

    @property
    def may_take_turn(self) -> bool:
        """Whether a seller is left whose turn can come."""
        some = bool(self.held_back) or not self.frontier.empty
        return some and (not self.address.is_suspect or self.address.may_ask)

    def is_there(self, now: float) -> bool:
        """Whether `take` may have something to give."""
        if self.may_take_turn or self._may_repair or self.address.at_fault:
            return True
        return bool(self.parked) if self._breaker.is_open else self.parked.is_due(now)

    def defer(self, request: PageRequest) -> None:
        """Keep a request that did not fail."""
        if self.address.holds_back(request):
            self.held_back.append(request)
        else:
            self.parked.park(request)

    def repair_later(self, seller_id: str) -> None:
        """Note an ended seller with gaps."""
        self._to_repair.append(seller_id)

    def take(self, now: float) -> Work | None:
        """Give what is next: pages that are due, then sellers; while the API is down, parked pages last."""
        if self.address.at_fault:
            return AtFault(self.address.at_fault.popleft())
        if self.held_back and not self.address.is_suspect:
            return self.held_back.pop()
        is_down = self._breaker.is_open
        if self.parked and not is_down:
            due = self.parked.take(now)
            if due is not None:
                return due
        turn = self._take_spread() if self.address.is_suspect else self.frontier.take()
        if turn is not None:
            return turn
        if is_down:
            if self._breaker.nobody_answered:
                self._breaker.ration(self.parked.trials_left)
            trial = self.parked.take_trial()
            if trial is not None:
                return trial
        return ToRepair(self._to_repair.popleft()) if self._may_repair else None

    @property
    def _may_repair(self) -> bool:
        """Whether repairs are next: after all else, so that no unread page goes without its credit."""
        return bool(self._to_repair) and not self.reading and not self.parked

    def _take_spread(self) -> SellerProgress | PageRequest | None:
        """Give a seller from another part of the list: those not taken yet, then those held back."""
        if not self.address.may_ask:
            return None
        seller = self.frontier.take_spread()
        if seller is None and self.held_back:
            place = int(len(self.held_back) * (self.address.asked * _GOLDEN_RATIO % 1.0))
            request = self.held_back.pop(place)
            self.address.asks(request.seller.seller_id)
            return request
        seller = seller or self.frontier.take()
        if seller is not None:
            self.address.asks(seller.seller_id)
        return seller
