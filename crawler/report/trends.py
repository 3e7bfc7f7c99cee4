"""Tonight against the nights before it, as charts. Open it to show another figure of a night."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from crawler.report.charts import columns
from crawler.report.figure import figure, figures_side_by_side
from crawler.report.markup import Markup, shown
from crawler.report.page_facts import PastNight

NIGHTS = 30
"""Nights before tonight that are shown at most."""
_MAX_MISSED = 30
_SAME = 0.005
_WHOLE_FROM = 100


@dataclass(frozen=True, slots=True)
class Measure:
    """What is compared from night to night, and by how much of the median it must differ to be mentioned.

    `is_bad`: which direction is bad, -1 for a fall, 1 for a rise.
    """

    title: str
    of: Callable[[PastNight], float | None]
    is_bad: int
    notable: float


MEASURES = (
    Measure("Rows", lambda night: night.rows, -1, 0.1),
    Measure("Complete sellers", lambda night: night.complete, -1, 0.05),
    Measure("Failed sellers", lambda night: night.failed, 1, 1.0),
    Measure("Credits", lambda night: night.credits, 1, 0.25),
    Measure("Minutes", lambda night: night.minutes, 1, 1.0),
)


def trends(nights: Sequence[PastNight], missed: Sequence[str]) -> Iterator[Markup]:
    """A chart of each measure, where dates that were missed are empty; nothing of a first night."""
    if len(nights) < 2:
        return
    shown_days = [*(night.crawl_date for night in nights), *missed[-_MAX_MISSED:]]
    yield figures_side_by_side(_chart(measure, nights, sorted(shown_days)) for measure in MEASURES)


def against_median(measure: Measure, nights: Sequence[PastNight]) -> tuple[float, float] | None:
    """Tonight's figure and the median of the nights before; None where one of them is not known."""
    *before, tonight = [measure.of(night) for night in nights] or [None]
    known = [value for value in before if value is not None]
    return None if tonight is None or not known else (tonight, median(known))


def change_in_words(tonight: float, usual: float) -> str:
    """How far a figure is from what is usual."""
    middle = f"median {shown(round(usual, 1) if usual < _WHOLE_FROM else round(usual))}"
    if not usual or abs(tonight - usual) < _SAME * usual:
        return middle
    return f"{middle}, {(tonight - usual) / usual:+.0%}"


def _chart(measure: Measure, nights: Sequence[PastNight], calendar: Sequence[str]) -> Markup:
    by_day = {night.crawl_date: measure.of(night) for night in nights}
    tonight = nights[-1].crawl_date
    values = [by_day.get(day) for day in calendar]
    labels = [day.partition("-")[2] or day for day in calendar]
    earlier = [None if day == tonight else value for day, value in zip(calendar, values, strict=True)]
    last = [value if day == tonight else None for day, value in zip(calendar, values, strict=True)]
    found = against_median(measure, nights)
    headline = [shown(_rounded(by_day[tonight])), change_in_words(*found) if found else ""]
    rows = (
        (day, "no night" if day not in by_day else shown(_rounded(by_day[day]))) for day in reversed(calendar)
    )
    picture = columns(measure.title, labels, [earlier, last])
    return figure(measure.title, headline, picture, ("night", measure.title.lower()), rows)


def _rounded(value: float | None) -> float | None:
    return round(value, 1) if isinstance(value, float) else value
