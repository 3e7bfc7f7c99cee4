"""One message to one address: attempts, time-outs, redirects, and whatever a receiver may do to us."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from crawler import __version__
from crawler.api.proxies import proxy_for
from crawler.api.wire import cause_of
from crawler.models.errors import InputError

_MAX_REDIRECTS = 3
_REDIRECTS = {301, 302, 307, 308}
_PASSING = {408, 425, 429}
_FIRST_WAIT_S = 0.5
_WORTH_A_TRY = 10
"""An attempt that would get less than this part of the time is not made."""
_BODY_WAIT_S = 1.0
_READ_BYTES = 1024
# Healthchecks answers so where it knows no such check, or is asked too often.
_BUT = re.compile(r"OK \(([a-z ]{1,40})\)")


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent where; `address` is a secret."""

    address: str
    body: bytes
    content_type: str
    headers: dict[str, str] = field(default_factory=dict)


class DeliveryError(Exception):
    """A message was not delivered: says why, without the address; `is_final`: no attempt would help."""

    def __init__(self, text: str, *, is_final: bool = False) -> None:
        super().__init__(text)
        self.is_final = is_final


async def deliver(message: Message, seconds: float, attempts: int) -> None:
    """Send until it is received, for so many seconds at most. Raises `DeliveryError`."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    deadline, wait = began + seconds, _FIRST_WAIT_S
    for attempt in range(1, attempts + 1):
        limit = min(seconds / 2, deadline - loop.time())
        try:
            async with asyncio.timeout(limit):
                await _attempt(message)
        except TimeoutError:
            fault, is_final = f"no answer within {loop.time() - began:.2g} s", False
        except DeliveryError as error:
            fault, is_final = str(error), error.is_final
        else:
            return
        if is_final or attempt == attempts or loop.time() + wait > deadline - seconds / _WORTH_A_TRY:
            break
        await asyncio.sleep(wait)
        wait *= 2
    raise DeliveryError(f"{fault} ({attempt} attempt{'s' if attempt > 1 else ''})")


async def _attempt(message: Message) -> None:
    """Send once. Raises `DeliveryError` where it was not received."""
    connector = aiohttp.TCPConnector(resolver=_Resolver(), force_close=True)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    ) as session:
        try:
            await _send(session, message)
        except InputError as error:
            raise DeliveryError(str(error), is_final=True) from None
        except ValueError:
            raise DeliveryError("its address cannot be used", is_final=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise DeliveryError(cause_of(error)[1]) from None


async def _send(session: aiohttp.ClientSession, message: Message) -> None:
    url = URL(message.address, encoded=message.address.isascii())
    headers = {"User-Agent": f"shop-video-crawler/{__version__}", "Content-Type": message.content_type}
    for _ in range(_MAX_REDIRECTS + 1):
        answer = await session.post(
            url,
            data=message.body,
            headers=headers | message.headers,
            proxy=proxy_for(str(url)),
            allow_redirects=False,
        )
        try:
            if answer.status not in _REDIRECTS:
                await _judge(answer)
                return
            url = _redirected(url, answer.headers.get("Location", ""))
        finally:
            answer.close()
    raise DeliveryError("it redirects too often", is_final=True)


def _redirected(url: URL, location: str) -> URL:
    """Where the same host wants it sent; nobody else is to know of it."""
    with suppress(ValueError):
        target = url.join(URL(location))
        is_upgrade = url.is_default_port() and target.is_default_port() and target.scheme == "https"
        same_port = (target.scheme, target.port) == (url.scheme, url.port)
        if location and target.host == url.host and (same_port or is_upgrade):
            return target
    raise DeliveryError("it redirects to another address, which is not followed", is_final=True)


async def _judge(answer: aiohttp.ClientResponse) -> None:
    if not 200 <= answer.status < 300:
        is_final = answer.status < 500 and answer.status not in _PASSING
        raise DeliveryError(f"it answers {answer.status}", is_final=is_final)
    body = b""
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(_BODY_WAIT_S):
            body = await answer.content.read(_READ_BYTES)
    if but := _BUT.match(body.decode(errors="replace")):
        raise DeliveryError(f"it answers {but[1]}", is_final=True)


class _Resolver(AbstractResolver):
    """Looks names up in daemon threads: those of an executor would hold up the program's end."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises `OSError`."""
        found = await _in_daemon(lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, proto, _, address in found
        ]

    async def close(self) -> None:
        """Nothing is kept."""


async def _in_daemon(look: Callable[[], Any]) -> Any:
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Any] = loop.create_future()

    def settle(value: Any, error: Exception | None) -> None:
        if found.done():
            return
        if error is None:
            found.set_result(value)
        else:
            found.set_exception(error)

    def work() -> None:
        value, error = None, None
        try:
            value = look()
        except Exception as raised:  # noqa: BLE001 - raised where it is waited for
            error = raised
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=work, name="resolve", daemon=True).start()
    return await found
