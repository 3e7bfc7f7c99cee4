"""The client beside aiohttp's own session: CPU a request, on the same pages, each answer read into a page.

`session.py [FOLDER]`. What `crawler/api/wire.py` buys: the session is used as its documentation shows, with
its time limits, and what is read of each answer is the same on both sides. Ratios are of one round.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
from pages import Served, served
from place import new_folder
from spread import in_words, keep, spread
from throughput import machine

from crawler.api.answers import read_answer
from crawler.api.client import PATH, ApiClient
from crawler.models.api import PAGE_SIZE, SortField, SortOrder

REQUESTS = 5_000
ROUNDS = 9
WORKERS = 64


class AtOnce:
    """A departure without a pace."""

    label = ""

    async def leave(self, ready: Callable[[], bool]) -> bool:
        """Leave."""
        return ready()


Fetch = Callable[[str, int], Awaitable[object]]


async def crawl(sellers: list[str], fetch: Fetch) -> float:
    """Microseconds of CPU a request, of the first page of each seller, over and over."""
    left = iter([*sellers * (REQUESTS // len(sellers) + 1)][:REQUESTS])

    async def work() -> None:
        for seller in left:
            await fetch(seller, 1)

    began = time.process_time()
    await asyncio.gather(*(work() for _ in range(WORKERS)))
    return (time.process_time() - began) / REQUESTS * 1e6


async def with_client(pages: Served) -> float:
    """The crawler's client."""
    limits = {"timeout": 30.0, "connect_timeout": 30.0}
    by = {"sort": SortField.VIEWS, "order": SortOrder.DESC}
    async with ApiClient(pages.url, pages.key, **by, **limits, connections=WORKERS) as api:
        return await crawl(pages.sellers, lambda seller, page: api.fetch(seller, page, AtOnce()))


async def with_session(pages: Served) -> float:
    """The same by aiohttp's own session."""
    headers = {"Authorization": f"Bearer {pages.key}", "Accept-Encoding": "gzip, deflate"}
    sorting = {"seller_video_sort_field": "1", "sort_type": "1", "page_size": str(PAGE_SIZE)}
    limits = aiohttp.ClientTimeout(total=30, connect=30)
    connector = aiohttp.TCPConnector(limit=WORKERS)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=limits) as session:

        async def fetch(seller: str, page: int) -> object:
            params = {"seller_id": seller, "page_num": str(page), **sorting}
            async with session.get(pages.url + PATH, params=params, allow_redirects=False) as answer:
                body, wait = await answer.read(), answer.headers.get("Retry-After")
                now = time.time_ns() // 1_000_000
                return read_answer(answer.status, wait, body, seller, page, now)

        return await crawl(pages.sellers, fetch)


def measured(way: Callable[[Served], Awaitable[float]], pages: Served) -> float:
    """One side of a round, with the garbage collector set as in a crawl."""
    gc.collect()
    gc.freeze()
    with asyncio.Runner() as runner:
        return runner.run(way(pages))


def main() -> None:
    """All rounds; which side goes first alternates."""
    with new_folder() as place, served(Path(place), 2_000) as pages:
        rounds = []
        for number in range(ROUNDS + 1):
            ways = [with_client, with_session][:: -1 if number % 2 else 1]
            cost = {way.__name__: measured(way, pages) for way in ways}
            rounds.append((cost["with_client"], cost["with_session"]))
    # The first round warms up.
    client, session = map(list, zip(*rounds[1:], strict=True))
    ratios = [a / b for a, b in rounds[1:]]
    print(f"{ROUNDS} rounds of {REQUESTS:,} requests; {pages.by}; aiohttp {aiohttp.__version__}")
    print(f"CPU a request, us: client {in_words(client, '.0f')}, session {in_words(session, '.0f')}")
    print(f"client / session: {in_words(ratios)}")
    about = {"server": pages.by, "requests": REQUESTS, "machine": machine(), "aiohttp": aiohttp.__version__}
    keep("session", {**about, "client": spread(client), "session": spread(session), "ratio": spread(ratios)})


if __name__ == "__main__":
    main()
