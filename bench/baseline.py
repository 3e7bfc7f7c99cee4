"""The shortest honest crawl: aiohttp, orjson and pyarrow, everything in memory, Parquet at the end.

`baseline.py URL KEY SELLERS OUT`: no journal, no ledger, no ceiling, no retry, no check of any value. It is
what the whole crawler's cost is held against.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from crawler.api.client import PATH
from crawler.models.api import PAGE_SIZE

WORKERS = 64


async def crawl(url: str, key: str, sellers: list[str]) -> tuple[list[dict[str, Any]], int]:
    """Every row of every seller, and how many requests that took."""
    rows: list[dict[str, Any]] = []
    left, requests = iter(sellers), 0
    headers = {"Authorization": f"Bearer {key}", "Accept-Encoding": "gzip, deflate"}
    sorting = {"seller_video_sort_field": "1", "sort_type": "1", "page_size": str(PAGE_SIZE)}

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal requests
        for seller in left:
            page, more = 0, True
            while more:
                page += 1
                params = {"seller_id": seller, "page_num": str(page), **sorting}
                async with session.get(url + PATH, params=params) as response:
                    response.raise_for_status()
                    found = orjson.loads(await response.read())["data"] or []
                requests += 1
                rows.extend(found)
                more = len(found) >= PAGE_SIZE

    connector = aiohttp.TCPConnector(limit=WORKERS)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await asyncio.gather(*(work(session) for _ in range(WORKERS)))
    return rows, requests


def main() -> None:
    """Crawl, write, and print on standard output what was asked for and how long it took."""
    url, key, sellers, out = sys.argv[1:]
    began = time.monotonic()
    rows, requests = asyncio.run(crawl(url, key, Path(sellers).read_text().split()))
    crawled = time.monotonic()
    pq.write_table(pa.Table.from_pylist(rows), out, compression="zstd")
    summary = {"requests": requests, "rows": len(rows), "busy": crawled - began}
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
