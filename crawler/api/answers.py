"""From an HTTP answer to a page, or to the error that it stands for."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from typing import Any

import orjson

from crawler.errors import (
    KeyRefusedError,
    QuotaUsedUpError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from crawler.models import Page

_SPENT = re.compile(
    r"(quota|usage limit|credits?|balance)\b.{0,40}?"
    r"\b(exceeded|exhausted|used up|not enough|insufficient|reached|run out|ran out|depleted)"
    r"|(insufficient|not enough|no more|no remaining|out of|exceeded)\b.{0,20}?"
    r"(quota|usage limit|credits?|balance)",
    re.IGNORECASE,
)
_PER_TIME = re.compile(r"\bqps\b|\brate\b|per (second|minute)|too many requests", re.IGNORECASE)

_OK = (0, 200)


def read_answer(
    status: int, retry_after: str | None, body: bytes, seller_id: str, page_num: int, received_at: int
) -> tuple[str, Page]:
    """Read one answer of the API; returns its status (the `code` of a 200 body counts as one) and page.

    Raises `KeyRefusedError`, `QuotaUsedUpError`, `ThrottledError`, `RefusedError` or
    `UnavailableError`, each with the status as its `label` attribute.
    """
    where = f"seller {seller_id}, page {page_num}"
    if status != 200:
        raise _labelled(_failure(status, _message_of(body), retry_after, where), str(status))
    document, strict = _parse(body, where)
    code = _code_of(document)
    if code not in _OK:
        raise _labelled(_failure(code, _text(document.get("message")), retry_after, where), str(code))
    if "data" not in document or not isinstance(document["data"], list | None):
        raise _labelled(UnavailableError(f"{where}: malformed answer: `data` is no list"), "malformed")
    rows: list[Any] | None = document["data"]
    page = Page(
        seller_id=seller_id,
        page_num=page_num,
        body=strict,
        row_count=None if rows is None else len(rows),
        fingerprint=_fingerprint(rows or []),
        received_at=received_at,
        request_id=_text(document.get("requestId")),
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
    except (TypeError, ValueError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    seconds = (date - (now or datetime.now(UTC))).total_seconds()
    return seconds if seconds > 0 else None


def load_tolerant(body: bytes) -> tuple[Any, bytes]:
    """Parse JSON that may hold raw control characters, lone surrogates or broken UTF-8.

    Returns the value and the same as strict JSON. Raises `ValueError` where it is no JSON at all.
    """
    try:
        return orjson.loads(body), body
    except orjson.JSONDecodeError:
        pass
    text = body.decode("utf-8-sig", "replace")
    try:
        value = json.loads(text, strict=False, parse_int=_parse_int, parse_constant=str)
        clean = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    strict = clean.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    return orjson.loads(strict), strict


def _parse(body: bytes, where: str) -> tuple[dict[str, Any], bytes]:
    try:
        document, strict = load_tolerant(body)
    except ValueError:
        kind = "HTML" if body.lstrip()[:1] == b"<" else "not JSON, or cut off"
        raise _labelled(UnavailableError(f"{where}: malformed answer: {kind}"), "malformed") from None
    if not isinstance(document, dict):
        raise _labelled(UnavailableError(f"{where}: malformed answer: no JSON object"), "malformed")
    return document, strict


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
    return UnavailableError(told)


def _labelled(error: Exception, label: str) -> Exception:
    error.label = label  # type: ignore[attr-defined]  # read once, by the client
    return error


def _code_of(document: dict[str, Any]) -> int:
    code = document.get("code", 0)
    if isinstance(code, str) and code.strip().lstrip("-").isdigit():
        code = int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) else 0 if code is None else 500


def _message_of(body: bytes) -> str:
    try:
        document, _ = load_tolerant(body)
    except ValueError:
        return ""
    return _text(document.get("message")) if isinstance(document, dict) else ""


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else "" if value is None else str(value)
    return "".join(c if c.isprintable() else " " for c in text)[:200].strip()


def _parse_int(digits: str) -> int | str:
    # Beyond 64 bits a double would lose digits; the text keeps them.
    return int(digits) if len(digits) <= 20 and -(2**63) <= int(digits) < 2**64 else digits


def _fingerprint(rows: list[Any]) -> int:
    digest = blake2b(digest_size=8)
    for row in rows:
        video_id = row.get("video_id") if isinstance(row, dict) else None
        digest.update(str(video_id).encode() if video_id else orjson.dumps(row))
        digest.update(b"\0")
    return int.from_bytes(digest.digest(), signed=True)
