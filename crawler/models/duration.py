"""A length of time as people write it in a command: 26h, 90m, 500ms."""

from __future__ import annotations

import re
from datetime import timedelta
from math import isfinite

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", re.ASCII)
_LONGEST = timedelta(days=36_500)


def read_duration(text: str) -> timedelta | None:
    """The length of time; None where it is none, or above a hundred years."""
    written = _WRITTEN.fullmatch(text.strip())
    if written is None or not isfinite(number := float(written[1])):
        return None
    try:
        length = timedelta(**{_UNITS[written[2]]: number})
    except OverflowError:
        return None
    return length if length <= _LONGEST else None


def shown_duration(length: timedelta) -> str:
    """A length of time in one unit: days from two days on, else hours, minutes or seconds."""
    seconds = length.total_seconds()
    for unit, size, least in (("d", 86_400, 2), ("h", 3600, 1), ("m", 60, 1)):
        if seconds >= size * least:
            return f"{seconds / size:.1f}".removesuffix(".0") + unit
    return f"{max(0.0, seconds):.0f}s"
