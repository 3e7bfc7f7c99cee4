"""Samples of a crawl: bounded however long it is, and nothing is lost of what they count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import orjson
import pytest
from conftest import SMALL, Night
from hypothesis import given
from hypothesis import strategies as st

from crawler.models.latency import Latencies
from crawler.ports import CrawlFigures
from crawler.report.series import MAX_SAMPLES, Sampler, Series
from crawler.simulator.faults import parse_faults
from crawler.simulator.server import Simulator, SimulatorOptions

GOOD = asdict(Series([1.0], [2], [0], [20], [0.1], [None]))


def sampled(ticks: list[tuple[float, int, int]]) -> Series:
    """The series of a crawl that is looked at after so many seconds, and has then sent so many more."""
    statuses, latencies, sent = Counter[str](), Latencies(), Counter[str]()
    figures = CrawlFigures(10, 0, None, 0, statuses, latencies, lambda: sent["sent"])
    sampler, now = Sampler(), 1000.0
    sampler.look(figures, now)
    for pause, ok, throttled in ticks:
        now += pause
        sent["sent"] += ok + throttled
        statuses["429"] += throttled
        figures.rows += 10 * ok
        for _ in range(ok):
            latencies.add(0.15)
        sampler.look(figures, now)
    sampler.look(figures, now, is_last=True)
    return sampler.series()


@given(st.lists(st.tuples(st.floats(0.01, 90), st.integers(0, 9), st.integers(0, 3)), max_size=900))
def test_however_long_a_crawl_is_its_samples_are_few_and_count_all(
    ticks: list[tuple[float, int, int]],
) -> None:
    series = sampled(ticks)
    assert len(series.seconds) <= MAX_SAMPLES
    assert series.seconds == sorted(series.seconds)
    assert sum(series.requests) == sum(ok + throttled for _, ok, throttled in ticks)
    assert sum(series.throttled) == sum(throttled for _, _, throttled in ticks)
    assert sum(series.rows) == sum(10 * ok for _, ok, _ in ticks)
    assert set(series.median_s) <= {0.2, None}


def test_ten_hours_are_between_180_and_360_samples() -> None:
    series = sampled([(0.25, 1, 0)] * (4 * 36_000))
    assert MAX_SAMPLES / 2 <= len(series.seconds) <= MAX_SAMPLES
    assert series.seconds[-1] == 36_000
    assert series.requests[5] / (series.seconds[5] - series.seconds[4]) == pytest.approx(4)


def test_latencies_are_the_bounds_of_their_classes() -> None:
    statuses, latencies = Counter[str](), Latencies()
    figures = CrawlFigures(1, 0, None, 0, statuses, latencies, lambda: 100)
    sampler = Sampler()
    sampler.look(figures, 0.0)
    for seconds in [0.03] * 60 + [0.4] * 30 + [100.0] * 10:
        latencies.add(seconds)
    sampler.look(figures, 2.0)
    sampler.look(figures, 4.0)
    series = sampler.series()
    assert (series.median_s, series.slow_s) == ([0.05, None], [60.0, None])


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {**GOOD, "rows": [1, 2]},
        {**GOOD, "rows": None},
        {**GOOD, "rows": ["<b>"]},
        {**GOOD, "rows": [None]},
        {**GOOD, "seconds": [-1]},
        {**GOOD, "slow_s": [True]},
        {name: values * (MAX_SAMPLES + 1) for name, values in GOOD.items()},
    ],
)
def test_what_is_no_series_is_none(document: Any) -> None:
    assert Series.from_document(document) is None


def test_a_series_is_read_as_it_was_written() -> None:
    series = Series.from_document(orjson.loads(orjson.dumps(GOOD)))
    assert series is not None
    assert asdict(series) == GOOD


def test_a_run_keeps_its_course(night: Callable[[SimulatorOptions], tuple[Night, Simulator]]) -> None:
    """The samples of a real run add up to what its report says."""
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults("status=429:0.03"), latency=0.02))
    report = job.run(job.sellers(simulator.catalogue.seller_ids(20)), "--qps", "25")
    path = job.data / "runs" / report["run_id"] / "series.json"
    assert path.stat().st_mode & 0o777 == 0o644
    series = Series.from_document(orjson.loads(path.read_bytes()))
    assert series is not None
    assert len(series.seconds) >= 2
    assert sum(series.requests) == report["requests"]["sent"]
    assert sum(series.throttled) == report["requests"]["by_status"].get("429", 0)
    assert sum(series.rows) == report["rows"]["received"]
