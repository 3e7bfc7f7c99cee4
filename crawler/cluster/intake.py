"""Taking the pages of all attempts into the date's journal, and telling of what is durable there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from crawler.cluster.attempts import Attempt
from crawler.cluster.messages import Keep, MessageError
from crawler.engine.stop import Stop
from crawler.models.errors import OutputError
from crawler.models.page import Page
from crawler.models.seller import Ending
from crawler.store.records import Record


class DateJournal(Protocol):
    """The journal of the crawl date; each call returns when what it wrote is durable."""

    async def keep(self, frame: bytes) -> Sequence[Record]:
        """Write a frame of records, and return them. Raises `ValueError` where it is none."""

    async def absorb(self, fence: int, up_to: int | None) -> Sequence[Record]:
        """Write what an attempt's log has up to a size, and return it.

        Without a size it is all, and the log is removed: what is appended later is never read.
        """


OnPage = Callable[[Page], None]
OnEnd = Callable[[str, Ending | None], None]
"""Gets a seller and how it ended; None: the stretches of it are read."""


class Intake:
    """Takes in pages of the attempts that are `live`, by fence.

    `on_page` and `on_end` are informed of what is durable. A journal that cannot be written stops the run.
    """

    def __init__(
        self, journal: DateJournal, live: Mapping[int, Attempt], stop: Stop, on_page: OnPage, on_end: OnEnd
    ) -> None:
        self._journal, self._live, self._stop = journal, live, stop
        self._on_page, self._on_end = on_page, on_end
        self._is_there_more = asyncio.Event()

    def note(self, attempt: Attempt, durable: int) -> None:
        """Note how many bytes of an attempt's log are on disk."""
        if durable > attempt.durable:
            attempt.durable = durable
            self._is_there_more.set()

    async def follow(self) -> None:
        """Take in what attempts write to their logs; to be cancelled."""
        while True:
            await self._is_there_more.wait()
            self._is_there_more.clear()
            for attempt in [a for a in self._live.values() if a.durable > a.absorbed]:
                await self.absorb(attempt, attempt.durable)

    async def absorb(self, attempt: Attempt, up_to: int | None = None) -> None:
        """Take in an attempt's log up to a size; without one all of it, for the last time."""
        if not attempt.has_log:
            return
        async with attempt.lock:
            if attempt.fence not in self._live:
                return
            try:
                records = await self._journal.absorb(attempt.fence, up_to)
            except OutputError as error:
                self._stop.set(error)
            else:
                self._took(attempt, records)
            attempt.absorbed = attempt.durable if up_to is None else up_to

    async def keep(self, attempt: Attempt, message: Keep) -> None:
        """Write a frame that came over the wire; one that comes again is written once."""
        async with attempt.lock:
            if message.number <= attempt.kept:
                return
            try:
                records = await self._journal.keep(message.frame)
            except ValueError as error:
                raise MessageError(f"a frame of attempt {attempt.fence}: {error}") from None
            attempt.kept = message.number
            self._took(attempt, records)

    def _took(self, attempt: Attempt, records: Sequence[Record]) -> None:
        """Note records that are durable in the date's journal."""
        shard = attempt.shard
        for record in records:
            if record.page is not None:
                has_read_stretches = shard.received(record.page, record.notes)
                self._on_page(record.page)
                if has_read_stretches and record.ending is None:
                    self._on_end(record.seller_id, None)
            if record.ending is not None:
                shard.ended(record.seller_id, record.ending)
                self._on_end(record.seller_id, record.ending)
