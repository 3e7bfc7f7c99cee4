"""From an HTTP answer to a page, or to the error that it means."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from math import fsum
from typing import Any, NamedTuple

import orjson

from crawler.api.lenient import load_quickly, load_tolerant
from crawler.api.messages import (
    OK_CODES,
    Message,
    is_row,
    message_of,
    message_of_text,
    on_one_line,
    says_refused,
    status_named,
)
from crawler.api.rows import FOREIGN, as_number, reject_reason
from crawler.models.api import SORT_COLUMNS, SortField
from crawler.models.errors import (
    CrawlerError,
    KeyRefusedError,
    PageError,
    QuotaUsedUpError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from crawler.models.page import Page

_OF_SELLER = frozenset({400, 422})
_OF_ADDRESS = frozenset({404, 405, 406, 409, 410, 411, 412, 413, 414, 415, 416, 417, 426, 428, 431, 451})
"""Refusals that a single seller may get, and all do where the address is wrong or no longer served.

Other statuses from 400 to 499 say nothing of the seller, or may pass (408, 425): they are asked again.
"""

_ADVICE = {
    **dict.fromkeys((301, 302, 303, 307, 308), ", a redirect, which is not followed: is --api-url right?"),
    407: ": the proxy asks for a user and a password, see https_proxy and http_proxy",
}
"""What is added to the message of a status that did not come from the API itself."""

_CODE = re.compile(r"\s*(-?[0-9]{1,9})(?:\.0+)?\s*")
_NUMBERS, _STRINGS = {int, float}, {str}
_NO_ROWS = "malformed answer: no element of `data` is a row"
_MISDELIVERED = "misdelivered answer: its rows are another seller's"
_MAX_SUMMED = 1e300
"""Larger values are cut to this where a page's sum would be beyond all floats."""

_YEARS = range(2025, 2100)
"""The years that a working clock may show."""


def read_answer(
    status: int,
    retry_after: str | None,
    body: bytes,
    seller_id: str,
    page_num: int,
    received_at: int,
    sort: SortField = SortField.VIEWS,
) -> tuple[str, Page]:
    """Read one answer of the API; returns its status (the `code` of a 200 body counts as one) and page.

    `sort` is what the rows are sorted by.

    Raises `KeyRefusedError`, `QuotaUsedUpError`, `ThrottledError`, `RefusedError` or
    `UnavailableError`, each with the status as its `label` attribute.
    """
    where = f"seller {seller_id}, page {page_num}"
    if status != 200:
        raise _labelled(_failure(status, _message_of(body), retry_after, where), str(status))
    try:
        document, kept = _parse(body, where)
    except UnavailableError:
        message = message_of_text(body)
        if message.says_quota_used_up:
            raise _labelled(_failure(status, message, retry_after, where), "200") from None
        raise
    code = _code_of(document)
    if code not in OK_CODES:
        raise _labelled(_failure(code, message_of(document), retry_after, where), str(code))
    rows: list[Any] | None = document.get("data")
    ranking = None
    if isinstance(rows, list) and rows:
        ranking = _ranking(seller_id, rows, SORT_COLUMNS[sort], kept)
    if ranking is None or ranking.fault or says_refused(document):
        _require_success(document, retry_after, where)
    if "data" not in document or not isinstance(rows, list | None):
        raise _labelled(UnavailableError(f"{where}: malformed answer: `data` is no list"), "malformed")
    if ranking is None:
        ranking = _Ranking([], [])
    if ranking.fault:
        label = "misdelivered" if ranking.fault is _MISDELIVERED else "malformed"
        raise _labelled(UnavailableError(f"{where}: {ranking.fault}"), label)
    values = ranking.values
    page = Page(
        seller_id=seller_id,
        page_num=page_num,
        body=kept,
        row_count=None if rows is None else len(rows),
        fingerprint=_fingerprint(ranking.ids),
        received_at=received_at,
        request_id=on_one_line(document.get("requestId")),
        total=_sum(values),
        last_value=values[-1] if values and values == sorted(values, reverse=True) else None,
        ids=ranking.ids,
        values=values,
        rejected=ranking.rejected,
    )
    return "200", page


def read_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks for, in either form; 0, the past and rubbish are None."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9]) or None
    date = _http_date(text)
    if date is None:
        return None
    seconds = (date - (now or datetime.now(UTC))).total_seconds()
    return seconds if seconds > 0 else None


class _Ranking(NamedTuple):
    """What each row is known by, what those that are kept are worth, and how many are not.

    `fault` says why the rows are no page of the seller's at all.
    """

    ids: list[str]
    values: list[float]
    rejected: int = 0
    fault: str = ""


def read_date(value: str | None) -> datetime | None:
    """The moment that a `Date` header names; rubbish, and what no clock can say today, is None."""
    moment = None if value is None else _http_date(value.strip())
    return moment if moment is not None and moment.year in _YEARS else None


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
        return (date.replace(tzinfo=UTC) if date.tzinfo is None else date).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _ranking(seller_id: str, rows: list[Any], column: str, body: bytes) -> _Ranking:
    try:
        ids = [row["video_id"] for row in rows]
        values = [row[column] for row in rows]
        sellers = {row.get("seller_id", seller_id) for row in rows}
    except (KeyError, TypeError):
        return _odd_ranking(seller_id, column, body)
    plain = set(map(type, ids)) <= _STRINGS and set(map(type, values)) <= _NUMBERS
    if plain and sellers == {seller_id} and all(map(str.strip, ids)):
        return _Ranking(ids, [float(value) for value in values])
    return _odd_ranking(seller_id, column, body)


def _odd_ranking(seller_id: str, column: str, body: bytes) -> _Ranking:
    """The same of any rows: what has no ID is known by all of it, what has no number is worth nothing."""
    # IDs may be numbers that differ in their last digits only.
    rows = load_tolerant(body)[0]["data"]
    reasons = [reject_reason(seller_id, row) for row in rows]
    kept = [row for row, reason in zip(rows, reasons, strict=True) if reason is None]
    own = [row for row, reason in zip(rows, reasons, strict=True) if reason != FOREIGN and is_row(row)]
    fault = ""
    if not own:
        fault = _MISDELIVERED if FOREIGN in reasons else _NO_ROWS
    values = [as_number(row.get(column)) or 0.0 for row in kept]
    return _Ranking([_identity(row) for row in rows], values, len(rows) - len(kept), fault)


def _identity(row: Any) -> str:
    video_id = row.get("video_id") if isinstance(row, dict) else None
    return str(video_id) if video_id else orjson.dumps(row).decode()


def _sum(values: list[float]) -> float:
    try:
        return fsum(values)
    except OverflowError:
        return fsum(max(-_MAX_SUMMED, min(_MAX_SUMMED, value)) for value in values)


def _parse(body: bytes, where: str) -> tuple[dict[str, Any], bytes]:
    try:
        document, kept = load_quickly(body)
    except ValueError:
        is_html = body.lstrip()[:1] == b"<"
        what, kind = ("HTML", "HTML") if is_html else ("not JSON, or cut off", "malformed")
        raise _labelled(UnavailableError(f"{where}: malformed answer: {what}", kind), "malformed") from None
    if not isinstance(document, dict):
        raise _labelled(UnavailableError(f"{where}: malformed answer: no JSON object"), "malformed")
    return document, kept


def _require_success(document: dict[str, Any], retry_after: str | None, where: str) -> None:
    """Raise what an answer with `code` 0 but without rows says of itself in other words."""
    status, message = status_named(document), message_of(document)
    if status is None:
        if not (message.says_quota_used_up or message.says_too_fast or message.says_key_refused):
            return
        status = 200
    error = _failure(status, message, retry_after, where)
    raise _labelled(error, "429" if isinstance(error, ThrottledError) else str(status))


def _failure(status: int, message: Message, retry_after: str | None, where: str) -> CrawlerError | PageError:
    text = message.text
    if message.says_quota_used_up and not message_of({"message": text}).says_quota_used_up:
        text = message.quota_text
    failure = f"{where}: {status}" + (f" ({text[:200]})" if text else "")
    if status == 402 or message.says_quota_used_up:
        return QuotaUsedUpError(
            f"the provider's quota is used up: {failure}; top it up, then run the same command again"
        )
    # A code of the API's own says nothing by itself: its message does.
    speaks_http = 400 <= status < 600
    if status == 429 or (not speaks_http and message.says_too_fast):
        return ThrottledError(failure, read_retry_after(retry_after))
    if status in (401, 403) or (not speaks_http and message.says_key_refused):
        return KeyRefusedError(
            f"the API refused the key: {failure}; check KEYAPI_API_KEY, then run the same command again"
        )
    if status in _OF_SELLER or status in _OF_ADDRESS:
        return RefusedError(failure, str(status), of_address=status in _OF_ADDRESS)
    return UnavailableError(failure + _ADVICE.get(status, ""))


def _labelled(error: CrawlerError | PageError, label: str) -> CrawlerError | PageError:
    error.label = label
    return error


def _code_of(document: dict[str, Any]) -> int:
    code = document.get("code")
    if code is None:
        return 0
    if type(code) is int and code in OK_CODES:
        return code
    number = _CODE.fullmatch(str(code)) if isinstance(code, str | int | float) else None
    return int(number[1]) if number else 500


def _message_of(body: bytes) -> Message:
    try:
        document, _ = load_tolerant(body)
    except ValueError:
        document = None
    return message_of(document) if isinstance(document, dict) else message_of_text(body)


def _fingerprint(ids: list[str]) -> int:
    digest = blake2b(orjson.dumps(ids), digest_size=8)
    return int.from_bytes(digest.digest(), signed=True)
