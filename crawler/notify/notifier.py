"""Telling of one run: that it has begun, and how it ended, by every channel that is set.

Nothing that goes wrong here is raised, or changes how the run ends: it is said in one sentence.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from crawler.exit_codes import INTERRUPTED, TERMINATED
from crawler.notify.courier import Courier
from crawler.notify.messages import (
    START,
    Outcome,
    command_environment,
    filled,
    ping_address,
    ping_end,
    read_template,
)
from crawler.options import NotifySettings
from crawler.report.head import MAX_BYTES, shortened
from crawler.settings.values import host_of

_TEXT, _JSON = "text/plain; charset=utf-8", "application/json"
_HURRY_S = 4.0
"""Seconds for telling of an interrupted run: who has interrupted it may soon kill it."""
_SPARE_S = 3.0
"""Seconds beyond its time-out that telling is waited for: what it began is ended by then."""


class Notifier:
    """Tells of one run; use it by `start`, then `end`, then `close`."""

    def __init__(self, settings: NotifySettings) -> None:
        self._settings = settings
        self._run = str(uuid4())
        self._courier = Courier()
        self._started: Future[str | None] | None = None
        self._told: set[str] = set()

    def start(self) -> None:
        """Say that the run has begun; nothing is waited for."""
        if self._settings.ping_url is not None:
            self._started = self._courier.post(self._ping(START, b"", self._settings.timeout))

    def fault_so_far(self) -> str | None:
        """Why the beginning could not be told, once that is known; said once."""
        if self._started is None or not self._started.done() or self._started.cancelled():
            return None
        fault = self._started.result()
        return self._once(fault)

    def end(self, outcome: Outcome) -> list[str]:
        """Tell how the run ended; returns what could not be told, and why. Takes some seconds at most."""
        seconds = self._settings.timeout
        if outcome.exit_code in {INTERRUPTED.number, TERMINATED.number}:
            seconds = min(seconds, _HURRY_S)
        ending = self._courier.post(self._end(outcome, seconds))
        try:
            faults = ending.result(seconds + _SPARE_S)
        except Exception as error:  # noqa: BLE001 - a fault of telling is no fault of the run
            ending.cancel()
            faults = [f"not all could be told of this run: {type(error).__name__}"]
        return [fault for fault in faults if self._once(fault)]

    def give_up(self) -> None:
        """Leave off: `end` then returns soon."""
        self._courier.give_up()

    def close(self) -> None:
        """End what is still under way."""
        self._courier.close()

    def _once(self, fault: str | None) -> str | None:
        """The fault, unless one of the same channel was said already."""
        channel = (fault or "").partition(" was not ")[0]
        if fault is None or channel in self._told:
            return None
        self._told.add(channel)
        return fault

    async def _end(self, outcome: Outcome, seconds: float) -> list[str]:
        settings = self._settings
        jobs: list[Coroutine[Any, Any, str | None]] = []
        if settings.ping_url is not None:
            jobs.append(self._last_ping(outcome, seconds))
        is_hooked = settings.webhook_on == "always" or outcome.needs_attention
        if settings.webhook_url is not None and is_hooked:
            jobs.append(self._webhook(settings.webhook_url, outcome, seconds))
        if settings.command is not None:
            jobs.append(_command(settings.command, outcome, self._run, seconds))
        try:
            async with asyncio.timeout(seconds + _SPARE_S / 2):
                faults = await asyncio.gather(*jobs)
        except (TimeoutError, asyncio.CancelledError):
            return ["not all was told of this run: a signal ended that, or its time was up"]
        return [fault for fault in faults if fault]

    async def _last_ping(self, outcome: Outcome, seconds: float) -> str | None:
        """Ping the end, but not before the start: the service would take the run for one under way."""
        left = seconds
        if self._started is not None and not self._started.done():
            began = asyncio.get_running_loop().time()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds / 2):
                    await asyncio.wrap_future(self._started)
            left -= asyncio.get_running_loop().time() - began
        return await self._ping(ping_end(outcome), shortened(outcome.head, MAX_BYTES).encode(), left)

    async def _ping(self, end: str, body: bytes, seconds: float) -> str | None:
        url = self._settings.ping_url or ""
        return await self._post("ping", ping_address(url, end, self._run), body, _TEXT, seconds)

    async def _webhook(self, url: str, outcome: Outcome, seconds: float) -> str | None:
        body, fault = outcome.document, None
        if self._settings.template is not None:
            try:
                body = orjson.dumps(filled(read_template(self._settings.template), outcome))
            except (OSError, ValueError, RecursionError) as error:
                fault = f"notify.template cannot be used, so report.json itself was sent: {error}"
        return await self._post("webhook", url, body, _JSON, seconds) or fault

    async def _post(
        self,
        what: str,
        address: str,
        body: bytes,
        content_type: str,
        seconds: float,
    ) -> str | None:
        """Send one message; returns why it was not received, without its address."""
        from crawler.notify.posting import DeliveryError, Message, deliver  # noqa: PLC0415 - heavy

        message = Message(address, body, content_type, {"Idempotency-Key": self._run})
        try:
            await deliver(message, seconds, self._settings.attempts)
        except DeliveryError as error:
            return f"the {what} to {host_of(address)} was not received: {error}"
        except Exception as error:  # noqa: BLE001 - a fault of telling is no fault of the run
            return f"the {what} to {host_of(address)} was not sent: {type(error).__name__}"
        return None


async def _command(words: tuple[str, ...], outcome: Outcome, run: str, seconds: float) -> str | None:
    """Give the report to a command; returns why that failed."""
    from crawler.notify.posting import DeliveryError  # noqa: PLC0415 - heavy
    from crawler.notify.program import run_program  # noqa: PLC0415 - heavy

    try:
        await run_program(words, outcome.document, command_environment(outcome, run, os.environ), seconds)
    except DeliveryError as error:
        return f"the command {Path(words[0]).name} of notify.command failed: {error}"
    return None
