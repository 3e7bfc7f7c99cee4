"""The stand-in as a server on loopback: it keeps its own count of requests and credits."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

from crawler.models import MAX_PAGE_NUM, PAGE_SIZE
from crawler.simulator.catalogue import Catalogue, CatalogueOptions
from crawler.simulator.faults import Fault, drawn

PATH = "/v1/tiktok/shop/videos/analytics"
KEY = "sk_live_simulator"


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """How the stand-in behaves; `latency` and `jitter` in seconds, `quota` in credits.

    `drift`: after every so many requests of a seller one more video comes in; 0 for never.
    """

    catalogue: CatalogueOptions = field(default_factory=CatalogueOptions)
    day: int = 0
    latency: float = 0.0
    jitter: float = 0.0
    qps: float | None = None
    quota: int | None = None
    faults: tuple[Fault, ...] = ()
    drift: int = 0
    key: str = KEY


@dataclass(slots=True)
class SimulatorStats:
    """The stand-in's own count; `arrivals` are monotonic seconds."""

    requests: int = 0
    credits: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    pages: Counter[tuple[str, int]] = field(default_factory=Counter)
    arrivals: list[float] = field(default_factory=list)


class Simulator:
    """An async context manager: while it is entered, the stand-in answers at `url`.

    A credit is charged for every request that passes authentication, QPS and parameter checks.
    """

    def __init__(self, options: SimulatorOptions | None = None, port: int = 0) -> None:
        self._options = options or SimulatorOptions()
        self._port = port
        self.catalogue = Catalogue(self._options.catalogue, self._options.day)
        self.stats = SimulatorStats()
        self.url = ""
        self._recent: deque[float] = deque()
        self._rng = Random(self._options.catalogue.seed)  # noqa: S311 - latency, not secrets
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get(PATH, self._videos)
        app.router.add_get("/_stats", self._tell_stats)
        app.router.add_post("/_day/{day}", self._move_day)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=4096)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _videos(self, request: web.Request) -> web.StreamResponse:
        now = time.monotonic()
        self.stats.requests += 1
        self.stats.arrivals.append(now)
        refusal = self._refusal(request, now)
        if refusal is not None:
            return self._answer(refusal[0], {"code": refusal[0], "data": None, "message": refusal[1]})
        self.stats.credits += 1
        seller_id, page_num = request.query["seller_id"], int(request.query["page_num"])
        attempt = self.stats.pages[seller_id, page_num] = self.stats.pages[seller_id, page_num] + 1
        if self._options.latency or self._options.jitter:
            await asyncio.sleep(self._options.latency + self._options.jitter * self._rng.random())
        rows = self._rows(request, seller_id, page_num)
        body = {
            "code": 0,
            "message": "success",
            "data": rows,
            "requestId": f"{seller_id}-{page_num}-{attempt}",
        }
        seed = self._options.catalogue.seed
        fault = drawn(self._options.faults, seed, seller_id, page_num, attempt)
        return self._answer(200, body) if fault is None else await self._faulty(request, fault, body)

    def _refusal(self, request: web.Request, now: float) -> tuple[int, str] | None:
        if request.headers.get("Authorization") != f"Bearer {self._options.key}":
            return 401, "apiKey is null" if "Authorization" not in request.headers else "apiKey is invalid"
        if self._options.qps is not None:
            while self._recent and self._recent[0] <= now - 1.0:
                self._recent.popleft()
            if len(self._recent) >= self._options.qps:
                return 429, "qps limit exceeded"
            self._recent.append(now)
        wrong = _wrong_parameter(request)
        if wrong is not None:
            return 400, wrong
        if self._options.quota is not None and self.stats.credits >= self._options.quota:
            return 402, "apiKey quota is not enough"
        return None

    def _rows(self, request: web.Request, seller_id: str, page_num: int) -> list[dict[str, Any]]:
        query = request.query
        drift = self._options.drift
        shift = sum(n for (s, _), n in self.stats.pages.items() if s == seller_id) // drift if drift else 0
        return self.catalogue.page(
            seller_id,
            int(query.get("seller_video_sort_field", 1)),
            int(query.get("sort_type", 1)),
            page_num,
            int(query["page_size"]),
            shift,
        )

    def _answer(self, status: int, body: dict[str, Any]) -> web.Response:
        return self._raw(status, orjson.dumps(body))

    def _raw(self, status: int, body: bytes, kind: str = "application/json") -> web.Response:
        self.stats.by_status[str(status)] += 1
        return web.Response(status=status, body=body, content_type=kind)

    async def _faulty(self, request: web.Request, fault: Fault, body: dict[str, Any]) -> web.StreamResponse:
        match fault.kind:
            case "status" | "code":
                told = {"code": fault.number, "data": None, "message": "Internal server error"}
                return self._answer(fault.number if fault.kind == "status" else 200, told)
            case "reset" | "cut" | "slow" | "hang":
                return await self._broken(request, fault.kind, orjson.dumps(body))
            case "malformed":
                return self._raw(200, orjson.dumps(body)[:-20])
            case "html":
                return self._raw(200, b"<html><body>Bad gateway</body></html>", "text/html")
            case _:
                return self._raw(200, _oddly(fault.kind, body))

    async def _broken(self, request: web.Request, kind: str, body: bytes) -> web.StreamResponse:
        self.stats.by_status[kind] += 1
        response = web.StreamResponse()
        response.content_length = len(body)
        if kind != "reset":
            await response.prepare(request)
        if kind == "cut":
            await response.write(body[: len(body) // 2])
        elif kind == "slow":
            for start in range(0, len(body), 512):
                await response.write(body[start : start + 512])
                await asyncio.sleep(0.05)
            return response
        elif kind == "hang":
            await asyncio.sleep(3600)
        if request.transport is not None:
            request.transport.abort()
        return response

    async def _tell_stats(self, _request: web.Request) -> web.Response:
        stats = self.stats
        told = {"requests": stats.requests, "credits": stats.credits, "by_status": dict(stats.by_status)}
        return web.Response(body=orjson.dumps(told), content_type="application/json")

    async def _move_day(self, request: web.Request) -> web.Response:
        self.catalogue.day = int(request.match_info["day"])
        return web.Response(text=str(self.catalogue.day))


def _wrong_parameter(request: web.Request) -> str | None:
    query = request.query
    for name, low, high, required in (
        ("page_num", 1, MAX_PAGE_NUM, True),
        ("page_size", 1, PAGE_SIZE, True),
        ("seller_video_sort_field", 1, 3, False),
        ("sort_type", 0, 1, False),
    ):
        value = query.get(name)
        if value is None and required:
            return f"Missing required parameter: {name}"
        if value is not None and not (value.isascii() and value.isdigit() and low <= int(value) <= high):
            return f"Invalid parameter: {name}"
    if "seller_id" not in query:
        return "Missing required parameter: seller_id"
    return None if query["seller_id"].isdigit() else "Invalid parameter: seller_id"


def _oddly(kind: str, body: dict[str, Any]) -> bytes:
    """A body that is odd but holds every row."""
    if kind == "null":
        return orjson.dumps({**body, "data": None})
    if kind == "object":
        return orjson.dumps({**body, "data": {"list": body["data"]}})
    if kind == "odd":
        for row in body["data"]:
            row["video_id"] = int(row["video_id"])
            row["total_views_cnt"] = str(row["total_views_cnt"])
            row["brand_new_field"] = {"a": 1}
        return orjson.dumps(body)
    mark = b"\x01" if kind == "control" else b"\\ud800"
    return orjson.dumps(body).replace(b'"video_desc":"', b'"video_desc":"' + mark)
