"""Whether a seller's answers still show what made a night implausible. Open it to change what is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crawler.models.api import COUNT_COLUMNS
from crawler.rules.plausibility import ANY_FIGURE, REGION, REPEATS, ROWS

_MOVED = 0.1
"""Sums of a seller that fell by more are a measure; from reading to reading they move by less."""
_FIGURES = ("video_id", "create_time", *COUNT_COLUMNS)
COMPARED = (*_FIGURES, REGION)
"""The columns of the rows that are compared."""

Row = dict[str, Any]
_Videos = Mapping[str, Row]


def needs_pages(shown_by: Sequence[str]) -> bool:
    """Whether only sellers with several pages say whether a night is still implausible."""
    return not shown_by or not {ROWS, REPEATS}.isdisjoint(shown_by)


def is_answered_otherwise(shown_by: Sequence[str], now: Sequence[Row], then: Sequence[Row]) -> bool:
    """Whether a seller's rows, as they were received, no longer show what made the night implausible.

    Counts move from reading to reading, so only what shows it is compared: see `Verdict.shown_by`; without
    any, all figures are.
    """
    if REPEATS in shown_by and _repeats(now) != _repeats(then):
        return True
    videos = _by_video(now), _by_video(then)
    return any(_differs(name, *videos) for name in shown_by or (ANY_FIGURE,) if name != REPEATS)


def _by_video(rows: Sequence[Row]) -> _Videos:
    return {row["video_id"]: row for row in rows}


def _repeats(rows: Sequence[Row]) -> bool:
    return len(rows) > len(_by_video(rows))


def _differs(name: str, now: _Videos, then: _Videos) -> bool:
    if name == ANY_FIGURE:
        return _figures(now) != _figures(then)
    if name == ROWS:
        return _is_beyond(len(now), len(then))
    if name == "video_id":
        return len(then.keys() - now.keys()) > _MOVED * len(then)
    has_other_nulls = abs(_nulls(name, now) - _nulls(name, then)) > _MOVED
    return has_other_nulls or (name in COUNT_COLUMNS and _is_beyond(_sum(name, now), _sum(name, then)))


def _figures(videos: _Videos) -> set[tuple[Any, ...]]:
    return {tuple(row[name] for name in _FIGURES) for row in videos.values()}


def _nulls(name: str, videos: _Videos) -> float:
    return sum(row[name] is None for row in videos.values()) / max(1, len(videos))


def _sum(name: str, videos: _Videos) -> float:
    return sum(row[name] or 0 for row in videos.values())


def _is_beyond(one: float, other: float) -> bool:
    """Whether one of two figures is less than the other by more than it moves between two readings."""
    return min(one, other) < (1 - _MOVED) * max(one, other)
