"""From a page wanted to a page in hand: breaker, credit and pace, then the wire."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from math import inf
from random import Random

from crawler import events
from crawler.engine.credits import Credits
from crawler.engine.key_credits import KeyCredits
from crawler.engine.pace import Pace
from crawler.engine.stop import Stop
from crawler.models.errors import (
    ApiDownError,
    KeyRefusedError,
    LastError,
    QuotaUsedUpError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from crawler.models.latency import Latencies
from crawler.models.page import Page
from crawler.models.seller import PageRequest
from crawler.ports import Api
from crawler.rules.outage import Breaker
from crawler.rules.recovery import RetryRule

_BURSTS_WHEN_DOWN = 5
"""Bursts of 429s in a row before an API that only throttles may count as down, however short patience is."""


@dataclass(slots=True)
class RequestCounts:
    """What was sent and how it ended; `by_status` also holds words where no status came.

    `retried`: requests for a page that an earlier one had not brought. `errors`: attempts that brought no
    page, by kind; those that got no connection cost nothing. `unaccounted`: see `run_report.Requests`.
    """

    sent: int = 0
    ok: int = 0
    retried: int = 0
    unaccounted: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    last_error: LastError | None = None
    latencies: Latencies = field(default_factory=Latencies)

    def describe_errors(self) -> str:
        """The last error and how many there were of each kind, in words."""
        counted = ", ".join(f"{count} x {kind}" for kind, count in self.errors.most_common())
        last = "no error" if self.last_error is None else self.last_error.reason
        return f"the last error: {last}; errors by kind: {counted or 'none'}"


class DeferredError(Exception):
    """The attempt says nothing of its seller, and another one is to be made.

    Before it left, the API turned out to be down, or its address in doubt; or its key was refused, and there
    are others.
    """


@dataclass(slots=True)
class PacedDeparture:
    """One attempt on its way out; `sent_at` is the loop time of its place in the pace, -inf before."""

    pace: Pace
    is_deferred: Callable[[], bool]
    sent_at: float = -inf
    label: str = "unknown"
    key: int = 0
    is_coming: bool = False

    async def approach(self) -> None:
        """Wait until a place is near."""
        await self.pace.approach()
        self.is_coming = True

    async def leave(self, ready: Callable[[], bool]) -> bool:
        """See `ports.Departure`."""
        place = await self.pace.place()
        is_deferred = self.is_deferred()
        if is_deferred or not ready():
            self.pace.forfeit()
            if is_deferred:
                raise DeferredError
            return False
        self.sent_at, self.key = place, self.pace.key
        self.end()
        return True

    def end(self) -> None:
        """Leave the line, with a place or without."""
        if self.is_coming:
            self.pace.arrived()
        self.is_coming = False


@dataclass(slots=True)
class Gates:
    """Sends requests through all gates, each for one attempt at a page.

    `patience` is in seconds. `defers` is asked right before a request leaves: if true, nothing is sent.
    `throttled_since` is the loop time of the first 429 after the last answer.
    """

    api: Api
    credits: Credits | KeyCredits
    pace: Pace
    breaker: Breaker
    retry: RetryRule
    stop: Stop
    patience: float
    rng: Random
    defers: Callable[[PageRequest], bool] = lambda _request: False
    counts: RequestCounts = field(default_factory=RequestCounts)
    trial_is_out: bool = False
    throttled_since: float | None = None

    def ask(self, request: PageRequest) -> Coroutine[None, None, tuple[Page, float]]:
        """Get a page by one attempt, and the loop time at which its request was sent.

        Raises `DeferredError` while the API is down, but for a trial, and where only a key was refused;
        `ThrottledError`; `UnavailableError`, with `request.due` when the next attempt may be made;
        `RefusedError`; and the errors that stop a run.
        """
        self.stop.raise_if_stopping()
        return self._try(request) if self.breaker.is_open else self._send(request, is_trial=False)

    @property
    def may_try(self) -> bool:
        """Whether the API is down, and an attempt now would be a trial, or find that patience is over."""
        now = asyncio.get_running_loop().time()
        due = self.breaker.trial_in(now) == 0 or self.breaker.given_up(now)
        return self.breaker.is_open and due and not self.trial_is_out

    def warn_of_outage(self) -> None:
        """Log that the API counts as down, and why."""
        last = self.counts.last_error or LastError("", 0, "", "none")
        events.API_DOWN(
            reason=last.reason,
            seller=last.seller,
            page=last.page,
            kind=last.kind,
            patience_s=self.patience,
        ).log()

    async def _try(self, request: PageRequest) -> tuple[Page, float]:
        """Send a trial while the API is down, where one may be sent."""
        if not self.may_try:
            raise DeferredError
        now = asyncio.get_running_loop().time()
        if self.breaker.given_up(now):
            raise ApiDownError(
                f"the API has not answered for {self.patience:g} s; {self.counts.describe_errors()}; "
                "run the same command again later"
            )
        self.trial_is_out = True
        self.breaker.trial_sent(now)
        try:
            return await self._send(request, is_trial=True)
        finally:
            self.trial_is_out = False

    async def _send(self, request: PageRequest, *, is_trial: bool) -> tuple[Page, float]:
        await self.credits.take()
        is_deferred = partial(self._is_deferred, request, is_trial)
        departure = PacedDeparture(self.pace, is_deferred)
        try:
            await departure.approach()
            page = await self.api.fetch(request.seller.seller_id, request.page_num, departure)
        except (ThrottledError, UnavailableError, RefusedError) as error:
            self._note_failure(request, error, departure)
            raise
        except (KeyRefusedError, QuotaUsedUpError) as error:
            self._note_failure(request, error, departure)
            if (end := self.pace.retire(departure.key, error)) is None:
                raise DeferredError from None
            raise end from None
        finally:
            self._settle(request, departure)
        assert departure.sent_at > -inf, "a page came without a request"  # noqa: S101 - an invariant
        self.counts.ok += 1
        self._note_answer(request, departure)
        return page, departure.sent_at

    def _is_deferred(self, request: PageRequest, is_trial: bool) -> bool:
        return (self.breaker.is_open and not is_trial) or self.defers(request)

    def _settle(self, request: PageRequest, departure: PacedDeparture) -> None:
        departure.end()
        if departure.sent_at == -inf:
            self.credits.give_back()
            return
        self.credits.spend(departure.key, departure.label)
        self.counts.retried += request.sent > 0 or request.again
        request.sent += 1
        request.seller.credits += 1
        self.counts.sent += 1
        self.counts.by_status[departure.label] += 1
        self.counts.latencies.add(asyncio.get_running_loop().time() - departure.sent_at)

    def _note_answer(self, request: PageRequest, departure: PacedDeparture) -> None:
        if self.breaker.is_open:
            events.API_ANSWERS(
                down_s=round(self.breaker.down_for(asyncio.get_running_loop().time()), 3)
            ).log()
        self.breaker.answered(request.seller.seller_id, departure.sent_at)
        self.pace.answered(departure.sent_at, departure.key)
        self.throttled_since = None

    def _note_failure(self, request: PageRequest, error: Exception, departure: PacedDeparture) -> None:
        seller_id, now = request.seller.seller_id, asyncio.get_running_loop().time()
        kind = getattr(error, "kind", "") or departure.label
        self.counts.errors[kind] += 1
        request.kind = kind
        self.counts.last_error = LastError(seller_id, request.page_num, kind, str(error))
        if isinstance(error, UnavailableError):
            if self.breaker.failed(seller_id, now):
                self.warn_of_outage()
            request.failures += 1
            request.faults += request.streak != self.breaker.streak
            request.streak = self.breaker.streak
            request.reason = str(error)
            request.due = now + self.retry.wait(request.failures, self.rng)
        elif isinstance(error, RefusedError):
            self._note_answer(request, departure)
        elif isinstance(error, ThrottledError):
            if self.pace.throttled(departure.sent_at, error.retry_after, departure.key):
                self.pace.tell_slowed(now, departure.key, seller_id, request.page_num)
            self._give_up_if_only_throttled(now)

    def _give_up_if_only_throttled(self, now: float) -> None:
        if self.throttled_since is None:
            self.throttled_since = now
        elif self.pace.most_bursts >= _BURSTS_WHEN_DOWN and now - self.throttled_since > self.patience:
            raise ApiDownError(
                f"the API has answered only 429 for {self.patience:g} s; {self.counts.describe_errors()}; "
                "lower --qps, or run again later"
            )
