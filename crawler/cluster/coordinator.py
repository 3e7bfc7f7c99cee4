"""The driver's side: gives shards, leases, credits and shares of the pace to workers, and takes their pages.

No message is trusted to arrive: a lease that is not renewed ends, and what its attempt says later is refused.
How messages travel it does not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Protocol

from crawler import events
from crawler.cluster import messages
from crawler.cluster.attempts import Attempt, Terms
from crawler.cluster.doubts import Doubts
from crawler.cluster.intake import DateJournal, Intake, OnEnd, OnPage
from crawler.cluster.news import News, OnRetired
from crawler.cluster.outcomes import Outcome, WorkerFaultError, error_of
from crawler.cluster.shard_sellers import Readings, as_plain, plain_first_pages, plain_repair
from crawler.cluster.shared_credits import Leases, SharedCredits
from crawler.engine.stop import Stop
from crawler.models.errors import ApiDownError, InterruptedRunError, OutputError
from crawler.rules.shards import Shard
from crawler.rules.shares import Share, Shares

TEND_S = 0.25
_MOST_UNANSWERED = 3
"""Attempts at a shard that nobody answered while others were answered, before the run gives it up."""
_TRUSTED_AFTER = 2
_HAND_OVER_S = 1.0
"""Seconds that a worker keeps its share of the pace from one attempt to its next."""


class Books(Leases, DateJournal, Protocol):
    """What the driver writes down for its workers; each call returns when that is durable."""

    async def next_fence(self) -> int:
        """A number that no attempt at this date had before."""

    async def drifted(self, sellers: Sequence[str]) -> dict[str, Readings]:
        """What there is to repair of some sellers; see `ports.Journal`."""


class Coordinator:
    """Answers the messages of one crawl's workers; see `messages`.

    `on_page` and `on_end` are informed of what is durable in the date's journal, `on_retired` of a key that
    is used no more, `on_free` of a shard whose attempt is over, `on_log` of a line of a worker's log.
    `note` takes what the report is to say.
    """

    def __init__(
        self,
        terms: Terms,
        books: Books,
        shares: Shares,
        stop: Stop,
        clock: Callable[[], float],
        *,
        on_page: OnPage = lambda _page: None,
        on_end: OnEnd = lambda _seller, _ending: None,
        on_retired: OnRetired = lambda _key, _why, _detail: None,
        on_free: Callable[[Shard], None] = lambda _shard: None,
        on_log: Callable[[Sequence[Any]], None] = lambda _line: None,
        note: Callable[[events.Sentence], None] = events.Sentence.log,
    ) -> None:
        self._terms, self._books, self._shares, self._stop, self._clock = terms, books, shares, stop, clock
        self._on_free, self._on_log, self._note_down = on_free, on_log, note
        self._on_retired = on_retired
        self._shards: dict[int, tuple[Shard, asyncio.Lock]] = {}
        self._shares_kept: dict[str, tuple[int, float]] = {}
        self._fault: WorkerFaultError | None = None
        self.attempts: dict[int, Attempt] = {}
        self.past_figures: list[messages.Figures] = []
        self.credits = SharedCredits(books, terms.keys, self.attempts)
        self.news = News(self._retire)
        self._intake = Intake(books, self.attempts, stop, on_page, on_end)
        self.doubts = Doubts(books, terms.run_id, on_end)
        self.by_files = self.by_driver = 0
        """Attempts by the way that their pages come."""

    def add(self, shard: Shard) -> None:
        """Let workers ask for a shard."""
        self._shards[shard.number] = shard, asyncio.Lock()

    def remove(self, shard: Shard) -> None:
        """Forget a shard that is done."""
        self._shards.pop(shard.number, None)

    async def tend(self) -> None:
        """Take in pages and end leases for as long as the crawl goes on; to be cancelled then.

        Raises `WorkerFaultError` where a worker met a fault of the program.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._intake.follow())
            while True:
                await asyncio.sleep(TEND_S)
                if self._fault is not None:
                    raise self._fault
                await self.settle_doubts()
                now = self._clock()
                for attempt in [a for a in self.attempts.values() if a.expires_at <= now]:
                    await self._lose(attempt)
                for worker, (fence, until) in [*self._shares_kept.items()]:
                    if until <= now:
                        del self._shares_kept[worker]
                        self._shares.leave(fence, now)

    async def settle_doubts(self) -> None:
        """End refused sellers where any attempt has shown that the address is right."""
        if self.news.is_address_proven:
            self.doubts.address.prove()
        try:
            await self.doubts.settle()
        except OutputError as error:
            self._stop.set(error)

    async def handle(self, plain: dict[str, Any]) -> dict[str, Any]:
        """Answer a message. Raises `MessageError` where it is none."""
        message = messages.message_of(plain)
        try:
            return messages.as_plain(await self._answer(message))
        except messages.LostError:
            return messages.LOST
        except OutputError as error:
            self._stop.set(error)
            return messages.LOST

    async def _answer(self, message: messages.Message) -> Any:
        if isinstance(message, messages.Begin):
            return await self._begin(message)
        attempt = self.attempts.get(message.fence)
        if attempt is None or attempt.expires_at <= self._clock():
            raise messages.LostError
        if isinstance(message, messages.Renew):
            return self._renew(attempt, message)
        if isinstance(message, messages.Reserve):
            return await self.credits.reserve(attempt, message)
        if isinstance(message, messages.Keep):
            await self._intake.keep(attempt, message)
            return messages.Reserved()
        await self._end(attempt, message)
        return messages.Reserved()

    async def _begin(self, message: messages.Begin) -> messages.Assignment:
        if message.version != self._terms.version:
            text = f"the worker has version {message.version}, the driver {self._terms.version}"
            raise messages.MessageError(text)
        if self._terms.must_share and not message.can_share:
            raise OutputError(
                f"worker {message.worker} does not share the data folder: mount it there at its path, "
                'or set dask.pages to "driver"'
            )
        shard, lock = self._shards.get(message.shard, (None, None))
        if shard is None or lock is None:
            return messages.Assignment(nothing="the shard is done")
        async with lock:
            # A worker that was given up may still hold its lease.
            while any(attempt.shard is shard for attempt in self.attempts.values()):
                await asyncio.sleep(TEND_S)
            # It may have been lost after the last of its sellers had ended.
            shard.is_done |= not shard.sellers
            if shard.is_done or self._stop.reason is not None:
                return messages.Assignment(nothing="the shard is done, or the run is over")
            return await self._assign(shard, message)

    async def _assign(self, shard: Shard, message: messages.Begin) -> messages.Assignment:
        to_repair = await self._books.drifted([*shard.sellers]) if shard.is_repair else {}
        sellers = [] if shard.is_repair else shard.sellers.values()
        terms, fence = self._terms, await self._books.next_fence()
        now, none = self._clock(), [0] * terms.keys
        of_worker = message.worker, now + terms.lease_s, message.can_share
        trusts_others = shard.unanswered >= _TRUSTED_AFTER
        self.attempts[fence] = attempt = Attempt(
            fence, shard, *of_worker, [*none], [*none], self.news.bursts, trusts_others=trusts_others
        )
        shard.tries += 1
        self.by_files += message.can_share
        self.by_driver += not message.can_share
        share = self._share_of(message.worker, fence, now)
        return messages.Assignment(
            fence=fence,
            run_id=terms.run_id,
            lease_s=terms.lease_s,
            sellers=[as_plain(s, shard.depths.get(s.seller_id, 0)) for s in sellers],
            first_pages=plain_first_pages(shard),
            to_repair=[plain_repair(i, readings) for i, readings in to_repair.items() if readings[0]],
            log=terms.log_of(fence) if message.can_share else "",
            workers=terms.workers,
            version=share.version,
            slots=share.slots,
            trusts_others=trusts_others,
            is_address_proven=self.news.proves_address(attempt),
        )

    def _share_of(self, worker: str, fence: int, now: float) -> Share:
        """The share that a worker had in its last attempt; none, where that was long ago or was lost."""
        if (kept := self._shares_kept.pop(worker, None)) is not None:
            return self._shares.hand_over(kept[0], fence)
        return self._shares.join(fence, now)

    def _renew(self, attempt: Attempt, message: messages.Renew) -> messages.Granted:
        now = self._clock()
        attempt.expires_at = now + self._terms.lease_s
        have_others_answer = self.news.have_others_answer(attempt)
        self._note(attempt, message)
        share = self._shares.renew(attempt.fence, message.applied, message.wants, now)
        reason = self._stop.reason
        is_urgent = isinstance(reason, InterruptedRunError)
        return messages.Granted(
            version=share.version,
            slots=share.slots,
            stop="" if reason is None else messages.STOP_AT_ONCE if is_urgent else str(reason),
            slowed=self.news.bursts_for(attempt),
            retired=self.news.retired,
            others_have_answer=have_others_answer,
            is_address_proven=self.news.proves_address(attempt),
        )

    def _retire(self, key: int, why: str, detail: str) -> None:
        self._shares.retire(key)
        self._on_retired(key, why, detail)

    def _note(self, attempt: Attempt, message: messages.Renew | messages.End) -> None:
        attempt.charged = [*message.charged]
        attempt.figures = messages.Figures(**message.figures)
        self.news.note(attempt, message, self._clock())
        self._intake.note(attempt, message.durable)
        for line in message.logs:
            self._on_log(line)

    async def _end(self, attempt: Attempt, message: messages.End) -> None:
        self._note(attempt, message)
        # The lease must not end while the rest of the log is read.
        attempt.expires_at = inf
        await self._intake.absorb(attempt)
        self._close(attempt)
        self.credits.settle(attempt)
        self._shares_kept[attempt.worker] = attempt.fence, self._clock() + _HAND_OVER_S
        self._conclude(attempt, Outcome(message.outcome), message)
        await self.settle_doubts()
        self._on_free(attempt.shard)

    async def _lose(self, attempt: Attempt) -> None:
        """End an attempt whose lease is over: what it leased stays charged."""
        await self._intake.absorb(attempt)
        self._close(attempt)
        lost = events.WORKER_LOST(
            worker=attempt.worker,
            lease_s=self._terms.lease_s,
            shard=attempt.shard.number,
            credits=self.credits.lose(attempt),
        )
        self._note_down(lost)
        self._shares.lapse(attempt.fence, self._clock())
        self._on_free(attempt.shard)

    def _close(self, attempt: Attempt) -> None:
        del self.attempts[attempt.fence]
        self.past_figures.append(attempt.figures)

    def _conclude(self, attempt: Attempt, outcome: Outcome, end: messages.End) -> None:
        shard, message = attempt.shard, end.message
        if outcome is Outcome.DOWN and self.news.have_others_answer(attempt):
            outcome = Outcome.UNANSWERED
        if outcome is Outcome.IN_DOUBT and self.doubts.is_of_host(attempt.host, end.refused, self.news):
            outcome = Outcome.UNANSWERED
        if outcome is Outcome.DONE:
            shard.is_done = True
        elif outcome is Outcome.IN_DOUBT:
            self.doubts.take(shard, attempt.host, end.refused)
        elif outcome is Outcome.FAULT:
            self._fault = WorkerFaultError(message)
        elif outcome is Outcome.UNANSWERED:
            shard.unanswered += 1
            number = shard.number
            self._note_down(events.WORKER_UNANSWERED(worker=attempt.worker, reason=message, shard=number))
            if shard.unanswered > _MOST_UNANSWERED:
                self._stop.set(ApiDownError(message))
        elif (error := error_of(outcome, message)) is not None:
            self._stop.set(error)
