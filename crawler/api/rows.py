"""From a page's body to columns: the dataset's types (docs/data.md), and `extra` for what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

import orjson

from crawler.api.lenient import load_tolerant
from crawler.models.api import API_COLUMNS
from crawler.models.page import PageRows, Reject

_MISFIT = object()
_INT64 = range(-(2**63), 2**63)
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, in epoch seconds: beyond them, dates break most readers."""
_KNOWN = frozenset(column.name for column in API_COLUMNS) | {"seller_id"}
FOREIGN = "the row is another seller's"
"""Why a row is rejected that carries another `seller_id` than the one asked for."""


def read_rows(seller_id: str, body: bytes) -> PageRows:
    """Read the rows of a page's body; one for which `reject_reason` has a reason is a reject."""
    rows = load_tolerant(body)[0]["data"] or []
    result = PageRows([], {name: [] for name in (*(c.name for c in API_COLUMNS), "extra")}, [])
    for place, row in enumerate(rows, start=1):
        reason = reject_reason(seller_id, row)
        if reason is None:
            _read_row(seller_id, place, row, result)
        else:
            result.rejects.append(Reject(place, row, reason))
    return result


def reject_reason(seller_id: str, row: Any) -> str | None:
    """Why a row of a seller's page cannot be kept; None where it can."""
    if not isinstance(row, dict):
        return "the row is no JSON object"
    if _is_foreign(row.get("seller_id"), seller_id):
        return FOREIGN
    video_id = _as_string(row.get("video_id"))
    return None if isinstance(video_id, str) and video_id.strip() else "no usable video_id"


def _is_foreign(named: Any, seller_id: str) -> bool:
    """Whether a row's `seller_id` is another seller's: a usable one, in whatever form, that differs.

    A number that passed through a double cannot be distinguished from the ID that it was rounded from.
    """
    if named == seller_id or isinstance(named, bool) or not isinstance(named, str | int | float):
        return False
    if isinstance(named, str):
        return named.strip() not in ("", "0", seller_id)
    if not isfinite(named):
        return False
    text = str(int(named) if named == int(named) else named)
    return text not in ("0", seller_id) and not _is_rounded(named, seller_id)


def _is_rounded(number: float, seller_id: str) -> bool:
    """Whether a number is what a double makes of the ID: its exact value, or the shortest digits for it."""
    if not seller_id.isdecimal() or len(seller_id) > 300:
        return False
    double = float(seller_id)
    roundings = (double,) if isinstance(number, float) else (int(double), int(Decimal(repr(double))))
    return number in roundings


def _read_row(seller_id: str, place: int, row: dict[str, Any], result: PageRows) -> None:
    extra = {name: value for name, value in row.items() if name not in _KNOWN}
    named = row.get("seller_id")
    if named is not None and named != seller_id and _as_string(named) != seller_id:
        extra["seller_id"] = named
    for name, kind in API_COLUMNS:
        value = row.get(name)
        fitted = None if value is None else _FITTERS[kind](value)
        if fitted is _MISFIT:
            extra[name] = value
            fitted = None
        result.values[name].append(fitted)
    result.values["extra"].append(orjson.dumps(extra).decode() if extra else None)
    result.places.append(place)


def _as_string(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _MISFIT


def _as_int64(value: Any) -> Any:
    number = _as_number(value)
    if isinstance(number, float):
        # Beyond 2**53 a double is another integer than its text.
        number = Decimal(repr(number))
    if isinstance(number, Decimal) and number == int(number):
        number = int(number)
    return number if isinstance(number, int) and number in _INT64 else _MISFIT


def _as_float64(value: Any) -> Any:
    number = as_number(value)
    return _MISFIT if number is None else number


def as_number(value: Any) -> float | None:
    """A finite number, also one in a string; None for anything else."""
    number = _as_number(value)
    return float(number) if number is not _MISFIT and isfinite(float(number)) else None


def _as_milliseconds(value: Any) -> Any:
    number = _as_number(value)
    if number is _MISFIT or not _FIRST_SECOND <= number <= _LAST_SECOND:
        return _MISFIT
    return round(number * 1000)


def _as_number(value: Any) -> Any:
    """An int, a finite float or a finite Decimal; a number in a string is read as a number."""
    if isinstance(value, bool):
        return _MISFIT
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str) or not value.isascii() or len(value) > 64 or "_" in value:
        return _MISFIT
    try:
        number = Decimal(value.strip())
    except InvalidOperation:
        return _MISFIT
    # A huge exponent would make an integer of millions of digits.
    return number if number.is_finite() and abs(number.adjusted()) < 400 else _MISFIT


_FITTERS: dict[str, Callable[[Any], Any]] = {
    "string": _as_string,
    "int64": _as_int64,
    "float64": _as_float64,
    "seconds": _as_milliseconds,
}
