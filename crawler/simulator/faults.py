"""Faults on demand: what goes wrong, how often or with which request, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson
from orjson import Fragment

from crawler.models.errors import InputError
from crawler.simulator import streams
from crawler.simulator.outages import Row, without_id

_DEPTH = 100_000
_REFUSALS = frozenset({400, 401, 402, 403, 429})
_MESSAGES = {
    400: "Invalid parameter",
    401: "apiKey is invalid",
    402: "apiKey quota is not enough",
    429: "qps limit exceeded",
}

Document = dict[str, Any]
"""An answer of the API before it is encoded: `code`, `message`, `data` (the rows), `requestId`."""


class Answer(NamedTuple):
    """A whole answer: HTTP status, body, content type."""

    status: int
    body: bytes
    content_type: str = "application/json"


Spoil = Callable[[int, Document], Answer]
"""Makes the odd answer out of a fault's number and the page."""


def error_answer(status: int, message: str) -> Answer:
    """An error in the shape of the API's examples."""
    return Answer(status, orjson.dumps({"code": status, "data": None, "message": message}))


def page_answer(document: Document, **changes: Any) -> Answer:
    """A page as it should be, but for `changes`."""
    return Answer(200, orjson.dumps({**document, **changes}))


def _status(number: int, _document: Document) -> Answer:
    return error_answer(number, _MESSAGES.get(number, "Internal server error"))


def _each(change: Callable[[Row], Row], count: int | None = None) -> Spoil:
    """Change the first `count` rows, or all."""

    def spoil(_number: int, document: Document) -> Answer:
        rows = document["data"]
        changed = list(map(change, rows[:count]))
        return page_answer(document, data=changed + rows[len(changed) :])

    return spoil


def _put(count: int | None = None, **fields: object) -> Spoil:
    """Put `fields` in such rows; an `orjson.Fragment` goes in as it is, JSON or not."""
    return _each(lambda row: {**row, **fields}, count)


def _odd(row: Row) -> Row:
    odd = {"video_id": int(row["video_id"]), "total_views_cnt": str(row["total_views_cnt"])}
    return {**row, **odd, "brand_new_field": {"a": 1}}


class Kind(NamedTuple):
    """One kind of fault: what the client sees; how it spoils the page, and delivers it if not as usual."""

    doc: str
    spoil: Spoil = lambda _, page: page_answer(page)
    deliver: streams.Deliver | None = None


KINDS: Mapping[str, Kind] = {
    "status=N": Kind("HTTP status N, 200 to 599, with the API's error body", _status),
    "code=N": Kind(
        "status 200, with code N and no data in the body",
        lambda number, page: _status(number, page)._replace(status=200),
    ),
    "quota500": Kind(
        "status 500, whose message says that the quota is exceeded",
        lambda *_: error_answer(500, "Your monthly quota has been exceeded"),
    ),
    "html": Kind(
        "a gateway's HTML page with status 200",
        lambda *_: Answer(200, b"<html><body>Bad gateway</body></html>", "text/html"),
    ),
    "malformed": Kind(
        "the page's JSON without its end", lambda _, page: Answer(200, page_answer(page).body[:-20])
    ),
    "null": Kind("the page with null for its list of rows", lambda _, page: page_answer(page, data=None)),
    "object": Kind(
        "the page with its list of rows inside an object",
        lambda _, page: page_answer(page, data={"list": page["data"]}),
    ),
    "repeat": Kind("the rows of the page before again; page 1 as it is"),
    "short": Kind("the page without its last row", lambda _, page: page_answer(page, data=page["data"][:-1])),
    "no_id": Kind("the page, its first row without a video_id", _each(without_id, 1)),
    "odd": Kind("every row with a number for video_id, a string for views and a new field", _each(_odd)),
    "extra_field": Kind("every row with a new field", _put(brand_new_field={"a": [1, None]})),
    "surrogate": Kind(
        "every row with half of a surrogate pair in a string",
        _put(video_desc=Fragment(rb'"half \ud800 of a pair"')),
    ),
    "control": Kind(
        "every row with a bare control character in a string",
        _put(video_desc=Fragment(b'"bare \x01 control"')),
    ),
    "nul": Kind("every row with NUL in its strings", _put(nick_name="a\0b", video_desc="\0")),
    "bigint": Kind(
        "every row with an integer beyond 64 bits",
        _put(total_digg_cnt=Fragment(str(2**64 + 1).encode())),
    ),
    "deep": Kind(
        f"the page, its first row with a new field nested {_DEPTH:,} deep",
        _put(1, brand_new_field=Fragment(b"[" * _DEPTH + b"]" * _DEPTH)),
    ),
    "wide": Kind("every row with a region of 300 characters", _put(region="Ж" * 300)),
    "region": Kind("every row with the region ../../x", _put(region="../../x")),
    "reset": Kind("the connection reset before any answer", deliver=streams.reset),
    "cut": Kind("the connection closed after half of the body", deliver=streams.cut),
    "hang": Kind("the headers, then nothing for an hour", deliver=streams.hang),
    "slow": Kind("the body in pieces of 512 bytes, 0.05 s apart", deliver=streams.paced(512, 0.05)),
    "drip": Kind("the body one byte a second", deliver=streams.paced(1, 1.0)),
    "endless": Kind("a body of chunks that never ends", deliver=streams.endless),
    "endless-headers": Kind("headers that never end", deliver=streams.endless_headers),
    "huge": Kind("the page in a body of 200 MiB, blanks for the most part", deliver=streams.huge),
}
"""What can be asked for, as `status=500:0.01` (a share) or `status=500@3` (the third request)."""

_NAMES = {name.partition("=")[0]: name for name in KINDS}


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault and its share of the requests, 0 to 1; or `at`, the one request that gets it."""

    kind: str
    share: float
    number: int = 0
    at: int = 0

    @property
    def effect(self) -> Kind:
        """What the kind does."""
        return KINDS[_NAMES[self.kind]]

    @property
    def refuses(self) -> bool:
        """Whether the answer says that the request is refused: such an answer costs no credit."""
        return self.kind == "quota500" or (self.kind in ("status", "code") and self.number in _REFUSALS)


def kinds_help() -> str:
    """Every kind with what it does, a line each."""
    return "\n".join(f"{name:<17}{kind.doc}" for name, kind in KINDS.items())


def parse_faults(text: str) -> tuple[Fault, ...]:
    """Read `kind[=number]:share` and `kind[=number]@N`, with commas between them.

    N counts every request that the server receives, from 1. Raises `InputError` that names the part
    it cannot read.
    """
    faults = tuple(_parse_fault(part.strip()) for part in text.split(",") if part.strip())
    if sum(fault.share for fault in faults) > 1 + 1e-9:
        raise InputError(f"faults {text!r}: their shares are more than 1 together")
    return faults


def drawn(faults: tuple[Fault, ...], seed: int, seller_id: str, page_num: int, attempt: int) -> Fault | None:
    """The fault of one attempt at one page, whatever order requests come in."""
    if not faults:
        return None
    text = f"{seed} {seller_id} {page_num} {attempt}".encode()
    chance = int.from_bytes(blake2b(text, digest_size=8).digest(), "big") / 2**64
    for fault in faults:
        if chance < fault.share:
            return fault
        chance -= fault.share
    return None


def _parse_fault(part: str) -> Fault:
    what, mark, when = part.partition("@" if "@" in part else ":")
    kind, _, number = what.partition("=")
    if kind not in _NAMES:
        raise InputError(f"fault {part!r}: one of {', '.join(KINDS)} is wanted")
    form = _NAMES[kind]
    unreadable = InputError(
        f"fault {part!r}: {form}:SHARE is wanted, with a share from 0 to 1, or {form}@REQUEST, from 1"
    )
    try:
        share, at = (0.0, int(when)) if mark == "@" else (float(when), 0)
        fault = Fault(kind, share, int(number or 0), at)
    except ValueError:
        raise unreadable from None
    in_range = at >= 1 if mark == "@" else 0 <= share <= 1
    if not in_range or bool(number) != ("=" in form):
        raise unreadable
    if kind == "status" and not 200 <= fault.number <= 599:
        raise InputError(f"fault {part!r}: an HTTP status from 200 to 599 is wanted")
    return fault
