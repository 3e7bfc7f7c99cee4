"""From an HTTP answer to a page, or to the error that it stands for."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from math import fsum
from typing import Any

import orjson

from crawler.api.lenient import load_quickly, load_tolerant
from crawler.api.rows import as_number
from crawler.errors import (
    KeyRefusedError,
    QuotaUsedUpError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from crawler.models import SORT_COLUMNS, Page, SortField

_SPENT = re.compile(
    r"(quota|usage limit|credits?|balance)\b.{0,40}?"
    r"\b(exceeded|exhausted|used up|not enough|insufficient|reached|run out|ran out|depleted)"
    r"|(insufficient|not enough|no more|no remaining|out of|exceeded)\b.{0,20}?"
    r"(quota|usage limit|credits?|balance)",
    re.IGNORECASE,
)
_PER_TIME = re.compile(r"\bqps\b|\brate\b|per (second|minute)|too many requests", re.IGNORECASE)

_ADVICE = {
    **dict.fromkeys((301, 302, 303, 307, 308), ", a redirect, which is not followed: is --api-url right?"),
    407: ": the proxy asks for a user and a password, see https_proxy and http_proxy",
}
"""What a status that is no answer of the API tells, beside its number."""

_CODE = re.compile(r"\s*(-?[0-9]{1,9})(?:\.0+)?\s*")
_OK = (0, 200)
_NUMBERS, _STRINGS = {int, float}, {str}
_MOST = 1e300
"""What a value counts for at most where a page's sum would be beyond all floats."""


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
    document, kept = _parse(body, where)
    code = _code_of(document)
    if code not in _OK:
        raise _labelled(_failure(code, _text(document.get("message")), retry_after, where), str(code))
    if "data" not in document or not isinstance(document["data"], list | None):
        raise _labelled(UnavailableError(f"{where}: malformed answer: `data` is no list"), "malformed")
    rows: list[Any] | None = document["data"]
    ids, values = _ranking(rows or [], SORT_COLUMNS[sort], kept)
    page = Page(
        seller_id=seller_id,
        page_num=page_num,
        body=kept,
        row_count=None if rows is None else len(rows),
        fingerprint=_fingerprint(ids),
        received_at=received_at,
        request_id=_text(document.get("requestId")),
        total=_sum(values),
        least=values[-1] if values and values == sorted(values, reverse=True) else None,
        ids=ids,
        values=values,
    )
    return "200", page


def read_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks for, in either form; 0, the past and rubbish are None."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9]) or None
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    seconds = (date - (now or datetime.now(UTC))).total_seconds()
    return seconds if seconds > 0 else None


def _ranking(rows: list[Any], column: str, body: bytes) -> tuple[list[str], list[float]]:
    """What each row is known by, and what it is worth."""
    try:
        ids = [row["video_id"] for row in rows]
        values = [row[column] for row in rows]
    except (KeyError, TypeError):
        return _odd_ranking(body, column)
    if set(map(type, ids)) <= _STRINGS and all(ids) and set(map(type, values)) <= _NUMBERS:
        return ids, [float(value) for value in values]
    return _odd_ranking(body, column)


def _odd_ranking(body: bytes, column: str) -> tuple[list[str], list[float]]:
    """The same of any rows: what has no ID is known by all of it, what has no number is worth nothing."""
    # Of numbers all digits may be needed to tell one from another.
    rows = load_tolerant(body)[0]["data"]
    objects = [row if isinstance(row, dict) else {} for row in rows]
    return [_identity(row) for row in rows], [as_number(row.get(column)) or 0.0 for row in objects]


def _identity(row: Any) -> str:
    video_id = row.get("video_id") if isinstance(row, dict) else None
    return str(video_id) if video_id else orjson.dumps(row).decode()


def _sum(values: list[float]) -> float:
    try:
        return fsum(values)
    except OverflowError:
        return fsum(max(-_MOST, min(_MOST, value)) for value in values)


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


def _failure(status: int, message: str, retry_after: str | None, where: str) -> Exception:
    told = f"{where}: {status}" + (f" ({message})" if message else "")
    if status == 402 or (_SPENT.search(message) and not _PER_TIME.search(message)):
        return QuotaUsedUpError(
            f"the provider's quota is used up: {told}; top it up, then run the same command again"
        )
    if status in (401, 403):
        return KeyRefusedError(
            f"the API refused the key: {told}; check KEYAPI_API_KEY, then run the same command again"
        )
    if status == 429:
        return ThrottledError(told, read_retry_after(retry_after))
    if status == 400:
        return RefusedError(told)
    return UnavailableError(told + _ADVICE.get(status, ""))


def _labelled(error: Exception, label: str) -> Exception:
    error.label = label  # type: ignore[attr-defined]  # read once, by the client
    return error


def _code_of(document: dict[str, Any]) -> int:
    code = document.get("code")
    if code is None:
        return 0
    if type(code) is int and code in _OK:
        return code
    told = _CODE.fullmatch(str(code)) if isinstance(code, str | int | float) else None
    return int(told[1]) if told else 500


def _message_of(body: bytes) -> str:
    try:
        document, _ = load_tolerant(body)
    except ValueError:
        return ""
    return _text(document.get("message")) if isinstance(document, dict) else ""


def _text(value: Any) -> str:
    text = (value if isinstance(value, str) else "" if value is None else str(value))[:200]
    if text.isprintable():
        return text.strip()
    return "".join(c if c.isprintable() else " " for c in text).strip()


def _fingerprint(ids: list[str]) -> int:
    digest = blake2b(orjson.dumps(ids), digest_size=8)
    return int.from_bytes(digest.digest(), signed=True)
