"""The worker's side: one attempt at a shard, from its first renewal to its last word.

The engine asks for pages as in one process; credits, places in the pace and the right to do anything at all
come from the driver, and go when the driver is not heard of.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple
from signal import SIGTERM
from typing import Any

from crawler.cluster import messages
from crawler.cluster.driver_line import CALLS_A_LEASE, DriverLine
from crawler.cluster.figures import figures_of
from crawler.cluster.lease import Lease, LeaseLostError
from crawler.cluster.link import LinkError
from crawler.cluster.outcomes import Outcome, StoppedError, outcome_of
from crawler.cluster.shard_engine import ShardEngine
from crawler.cluster.surroundings import Surroundings
from crawler.engine.pace import Slowdown
from crawler.engine.stop import Stop
from crawler.models.errors import CrawlerError, InterruptedRunError
from crawler.ports import TellsTime

RENEW_S = 0.5


class Attempt:
    """One attempt; `run` returns how it ended, None where its lease was lost."""

    def __init__(self, assignment: messages.Assignment, around: Surroundings) -> None:
        self._assignment, self._around = assignment, around
        self._lease = Lease(assignment.lease_s, around.clock)
        self._stop = Stop()
        self._wake = asyncio.Event()
        self._has_lease = asyncio.Event()
        self._version, self._answers_reported = assignment.version, 0
        self._unreported: list[list[Any]] = []
        self._line = DriverLine(assignment.fence, self._lease, around, self._stop)
        self._engine = ShardEngine(assignment, around, self._line, self._stop)
        self._engine.pace.go_by(self._lease, self._wake.set, around.places)

    async def run(self) -> Outcome | None:
        """Read the shard's sellers, and tell the driver how that ended."""
        ended: tuple[Outcome, str] | None = None
        try:
            async with asyncio.TaskGroup() as group:
                renewing = group.create_task(self._renew_on())
                await self._has_lease.wait()
                ended = await self._read()
                renewing.cancel()
        except* LeaseLostError:
            ended = None
        return None if ended is None else await self._end(*ended)

    async def _read(self) -> tuple[Outcome, str]:
        try:
            await self._engine.crawl()
        except LeaseLostError:
            raise
        except CrawlerError as error:
            self._stop.set(error)
        except Exception:  # noqa: BLE001 - the driver ends the run for it
            return Outcome.FAULT, traceback.format_exc()
        reason = self._stop.reason
        if isinstance(reason, LeaseLostError):
            raise reason
        outcome = Outcome.IN_DOUBT if self._engine.address.doubt else outcome_of(reason)
        return outcome, "" if reason is None else str(reason)

    async def _renew_on(self) -> None:
        """Renew the lease, again and again. Raises `LeaseLostError` once it is over."""
        while True:
            sent_at = self._around.clock()
            # What comes while the message is under way is for the next one.
            self._wake.clear()
            slowed = self._unreported + [[*astuple(each)] for each in self._engine.pace.take_slowdowns()]
            lines, self._unreported = self._take_lines(), slowed
            renewal = messages.as_plain(self._renewal(slowed, lines))
            try:
                reply = await self._around.link.call(renewal, self._lease.seconds / CALLS_A_LEASE)
                granted = messages.reply_of(messages.Granted, reply)
            except LinkError:
                self._around.logs[:0] = lines
                await asyncio.sleep(RENEW_S / 2)
            except messages.LostError:
                # Also where no renewal before it was answered.
                self._lease.give_up()
                self._has_lease.set()
            else:
                self._unreported = []
                self._lease.renewed(sent_at)
                self._apply(granted)
                self._has_lease.set()
            if self._has_lease.is_set():
                self._lease.require()
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_S):
                    await self._wake.wait()

    def _renewal(self, slowed: Sequence[Sequence[Any]], lines: Sequence[Sequence[Any]]) -> messages.Renew:
        engine, before = self._engine, self._answers_reported
        self._answers_reported = engine.breaker.answers
        return messages.Renew(
            fence=self._assignment.fence,
            applied=self._version,
            wants=engine.pace.wants(),
            charged=engine.charged,
            durable=self._line.durable,
            figures=messages.as_plain(figures_of(engine.counts, engine.probes, engine.lanes)),
            has_answer=engine.breaker.answers > before,
            is_address_proven=engine.address.is_proven,
            slowed=slowed,
            retired=engine.retired,
            clock=self._clock(),
            logs=lines,
        )

    def _clock(self) -> tuple[float, float] | None:
        """Seconds that the API's clock is ahead, and from how many answers that is known."""
        api = self._around.api
        if not isinstance(api, TellsTime) or (clock := api.clock) is None:
            return None
        return (clock[0] - self._around.now()).total_seconds(), float(clock[1])

    def _apply(self, granted: messages.Granted) -> None:
        if granted.version > self._version:
            self._version = granted.version
            if self._engine.take_share(granted.slots):
                # What was given up is others' once this is known.
                self._wake.set()
        for slowed in granted.slowed:
            self._engine.pace.echo_slowdown(Slowdown(*slowed))
        self._engine.retire(granted.retired)
        if granted.stop:
            is_urgent = granted.stop == messages.STOP_AT_ONCE
            self._stop.set(InterruptedRunError(SIGTERM) if is_urgent else StoppedError(granted.stop))
        if granted.is_address_proven:
            self._engine.address.prove()
        if granted.others_have_answer:
            self._engine.compare_with_others(2 * RENEW_S)

    def _take_lines(self) -> list[list[Any]]:
        lines, self._around.logs[:] = self._around.logs[:], []
        return lines

    async def _end(self, outcome: Outcome, message: str) -> Outcome | None:
        engine = self._engine
        end = messages.End(
            fence=self._assignment.fence,
            outcome=outcome,
            message=message,
            charged=engine.charged,
            durable=self._line.durable,
            figures=messages.as_plain(figures_of(engine.counts, engine.probes, engine.lanes)),
            has_answer=engine.breaker.answers > self._answers_reported,
            is_address_proven=engine.address.is_proven,
            refused=engine.refused if outcome is Outcome.IN_DOUBT else (),
            logs=self._take_lines(),
        )
        while not self._lease.is_over:
            try:
                reply = await self._around.link.call(messages.as_plain(end), 6 * self._lease.seconds)
                messages.reply_of(messages.Reserved, reply)
            except LinkError:
                await asyncio.sleep(RENEW_S)
            except messages.LostError:
                return None
            else:
                return outcome
        return None
