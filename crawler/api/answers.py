"""From an HTTP answer to a page, or to the error that it means."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from math import fsum
from typing import Any, NamedTuple

import orjson

from crawler.api import messages
from crawler.api.lenient import load_quickly, load_tolerant
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

_Failure = CrawlerError | PageError
_OF_SELLER = frozenset({400, 422})
_OF_ADDRESS = frozenset({404, 405, 406, 409, 410, 411, 412, 413, 414, 415, 416, 417, 426, 428, 431, 451})
"""Refusals that a single seller may get, and all do where the address is wrong or no longer served.

Other statuses from 400 to 499 say nothing of the seller, or may pass (408, 425): they are asked again.
"""
_ADVICE = {
    **dict.fromkeys((301, 302, 303, 307, 308), ", a redirect, which is not followed: is --api-url right?"),
    407: ": the proxy asks for a user and a password, see https_proxy and http_proxy",
}
"""What is added to the message of a status that is not the API's own."""
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
) -> Page:
    """Read an answer; a 200 body's `code` is its status. Raises as `Api.fetch`, with that as `label`."""
    where = f"seller {seller_id}, page {page_num}"
    if status != 200:
        raise _failure(status, _message_of(body), retry_after, where)
    document, kept = _parse(body, retry_after, where)
    code = _code_of(document)
    if code not in messages.OK_CODES:
        raise _failure(code, messages.message_of(document), retry_after, where)
    rows: list[Any] | None = document.get("data")
    ranking = _Ranking([], [])
    if rows and isinstance(rows, list):
        ranking = _ranking(seller_id, rows, SORT_COLUMNS[sort], kept)
    if not ranking.ids or ranking.fault or messages.says_refused(document):
        _require_success(document, retry_after, where)
    if "data" not in document or not isinstance(rows, list | None):
        raise _malformed(where, "malformed answer: `data` is no list")
    if ranking.fault:
        raise _malformed(where, ranking.fault)
    values = ranking.values
    return Page(
        seller_id=seller_id,
        page_num=page_num,
        body=kept,
        row_count=None if rows is None else len(rows),
        fingerprint=_fingerprint(ranking.ids),
        received_at=received_at,
        request_id=messages.on_one_line(document.get("requestId")),
        total=_sum(values),
        last_value=values[-1] if values and values == sorted(values, reverse=True) else None,
        ids=ranking.ids,
        values=values,
        rejected=ranking.rejected,
    )


class _Ranking(NamedTuple):
    """Each row's ID, the values of the rows that are kept, and why they are no page of the seller's."""

    ids: list[str]
    values: list[float]
    rejected: int = 0
    fault: str = ""


def read_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks for, in either form; 0, the past and rubbish are None."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9]) or None
    date = _http_date(text)
    seconds = 0.0 if date is None else (date - (now or datetime.now(UTC))).total_seconds()
    return seconds if seconds > 0 else None


def read_date(value: str | None) -> datetime | None:
    """The moment that a `Date` header names; rubbish, and what no clock can say today, is None."""
    moment = _http_date((value or "").strip())
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
    plain = set(map(type, ids)) == {str} and set(map(type, values)) <= {int, float}
    if plain and sellers == {seller_id} and all(map(str.strip, ids)):
        return _Ranking(ids, [float(value) for value in values])
    return _odd_ranking(seller_id, column, body)


def _odd_ranking(seller_id: str, column: str, body: bytes) -> _Ranking:
    """The same of any rows: without an ID the whole row is it, without a number the value is 0."""
    # IDs may be numbers that differ in their last digits only.
    rows = load_tolerant(body)[0]["data"]
    judged = [(row, reject_reason(seller_id, row)) for row in rows]
    values = [as_number(row.get(column)) or 0.0 for row, reason in judged if reason is None]
    fault = ""
    if not any(reason != FOREIGN and messages.is_row(row) for row, reason in judged):
        fault = _MISDELIVERED if any(reason == FOREIGN for _, reason in judged) else _NO_ROWS
    return _Ranking([_identity(row) for row in rows], values, len(rows) - len(values), fault)


def _identity(row: Any) -> str:
    video_id = row.get("video_id") if isinstance(row, dict) else None
    return str(video_id) if video_id else orjson.dumps(row).decode()


def _sum(values: list[float]) -> float:
    try:
        return fsum(values)
    except OverflowError:
        return fsum(max(-_MAX_SUMMED, min(_MAX_SUMMED, value)) for value in values)


def _parse(body: bytes, retry_after: str | None, where: str) -> tuple[dict[str, Any], bytes]:
    what, kind = "no JSON object", ""
    try:
        document, kept = load_quickly(body)
        if isinstance(document, dict):
            return document, kept
    except ValueError:
        is_html = body.lstrip()[:1] == b"<"
        what, kind = ("HTML", "HTML") if is_html else ("not JSON, or cut off", "malformed")
    message = messages.message_of_text(body)
    if message.quota_text:
        raise _failure(200, message, retry_after, where)
    raise _malformed(where, f"malformed answer: {what}", kind)


def _require_success(document: dict[str, Any], retry_after: str | None, where: str) -> None:
    """Raise what an answer with `code` 0 but without rows says of itself in other words."""
    status, message = messages.status_named(document), messages.message_of(document)
    if status or message.quota_text or message.says_too_fast or message.says_key_refused:
        error = _failure(status or 200, message, retry_after, where)
        if isinstance(error, ThrottledError):
            error.label = "429"
        raise error


def _failure(status: int, message: messages.Message, retry_after: str | None, where: str) -> _Failure:
    """The error that a status and a message mean; its label is the status."""
    text = message.text
    if message.quota_text and not messages.message_of({"message": text}).quota_text:
        text = message.quota_text
    failure = f"{where}: {status}" + (f" ({text[:200]})" if text else "")
    # A code of the API's own says nothing by itself: its message does.
    speaks_http = 400 <= status < 600
    error: _Failure
    if status == 402 or message.quota_text:
        error = QuotaUsedUpError(
            f"the provider's quota is used up: {failure}; top it up, then run the same command again"
        )
        error.detail = failure
    elif status == 429 or (not speaks_http and message.says_too_fast):
        error = ThrottledError(failure, read_retry_after(retry_after))
    elif status in (401, 403) or (not speaks_http and message.says_key_refused):
        error = KeyRefusedError(
            f"the API refused the key: {failure}; check it (KEYAPI_API_KEY, or the file of "
            "api.key_file), then run the same command again"
        )
        error.detail = failure
    elif status in _OF_SELLER or status in _OF_ADDRESS:
        error = RefusedError(failure, str(status), of_address=status in _OF_ADDRESS)
    else:
        error = UnavailableError(failure + _ADVICE.get(status, ""))
    error.label = str(status)
    return error


def _malformed(where: str, what: str, kind: str = "") -> UnavailableError:
    error = UnavailableError(f"{where}: {what}", kind)
    error.label = "misdelivered" if what is _MISDELIVERED else "malformed"
    return error


def _code_of(document: dict[str, Any]) -> int:
    code = document.get("code")
    if code is None or (type(code) is int and code in messages.OK_CODES):
        return code or 0
    number = messages.as_whole_number(code)
    return 500 if number is None else number


def _message_of(body: bytes) -> messages.Message:
    with suppress(ValueError):
        document, _ = load_tolerant(body)
        if isinstance(document, dict):
            return messages.message_of(document)
    return messages.message_of_text(body)


def _fingerprint(ids: list[str]) -> int:
    return int.from_bytes(blake2b(orjson.dumps(ids), digest_size=8).digest(), signed=True)
