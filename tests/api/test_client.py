"""The client against a server scripted byte by byte: one request exactly once, bounded, nothing leaked."""

from __future__ import annotations

import asyncio
import gc
import gzip
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import traceback
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from time import monotonic
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.api.client import MAX_BODY, PATH, ApiClient
from crawler.api.proxies import proxy_for
from crawler.models.api import SortField, SortOrder
from crawler.models.errors import (
    CrawlerError,
    InputError,
    KeyRefusedError,
    PageError,
    QuotaUsedUpError,
    UnavailableError,
)
from crawler.models.page import Page

KEY = 'sk_live_a/b"c<d'
SELLER = "7494662098975951181"
BODY = b'{"code":0,"message":"success","data":[{"video_id":"1"}],"requestId":"r-1"}'
OF_THE_SERVER = {"Server.connected", "BaseSelectorEventLoop._accept_connection2"}
MIB = 1024 * 1024


def answer(body: bytes = BODY, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    announced = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {announced}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


PAGE = answer()


class Peer:
    """The server's end of one connection."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """Read one request's head, and note it."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        self._server.requests.append(head)
        self._server.came.set()
        return head

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def silence(self) -> None:
        await self._reader.read()


Script = Callable[[Peer], Awaitable[None]]


class Server:
    """Plays one script for each connection, the last one again and again."""

    def __init__(self, scripts: tuple[Script, ...]) -> None:
        self._scripts = scripts
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.open = 0
        self.requests: list[bytes] = []
        self.came = asyncio.Event()
        self.url = ""

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        self.open += 1
        try:
            await script(Peer(self, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            self._tasks.discard(task)
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def stop(self) -> None:
        for task in self._tasks.copy():
            task.cancel()
        while self._tasks:
            await asyncio.sleep(0)


@asynccontextmanager
async def serving(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(scripts)
    listener = await asyncio.start_server(server.connected, "127.0.0.1", 0, ssl=tls)
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        await server.stop()
        await listener.wait_closed()


def saying(*parts: bytes, times: int = 1, stay: bool = True) -> Script:
    """Answer requests with the parts; then stay connected, or close."""

    async def script(peer: Peer) -> None:
        for _ in range(times):
            await peer.request()
            for part in parts:
                await peer.say(part)
        if stay:
            await peer.silence()

    return script


class Leaving:
    """A departure that counts, and lets go after `wait` seconds or when `gate` opens."""

    def __init__(self, wait: float = 0, gate: asyncio.Event | None = None) -> None:
        self._wait = wait
        self._gate = gate
        self.waiting = asyncio.Event()
        self.asked = self.left = 0
        self.label = "unknown"
        self.key = 0

    async def leave(self, ready: Callable[[], bool]) -> bool:
        self.asked += 1
        self.waiting.set()
        if self._gate is not None:
            await self._gate.wait()
        await asyncio.sleep(self._wait)
        if ready():
            self.left += 1
            return True
        return False


@asynccontextmanager
async def client(
    url: str,
    *,
    timeout: float = 2,  # noqa: ASYNC109 - the client's own
    connect_timeout: float = 2,
    sort: SortField = SortField.VIEWS,
    order: SortOrder = SortOrder.DESC,
    keys: tuple[str, ...] = (KEY,),
) -> AsyncIterator[ApiClient]:
    """A client that must have let go of everything when its block ends."""
    others = asyncio.all_tasks()
    api = ApiClient(
        url,
        *keys,
        sort=sort,
        order=order,
        timeout=timeout,
        connect_timeout=connect_timeout,
        connections=50,
        wall_clock=lambda: 5,
    )
    async with api:
        yield api
        connector = api._connector._connector
        assert len(connector._acquired) == len(api._idle._kept)
        assert not connector._waiters
    started = {getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks() - others}
    assert started <= OF_THE_SERVER


async def fetch(api: ApiClient, departure: Leaving | None = None, seller: str = SELLER) -> Page:
    return await api.fetch(seller, 3, departure or Leaving())


async def fails(api: ApiClient, label: str, error: type[Exception] = UnavailableError, left: int = 1) -> str:
    """One fetch that must fail as expected; returns the message."""
    departure = Leaving()
    with pytest.raises((PageError, CrawlerError)) as caught:
        await fetch(api, departure)
    assert type(caught.value) is error
    assert (departure.label, departure.left) == (label, left)
    assert f"seller {SELLER}, page 3" in str(caught.value)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


@contextmanager
def within(seconds: float, at_least: float = 0) -> Iterator[None]:
    begun = monotonic()
    yield
    assert at_least <= monotonic() - begun < seconds


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _warned_of_what_leaks() -> Iterator[None]:
    """What was left open warns when it is collected, and a warning is an error here."""
    yield
    gc.collect()


# What is sent


@pytest.mark.parametrize(("sort", "field"), [(SortField.VIEWS, 1), (SortField.SALES, 2), (SortField.GMV, 3)])
@pytest.mark.parametrize(("order", "kind"), [(SortOrder.ASC, 0), (SortOrder.DESC, 1)])
async def test_the_request_is_the_described_one(
    sort: SortField, field: int, order: SortOrder, kind: int
) -> None:
    described = yaml.safe_load((Path(__file__).parents[1] / "openapi.yaml").read_text())
    ((path, methods),) = described["paths"].items()
    parameters = {p["name"]: p["required"] for p in methods["get"]["parameters"]}
    seller = "a&b=c +%/\u00e9#?"
    async with serving(saying(PAGE)) as server, client(server.url + "/", sort=sort, order=order) as api:
        page = await fetch(api, seller=seller)
    (head,) = server.requests
    line, *rest = head.decode().rstrip().split("\r\n")
    method, target, version = line.split(" ")
    assert (method, urlsplit(target).path, version) == ("GET", path, "HTTP/1.1")
    query = parse_qsl(urlsplit(target).query, strict_parsing=True)
    assert dict(query) == {
        "seller_id": seller,
        "seller_video_sort_field": str(field),
        "sort_type": str(kind),
        "page_num": "3",
        "page_size": "10",
    }
    assert sorted(name for name, _ in query) == sorted(parameters)
    sent = dict(header.split(": ", 1) for header in rest)
    assert len(sent) == len(rest)
    assert sent.pop("User-Agent")
    assert sent == {
        "Host": server.url.removeprefix("http://"),
        "Authorization": f"Bearer {KEY}",
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
    }
    assert page == Page(seller, 3, BODY, 1, page.fingerprint, 5, "r-1")


async def test_a_request_carries_the_key_that_its_departure_says() -> None:
    """On a connection that another key opened too; and no key is kept from an echo of any."""
    keys = (KEY, "sk_live_2", "sk_live_22")
    echo = answer(BODY.replace(b"r-1", b"sk_live_22"))
    order = (2, 0, 1, 1)
    async with serving(saying(echo, times=4)) as server, client(server.url, keys=keys) as api:
        for number in order:
            departure = Leaving()
            departure.key = number
            page = await fetch(api, departure)
            assert page.request_id == "***"
        assert server.connections == 1
    for number, head in zip(order, server.requests, strict=True):
        found = [line for line in head.split(b"\r\n") if line.startswith(b"Authorization")]
        assert found == [f"Authorization: Bearer {keys[number]}".encode()]
    assert len({len(head.split(b"\r\n")) for head in server.requests}) == 1, "all else is the same"


async def test_each_request_that_arrives_has_left_once() -> None:
    async def moody(peer: Peer) -> None:
        for _ in range(server.connections % 3):
            await peer.request()
            await peer.say(PAGE)
        await peer.request()

    results: list[Page | BaseException] = []
    departures = [Leaving(wait=n % 3 / 100) for n in range(60)]
    async with serving(moody) as server, client(server.url) as api:
        for begin in range(0, 60, 15):
            some = (fetch(api, departure) for departure in departures[begin : begin + 15])
            results += await asyncio.gather(*some, return_exceptions=True)
        assert sum(departure.left for departure in departures) == len(server.requests)
    assert {departure.left for departure in departures} == {1}
    assert {type(result) for result in results} == {Page, UnavailableError}


@pytest.mark.parametrize("reset", [False, True])
async def test_a_kept_connection_that_breaks_at_the_next_request_is_not_asked_again(reset: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(PAGE)
        await peer.request()
        if reset:
            peer.writer.transport.abort()

    async with serving(script, saying(PAGE, times=9)) as server, client(server.url) as api:
        assert (await fetch(api)).row_count == 1
        await fails(api, "connection")
        assert (server.connections, len(server.requests)) == (1, 2)
        assert (await fetch(api)).row_count == 1
        assert (server.connections, len(server.requests)) == (2, 3)


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
)
async def test_redirects_are_not_followed(status: str) -> None:
    async with serving(saying(PAGE, times=9)) as elsewhere:
        moved = answer(b"", f"Location: {elsewhere.url}{PATH}", status=status)
        async with serving(saying(moved)) as server, client(server.url) as api:
            await fails(api, status[:3])
            assert len(server.requests) == 1
        assert elsewhere.connections == 0


def named(server: Server) -> str:
    """The server under a name: bare addresses are treated apart."""
    return server.url.replace("127.0.0.1", "localhost")


async def test_cookies_are_neither_kept_nor_sent() -> None:
    with_cookie = answer(BODY, "Set-Cookie: a=b; Path=/")
    async with serving(saying(with_cookie, times=2)) as server, client(named(server)) as api:
        await fetch(api)
        await fetch(api)
    assert len(server.requests) == 2
    assert b"cookie" not in b"".join(server.requests).lower()


# What comes back


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((answer(gzip.compress(BODY), "Content-Encoding: gzip"),), id="gzip"),
        pytest.param((b"HTTP/1.1 200 OK\r\n\r\n" + BODY,), id="until close"),
        pytest.param((b"HTTP/1.0 200 OK\r\n\r\n" + BODY,), id="old"),
        pytest.param(tuple(bytes([b]) for b in PAGE), id="byte by byte"),
        pytest.param(
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n", PAGE), id="1xx"
        ),
        pytest.param(
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
                % (len(BODY), BODY),
            ),
            id="chunked",
        ),
    ],
)
async def test_a_page_comes_in_any_shape(parts: tuple[bytes, ...]) -> None:
    async with serving(saying(*parts, stay=False)) as server, client(server.url) as api:
        assert (await fetch(api)).body == BODY


@pytest.mark.parametrize(
    ("said", "label"),
    [
        pytest.param(b"", "connection", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-", "connection", id="half a head"),
        pytest.param(b"220 smtp ready\r\n", "connection", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\x00c\r\n\r\n", "connection", id="broken header"),
        pytest.param(answer(BODY[:-9], length=len(BODY)), "connection", id="cut body"),
        pytest.param(answer(BODY, length=len(BODY) - 9), "connection", id="length too small"),
        pytest.param(answer(BODY, length=len(BODY) + 9), "connection", id="length too great"),
        pytest.param(answer(BODY, "Content-Length: 5"), "connection", id="two lengths"),
        pytest.param(answer(BODY, length=-1), "connection", id="negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n" + BODY[:-9], "malformed", id="cut without length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(BODY), BODY),
            "connection",
            id="no last chunk",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "connection", id="broken chunk"
        ),
        pytest.param(answer(gzip.compress(BODY)[:-20], "Content-Encoding: gzip"), "malformed", id="cut gzip"),
        pytest.param(answer(b"no gzip", "Content-Encoding: gzip"), "connection", id="no gzip"),
        pytest.param(answer(BODY, "Content-Encoding: br"), "connection", id="unwanted coding"),
        pytest.param(answer(b"<html>"), "malformed", id="html"),
        pytest.param(answer(b"", status="204 No Content"), "204", id="no content"),
        pytest.param(b"HTTP/1.1 101 Up\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "101", id="upgrade"),
    ],
)
async def test_a_broken_answer_is_unavailability(said: bytes, label: str) -> None:
    async with serving(saying(said, stay=False), saying(PAGE)) as server, client(server.url) as api:
        await fails(api, label)
        assert len(server.requests) == 1
        assert (await fetch(api)).row_count == 1


SNIPPETS = [
    *(
        b"HTTP/1.1 ",
        b"200 OK",
        b"\r\n",
        b"\r\n\r\n",
        b": ",
        b"Content-Length",
        b"Transfer-Encoding",
        b"chunked",
    ),
    *(
        b"Content-Encoding",
        b"gzip",
        b"deflate",
        b"0\r\n\r\n",
        b"5\r\n",
        b"100 Continue",
        b"Connection: close",
        PAGE,
    ),
    *(BODY, b"\0", b"\xff", b"Retry-After: 9", b"429 ", gzip.compress(BODY)),
]


@given(
    st.lists(st.sampled_from(SNIPPETS) | st.binary(max_size=9), max_size=12),
    st.sampled_from([b"", PAGE[:30]]),
)
@settings(deadline=None, max_examples=60)
def test_any_bytes_are_a_page_or_a_typed_error(parts: list[bytes], start: bytes) -> None:
    async def ask() -> None:
        async with serving(saying(start, *parts, stay=False)) as server, client(server.url) as api:
            departure = Leaving()
            with suppress(PageError, CrawlerError):
                await fetch(api, departure)
            assert departure.left == len(server.requests) == 1
            assert departure.label != "unknown"

    asyncio.run(ask())


async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_sellers() -> None:
    said = asyncio.Event()

    async def talkative(peer: Peer) -> None:
        await peer.request()
        await peer.say(PAGE)
        await asyncio.sleep(0.02)
        await peer.say(answer(BODY.replace(b"r-1", b"stale")))
        said.set()
        await peer.silence()

    async with serving(talkative, saying(PAGE)) as server, client(server.url) as api:
        await fetch(api)
        await said.wait()
        await asyncio.sleep(0.02)
        assert (await fetch(api, seller="8")).request_id == "r-1"
        assert len(server.requests) == 2


async def test_an_answer_of_which_half_came_before_the_request_is_not_taken_for_it() -> None:
    """Of an answer that nobody asked for, what came before a request is not part of that request's answer."""
    stale = answer(BODY.replace(b"r-1", b"stale"))

    async def stutters(peer: Peer) -> None:
        await peer.request()
        await peer.say(PAGE + stale[:30])
        await peer.request()
        await peer.say(stale[30:])
        await peer.silence()

    async with serving(stutters) as server, client(server.url) as api:
        await fetch(api)
        await fails(api, "connection")
        assert len(server.requests) == 2


async def test_a_small_bomb_is_refused_without_its_memory() -> None:
    bomb = gzip.compress(b"[" * 100 * MIB, 1)
    assert len(bomb) < MIB
    wire = answer(bomb, "Content-Encoding: gzip")
    async with serving(saying(wire)) as server, client(server.url, timeout=10) as api:
        tracemalloc.start()
        try:
            assert "16 MiB" in await fails(api, "connection")
            assert tracemalloc.get_traced_memory()[1] < 2 * MAX_BODY
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("is_announced", [True, False])
async def test_a_huge_body_is_refused_early(is_announced: bool) -> None:
    said = 0

    async def flood(peer: Peer) -> None:
        nonlocal said
        await peer.request()
        await peer.say(answer(b"", length=200 * MIB) if is_announced else b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(200):
            await peer.say(b"[" * MIB)
            said += 1

    async with serving(flood, saying(PAGE)) as server, client(server.url, timeout=10) as api:
        assert "16 MiB" in await fails(api, "connection")
        assert (await fetch(api)).row_count == 1
        assert said < 40


async def test_the_largest_body_is_still_read() -> None:
    body = BODY[:-1] + b" " * (MAX_BODY - len(BODY)) + b"}"
    async with serving(saying(answer(body))) as server, client(server.url, timeout=10) as api:
        assert (await fetch(api)).body == body


# Time


async def drip(peer: Peer) -> None:
    await peer.request()
    await peer.say(answer(b"", length=999))
    while True:
        await peer.say(b" ")
        await asyncio.sleep(0.02)


async def endless_header(peer: Peer) -> None:
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\nA: ")
    while True:
        await peer.say(b"a" * 9)
        await asyncio.sleep(0.01)


async def endless_headers(peer: Peer) -> None:
    await peer.request()
    await peer.say(b"HTTP/1.1 200 OK\r\n")
    while True:
        await peer.say(b"A: b\r\n")
        await asyncio.sleep(0.01)


async def endless_informing(peer: Peer) -> None:
    await peer.request()
    while True:
        await peer.say(b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" * 50)
        await asyncio.sleep(0)


async def stays(peer: Peer) -> None:
    await peer.silence()


async def never(peer: Peer) -> None:
    await peer.request()
    await peer.silence()


async def spoilt_midway(peer: Peer) -> None:
    await peer.request()
    await peer.say(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"cod')
    await asyncio.sleep(0.02)
    await peer.say(b"no chunk\r\n")
    await peer.silence()


@pytest.mark.parametrize(
    "script", [drip, endless_header, endless_headers, endless_informing, spoilt_midway, never]
)
async def test_an_answer_must_be_whole_in_time(script: Script) -> None:
    async with serving(script) as server, client(server.url, timeout=0.2) as api:
        with within(1.5, at_least=0.2):
            assert "0.2 s" in await fails(api, "timeout")
        assert len(server.requests) == 1


@pytest.mark.parametrize("flood", [b"a" * 9999, b"A: b\r\n" * 9999])
async def test_a_head_is_bounded(flood: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(b"HTTP/1.1 200 OK\r\nA: ")
        while True:
            await peer.say(flood)

    async with serving(script) as server, client(server.url) as api:
        with within(1):
            await fails(api, "connection")


@contextmanager
def full_port() -> Iterator[str]:
    """A port that listens, and whose queue is full: connecting to it never ends."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for one in waiting:
                one.close()


async def test_a_server_that_never_accepts_costs_nothing() -> None:
    with full_port() as url:
        async with client(url, connect_timeout=0.2) as api:
            with within(1.5, at_least=0.2):
                await fails(api, "timeout", left=0)


@pytest.mark.parametrize("through_proxy", [False, True])
async def test_a_tunnel_that_never_opens_costs_nothing(
    through_proxy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(stays) as server:
        url = server.url.replace("http", "https")
        if through_proxy:
            monkeypatch.setenv("https_proxy", server.url)
            url = "https://api.invalid"
        async with client(url, connect_timeout=0.2) as api:
            with within(1.5, at_least=0.2):
                await fails(api, "timeout", left=0)


async def test_a_closed_port_costs_nothing() -> None:
    async with serving() as server:
        pass
    async with client(server.url) as api:
        await fails(api, "connection", left=0)


async def test_waiting_to_leave_is_not_timed() -> None:
    async with serving(saying(PAGE)) as server, client(server.url, timeout=0.2, connect_timeout=0.2) as api:
        with within(1.5, at_least=0.4):
            assert (await fetch(api, Leaving(wait=0.4))).row_count == 1


async def test_the_time_of_the_answer_begins_when_it_left() -> None:
    async with serving(never) as server, client(server.url, timeout=0.2, connect_timeout=0.2) as api:
        departure = Leaving(wait=0.3)
        with within(1.5, at_least=0.5), pytest.raises(UnavailableError):
            await fetch(api, departure)
        assert departure.label == "timeout"


# Connections that go while they wait


@pytest.mark.parametrize("used", [False, True])
async def test_a_connection_that_goes_while_waiting_is_replaced_and_nothing_is_sent_twice(used: bool) -> None:
    bye, gone = asyncio.Event(), asyncio.Event()

    async def leaves(peer: Peer) -> None:
        if used:
            await peer.request()
            await peer.say(PAGE)
        await bye.wait()
        peer.writer.close()
        await peer.writer.wait_closed()
        gone.set()

    async with serving(leaves, saying(PAGE)) as server, client(server.url) as api:
        if used:
            await fetch(api)
        departure = Leaving(wait=0.02, gate=gone)
        fetching = asyncio.create_task(fetch(api, departure))
        await departure.waiting.wait()
        bye.set()
        assert (await fetching).row_count == 1
        assert (departure.asked, departure.left) == (2, 1)
        assert (server.connections, len(server.requests)) == (2, 1 + used)


async def test_a_server_that_closes_every_connection_is_unavailable_and_costs_nothing() -> None:
    async def closes(_: Peer) -> None:
        pass

    async with serving(closes) as server, client(server.url) as api:
        departure = Leaving(wait=0.02)
        with within(1), pytest.raises(UnavailableError):
            await fetch(api, departure)
        assert (departure.left, departure.label) == (0, "connection")
        assert 2 <= server.connections == departure.asked <= 5
        assert not server.requests


async def test_what_holds_a_departure_back_ends_the_fetch() -> None:
    class ElsewhereError(Exception):
        pass

    class Elsewhere(Leaving):
        async def leave(self, ready: Callable[[], bool]) -> bool:
            assert ready()
            raise ElsewhereError

    async with serving(saying(PAGE)) as server, client(server.url) as api:
        with pytest.raises(ElsewhereError):
            await fetch(api, Elsewhere())
        assert not server.requests
        assert (await fetch(api)).row_count == 1


# Being cancelled


async def half(peer: Peer) -> None:
    await peer.request()
    await peer.say(PAGE[:-9])
    await peer.silence()


@pytest.mark.parametrize(
    ("script", "gated", "left"),
    [(stays, True, 0), (never, False, 1), (half, False, 1)],
    ids=["leaving", "head", "body"],
)
async def test_a_cancelled_fetch_leaks_nothing(script: Script, gated: bool, left: int) -> None:
    async with serving(script, saying(PAGE)) as server, client(server.url) as api:
        departure = Leaving(gate=asyncio.Event() if gated else None)
        fetching = asyncio.create_task(fetch(api, departure))
        await (departure.waiting if gated else server.came).wait()
        await asyncio.sleep(0.02)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        assert departure.left == left == len(server.requests)
        await asyncio.sleep(0.02)
        assert server.open == 0
        assert (await fetch(api)).row_count == 1


async def test_a_fetch_cancelled_while_connecting_leaks_nothing() -> None:
    with full_port() as url:
        async with client(url) as api:
            fetching = asyncio.create_task(fetch(api))
            await asyncio.sleep(0.05)
            fetching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fetching


# The key


KEY_IN_JSON = KEY.replace('"', '\\"').encode()


@pytest.mark.parametrize(
    "echo",
    [
        KEY_IN_JSON,
        KEY_IN_JSON.replace(b"/", b"\\/").replace(b"<", b"\\u003C"),
        "".join(f"\\u{ord(c):04x}" for c in KEY).encode(),
        b"x" * 185 + KEY_IN_JSON,
    ],
    ids=["plain", "some escaped", "all escaped", "near the cut"],
)
async def test_a_key_that_the_api_echoes_is_not_kept(echo: bytes) -> None:
    template = b'{"code":%s,"data":%s,"message":"no good: %s","requestId":"%s"}'
    refused = answer(template % (b"401", b"null", echo, echo), status="401 Unauthorized")
    spent = answer(template % (b"402", b"null", echo, echo))
    page = answer(template % (b"0", b'[{"video_id":"1","x":"\x01%s"}]' % echo, echo, echo))
    scripts = (saying(said, stay=False) for said in (refused, spent, page))
    async with serving(*scripts) as server, client(server.url) as api:
        for error, label in ((KeyRefusedError, "401"), (QuotaUsedUpError, "402")):
            shown = await fails(api, label, error)
            assert "sk_live" not in shown
        found = await fetch(api)
        assert found.row_count == 1
        text = found.body.decode("unicode_escape") + found.request_id
        assert "***" in text
        assert "sk_live" not in text


async def test_a_simple_key_is_not_kept_either() -> None:
    echo = answer(BODY.replace(b"r-1", b"sk_live_1"))
    async with serving(saying(echo)) as server, client(server.url, keys=("sk_live_1",)) as api:
        found = await fetch(api)
    assert (found.request_id, found.body) == ("***", BODY.replace(b"r-1", b"***"))


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 200 OK\r\n%s\x00: b\r\n\r\n", b"HTTP/1.1 2%s\r\n\r\n", b"%s\r\n\r\n"]
)
async def test_a_key_in_broken_http_is_not_shown(said: bytes) -> None:
    async with serving(saying(said % KEY.encode(), stay=False)) as server, client(server.url) as api:
        assert "sk_live" not in await fails(api, "connection")


# Proxies


@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_the_proxy_of_the_environment_is_used(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(saying(PAGE)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("http://", f"{scheme}us:pw@"))
        async with client("http://api.invalid") as api:
            assert (await fetch(api)).row_count == 1
        (head,) = proxy.requests
        assert b"Bearer" not in head.partition(b"Proxy-Authorization")[2].partition(b"\r\n")[0]
        assert head.startswith(b"GET http://api.invalid/v1/tiktok/shop/videos/analytics?seller_id=")
        assert b"\r\nHost: api.invalid\r\n" in head
        assert b"\r\nProxy-Authorization: Basic dXM6cHc=\r\n" in head
        assert f"\r\nAuthorization: Bearer {KEY}\r\n".encode() in head


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
async def test_loopback_never_goes_through_a_proxy(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(saying(PAGE)) as proxy, serving(saying(PAGE)) as server:
        monkeypatch.setenv(variable, proxy.url)
        async with client(server.url) as api:
            assert (await fetch(api)).row_count == 1
        assert proxy.connections == 0
        assert b"GET /v1/" in server.requests[0]


PROXY = "http://proxy.test:1"


@pytest.mark.parametrize(
    ("url", "spared", "proxy"),
    [
        ("http://[::1]:80", "", None),
        ("http://localhost:80", "", None),
        ("http://127.8.9.1:80", "", None),
        ("http://us:pw@api.test", "api.test", None),
        ("http://api.test:81", "api.test:81", None),
        ("http://api.test", "x.test, .test", None),
        ("http://api.test", "*", None),
        ("http://api.test", "other.test", PROXY),
        ("http://127.0.0.1.test", "", PROXY),
        ("https://api.test", "", None),
    ],
)
def test_which_proxy(url: str, spared: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", PROXY)
    monkeypatch.setenv("no_proxy", spared)
    assert proxy_for(url) == proxy


def test_all_proxy_serves_where_no_other_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "all.test:2")
    assert proxy_for("https://api.test") == "http://all.test:2"
    monkeypatch.setenv("https_proxy", PROXY)
    assert proxy_for("https://api.test") == PROXY


@pytest.mark.parametrize(
    ("proxy", "fault"),
    [
        ("socks5://us:pw@127.0.0.1:1", "socks5:// is not supported"),
        ("http://us:pw@[", "no address"),
        ("http://us:pw@proxy.test", "names no port"),
        ("us:pw@proxy.test", "names no port"),
        ("http://us:pw@proxy.test:0", "names no port"),
        ("http://us:pw@proxy.test:99999", "no address"),
        ("http://us:pw@:80", "names no host"),
        ("http://us:p w@proxy.test:80", "blanks"),
    ],
)
@pytest.mark.parametrize("variable", ["https_proxy", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_used_is_refused_by_name(
    variable: str, proxy: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(InputError) as caught:
        proxy_for("https://api.test")
    assert fault in str(caught.value)
    assert f"proxy in {variable}" in str(caught.value)
    assert "pw" not in str(caught.value)
    assert "p w" not in str(caught.value)
    monkeypatch.setenv("no_proxy", "api.test")
    assert proxy_for("https://api.test") is None


async def test_a_proxy_that_is_closed_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://us:pw@127.0.0.1:1")
    async with client("http://api.invalid") as api:
        assert "pw" not in await fails(api, "connection", left=0)


async def test_a_proxy_that_refuses_to_connect_costs_nothing_and_sees_no_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusal = answer(b"", status="502 Bad Gateway")
    async with serving(saying(refusal, stay=False)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with client("https://api.invalid") as api:
            await fails(api, "connection", left=0)
        (head,) = proxy.requests
        assert head.startswith(b"CONNECT api.invalid:443 HTTP/1.1\r\n")
        assert b"uthorization" not in head


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    names = "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    command = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 {names} -keyout {path} -out {path}.crt"
    subprocess.run(command.split(), check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.mark.parametrize("trusted", [False, True])
async def test_only_a_trusted_certificate_gets_a_request(
    trusted: bool, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    if trusted:
        own = ssl.create_default_context(cafile=str(certificate))
        monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", own)
    async with serving(saying(PAGE), tls=tls) as server, client(server.url) as api:
        if trusted:
            assert (await fetch(api)).row_count == 1
        else:
            assert "CERTIFICATE_VERIFY_FAILED" in await fails(api, "connection", left=0)
            assert not server.requests


# Why no answer came


async def cause(api: ApiClient) -> tuple[str, str]:
    """The kind and the message of a fetch that brings no page; neither holds the key or a password."""
    with pytest.raises(PageError) as caught:
        await fetch(api)
    assert not {"pw", KEY} & set(re.findall(r"[\w/]+", str(caught.value)))
    return caught.value.kind, str(caught.value)


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (answer(b"<html>sk</html>"), "HTML", "HTML"),
        (answer(b'{"code":0,"data":[{"video'), "malformed", "not JSON"),
        (answer(b"", status="302 Found"), "", "302, a redirect"),
        (answer(b"<h1>", status="407 Proxy Authentication Required"), "", "407: the proxy asks for a user"),
        (answer(b"<h1>", status="502 Bad Gateway"), "", "502"),
        (answer(length=9999), "malformed", "no valid HTTP answer"),
        (b"rubbish\r\n\r\n", "malformed", "no valid HTTP answer"),
        (b"", "connection closed", "closed before the answer"),
    ],
)
async def test_the_cause_of_a_bad_answer_is_named(said: bytes, kind: str, words: str) -> None:
    async with serving(saying(said, stay=False)) as server, client(server.url) as api:
        found, message = await cause(api)
        assert found == kind
        assert words in message


async def resets(peer: Peer) -> None:
    await peer.request()
    peer.writer.transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [(resets, "connection reset", "reset by peer"), (never, "timeout", "no whole answer within 0.2 s")],
)
async def test_the_cause_of_no_answer_is_named(script: Script, kind: str, words: str) -> None:
    async with serving(script) as server, client(server.url, timeout=0.2) as api:
        found, message = await cause(api)
        assert found == kind
        assert words in message


async def speaks_first(peer: Peer) -> None:
    await peer.say(answer(b"", status="400 Bad Request"))


async def hangs_up(peer: Peer) -> None:
    peer.writer.close()
    await peer.silence()


async def test_the_cause_of_no_connection_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as closed:
        pass
    refused = closed.url.removeprefix("http://")
    async with client(closed.url) as api:
        assert await cause(api) == (
            "connection refused",
            f"seller {SELLER}, page 3: {refused} refuses connections: are the address and its port right?",
        )
    async with serving(speaks_first) as plain, client(f"https://{plain.url[7:]}") as api:
        assert (await cause(api))[0] == "TLS"
    async with serving(hangs_up) as closing, client(f"https://{closing.url[7:]}") as api:
        found, message = await cause(api)
        assert found == "connection reset"
        assert "reset by peer" in message
    with full_port() as url:
        async with client(url, connect_timeout=0.1) as api:
            found, message = await cause(api)
            assert found == "connect timeout"
            assert "no connection to 127.0.0.1 within 0.1 s" in message
    monkeypatch.setenv("https_proxy", closed.url.replace("//", "//us:pw@"))
    async with client("https://api.invalid") as api:
        found, message = await cause(api)
        assert found == "proxy"
        assert f"no connection to the proxy {refused}" in message
    async with serving(saying(answer(b"", status="407 Who?"), stay=False)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//us:pw@"))
        async with client("https://api.invalid") as api:
            found, message = await cause(api)
            assert found == "proxy"
            assert "the proxy answered 407" in message


async def test_a_name_that_cannot_be_resolved_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_asked: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with client("http://api.invalid") as api:
        found, message = await cause(api)
        assert found == "DNS"
        assert "the host name api.invalid cannot be resolved" in message


async def test_a_certificate_that_cannot_be_trusted_is_named(certificate: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    async with serving(saying(PAGE), tls=tls) as server, client(server.url) as api:
        found, message = await cause(api)
        assert found == "TLS"
        assert "the certificate of 127.0.0.1" in message
