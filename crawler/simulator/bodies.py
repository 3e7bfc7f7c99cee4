"""Whole answers, odd on purpose: from a page's document to what is sent instead of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

Document = dict[str, Any]
"""An answer of the API before it is encoded: `code`, `message`, `data` (the rows), `requestId`."""

_MESSAGES = {
    400: "Invalid parameter",
    401: "apiKey is invalid",
    402: "apiKey quota is not enough",
    429: "qps limit exceeded",
}


class Answer(NamedTuple):
    """A whole answer: HTTP status, body, content type."""

    status: int
    body: bytes
    content_type: str = "application/json"


Spoil = Callable[[int, Document], Answer]
"""Makes the odd answer out of a fault's number and the page; it may change the page's rows."""


def error(status: int, message: str) -> Answer:
    """An error in the shape of the API's examples."""
    return Answer(status, orjson.dumps({"code": status, "data": None, "message": message}))


def page(document: Document) -> Answer:
    """A page as it should be."""
    return Answer(200, orjson.dumps(document))


def status(number: int, _document: Document) -> Answer:
    """An error by the HTTP status."""
    return error(number, _MESSAGES.get(number, "Internal server error"))


def code(number: int, document: Document) -> Answer:
    """An error in the body alone."""
    return status(number, document)._replace(status=200)


def quota500(_number: int, _document: Document) -> Answer:
    """A used-up quota by a 500's message."""
    return error(500, "Your monthly quota has been exceeded")


def html(_number: int, _document: Document) -> Answer:
    """A gateway's page."""
    return Answer(200, b"<html><body>Bad gateway</body></html>", "text/html")


def malformed(_number: int, document: Document) -> Answer:
    """JSON without its end."""
    return Answer(200, orjson.dumps(document)[:-20])


def whole(_number: int, document: Document) -> Answer:
    """The page, unchanged."""
    return page(document)


def null(_number: int, document: Document) -> Answer:
    """A page without its list."""
    return page({**document, "data": None})


def nested(_number: int, document: Document) -> Answer:
    """A page whose list is wrapped in an object."""
    return page({**document, "data": {"list": document["data"]}})


def short(_number: int, document: Document) -> Answer:
    """A page without its last row."""
    return page({**document, "data": document["data"][:-1]})


def no_id(_number: int, document: Document) -> Answer:
    """A page whose first row has no ID."""
    for row in document["data"][:1]:
        del row["video_id"]
    return page(document)


def odd(_number: int, document: Document) -> Answer:
    """A page with other types than described."""
    for row in document["data"]:
        row["video_id"] = int(row["video_id"])
        row["total_views_cnt"] = str(row["total_views_cnt"])
    return every_row(brand_new_field={"a": 1})(0, document)


def every_row(**fields: object) -> Spoil:
    """Put `fields` in every row; an `orjson.Fragment` goes in as it is, JSON or not."""
    return _rows(slice(None), fields)


def first_row(**fields: object) -> Spoil:
    """Put `fields` in the first row alone."""
    return _rows(slice(1), fields)


def _rows(which: slice, fields: dict[str, object]) -> Spoil:
    def put(_number: int, document: Document) -> Answer:
        for row in document["data"][which]:
            row.update(fields)
        return page(document)

    return put
