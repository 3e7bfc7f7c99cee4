"""Nights against a server that enforces the ceiling and does nothing else: 429s, share of the rate used.

`ceiling.py [FOLDER]`. The server runs in a process of its own (before all others, where the user may ask for
that), and refuses what would be one request too many in the sliding second that ends with it. The share used
is that of the first three quarters of the arrivals, in whole multiples of the ceiling: at the end the last
sellers, read one page after another, do not load the pace.
"""

from __future__ import annotations

import asyncio
import bisect
import gc
import os
import subprocess
import sys
import tempfile
from array import array
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import orjson
from spread import keep

from crawler.models.api import PAGE_SIZE
from crawler.simulator.catalogue import Catalogue, CatalogueOptions

CASES = ((5, 60), (50, 500), (200, 2_000), (1_000, 20_000))
"""Ceilings, and the requests sent under each."""

LATENCIES = ((0.02, 0.03), (1.0, 1.5))
PAGES = 2
"""A seller's pages, the last of them short."""


def answer(status: str, body: bytes) -> bytes:
    """A whole answer, head and body."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def page(page_num: int) -> bytes:
    """The same page for every seller, full but for the last."""
    catalogue = Catalogue(CatalogueOptions())
    deep = next(seller for seller in catalogue.seller_ids(10_000) if catalogue.size(seller) >= 100)
    rows = catalogue.page(deep, 1, 1, page_num, PAGE_SIZE)
    data = rows if page_num < PAGES else rows[:3]
    return answer(
        "200 OK", orjson.dumps({"code": 0, "message": "success", "data": data, "requestId": str(page_num)})
    )


REFUSAL = answer("429 Too Many Requests", b'{"code": 429, "message": "qps limit exceeded", "data": null}')


class Ceiling:
    """What all connections share: the log of the last second, and what came of whom."""

    def __init__(self, qps: int, latency: tuple[float, float]) -> None:
        self.qps = qps
        self.latency = latency
        self.pages = {b"%d" % number: page(number) for number in range(1, PAGES + 1)}
        self.recent: deque[float] = deque()
        self.arrivals = array("d")
        self.refused = 0
        self.rng = Random(1)

    def admits(self, now: float) -> bool:
        """Take a place of the sliding second that ends now, if one is left."""
        self.arrivals.append(now)
        recent = self.recent
        while recent and recent[0] <= now - 1.0:
            recent.popleft()
        if len(recent) >= self.qps:
            self.refused += 1
            return False
        recent.append(now)
        return True


class Connection(asyncio.Protocol):
    """One request after another, each answered after a drawn latency; a refusal at once."""

    def __init__(self, ceiling: Ceiling, loop: asyncio.AbstractEventLoop) -> None:
        self.ceiling = ceiling
        self.loop = loop
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self.received += data
        if not self.received.endswith(b"\r\n\r\n"):
            return
        request, self.received = self.received, b""
        if not self.ceiling.admits(self.loop.time()):
            self.transport.write(REFUSAL)
            return
        begin = request.index(b"&page_num=") + len(b"&page_num=")
        body = self.ceiling.pages[request[begin : request.index(b" ", begin)]]
        self.loop.call_later(self.ceiling.rng.uniform(*self.ceiling.latency), self.transport.write, body)


def _hurry() -> None:
    """Be interrupted by nobody: a real API does not share the crawler's processors."""
    gc.freeze()
    gc.disable()
    if sys.platform == "linux":
        with suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))


async def serve(qps: int, latency: tuple[float, float]) -> None:
    """Serve until standard input ends; print the address first, and what was seen at last."""
    loop, ceiling = asyncio.get_running_loop(), Ceiling(qps, latency)
    server = await loop.create_server(lambda: Connection(ceiling, loop), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    _hurry()
    # No thread: Linux lets a process of several wait for 10 to 50 ms whenever its table of files must grow.
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()
    sys.stdout.buffer.write(orjson.dumps({"refused": ceiling.refused, "arrivals": list(ceiling.arrivals)}))
    sys.stdout.buffer.flush()


@dataclass(frozen=True, slots=True)
class Seen:
    """What the server saw of one run; latencies in seconds."""

    qps: int
    latency: tuple[float, float]
    requests: int
    refused: int
    busiest_second: int
    used: float


def seen(qps: int, latency: tuple[float, float], refused: int, times: list[float]) -> Seen:
    """Work out a run's figures from its arrivals."""
    busiest = max(bisect.bisect_left(times, t + 1.0) - i for i, t in enumerate(times))
    last = len(times) * 3 // 4 // qps * qps
    used = last / (times[last] - times[0]) / qps
    return Seen(qps, latency, len(times), refused, busiest, used)


@contextmanager
def server(qps: int, latency: tuple[float, float]) -> Iterator[subprocess.Popen[bytes]]:
    """The server's process."""
    command = [sys.executable, __file__, "serve", str(qps), *map(str, latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def night(qps: int, requests: int, latency: tuple[float, float], folder: Path) -> Seen:
    """One run of the crawler as every night, its number of workers left to it."""
    source = folder / "sellers.txt"
    source.write_text("\n".join(str(10**18 + number) for number in range(requests // PAGES)))
    with server(qps, latency) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        address = f"http://127.0.0.1:{int(process.stdout.readline())}"
        command = ["-m", "crawler", "run", str(source), "--data", str(folder), "--qps", str(qps), "--quiet"]
        environ = {**os.environ, "KEYAPI_API_KEY": "sk_live_ceiling", "CRAWLER_API_URL": address}
        subprocess.run([sys.executable, *command], env=environ, check=True)
        process.stdin.close()
        summary = orjson.loads(process.stdout.read())
    return seen(qps, latency, summary["refused"], summary["arrivals"])


def main() -> None:
    """All ceilings, each with quick and with slow answers."""
    place = Path(".bench")
    place.mkdir(exist_ok=True)
    found = []
    print("| qps | latency, s | requests | most in any second | share of the rate used | 429s |", flush=True)
    for qps, requests in CASES:
        for latency in LATENCIES:
            with tempfile.TemporaryDirectory(dir=place) as folder:
                run = night(qps, requests, latency, Path(folder))
            found.append(run)
            print(
                f"| {qps} | {latency[0]} to {latency[1]} | {run.requests} | {run.busiest_second} "
                f"| {run.used:.4f} | {run.refused} |",
                flush=True,
            )
    keep("ceiling", [asdict(run) for run in found])


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(int(sys.argv[2]), (float(sys.argv[3]), float(sys.argv[4]))))
    else:
        main()
