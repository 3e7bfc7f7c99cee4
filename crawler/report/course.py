"""How a night went from its first request to its last: pace, latency, credits, as charts over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from crawler.report.charts import Points, lines
from crawler.report.figure import figure, figures_side_by_side
from crawler.report.markup import Markup, number, part, shown
from crawler.report.series import Series

_MINUTES_FROM_S = 300.0
_NEAR = 3.0
"""A limit is drawn where it is at most so many times the highest value: else the rest would lie flat."""


def course(report: Mapping[str, Any], series: Series | None) -> Iterator[Markup]:
    """Charts over the night; nothing where it has no samples."""
    if series is None or not series.seconds:
        return
    drawn = _Course(report, series)
    yield figures_side_by_side([drawn.pace(), drawn.latency(), drawn.credits()])


class _Course:
    def __init__(self, report: Mapping[str, Any], series: Series) -> None:
        self._report, self._series = report, series
        is_long = series.seconds[-1] >= _MINUTES_FROM_S
        self._unit, self._scale = ("min", 60.0) if is_long else ("s", 1.0)
        self._times = [round(second / self._scale, 2) for second in series.seconds]
        self._lengths = [max(later - earlier, 1e-6) for earlier, later in pairwise([0.0, *series.seconds])]

    def pace(self) -> Markup:
        """Requests that ended a second, and 429s: in a second more may end than may be sent."""
        sent, refused = self._a_second(self._series.requests), self._a_second(self._series.throttled)
        limit = number(part(self._report, "qps").get("limit"))
        ceiling = self._level(limit, max(sent))
        names = ["ended a second", "429s a second", *(["ceiling of sending"] if ceiling else [])]
        curves: list[Points] = [self._line(sent), self._line(refused), *([ceiling] if ceiling else [])]
        achieved = shown(part(self._report, "qps").get("achieved"))
        throttled = sum(self._series.throttled)
        headline = [f"{achieved} of {shown(limit)}", f"{throttled:,} x 429"]
        rows = _rows(self._times, sent, refused)
        heads = (f"up to {self._unit}", *names[:2])
        return figure("Requests a second", headline, self._drawn("Requests", curves), heads, rows, names)

    def latency(self) -> Markup:
        """Seconds to an answer, as far as the histogram's classes say."""
        median, slow = self._series.median_s, self._series.slow_s
        curves = [self._line(median), self._line(slow)]
        rows = _rows(self._times, median, slow)
        known = [value for value in slow if value is not None]
        headline = [f"up to {shown(max(known))} s" if known else "no answer"]
        names = ("half of all within", "95 of 100 within")
        heads = (f"up to {self._unit}", *(f"{name}, s" for name in names))
        return figure("Seconds to an answer", headline, self._drawn("Latency", curves), heads, rows, names)

    def credits(self) -> Markup:
        """Credits of the crawl date, as they were spent, under its budget."""
        counts = part(self._report, "credits")
        before = max(0.0, number(counts.get("spent_for_date")) - sum(self._series.requests))
        spent = [int(before) + count for count in accumulate(self._series.requests)]
        budget = number(counts.get("budget"))
        limit = self._level(budget, max(spent))
        names = ["spent for the date", *(["budget"] if limit else [])]
        of = f" of {shown(counts.get('budget'))}" if budget else ", no budget"
        rows = _rows(self._times, spent)
        picture = self._drawn("Credits", [[(0.0, before), *self._line(spent)], *([limit] if limit else [])])
        heads = (f"up to {self._unit}", "credits")
        return figure("Credits burnt", [f"{shown(spent[-1])}{of}"], picture, heads, rows, names)

    def _drawn(self, title: str, curves: Sequence[Points]) -> Markup:
        return lines(title, curves, self._unit)

    def _a_second(self, counts: list[int]) -> list[float]:
        return [round(count / length, 2) for count, length in zip(counts, self._lengths, strict=True)]

    def _line(self, values: list[Any]) -> list[tuple[float, float | None]]:
        return list(zip(self._times, values, strict=True))

    def _level(self, limit: float, highest: float) -> Points | None:
        """A limit as a line, where it is near enough to be of use."""
        return [(0.0, limit), (self._times[-1], limit)] if 0 < limit <= _NEAR * max(highest, 1e-9) else None


def _rows(*columns: Sequence[Any]) -> Iterator[list[str]]:
    return ([shown(value) for value in row] for row in zip(*columns, strict=True))
