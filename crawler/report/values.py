"""A report's values as text, whatever is missing or of another kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import isfinite
from typing import Any

_LARGEST = 1e15
"""From here on a figure is shown as a power of ten."""

_DASH = "\N{EN DASH}"


def shown(value: Any) -> str:
    """A figure with its thousands apart, text as it is, a dash where there is neither."""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and isfinite(value):
        return f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) < _LARGEST else f"{value:g}"
    return value if isinstance(value, str) and value else _DASH


def of(figure: Any, limit: Any) -> str:
    """A figure, of its limit where there is one."""
    return shown(figure) if limit is None else f"{shown(figure)} of {shown(limit)}"


def moment(stamp: Any) -> str:
    """A timestamp for people."""
    try:
        return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M:%S} UTC"
    except (TypeError, ValueError):
        return shown(stamp)


def number(value: Any) -> float:
    """A count or a measure; 0 where there is none."""
    return value if isinstance(value, int | float) and isfinite(value) and value > 0 else 0


def share(figure: Any, total: Any) -> float:
    """A figure's share of a total, from 0 to 1."""
    return min(1.0, number(figure) / number(total)) if number(total) else 0.0


def part(report: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object in it; an empty one where there is none."""
    inside = report.get(key)
    return inside if isinstance(inside, Mapping) else {}


def listed(report: Mapping[str, Any], key: str) -> list[Any]:
    """A list in it; an empty one where there is none."""
    inside = report.get(key)
    return inside if isinstance(inside, list) else []
