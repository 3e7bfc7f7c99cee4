"""The stand-in as a server on loopback: it keeps its own count of requests and credits."""

from __future__ import annotations

import asyncio
import gzip
import re
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import Self

import orjson
from aiohttp import web

from crawler.models.api import MAX_PAGE_NUM, PAGE_SIZE
from crawler.models.errors import InputError
from crawler.simulator.catalogue import Catalogue, CatalogueOptions
from crawler.simulator.faults import Answer, Document, Fault, drawn, error_answer, page_answer
from crawler.simulator.outages import Page, served_rows

PATH = "/v1/tiktok/shop/videos/analytics"
KEY = "sk_live_simulator"

_DAY_PATH = "/_day/"
_TRUTH_PATH = "/_truth/"
_NUMBERS = (
    ("page_num", 1, MAX_PAGE_NUM),
    ("page_size", 1, PAGE_SIZE),
    ("seller_video_sort_field", 1, 3),
    ("sort_type", 0, 1),
)
"""The numeric parameters: lowest and highest."""
_DEFAULTS = {"seller_video_sort_field": "1", "sort_type": "1"}


@dataclass(frozen=True, slots=True)
class SimulatedKey:
    """A further key that the stand-in takes, with its own limits.

    `qps` is in requests a second, `quota` in credits; after `refused_after` requests with it, it is refused.
    """

    value: str
    qps: float | None = None
    quota: int | None = None
    refused_after: int | None = None


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """How the stand-in behaves; `latency` and `jitter` in seconds, `quota` in credits.

    `day`: see `Catalogue`; None for today's date in UTC, as it moves on. `outage`: a name of `OUTAGES`.
    `drift`: after every so many requests of a seller one more video comes in; 0 for never.
    `retry_after`: the `Retry-After` header of each answer with status 429. `gzip`: whole answers are
    compressed for a client that accepts it. `keys`: several in the place of `key`, each with its own limits
    beside `qps` and `quota`, which are over all.
    """

    catalogue: CatalogueOptions = field(default_factory=CatalogueOptions)
    day: int | date | None = 0
    outage: str | None = None
    latency: float = 0.0
    jitter: float = 0.0
    qps: float | None = None
    quota: int | None = None
    faults: tuple[Fault, ...] = ()
    drift: int = 0
    key: str = KEY
    keys: tuple[SimulatedKey, ...] = ()
    retry_after: str | None = None
    gzip: bool = False


@dataclass(slots=True)
class KeyStats:
    """The count of one of several keys; `arrivals` are monotonic seconds."""

    requests: int = 0
    credits: int = 0
    arrivals: array[float] = field(default_factory=lambda: array("d"))
    recent: deque[float] = field(default_factory=deque)


@dataclass(slots=True)
class SimulatorStats:
    """The stand-in's own count; `arrivals` are monotonic seconds.

    `by_status` counts whole answers by HTTP status, other deliveries by the kind of fault; `pages`
    counts attempts by seller and page.
    """

    requests: int = 0
    credits: int = 0
    by_key: dict[str, KeyStats] = field(default_factory=dict)
    by_status: Counter[str] = field(default_factory=Counter)
    pages: Counter[tuple[str, int]] = field(default_factory=Counter)
    arrivals: array[float] = field(default_factory=lambda: array("d"))


class _RefusedError(Exception):
    """The request is refused, and costs nothing."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = error_answer(status, message)


class Simulator:
    """An async context manager: while it is entered, the stand-in answers at `url`.

    A request is charged one credit unless it is refused: with 401, 429, 400 or 402 as the key, the
    rate, the parameters or the quota ask for, or by a fault that is a refusal (status or code 400, 401,
    402, 403, 429; `quota500`). Every other fault is charged, whether its answer arrives or not.

    A scripted fault passes over rate and quota, but not over a wrong key or parameter, where there is
    no page to spoil.
    """

    def __init__(self, options: SimulatorOptions | None = None, port: int = 0) -> None:
        self._options = options or SimulatorOptions()
        self._port = port
        self._day = self._options.day
        self.catalogue = Catalogue(self._options.catalogue, _today() if self._day is None else self._day)
        self.stats = SimulatorStats()
        self.stats.by_key = {key.value: KeyStats() for key in self._options.keys}
        self._keys = {f"Bearer {key.value}": key for key in self._options.keys}
        self.behind = timedelta(0)
        """How far its clock is behind this machine's."""
        self.url = ""
        self._shares = tuple(fault for fault in self._options.faults if not fault.at)
        self._script = {fault.at: fault for fault in self._options.faults if fault.at}
        self._by_seller: Counter[str] = Counter()
        self._recent: deque[float] = deque()
        self._rng = Random(self._options.catalogue.seed)  # noqa: S311 - latency, not secrets
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> Self:
        # Cancellation frees an answer that would hang or drip on for a client that has left.
        server = web.Server(self._handle, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=4096)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        route = request.method, request.path
        if route == ("GET", PATH):
            return await self._videos(request)
        if route == ("GET", "/_stats"):
            stats = self.stats
            figures = {"requests": stats.requests, "credits": stats.credits, "by_status": stats.by_status}
            if stats.by_key:
                figures["by_key"] = {
                    key: {"requests": count.requests, "credits": count.credits}
                    for key, count in stats.by_key.items()
                }
            return web.Response(body=orjson.dumps(figures), content_type="application/json")
        if request.method == "POST" and request.path.startswith(_DAY_PATH):
            return self._move_day(request.path.removeprefix(_DAY_PATH))
        if request.method == "GET" and request.path.startswith(_TRUTH_PATH):
            return self._truth(request.path.removeprefix(_TRUTH_PATH), request.query.get("day"))
        return web.Response(status=404)

    async def _videos(self, request: web.BaseRequest) -> web.StreamResponse:
        now = time.monotonic()
        self.stats.requests += 1
        self.stats.arrivals.append(now)
        fault = self._script.get(self.stats.requests)
        try:
            asked = self._admitted(request, now, scripted=fault is not None)
        except _RefusedError as refusal:
            return self._send(request, refusal.answer)
        attempt = self._counted(asked)
        seed = self._options.catalogue.seed
        fault = fault or drawn(self._shares, seed, asked.seller_id, asked.page_num, attempt)
        is_charged = fault is None or not fault.refuses
        self.stats.credits += is_charged
        if (key := self._key_of(request)) is not None:
            self.stats.by_key[key.value].credits += is_charged
        if self._options.latency or self._options.jitter:
            await asyncio.sleep(self._options.latency + self._options.jitter * self._rng.random())
        document = self._document(asked, attempt, fault)
        if fault is None:
            return self._send(request, page_answer(document))
        return await self._faulty(request, fault, document)

    async def _faulty(self, request: web.BaseRequest, fault: Fault, document: Document) -> web.StreamResponse:
        answer = fault.effect.spoil(fault.number, document)
        if fault.effect.deliver is None:
            return self._send(request, answer)
        self.stats.by_status[fault.kind] += 1
        try:
            return await fault.effect.deliver(request, answer.body)
        except ConnectionError:
            return web.Response()  # nobody is left to read it

    def _admitted(self, request: web.BaseRequest, now: float, *, scripted: bool) -> Page:
        given, options = request.headers.get("Authorization"), self._options
        key = self._key_of(request)
        if key is None and (self._keys or given != f"Bearer {options.key}"):
            raise _RefusedError(401, "apiKey is null" if given is None else "apiKey is invalid")
        limits = [(options.qps, options.quota, self.stats.credits, self._recent)]
        if key is not None:
            stats = self.stats.by_key[key.value]
            stats.requests += 1
            stats.arrivals.append(now)
            if key.refused_after is not None and stats.requests > key.refused_after:
                raise _RefusedError(401, "apiKey is invalid")
            limits.append((key.qps, key.quota, stats.credits, stats.recent))
        for qps, _, _, recent in limits:
            if qps is not None and not _has_place(recent, qps, now) and not scripted:
                raise _RefusedError(429, "qps limit exceeded")
        asked = _read_query(request.query)
        for _, quota, spent, _ in limits:
            if quota is not None and spent >= quota and not scripted:
                raise _RefusedError(402, "apiKey quota is not enough")
        return asked

    def _key_of(self, request: web.BaseRequest) -> SimulatedKey | None:
        """Which of several keys a request carries."""
        return self._keys.get(request.headers.get("Authorization", ""))

    def _counted(self, asked: Page) -> int:
        """Count a request that may have its page; returns which attempt at the page it is, from 1."""
        page = sys.intern(asked.seller_id), asked.page_num
        self.stats.pages[page] += 1
        if self._options.drift:
            self._by_seller[asked.seller_id] += 1
        return self.stats.pages[page]

    def _document(self, asked: Page, attempt: int, fault: Fault | None) -> Document:
        seller_id, page_num, drift = asked.seller_id, asked.page_num, self._options.drift
        shown = max(1, page_num - 1) if fault is not None and fault.kind == "repeat" else page_num
        shift = self._by_seller[seller_id] // drift if drift else 0
        page = asked._replace(page_num=shown, shift=shift)
        self.catalogue.day = self._served_day()
        return {
            "code": 0,
            "message": "success",
            "data": served_rows(self.catalogue, page, self._options.outage),
            "requestId": f"{seller_id}-{page_num}-{attempt}",
        }

    def _send(self, request: web.BaseRequest, answer: Answer) -> web.Response:
        self.stats.by_status[str(answer.status)] += 1
        headers = {"Content-Type": answer.content_type}
        if self.behind:
            headers["Date"] = format_datetime(datetime.now(UTC) - self.behind, usegmt=True)
        if answer.status == 429 and self._options.retry_after is not None:
            headers["Retry-After"] = self._options.retry_after
        body = answer.body
        if self._options.gzip and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, 1)
        return web.Response(status=answer.status, body=body, headers=headers)

    def _move_day(self, text: str) -> web.Response:
        try:
            self._day = self.catalogue.day = read_day(text)
        except InputError as error:
            return web.Response(status=400, text=str(error))
        return web.Response(text=text)

    def _truth(self, seller_id: str, day: str | None) -> web.Response:
        """All rows of a seller on a day, as no outage, fault or drift spoils them; no request is counted."""
        if not _is_number(seller_id):
            return web.Response(status=400, text=f"seller {seller_id!r}: digits are wanted")
        try:
            asked = self._served_day() if day is None else read_day(day)
        except InputError as error:
            return web.Response(status=400, text=str(error))
        rows = Catalogue(self._options.catalogue, asked).videos(seller_id)
        return web.Response(body=orjson.dumps(rows), content_type="application/json")

    def _served_day(self) -> int | date:
        return _today() if self._day is None else self.catalogue.day


def read_day(text: str) -> int | date:
    """A catalogue's day: a date such as 2026-11-23, or a number from 0 to 99999. Raises `InputError`."""
    if _is_number(text) and len(text) < 6:
        return int(text)
    with suppress(ValueError):
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    raise InputError(f"day {text!r}: a date such as 2026-11-23 is wanted, or a number from 0 to 99999")


def read_keys(text: str) -> tuple[SimulatedKey, ...]:
    """Keys as `KEY`, `KEY:QPS` or `KEY:QPS:QUOTA`, separated by commas. Raises `InputError`."""
    try:
        return tuple(_read_key(*each.split(":")) for each in text.split(","))
    except (ValueError, TypeError):
        raise InputError(
            f"keys {text!r}: KEY, KEY:QPS or KEY:QPS:QUOTA are wanted, separated by commas"
        ) from None


def _read_key(value: str, qps: str = "", quota: str = "") -> SimulatedKey:
    return SimulatedKey(value, float(qps) if qps else None, int(quota) if quota else None)


def _has_place(recent: deque[float], qps: float, now: float) -> bool:
    """Take a place of the sliding second that ends now, if there is one left."""
    while recent and recent[0] <= now - 1.0:
        recent.popleft()
    free = len(recent) < qps
    if free:
        recent.append(now)
    return free


def _today() -> date:
    return datetime.now(UTC).date()


def _read_query(query: Mapping[str, str]) -> Page:
    given = {**_DEFAULTS, **query}
    for name in (*(name for name, _, _ in _NUMBERS), "seller_id"):
        if name not in given:
            raise _RefusedError(400, f"Missing required parameter: {name}")
    for name, lowest, highest in _NUMBERS:
        value = given[name]
        if not (_is_number(value) and len(value) < 10 and lowest <= int(value) <= highest):
            raise _RefusedError(400, f"Invalid parameter: {name}")
    if not _is_number(given["seller_id"]):
        raise _RefusedError(400, "Invalid parameter: seller_id")
    return Page(given["seller_id"], *(int(given[name]) for name, _, _ in _NUMBERS))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()
