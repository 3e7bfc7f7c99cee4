"""Scrapy's way: one spider, with the settings that its documentation advises for broad crawls.

`scrapy runspider peer_scrapy.py -a sellers=FILE -s FEEDS=JSON`, with the server and its key in the crawler's
own environment variables. The feed's format is `parquet`; HTTP cache and job folder are settings, too.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import IO, Any, ClassVar
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.parquet as pq
from scrapy import Request, Spider
from scrapy.exporters import BaseItemExporter
from scrapy.http import TextResponse

from crawler.api.client import PATH
from crawler.models.api import PAGE_SIZE

WORKERS = 64


class ParquetExporter(BaseItemExporter):
    """A feed as one Parquet file; Scrapy has no exporter of its own for it."""

    def __init__(self, file: IO[bytes], **options: Any) -> None:
        super().__init__(dont_fail=True, **options)
        self._file = file
        self._rows: list[dict[str, Any]] = []

    def export_item(self, item: Any) -> None:
        """See Scrapy."""
        self._rows.append(dict(self.get_serialized_fields(item)))

    def finish_exporting(self) -> None:
        """See Scrapy."""
        pq.write_table(pa.Table.from_pylist(self._rows), self._file, compression="zstd")


class Videos(Spider):
    """Every page of every seller of a list."""

    name = "videos"
    sellers: str
    custom_settings: ClassVar[dict[str, Any]] = {
        # Scrapy starts as many tasks for each page, and by default ten times what it has.
        "CONCURRENT_ITEMS": PAGE_SIZE,
        "CONCURRENT_REQUESTS": WORKERS,
        "CONCURRENT_REQUESTS_PER_DOMAIN": WORKERS,
        "COOKIES_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "DEFAULT_REQUEST_HEADERS": {"Authorization": f"Bearer {os.environ['KEYAPI_API_KEY']}"},
        "FEED_EXPORTERS": {"parquet": ParquetExporter},
        "FEED_STORE_EMPTY": False,
    }

    async def start(self) -> AsyncIterator[Request]:
        """Each seller's first page."""
        for seller in Path(self.sellers).read_text().split():  # noqa: ASYNC240 - a short file, once
            yield self._page(seller, 1)

    def parse(self, response: TextResponse, seller: str, number: int) -> Iterator[dict[str, Any] | Request]:
        """The rows of a page; after a full one the next."""
        rows = response.json()["data"] or []
        yield from rows
        if len(rows) >= PAGE_SIZE:
            yield self._page(seller, number + 1)

    def _page(self, seller: str, number: int) -> Request:
        asked = {"seller_id": seller, "page_num": number, "page_size": PAGE_SIZE}
        query = urlencode({**asked, "seller_video_sort_field": 1, "sort_type": 1})
        url = f"{os.environ['CRAWLER_API_URL']}{PATH}?{query}"
        return Request(url, cb_kwargs={"seller": seller, "number": number})
