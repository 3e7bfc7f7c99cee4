"""The course of a crawl: a few hundred samples of what was sent, for the charts of its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from crawler.models.latency import BOUNDS
from crawler.ports import CrawlFigures

MAX_SAMPLES = 360
"""Samples that are kept at most: beyond that every other one goes, and they are taken half as often."""
_FIRST_STEP_S = 1.0
_THROTTLED = "429"
_SLOWEST_S = 2 * BOUNDS[-1]
"""What is shown of requests beyond the last class of the histogram."""


@dataclass(frozen=True, slots=True)
class Series:
    """A crawl in steps, list by list: `seconds` since it began, at the end of each step, and what was in it.

    `requests` sent, of these `throttled` by a 429, `rows` received; `median_s` and `slow_s`: the upper bounds
    of the classes of the latency histogram that hold the 50th and the 95th of a hundred requests, null where
    none ended.
    """

    seconds: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    throttled: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    median_s: list[float | None] = field(default_factory=list)
    slow_s: list[float | None] = field(default_factory=list)

    @classmethod
    def from_document(cls, document: Any) -> Self | None:
        """What `series.json` holds; None where it is anything else, or was damaged."""
        if not isinstance(document, Mapping) or not document.keys() >= set(cls.__slots__):
            return None
        lists = [document[name] for name in cls.__slots__]
        if not all(isinstance(one, list) and len(one) == len(lists[0]) <= MAX_SAMPLES for one in lists):
            return None
        values = [value for one in lists for value in one if value is not None]
        if None in [value for one in lists[:4] for value in one]:
            return None
        if not all(type(value) in {int, float} and 0 <= value < float("inf") for value in values):
            return None
        return cls(*lists)


@dataclass(frozen=True, slots=True)
class _Sample:
    """All since the crawl began, `second` seconds after that."""

    second: float
    sent: int
    throttled: int
    rows: int
    by_latency: tuple[int, ...]


class Sampler:
    """Takes samples of a crawl's figures; `look` is called several times a second."""

    def __init__(self) -> None:
        self._step = _FIRST_STEP_S
        self._began: float | None = None
        self._samples: list[_Sample] = []

    def look(self, figures: CrawlFigures, now: float, *, is_last: bool = False) -> None:
        """Take a sample where one is due; `now` is on any clock that does not go back."""
        if self._began is None:
            self._began = now
        second = now - self._began
        last = self._samples[-1].second if self._samples else 0.0
        if second - last < self._step and not (is_last and second > last):
            return
        throttled = figures.by_status.get(_THROTTLED, 0)
        classes = tuple(figures.latencies.counts)
        self._samples.append(_Sample(second, figures.sent, throttled, figures.rows, classes))
        if len(self._samples) > MAX_SAMPLES:
            # From the end, so that the last sample stays.
            self._samples = self._samples[::-1][::2][::-1]
            self._step *= 2

    def series(self) -> Series:
        """What was sampled, step by step."""
        series = Series()
        before = _Sample(0.0, 0, 0, 0, (0,) * (len(BOUNDS) + 1))
        for sample in self._samples:
            classes = [now - then for now, then in zip(sample.by_latency, before.by_latency, strict=True)]
            series.seconds.append(round(sample.second, 2))
            series.requests.append(sample.sent - before.sent)
            series.throttled.append(sample.throttled - before.throttled)
            series.rows.append(sample.rows - before.rows)
            series.median_s.append(_bound_of(classes, 0.5))
            series.slow_s.append(_bound_of(classes, 0.95))
            before = sample
        return series


def _bound_of(classes: list[int], share: float) -> float | None:
    """The upper bound of the class up to which this share of the requests lies."""
    total, so_far = sum(classes), 0
    for count, bound in zip(classes, (*BOUNDS, _SLOWEST_S), strict=True):
        so_far += count
        if total and so_far >= share * total:
            return bound
    return None
