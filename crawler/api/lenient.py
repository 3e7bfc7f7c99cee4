"""JSON as it comes: what a strict parser refuses or damages is read without losing the rows around it."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from math import isfinite
from typing import Any

import orjson

MAX_DEPTH = 200
"""Levels of nesting that a document may keep: orjson reads 1024 but writes only 254, wrapping included."""
_TOKENS = re.compile(rb'"[^"]*"(?::([\[{]+))?|([\[{]+)|([\]}]+)')
"""Strings, so that they are passed over, a key with what opens after it; and brackets."""
_SHAPE = bytes.maketrans(b"123456789[, \t\r\n", b"0" * 9 + b":" * 6)
_ROUGH_SHAPE = bytes.maketrans(b"123456789[,- \t\r\n", b"0" * 9 + b":" * 7)
"""The same where a sign looks like a separator: most bodies then need one search only."""
_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


def load_quickly(body: bytes) -> tuple[Any, bytes]:
    """As `load_tolerant`, but in strict JSON numbers beyond 64 bits become floats and lose precision."""
    try:
        value = orjson.loads(body)
        if _may_be_too_deep(body):
            orjson.dumps(value)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return _load_slowly(body)
    return value, body


def load_tolerant(body: bytes) -> tuple[Any, bytes]:
    """Parse JSON that may hold raw control characters, lone surrogates, broken UTF-8 or a byte order mark.

    Numbers that fit neither 64 bits nor a double, NaN and infinities become strings of their text, and
    so does what is nested too deeply to be written again. Returns the value and the same as strict JSON.
    Raises `ValueError` where it is no JSON at all. Time and memory are linear in the body's length.
    """
    return _load_slowly(body) if _holds_wide_number(body) else load_quickly(body)


def _load_slowly(body: bytes) -> tuple[Any, bytes]:
    flat = _flatten(body)
    if flat is not body and not _holds_wide_number(flat):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(flat), flat
    value = json.loads(
        flat.decode("utf-8-sig", "replace"),
        strict=False,
        parse_int=_parse_int,
        parse_float=_parse_float,
        parse_constant=str,
    )
    clean = json.dumps(value, ensure_ascii=False, allow_nan=False)
    strict = _LONE_SURROGATES.sub("\ufffd", clean).encode()
    return orjson.loads(strict), strict


def _holds_wide_number(body: bytes) -> bool:
    """Whether a number may not fit 64 bits, so that orjson would make a float of it, which loses digits."""
    if b":0000000000000000000" not in body.translate(_ROUGH_SHAPE):
        return False
    shape = body.translate(_SHAPE)
    return b":00000000000000000000" in shape or b":-0000000000000000000" in shape


def _may_be_too_deep(body: bytes) -> bool:
    return body.count(b"[") + body.count(b"{") > MAX_DEPTH


def _flatten(body: bytes) -> bytes:
    """Put a string of its text in the place of every value that is nested too deeply."""
    if not _may_be_too_deep(body):
        return body
    # With its escapes masked a string ends at the next quote, and every byte keeps its place.
    masked = body.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    flat = bytearray()
    depth = begin = done = 0
    for token in _TOKENS.finditer(masked):
        kind = token.lastindex
        if kind is None:
            continue
        start, end = token.span(kind)
        before, depth = depth, depth + (end - start if kind < 3 else start - end)
        if before <= MAX_DEPTH < depth:
            begin = start + MAX_DEPTH - before
        elif depth <= MAX_DEPTH < before:
            after = start + before - MAX_DEPTH
            flat += body[done:begin]
            flat += orjson.dumps(body[begin:after].decode("utf-8", "replace"))
            done = after
        if depth <= 0:
            break
    if depth > 0:
        raise ValueError("cut off: a bracket is never closed")
    return bytes(flat) + body[done:] if done else body


def _parse_int(digits: str) -> int | str:
    # Beyond 64 bits a double would lose digits; the text keeps them.
    return int(digits) if len(digits) <= 20 and -(2**63) <= int(digits) < 2**64 else digits


def _parse_float(digits: str) -> float | str:
    number = float(digits)
    return number if isfinite(number) else digits
