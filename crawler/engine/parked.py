"""Pages that brought nothing yet, parked until they are asked for again: no worker waits for them."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count

from crawler.models.seller import PageRequest
from crawler.rules.outage import Breaker
from crawler.rules.retry import HARD_ATTEMPTS, RetryRule


class Parked:
    """Parked pages, each until its request's `due`; times are the breaker's.

    After a failure a seller gets one request at a time, in the end for its lowest page, without which the
    others cannot be used. They are held until the seller is answered. A page whose attempts were used up
    while nobody was answered is undecided: it stays until somebody is.
    """

    def __init__(self, breaker: Breaker, retry: RetryRule) -> None:
        self._breaker = breaker
        self._retry = retry
        self._number = count()
        self._waiting: list[tuple[float, int, PageRequest]] = []
        self._undecided: list[PageRequest] = []
        self._held: dict[str, dict[int, PageRequest]] = {}
        self.tried: dict[str, PageRequest] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting or self._undecided)

    def park(self, request: PageRequest) -> None:
        """Take a page that is to be asked for again."""
        seller_id = request.seller.seller_id
        if self._breaker.suspects(seller_id):
            if self.tried.setdefault(seller_id, request) is not request:
                self._hold(request)
                return
            request = self._first_instead(seller_id, request)
        self._wait(request)

    def take(self, now: float) -> PageRequest | None:
        """Give a page that is due; None where there is none."""
        self._wake()
        while self._waiting and self._waiting[0][0] <= now:
            request = heappop(self._waiting)[2]
            seller_id = request.seller.seller_id
            if not self._breaker.suspects(seller_id) or self.tried.setdefault(seller_id, request) is request:
                return request
            self._hold(request)
        return None

    def take_trial(self) -> PageRequest | None:
        """Give the page that failed least, due or not: the API is down."""
        parked = [*(request for _, _, request in self._waiting), *self._undecided]
        trial = min(parked, key=lambda request: request.failures, default=None)
        if trial in self._undecided:
            self._undecided.remove(trial)
        elif trial is not None:
            self._waiting = [entry for entry in self._waiting if entry[2] is not trial]
            heapify(self._waiting)
        return trial

    @property
    def trials_left(self) -> int:
        """How many trials these pages have left, if each but one is to keep an attempt for afterwards."""
        parked = [*(request for _, _, request in self._waiting), *self._undecided]
        return sum(HARD_ATTEMPTS - request.failures for request in parked) - (len(parked) - 1)

    def is_due(self, now: float) -> bool:
        """Whether `take` may have something to give."""
        self._wake()
        return bool(self._waiting) and self._waiting[0][0] <= now

    def release(self, seller_id: str) -> None:
        """Note that a seller was answered, or a page of it given up: what was held for it goes on."""
        self.tried.pop(seller_id, None)
        for request in self._held.pop(seller_id, {}).values():
            self._wait(request)

    def give_up(self) -> list[PageRequest]:
        """Take the undecided pages, where nobody else is left who might be answered."""
        self._wake()
        if self._waiting:
            return []
        undecided, self._undecided = self._undecided, []
        return undecided

    def _hold(self, request: PageRequest) -> None:
        self._held.setdefault(request.seller.seller_id, {})[request.page_num] = request

    def _first_instead(self, seller_id: str, request: PageRequest) -> PageRequest:
        """The seller's first parked page, in place of the one tried last, and not before that is due."""
        held = self._held.get(seller_id)
        if not held or min(held) > request.page_num:
            return request
        first = held.pop(min(held))
        first.due = max(first.due, request.due)
        self._hold(request)
        self.tried[seller_id] = first
        return first

    def _wait(self, request: PageRequest) -> None:
        if self._retry.exhausted(request.failures) and self._breaker.streak_unbroken:
            self._undecided.append(request)
        else:
            heappush(self._waiting, (request.due, next(self._number), request))

    def _wake(self) -> None:
        if self._undecided and not self._breaker.streak_unbroken:
            undecided, self._undecided = self._undecided, []
            for request in undecided:
                self._wait(request)
