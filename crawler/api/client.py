"""The API client: one request, exactly once, bounded in time and size.

Open it for what we decide about connections, time limits and the request's text; `wire.py` does the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from statistics import median
from types import TracebackType
from typing import Self
from urllib.parse import quote

from crawler.api.answers import read_answer, read_date
from crawler.api.causes import CONNECT_TIMEOUT, TIMEOUT, cause_of
from crawler.api.deadlines import Deadlines
from crawler.api.proxies import proxy_for
from crawler.api.redaction import Redaction
from crawler.api.wire import NO_ANSWER, Answer, Connection, Connector, Target
from crawler.models.api import PAGE_SIZE, SortField, SortOrder
from crawler.models.errors import CrawlerError, PageError, UnavailableError
from crawler.models.page import Page
from crawler.ports import Departure

PATH = "/v1/tiktok/shop/videos/analytics"
MAX_BODY = 16 * 1024 * 1024
_SORT_FIELDS = {SortField.VIEWS: 1, SortField.SALES: 2, SortField.GMV: 3}
_SORT_TYPES = {SortOrder.ASC: 0, SortOrder.DESC: 1}
_MAX_CONNECTIONS_TRIED = 3
_DATES_READ = 9
"""Answers of which the Date header is read."""

_KEEP_ALIVE = 15.0
"""Seconds after which a connection that was not used may have been closed on the way."""


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
        self._requests = _Requests(url.rstrip("/") + PATH, key, sort, order)
        self._without_key = Redaction(key)
        self._sort = sort
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._connections = connections
        self._wall_clock = wall_clock
        self._connector: Connector | None = None
        self._idle = _IdleConnections()
        self._dates: list[float] = []
        self._deadlines = Deadlines(timeout)

    async def __aenter__(self) -> Self:
        self._connector = Connector(self._connections, self._connect_timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadlines.close()
        self._idle.close()
        if self._connector is not None:
            await self._connector.close()

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        """Send one request and read its answer; see `Api` in `ports.py` for what it raises."""
        try:
            connection = await self._depart(departure)
            answer = await self._exchange(connection, seller_id, page_num)
        except TimeoutError:
            departure.label = TIMEOUT
            what = f"no whole answer within {self._timeout:g} s"
            raise UnavailableError(f"{_where(seller_id, page_num)}: {what}", TIMEOUT) from None
        except NO_ANSWER as error:
            departure.label = "connection"
            kind, what = cause_of(error)
            raise UnavailableError(f"{_where(seller_id, page_num)}: {what}", kind) from None
        except UnavailableError as error:
            departure.label = TIMEOUT if error.kind == CONNECT_TIMEOUT else "connection"
            raise UnavailableError(f"{_where(seller_id, page_num)}: {error}", error.kind) from None
        return self._read(departure, answer, seller_id, page_num)

    @property
    def clock(self) -> datetime | None:
        """See `TellsTime`: by the median of the first answers, since a cache may give an old date."""
        if not self._dates:
            return None
        return datetime.fromtimestamp(median(self._dates) + time.monotonic(), UTC)

    @property
    def dates_read(self) -> int:
        """See `TellsTime`."""
        return len(self._dates)

    async def _depart(self, departure: Departure) -> Connection:
        """A connection, at the very moment its request may leave."""
        for _ in range(_MAX_CONNECTIONS_TRIED):
            connection = self._idle.take() or await self._connect()
            try:
                if await departure.leave(connection.is_open):
                    return connection
            except BaseException:
                connection.close()
                raise
            connection.close()
        raise UnavailableError("the server closes its connections before a request", "connection closed")

    async def _connect(self) -> Connection:
        assert self._connector is not None, "use the client as a context manager"  # noqa: S101 - a programming error
        try:
            return await self._connector.connect(self._requests.target)
        except TimeoutError:
            what = f"no connection to {self._requests.target} within {self._connect_timeout:g} s"
            raise UnavailableError(what, CONNECT_TIMEOUT) from None

    async def _exchange(self, connection: Connection, seller_id: str, page_num: int) -> Answer:
        """Write the request and read its answer, in time."""
        task = self._deadlines.begin()
        try:
            answer = await connection.ask(self._requests.text(seller_id, page_num), MAX_BODY)
        except BaseException:
            late = self._deadlines.end(task)
            connection.close(abort=late)
            if late:
                raise TimeoutError from None
            raise
        self._deadlines.end(task)
        self._idle.keep(connection)
        if len(self._dates) < _DATES_READ:
            moment = read_date(answer.headers.get("Date"))
            if moment is not None:
                self._dates.append(moment.timestamp() - time.monotonic())
        return answer

    def _read(self, departure: Departure, answer: Answer, seller_id: str, page_num: int) -> Page:
        try:
            departure.label, page = read_answer(
                answer.status,
                answer.headers.get("Retry-After"),
                self._without_key(answer.body),
                seller_id,
                page_num,
                self._wall_clock(),
                self._sort,
            )
        except (CrawlerError, PageError) as error:
            departure.label = error.label or str(answer.status)
            raise
        return page


class _Requests:
    """Where requests go, and their text: the same for all but seller and page number."""

    def __init__(self, url: str, key: str, sort: SortField, order: SortOrder) -> None:
        self._url = url
        self._key = key
        self._between = (
            f"&seller_video_sort_field={_SORT_FIELDS[sort]}&sort_type={_SORT_TYPES[order]}"
            f"&page_size={PAGE_SIZE}&page_num="
        )

    @cached_property
    def target(self) -> Target:
        """Made by the first request, on the event loop."""
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "Authorization": f"Bearer {self._key}",
        }
        # Looked up once: aiohttp's own `trust_env` reads `.netrc` in a thread before each request.
        return Target(self._url, headers, proxy_for(self._url))

    def text(self, seller_id: str, page_num: int) -> bytes:
        """One request, for a connection that is open."""
        before, after = self._around_query
        plain = seller_id.isascii() and seller_id.isalnum()
        asked = seller_id if plain else quote(seller_id, safe="")
        return f"{before}seller_id={asked}{self._between}{page_num}{after}".encode()

    @cached_property
    def _around_query(self) -> tuple[str, str]:
        return self.target.around_query()


class _IdleConnections:
    """Connections between two requests, the one used last first.

    Given back to aiohttp's connector each would be looked up, counted and wrapped again for every request.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[Connection, float]] = []

    def __len__(self) -> int:
        return len(self._kept)

    def take(self) -> Connection | None:
        """The one used last that is open and not idle for too long; None without one."""
        oldest = time.monotonic() - _KEEP_ALIVE
        while self._kept:
            connection, used_at = self._kept.pop()
            if used_at >= oldest and connection.is_open():
                return connection
            connection.close()
        return None

    def keep(self, connection: Connection) -> None:
        """Take one back, unless its end has come."""
        if connection.is_open():
            self._kept.append((connection, time.monotonic()))
        else:
            connection.close()

    def close(self) -> None:
        """Close all."""
        while self._kept:
            self._kept.pop()[0].close()


def _where(seller_id: str, page_num: int) -> str:
    return f"seller {seller_id}, page {page_num}"
