"""The API client: one request, exactly once, bounded in time and size."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace, TracebackType
from typing import Any, Protocol, Self

import aiohttp

from crawler.api.answers import read_answer
from crawler.errors import CrawlerError, PageError, UnavailableError
from crawler.models import PAGE_SIZE, Page, SortField, SortOrder

PATH = "/v1/tiktok/shop/videos/analytics"
MAX_BODY = 16 * 1024 * 1024
_SORT_FIELDS = {SortField.VIEWS: 1, SortField.SALES: 2, SortField.GMV: 3}
_SORT_TYPES = {SortOrder.ASC: 0, SortOrder.DESC: 1}


class Departure(Protocol):
    """The moment a request leaves; see the engine's port of the same name."""

    label: str

    async def leave(self) -> None:
        """Called with a connection at hand, right before the request is written."""


class _Trip:
    """One attempt's clock: connecting and answering are timed, waiting for the pace is not."""

    def __init__(self, departure: Departure, clock: asyncio.Timeout, timeout: float) -> None:
        self._departure = departure
        self._clock = clock
        self._timeout = timeout
        self.left = False

    def refuse_second(self) -> None:
        if self.left:
            raise UnavailableError("the connection broke before the answer")

    async def leave(self) -> None:
        self._clock.reschedule(None)
        await self._departure.leave()
        self.left = True
        self._clock.reschedule(asyncio.get_running_loop().time() + self._timeout)


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
            connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=15),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=None, sock_connect=self._connect_timeout, sock_read=self._timeout
            ),
            headers={
                "Authorization": f"Bearer {self._key}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip, deflate",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[_tracing()],
            trust_env=True,
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
            async with asyncio.timeout(self._connect_timeout + self._timeout) as clock:
                status, retry_after, body = await self._exchange(
                    seller_id, page_num, _Trip(departure, clock, self._timeout)
                )
        except TimeoutError:
            departure.label = "timeout"
            raise UnavailableError(f"{where}: no whole answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            departure.label = "connection"
            raise UnavailableError(f"{where}: {self._hide(_describe(error))}") from None
        except UnavailableError as error:
            departure.label = "connection"
            raise UnavailableError(f"{where}: {error}") from None
        return self._read(departure, status, retry_after, body, seller_id, page_num)

    async def _exchange(self, seller_id: str, page_num: int, trip: _Trip) -> tuple[int, str | None, bytes]:
        assert self._session is not None, "use the client as a context manager"  # noqa: S101 - a programming error
        params = {"seller_id": seller_id, **self._params, "page_num": str(page_num)}
        async with self._session.get(
            self._url, params=params, allow_redirects=False, trace_request_ctx=trip
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
                status, retry_after, self._without_key(body), seller_id, page_num, self._wall_clock()
            )
        except (CrawlerError, PageError) as error:
            departure.label = getattr(error, "label", str(status))
            raise
        return page

    def _without_key(self, body: bytes) -> bytes:
        """An API that echoes the key must not make us store it."""
        key = self._key.encode()
        return body.replace(key, b"***") if key in body else body

    def _hide(self, text: str) -> str:
        return text.replace(self._key, "***")


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY:
            response.close()
            raise UnavailableError(f"the answer is larger than {MAX_BODY >> 20} MiB")
        chunks.append(chunk)
    return b"".join(chunks)


def _tracing() -> aiohttp.TraceConfig:
    """Hooks at the last moment before a request is written, on a connection that is ready.

    They also refuse aiohttp's own second try of an idempotent request, which would be paid for.
    """

    async def connecting(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
        context.trace_request_ctx.refuse_second()

    async def connected(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
        context.trace_request_ctx.refuse_second()
        await context.trace_request_ctx.leave()

    config = aiohttp.TraceConfig()
    config.on_connection_create_start.append(connecting)
    config.on_connection_create_end.append(connected)
    config.on_connection_reuseconn.append(connected)
    return config


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200] if str(error) else type(error).__name__
