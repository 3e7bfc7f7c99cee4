"""Requests a second that the stand-in answers from one process, beside a bare aiohttp server."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from multiprocessing.connection import Connection
from typing import NamedTuple, Self

from aiohttp import web
from spread import in_words, keep, spread

from crawler.models.api import PAGE_SIZE
from crawler.simulator.catalogue import Catalogue
from crawler.simulator.server import KEY, PATH, Simulator

SECONDS = 1.5
ROUNDS = 5
STREAMS = 8
SELLERS = 100_000


class Rate(NamedTuple):
    """Answers a second by the clock and by the server's own CPU, and the mean size of a body in bytes."""

    by_clock: float
    by_cpu: float
    size: int


class Bare:
    """The least that aiohttp can do: one constant body of `size` bytes."""

    def __init__(self, size: int) -> None:
        self.url = ""
        self._body = b"x" * size

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, _request: web.BaseRequest) -> web.Response:
        return web.Response(body=self._body, headers={"Content-Type": "application/json"})


class Stream(asyncio.Protocol):
    """One kept-alive connection: a request leaves when the answer before it is whole."""

    def __init__(self, requests: list[bytes], sizes: list[int], end: float) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = cycle(requests)
        self._sizes = sizes
        self._end = end
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        """Send the next request once an answer is whole, until the time is over."""
        self._buffer += data
        head, _, body = self._buffer.partition(b"\r\n\r\n")
        size = int(head.partition(b"Content-Length: ")[2].partition(b"\r")[0] or -1)
        if len(body) != size:
            return
        assert head.startswith(b"HTTP/1.1 200 "), head
        self._sizes.append(size)
        self._buffer.clear()
        if time.monotonic() < self._end:
            self._transport.write(next(self._requests))
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell that this stream is through."""
        self.closed.set_exception(error) if error else self.closed.set_result(None)


def wanted() -> list[bytes]:
    """Requests for any page of sellers chosen uniformly."""
    catalogue, rng = Catalogue(), random.Random(1)
    end = f"&page_size={PAGE_SIZE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n"
    sellers = rng.choices(catalogue.seller_ids(SELLERS), k=SELLERS)
    pages = [rng.randint(1, catalogue.size(seller) // PAGE_SIZE + 1) for seller in sellers]
    return [
        f"GET {PATH}?seller_id={seller}&page_num={page}{end}".encode()
        for seller, page in zip(sellers, pages, strict=True)
    ]


async def load(url: str, requests: list[bytes]) -> list[int]:
    """Load a server for a while; returns the sizes of the bodies that came."""
    loop, sizes, end = asyncio.get_running_loop(), list[int](), time.monotonic() + SECONDS
    host, _, port = url.removeprefix("http://").partition(":")

    async def run(stream: Stream) -> None:
        await loop.create_connection(lambda: stream, host, int(port))
        await stream.closed

    await asyncio.gather(*(run(Stream(requests[n::STREAMS], sizes, end)) for n in range(STREAMS)))
    return sizes


def serve(pipe: Connection, make: Callable[[], Simulator | Bare]) -> None:
    """Serve until asked to stop, then send the seconds of CPU that were used while serving."""

    async def until_stopped() -> float:
        async with make() as server:
            began = time.process_time()
            pipe.send(server.url)
            await asyncio.to_thread(pipe.recv)
            return time.process_time() - began

    pipe.send(asyncio.run(until_stopped()))


def measured(make: Callable[[], Simulator | Bare], requests: list[bytes]) -> Rate:
    """Load a server of another process."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    server = spawn.Process(target=serve, args=(there, make))
    server.start()
    sizes = asyncio.run(load(here.recv(), requests))
    here.send("stop")
    cpu = here.recv()
    server.join()
    return Rate(len(sizes) / SECONDS, len(sizes) / cpu, round(statistics.mean(sizes)))


def main() -> None:
    """The stand-in, then the bare server with bodies of the same size; and so again."""
    requests, rounds = wanted(), []
    for _ in range(ROUNDS):
        stand_in = measured(Simulator, requests)
        rounds.append((stand_in, measured(partial(Bare, stand_in.size), requests)))
    clock = [stand_in.by_clock / bare.by_clock for stand_in, bare in rounds]
    cpu = [stand_in.by_cpu / bare.by_cpu for stand_in, bare in rounds]
    print(
        f"stand-in {in_words([stand_in.by_clock for stand_in, _ in rounds], ',.0f')} requests/s, bodies of "
        f"{rounds[0][0].size:,} bytes; bare aiohttp {in_words([bare.by_clock for _, bare in rounds], ',.0f')}"
    )
    print(f"    stand-in / bare aiohttp: {in_words(clock)} by the clock, {in_words(cpu)} a CPU second")
    rounds_kept = [{"stand_in": a._asdict(), "bare": b._asdict()} for a, b in rounds]
    keep("stand-in", {"clock_ratio": spread(clock), "cpu_ratio": spread(cpu), "rounds": rounds_kept})


if __name__ == "__main__":
    main()
