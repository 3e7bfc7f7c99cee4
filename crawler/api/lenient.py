"""JSON as it comes: what strict parsers refuse, or spoil, is read without losing the rows around it."""

from __future__ import annotations

import json
import re
from math import inf, isfinite
from typing import Any

import orjson

DEEPEST = 64
"""Levels of nesting that are kept: as many as every common JSON reader takes by default.

The strictest known take 64; orjson writes 254, so anything deeper could be received but not stored.
"""

_TOKENS = re.compile(rb'"[^"]*"?|([\[{]+)|([\]}]+)')
_WIDE_NUMBER = re.compile(rb'(?<![\d"])\d{20}')
_LONE_SURROGATES = re.compile("[\ud800-\udfff]")
_LONGEST_FLOAT = 400


def load_tolerant(body: bytes) -> tuple[Any, bytes]:
    """Parse JSON that may hold raw control characters, lone surrogates, broken UTF-8 or a byte order mark.

    Numbers that fit neither 64 bits nor a double, NaN and infinities become strings of their text, and
    so does what is nested deeper than `DEEPEST`. Takes linear time. Returns the value and the same as
    strict JSON. Raises `ValueError` where it is no JSON at all.
    """
    flat = _flatten(body)
    if not _WIDE_NUMBER.search(flat):
        try:
            return orjson.loads(flat), flat
        except orjson.JSONDecodeError:
            pass
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


def _flatten(body: bytes) -> bytes:
    """Put a string of its text in the place of every value that is nested too deeply."""
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return body
    # Without escapes a string ends at the next quote; every byte keeps its place.
    plain = body.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    flat = bytearray()
    depth = begin = done = 0
    for token in _TOKENS.finditer(plain):
        if token.lastindex is None:
            continue
        start, end = token.span()
        if token.lastindex == 1:
            if depth <= DEEPEST < depth + end - start:
                begin = start + DEEPEST - depth
            depth += end - start
        else:
            if depth - (end - start) <= DEEPEST < depth:
                after = start + depth - DEEPEST
                flat += body[done:begin] + orjson.dumps(body[begin:after].decode("utf-8", "replace"))
                done = after
            depth -= end - start
    if depth:
        raise ValueError("its brackets do not pair")
    return bytes(flat + body[done:]) if done else body


def _parse_int(digits: str) -> int | str:
    return int(digits) if len(digits) <= 20 and -(2**63) <= int(digits) < 2**64 else digits


def _parse_float(digits: str) -> float | str:
    # The time that a double takes to read grows faster than its digits.
    number = float(digits) if len(digits) <= _LONGEST_FLOAT else inf
    return number if isfinite(number) else digits
