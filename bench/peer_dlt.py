"""dlt's way: its REST API source, a request chain from a list of sellers, to Parquet in a folder.

`peer_dlt.py SELLERS FOLDER`, with the server and its key in the crawler's own environment variables. A run
takes up what an earlier one left in FOLDER.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
from dlt.sources.helpers.requests import Response
from dlt.sources.helpers.rest_client.paginators import PageNumberPaginator
from dlt.sources.rest_api import RESTAPIConfig, rest_api_source

from crawler.api.client import PATH
from crawler.models.api import PAGE_SIZE


class ShortPage(PageNumberPaginator):
    """Page numbers from 1 until a page is short: dlt's own stops at an empty one, a request later."""

    def __init__(self) -> None:
        super().__init__(base_page=1, page_param="page_num", total_path=None)

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        """See dlt."""
        super().update_state(response, data)
        self._has_next_page = len(data or ()) >= PAGE_SIZE


@dlt.resource(selected=False)
def sellers(path: Path) -> Iterator[list[dict[str, str]]]:
    """The list whose items the chain asks for; it is not loaded itself."""
    yield [{"seller_id": seller} for seller in path.read_text().split()]


def config(path: Path) -> RESTAPIConfig:
    """The pages of the list's sellers, of several at a time."""
    return {
        "client": {
            "base_url": os.environ["CRAWLER_API_URL"],
            "auth": {"type": "bearer", "token": os.environ["KEYAPI_API_KEY"]},
            "paginator": ShortPage(),
        },
        "resources": [
            sellers(path),
            {
                "name": "videos",
                "parallelized": True,
                "write_disposition": "replace",
                # It is 0 or 12.5 in JSON: without a type dlt makes two columns of it.
                "columns": {"total_video_sale_gmv_amt": {"data_type": "double"}},
                "endpoint": {
                    "path": PATH,
                    "data_selector": "data",
                    "params": {
                        "seller_id": "{resources.sellers.seller_id}",
                        "page_size": PAGE_SIZE,
                        "seller_video_sort_field": 1,
                        "sort_type": 1,
                    },
                },
            },
        ],
    }


def main() -> None:
    """One load."""
    path, folder = map(Path, sys.argv[1:])
    pipeline = dlt.pipeline(
        "peer",
        pipelines_dir=str(folder / "pipelines"),
        destination=dlt.destinations.filesystem(str(folder / "lake")),
        dataset_name="shop",
    )
    pipeline.run(rest_api_source(config(path)), loader_file_format="parquet")


if __name__ == "__main__":
    main()
