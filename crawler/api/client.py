"""The API client: one request, exactly once, bounded in time and size."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property, partial
from math import inf
from statistics import median
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import quote

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from crawler.api.answers import read_answer, read_date
from crawler.api.causes import CONNECT_TIMEOUT, TIMEOUT, cause_of
from crawler.api.deadlines import Deadlines
from crawler.api.proxies import proxy_for
from crawler.models.api import PAGE_SIZE, SortField, SortOrder
from crawler.models.errors import CrawlerError, PageError, UnavailableError
from crawler.models.page import Page

PATH = "/v1/tiktok/shop/videos/analytics"
MAX_BODY = 16 * 1024 * 1024
_SORT_FIELDS = {SortField.VIEWS: 1, SortField.SALES: 2, SortField.GMV: 3}
_SORT_TYPES = {SortOrder.ASC: 0, SortOrder.DESC: 1}
_CONNECTIONS_TRIED = 3
_READ_AT_ONCE = 256 * 1024
_LONGEST_HEADER = 256 * 1024
_MOST_HEADERS = 256
"""Bounds of an answer's header lines: gateways add cookies that are longer than aiohttp's 8,190 bytes."""

_SWITCHING_PROTOCOLS = 101
_DATES_READ = 9
"""Answers of which the Date header is read."""

_KEEP_ALIVE = 15.0
"""Seconds after which a connection that was not used may have been closed on the way."""


class Departure(Protocol):
    """The moment a request leaves; see the engine's port of the same name."""

    label: str

    async def leave(self, ready: Callable[[], bool]) -> bool:
        """Called with a connection at hand, right before the request is written."""


def _is_open(connection: Connection) -> bool:
    # An answer that nobody asked for lies in wait on an idle connection: the next request would get it.
    protocol = connection.protocol
    return protocol is not None and protocol.is_connected() and not protocol.should_close


class ApiClient:
    """An async context manager that keeps its connections; `fetch` asks for one page.

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
        self._key_as_bytes = key.encode()
        self._key_in_json = _as_json_spells(key)
        # Other characters than these are escaped by their number alone, which begins with 00.
        self._key_may_be_escaped = not key.isascii() or any(character in key for character in '"/\\')
        self._params = {
            "seller_video_sort_field": str(_SORT_FIELDS[sort]),
            "sort_type": str(_SORT_TYPES[order]),
            "page_size": str(PAGE_SIZE),
        }
        self._timeout = timeout
        # Waiting for the pace comes after connecting, and is not timed.
        self._connecting = aiohttp.ClientTimeout(connect=connect_timeout, ceil_threshold=inf)
        self._connections = connections
        self._wall_clock = wall_clock
        self._connector: aiohttp.TCPConnector | None = None
        self._kept: list[tuple[Connection, float]] = []
        self._dates: list[float] = []
        self._deadlines = Deadlines(timeout)

    async def __aenter__(self) -> Self:
        self._connector = aiohttp.TCPConnector(limit=self._connections)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.close()
        while self._kept:
            self._kept.pop()[0].close()
        if self._connector is not None:
            await self._connector.close()

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        """Send one request and read its answer; see the engine's port for what it raises."""
        try:
            connection = await self._depart(departure)
            status, retry_after, body = await self._exchange(connection, seller_id, page_num)
        except TimeoutError:
            departure.label = TIMEOUT
            what = f"no whole answer within {self._timeout:g} s"
            raise UnavailableError(f"{_where(seller_id, page_num)}: {what}", TIMEOUT) from None
        except (aiohttp.ClientError, HttpProcessingError, aiohttp.EofStream, OSError, ValueError) as error:
            departure.label = "connection"
            kind, what = cause_of(error)
            raise UnavailableError(f"{_where(seller_id, page_num)}: {what}", kind) from None
        except UnavailableError as error:
            departure.label = TIMEOUT if error.kind == CONNECT_TIMEOUT else "connection"
            raise UnavailableError(f"{_where(seller_id, page_num)}: {error}", error.kind) from None
        return self._read(departure, status, retry_after, body, seller_id, page_num)

    async def _depart(self, departure: Departure) -> Connection:
        """A connection, at the very moment its request may leave."""
        assert self._connector is not None, "use the client as a context manager"  # noqa: S101 - a programming error
        for _ in range(_CONNECTIONS_TRIED):
            connection = self._take_kept()
            if connection is None:
                connection = await self._connect(self._connector)
            try:
                if await departure.leave(partial(_is_open, connection)):
                    return connection
            except BaseException:
                connection.close()
                raise
            connection.close()
        raise UnavailableError("the server closes its connections before a request", "connection closed")

    async def _connect(self, connector: aiohttp.TCPConnector) -> Connection:
        try:
            return await connector.connect(self._request, [], self._connecting)
        except TimeoutError:
            proxy = " through the proxy" if self._request.proxy else ""
            what = f"no connection to {self._request.url.host}{proxy} within {self._connecting.connect:g} s"
            raise UnavailableError(what, CONNECT_TIMEOUT) from None

    def _take_kept(self) -> Connection | None:
        """The connection that was used last, while it is open and not idle for too long."""
        oldest = time.monotonic() - _KEEP_ALIVE
        while self._kept:
            connection, used_at = self._kept.pop()
            if used_at >= oldest and _is_open(connection):
                return connection
            connection.close()
        return None

    def _keep(self, connection: Connection) -> None:
        # Given back to the connector it would be looked up, counted and wrapped again for each request.
        if _is_open(connection):
            self._kept.append((connection, time.monotonic()))
        else:
            connection.close()

    async def _exchange(
        self, connection: Connection, seller_id: str, page_num: int
    ) -> tuple[int, str | None, bytes]:
        """Write the request and read its answer, by aiohttp's parser but without its session.

        A session would send an idempotent request again where a kept-alive connection breaks, which would be
        paid for; and building what it builds for each request takes as long as all else that is done for it.
        """
        protocol, transport = connection.protocol, connection.transport
        assert protocol is not None  # noqa: S101 - it was open just now
        assert transport is not None  # noqa: S101 - same
        task = self._deadlines.begin()
        try:
            # A new parser: the last one may hold the beginning of an answer that nobody asked for.
            protocol.set_response_params(
                read_until_eof=True,
                read_bufsize=_READ_AT_ONCE,
                max_line_size=_LONGEST_HEADER,
                max_field_size=_LONGEST_HEADER,
                max_headers=_MOST_HEADERS,
            )
            transport.write(self._head(seller_id, page_num))
            answer = await self._answer(protocol)
        except BaseException:
            late = self._deadlines.end(task)
            if late:
                transport.abort()
            connection.close()
            if late:
                raise TimeoutError from None
            raise
        self._deadlines.end(task)
        self._keep(connection)
        return answer

    async def _answer(self, protocol: ResponseHandler) -> tuple[int, str | None, bytes]:
        """Status, `Retry-After` and body of the next answer."""
        message, content = await protocol.read()
        while 100 <= message.code < 200 and message.code != _SWITCHING_PROTOCOLS:
            message, content = await protocol.read()
        if len(self._dates) < _DATES_READ:
            moment = read_date(message.headers.get("Date"))
            if moment is not None:
                self._dates.append(moment.timestamp() - time.monotonic())
        return message.code, message.headers.get("Retry-After"), await _whole_body(content)

    @property
    def clock(self) -> datetime | None:
        """See the engine's port: by the median of the first answers, since a cache may give an old date."""
        if not self._dates:
            return None
        return datetime.fromtimestamp(median(self._dates) + time.monotonic(), UTC)

    @property
    def dates_read(self) -> int:
        """See the engine's port."""
        return len(self._dates)

    @cached_property
    def _request(self) -> aiohttp.ClientRequest:
        """What every request has in common: whom to connect to, by which proxy, and the headers."""
        # Looked up once: aiohttp's own `trust_env` reads `.netrc` in a thread before each request.
        proxy = proxy_for(self._url)
        return aiohttp.ClientRequest(
            "GET",
            URL(self._url),
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "gzip, deflate",
                "Authorization": f"Bearer {self._key}",
            },
            loop=asyncio.get_running_loop(),
            proxy=None if proxy is None else URL(proxy),
        )

    @cached_property
    def _frame(self) -> tuple[str, str, str]:
        """A request's text around its seller and page number; known once connected: a proxy may add to it."""
        request = self._request
        address = str(request.url) if request.proxy and not request.is_ssl() else request.url.raw_path
        headers = [f"{name}: {value}" for name, value in request.headers.items()]
        if not all(header.isprintable() for header in headers):
            raise ValueError("a header cannot hold this")
        between = "".join(f"&{name}={value}" for name, value in self._params.items())
        after = "\r\n".join([" HTTP/1.1", *headers, "", ""])
        return f"GET {address}?seller_id=", f"{between}&page_num=", after

    def _head(self, seller_id: str, page_num: int) -> bytes:
        before, between, after = self._frame
        plain = seller_id.isascii() and seller_id.isalnum()
        asked = seller_id if plain else quote(seller_id, safe="")
        return f"{before}{asked}{between}{page_num}{after}".encode()

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
        if b"\\" in body and (self._key_may_be_escaped or b"\\u00" in body):
            return self._key_in_json.sub(b"***", body)
        return body.replace(self._key_as_bytes, b"***") if self._key_as_bytes in body else body


def _as_json_spells(key: str) -> re.Pattern[bytes]:
    """The key in JSON, where any character may stand escaped."""
    return re.compile("".join(map(_spellings, key)).encode())


def _spellings(character: str) -> str:
    backslash = r"\\?" if character in '"/\\' else ""
    return rf"(?:{backslash}{re.escape(character)}|\\u(?i:{ord(character):04x}))"


async def _whole_body(content: aiohttp.StreamReader) -> bytes:
    if content.is_eof():
        body = content.read_nowait()
        _require_bound(len(body))
        return body
    chunks: list[bytes] = []
    size = 0
    while chunk := await content.readany():
        size += len(chunk)
        _require_bound(size)
        chunks.append(chunk)
    return b"".join(chunks)


def _require_bound(size: int) -> None:
    if size > MAX_BODY:
        raise UnavailableError(f"the answer is larger than {MAX_BODY >> 20} MiB", "too large")


def _where(seller_id: str, page_num: int) -> str:
    return f"seller {seller_id}, page {page_num}"
