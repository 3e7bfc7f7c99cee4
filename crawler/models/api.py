"""What is known of the API: page size, sorting, its rows' columns, and which hosts are this machine."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv6Address, ip_address
from typing import Literal, NamedTuple

from crawler.models.dataset import VIDEOS, Type

PAGE_SIZE = 10
"""Rows a page: the most the API gives."""
MAX_PAGE_NUM = 100_000
"""The API's last page number."""


class SortField(StrEnum):
    """What the API sorts a seller's videos by."""

    VIEWS = "views"
    SALES = "sales"
    GMV = "gmv"


class Value(StrEnum):
    """What a gain is counted in; `ROWS`: in videos that were published."""

    VIEWS = "views"
    SALES = "sales"
    GMV = "gmv"
    ROWS = "rows"


SORT_COLUMNS = {
    SortField.VIEWS: "total_views_cnt",
    SortField.SALES: "total_video_sale_cnt",
    SortField.GMV: "total_video_sale_gmv_amt",
}
"""The column of what the API sorts by."""


class SortOrder(StrEnum):
    """Which way the API sorts."""

    DESC = "desc"
    ASC = "asc"


Kind = Literal["string", "int64", "float64", "seconds"]


class Column(NamedTuple):
    """A column filled from a field of the API's rows; `seconds` are epoch seconds in the API."""

    name: str
    kind: Kind


_KINDS: dict[Type, Kind] = {
    "string": "string",
    "int64": "int64",
    "float64": "float64",
    "timestamp": "seconds",
}
API_COLUMNS = tuple(
    Column(each.name, _KINDS[each.type]) for each in VIDEOS.columns if each.source == each.name
)
"""What the schema knows of a row; every other field goes to `extra`."""
COUNT_COLUMNS = tuple(column.name for column in API_COLUMNS if column.kind in {"int64", "float64"})
"""The columns of a video's figures, which change from day to day."""


def is_loopback(host: str) -> bool:
    """Whether a URL's host is exactly localhost, in 127.0.0.0/8, or ::1."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback if address.version == 4 else address == IPv6Address("::1")
