"""Pages that brought nothing yet, parked until they are asked for again: no worker waits for them."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count

from crawler.models.seller import PageRequest
from crawler.rules.outage import Breaker
from crawler.rules.retry import HARD_ATTEMPTS, RetryRule


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
        if self._retry.exhausted(request.failures) and self._breaker.streak_unbroken:
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
        if self._undecided and not self._breaker.streak_unbroken:
            undecided, self._undecided = self._undecided, []
            for request in undecided:
                self.park(request)
