"""The API client: one request, exactly once, limited in time and size.

Open it for what we decide about connections, time limits and the request's text; `wire.py` does the rest.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from statistics import median
from typing import Any, Self
from urllib.parse import quote

from crawler.api.answers import read_answer, read_date
from crawler.api.proxies import proxy_for
from crawler.api.wire import CONNECT_TIMEOUT, NO_ANSWER, Answer, Connection, Connector, Target, cause_of
from crawler.models.api import PAGE_SIZE, SortField, SortOrder
from crawler.models.errors import CrawlerError, PageError, UnavailableError
from crawler.models.page import Page
from crawler.ports import Departure

PATH = "/v1/tiktok/shop/videos/analytics"
MAX_BODY = 16 * 1024 * 1024
TIMEOUT = "timeout"
_SORT_FIELDS = {SortField.VIEWS: 1, SortField.SALES: 2, SortField.GMV: 3}
_SORT_TYPES = {SortOrder.ASC: 0, SortOrder.DESC: 1}
_MAX_CONNECTIONS_TRIED = 3
_DATES_READ = 9
"""Answers of which the Date header is read."""
_KEEP_ALIVE = 15.0
"""Seconds after which a connection that was not used may have been closed on the way."""


class ApiClient:
    """An async context manager that keeps its connections; `fetch` asks for one page.

    A request carries the one of the `keys` whose number its departure says. `timeout` limits a request from
    its departure to its last byte, `connect_timeout` the way to a connection; both are in seconds.
    `wall_clock` gives epoch milliseconds.
    """

    def __init__(
        self,
        url: str,
        *keys: str,
        sort: SortField,
        order: SortOrder,
        timeout: float,
        connect_timeout: float,
        connections: int,
        wall_clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._requests = _Requests(url.rstrip("/") + PATH, keys, sort, order)
        # One key may be the beginning of another.
        self._redactions = tuple(map(_Redaction, sorted(keys, key=len, reverse=True)))
        self._sort = sort
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._connections = connections
        self._wall_clock = wall_clock
        self._idle = _IdleConnections()
        self._dates: list[float] = []
        self._deadlines = _Deadlines(timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._deadlines.close()
        self._idle.close()
        await self._connector.close()

    @cached_property
    def _connector(self) -> Connector:
        return Connector(self._connections, self._connect_timeout)

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        """Send one request and read its answer; see `Api` in `ports.py` for what it raises."""
        try:
            connection = await self._depart(departure)
            answer = await self._exchange(connection, seller_id, page_num, departure.key)
        except TimeoutError:
            kind, what = TIMEOUT, f"no whole answer within {self._timeout:g} s"
        except NO_ANSWER as error:
            kind, what = cause_of(error)
        except UnavailableError as error:
            kind, what = error.kind, str(error)
        else:
            return self._read(departure, answer, seller_id, page_num)
        departure.label = TIMEOUT if kind in (TIMEOUT, CONNECT_TIMEOUT) else "connection"
        raise UnavailableError(f"seller {seller_id}, page {page_num}: {what}", kind)

    @property
    def clock(self) -> tuple[datetime, int] | None:
        """See `TellsTime`: by the median of the first answers, since a cache may give an old date."""
        if not self._dates:
            return None
        return datetime.fromtimestamp(median(self._dates) + time.monotonic(), UTC), len(self._dates)

    async def _depart(self, departure: Departure) -> Connection:
        """A connection, at the very moment its request may leave."""
        for _ in range(_MAX_CONNECTIONS_TRIED):
            connection = self._idle.take() or await self._connector.connect(self._requests.target)
            try:
                if await departure.leave(connection.is_open):
                    return connection
            except BaseException:
                connection.close()
                raise
            connection.close()
        raise UnavailableError("the server closes its connections before a request", "connection closed")

    async def _exchange(self, connection: Connection, seller_id: str, page_num: int, key: int) -> Answer:
        """Write the request and read its answer, in time."""
        task = self._deadlines.begin()
        try:
            answer = await connection.ask(self._requests.text(seller_id, page_num, key), MAX_BODY)
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
        retry_after, body = answer.headers.get("Retry-After"), answer.body
        for without_key in self._redactions:
            body = without_key(body)
        now = self._wall_clock()
        try:
            page = read_answer(answer.status, retry_after, body, seller_id, page_num, now, self._sort)
        except (CrawlerError, PageError) as error:
            departure.label = error.label or str(answer.status)
            raise
        departure.label = "200"
        return page


class _Requests:
    """Where requests go, and their text: only seller, page number and key differ."""

    def __init__(self, url: str, keys: Sequence[str], sort: SortField, order: SortOrder) -> None:
        self._url = url
        self._keys = keys
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
            "Authorization": _authorization(self._keys[0]),
        }
        # Looked up once: aiohttp's own `trust_env` reads `.netrc` in a thread before each request.
        return Target(self._url, headers, proxy_for(self._url))

    @cached_property
    def _around_query(self) -> tuple[tuple[str, str], ...]:
        """A request's text before and after its query, by key."""
        before, after = self.target.around_query
        first, *others = (f"\r\nAuthorization: {_authorization(key)}\r\n" for key in self._keys)
        return ((before, after), *((before, after.replace(first, other)) for other in others))

    def text(self, seller_id: str, page_num: int, key: int) -> bytes:
        """One request, for a connection that is open."""
        before, after = self._around_query[key]
        plain = seller_id.isascii() and seller_id.isalnum()
        asked = seller_id if plain else quote(seller_id, safe="")
        return f"{before}seller_id={asked}{self._between}{page_num}{after}".encode()


def _authorization(key: str) -> str:
    return f"Bearer {key}"


class _IdleConnections:
    """Connections between two requests: aiohttp's connector would look up, count and wrap each every time."""

    def __init__(self) -> None:
        self._kept: list[tuple[Connection, float]] = []

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


class _Deadlines:
    """Cancels a task whose request takes longer than `seconds`; one timer serves all, the oldest is due next.

    `asyncio.timeout` would make a timer and a context for each request, and take 4 us of CPU for them.
    To abort its transport is not enough: where that is closed already, a body that was spoilt wakes nobody.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._due: dict[asyncio.Task[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> asyncio.Task[Any]:
        """Note that a request of the current task leaves now; returns the task."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._due[task] = due = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(due, self._look)
        return task

    def end(self, task: asyncio.Task[Any]) -> bool:
        """Note that its request has ended; whether the task was cancelled for that being late alone."""
        return self._due.pop(task, None) is None and task.uncancel() == 0

    def close(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task in [task for task, due in self._due.items() if due <= now]:
            del self._due[task]
            task.cancel()
        self._timer = loop.call_at(min(self._due.values()), self._look) if self._due else None


class _Redaction:
    """Replaces the key in answers, however JSON spells it, by `***`: an echo of it must not be stored."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._in_json = re.compile("".join(map(_spellings, key)).encode())
        # Other characters than these are escaped by their number alone, which begins with 00.
        self._may_be_escaped = not key.isascii() or any(character in key for character in '"/\\')

    def __call__(self, body: bytes) -> bytes:
        """The body without the key."""
        if b"\\" in body and (self._may_be_escaped or b"\\u00" in body):
            return self._in_json.sub(b"***", body)
        return body.replace(self._key, b"***") if self._key in body else body


def _spellings(character: str) -> str:
    backslash = r"\\?" if character in '"/\\' else ""
    return rf"(?:{backslash}{re.escape(character)}|\\u(?i:{ord(character):04x}))"
