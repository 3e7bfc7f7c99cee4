"""The API client: one request, exactly once, bounded in time and size."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.connector import Connection

from crawler.api.answers import read_answer
from crawler.errors import CrawlerError, PageError, UnavailableError
from crawler.models import PAGE_SIZE, Page, SortField, SortOrder

PATH = "/v1/tiktok/shop/videos/analytics"
MAX_BODY = 16 * 1024 * 1024
_SORT_FIELDS = {SortField.VIEWS: 1, SortField.SALES: 2, SortField.GMV: 3}
_SORT_TYPES = {SortOrder.ASC: 0, SortOrder.DESC: 1}
_CONNECTIONS_TRIED = 3


class Departure(Protocol):
    """The moment a request leaves; see the engine's port of the same name."""

    label: str

    async def leave(self, ready: Callable[[], bool]) -> bool:
        """Called with a connection at hand, right before the request is written."""


class _Trip:
    """One attempt's clock: connecting and answering are timed, waiting for the pace is not."""

    def __init__(self, departure: Departure, clock: asyncio.Timeout, connect: float, answer: float) -> None:
        self._departure = departure
        self._clock = clock
        self._connect = connect
        self._answer = answer
        self._left = False

    def connecting(self) -> None:
        if self._left:
            raise UnavailableError("the connection broke before the answer")
        self._clock.reschedule(asyncio.get_running_loop().time() + self._connect)

    async def leave(self, ready: Callable[[], bool]) -> bool:
        self._clock.reschedule(None)
        self._left = await self._departure.leave(ready)
        if self._left:
            self._clock.reschedule(asyncio.get_running_loop().time() + self._answer)
        return self._left


_TRIP: ContextVar[_Trip] = ContextVar("trip")


class _PacedConnector(aiohttp.TCPConnector):
    """Gives a connection out at the very moment its request may leave.

    aiohttp asks for a second one where it would send an idempotent request again by itself: that
    would be paid for, and is refused.
    """

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> Connection:
        trip = _TRIP.get()
        for _ in range(_CONNECTIONS_TRIED):
            trip.connecting()
            connection = await super().connect(req, traces, timeout)
            try:
                if await trip.leave(partial(_is_open, connection)):
                    return connection
            except BaseException:
                connection.close()
                raise
            connection.close()
        raise UnavailableError("the server closes its connections before a request")


def _is_open(connection: Connection) -> bool:
    # An answer that nobody asked for lies in wait on an idle connection: the next request would get it.
    protocol = connection.protocol
    return protocol is not None and protocol.is_connected() and not protocol.should_close


class ApiClient:
    """An async context manager holding one session; `fetch` asks for one page.

    `timeout` bounds a request from its departure to its last byte, `connect_timeout` the way to a
    connection; both are in seconds. `wall_clock` gives epoch milliseconds.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        sort: SortField,
        order: SortOrder,
        timeout: float,
        connect_timeout: float,
        connections: int,
        wall_clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._url = url.rstrip("/") + PATH
        self._key = key
        self._sort = sort
        self._key_in_json = _as_json_spells(key)
        self._params = {
            "seller_video_sort_field": str(_SORT_FIELDS[sort]),
            "sort_type": str(_SORT_TYPES[order]),
            "page_size": str(PAGE_SIZE),
        }
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._connections = connections
        self._wall_clock = wall_clock
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=_PacedConnector(limit=self._connections, keepalive_timeout=15),
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"Accept": "application/json", "Accept-Encoding": "gzip, deflate"},
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=_proxy_of_environment(self._url),
            raise_for_status=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        """Send one request and read its answer; see the engine's port for what it raises."""
        where = f"seller {seller_id}, page {page_num}"
        try:
            async with asyncio.timeout(None) as clock:
                _TRIP.set(_Trip(departure, clock, self._connect_timeout, self._timeout))
                status, retry_after, body = await self._exchange(seller_id, page_num)
        except TimeoutError:
            departure.label = "timeout"
            raise UnavailableError(f"{where}: no whole answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            departure.label = "connection"
            raise UnavailableError(f"{where}: {_describe(error)}") from None
        except UnavailableError as error:
            departure.label = "connection"
            raise UnavailableError(f"{where}: {error}") from None
        return self._read(departure, status, retry_after, body, seller_id, page_num)

    async def _exchange(self, seller_id: str, page_num: int) -> tuple[int, str | None, bytes]:
        assert self._session is not None, "use the client as a context manager"  # noqa: S101 - a programming error
        params = {"seller_id": seller_id, **self._params, "page_num": str(page_num)}
        # Among the session's own headers aiohttp would show the key to a proxy as well.
        headers = {"Authorization": f"Bearer {self._key}"}
        async with self._session.get(
            self._url, params=params, headers=headers, allow_redirects=False
        ) as response:
            return response.status, response.headers.get("Retry-After"), await _bounded_body(response)

    def _read(
        self,
        departure: Departure,
        status: int,
        retry_after: str | None,
        body: bytes,
        seller_id: str,
        page_num: int,
    ) -> Page:
        try:
            departure.label, page = read_answer(
                status,
                retry_after,
                self._without_key(body),
                seller_id,
                page_num,
                self._wall_clock(),
                self._sort,
            )
        except (CrawlerError, PageError) as error:
            departure.label = getattr(error, "label", str(status))
            raise
        return page

    def _without_key(self, body: bytes) -> bytes:
        """An API that echoes the key must not make us store it."""
        if b"\\" in body:
            return self._key_in_json.sub(b"***", body)
        return body.replace(self._key.encode(), b"***")


def _as_json_spells(key: str) -> re.Pattern[bytes]:
    """The key in JSON, where any character may stand escaped."""
    return re.compile("".join(map(_spellings, key)).encode())


def _spellings(character: str) -> str:
    backslash = r"\\?" if character in '"/\\' else ""
    return rf"(?:{backslash}{re.escape(character)}|\\u(?i:{ord(character):04x}))"


def _proxy_of_environment(url: str) -> str | None:
    """The proxy that the environment names for a URL.

    Looked up once: aiohttp's own `trust_env` reads `.netrc` in a thread before each request.
    """
    parts = urlsplit(url)
    without_port, with_port = parts.hostname or "", parts.netloc.rpartition("@")[2]
    if proxy_bypass(without_port) or proxy_bypass(with_port):
        return None
    proxy = getproxies().get(parts.scheme)
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY:
            raise UnavailableError(f"the answer is larger than {MAX_BODY >> 20} MiB")
        chunks.append(chunk)
    return b"".join(chunks)


def _describe(error: Exception) -> str:
    """What failed, in none of the peer's words: they might hold the key."""
    cause = error.__cause__
    name = type(error).__name__ + (f" ({type(cause).__name__})" if cause else "")
    return f"{name}: {error}"[:200] if isinstance(error, OSError) else name
