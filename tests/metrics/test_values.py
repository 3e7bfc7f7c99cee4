"""Metrics as values and as text: what is written is read again, and what lies there instead costs nothing."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.metrics import table
from crawler.metrics.exposition import as_text, from_text
from crawler.metrics.table import METRICS
from crawler.metrics.values import SUM, Values, at_the_end, over, without_report
from crawler.models.latency import BOUNDS, Latencies
from crawler.report.run_report import Credits, Requests, RunReport

NUMBERS = st.floats(allow_nan=False)
LABELS = st.text(min_size=1, max_size=20)


@st.composite
def any_values(draw: st.DrawFn) -> Values:
    found: dict[str, dict[str, float]] = {}
    for metric in draw(st.lists(st.sampled_from(METRICS), unique=True)):
        if metric.kind == "histogram":
            counts = draw(st.lists(st.integers(0, 9), min_size=len(BOUNDS) + 1, max_size=len(BOUNDS) + 1))
            classes = zip((*map(str, BOUNDS), "+Inf"), counts, strict=True)
            found[metric.name] = {**{bound: float(n) for bound, n in classes}, SUM: 1.5}
        elif metric.label:
            found[metric.name] = draw(st.dictionaries(LABELS, NUMBERS, min_size=1, max_size=4))
        else:
            found[metric.name] = {"": draw(NUMBERS)}
    return found


@given(any_values())
def test_what_is_written_is_read_again(values: Values) -> None:
    assert from_text(as_text(values).decode()) == values


@given(st.text())
def test_whatever_else_lies_at_the_path_is_no_fault(text: str) -> None:
    from_text(text)


@pytest.mark.parametrize("text", ["", "other_metric 1\n", "crawler_running{", "crawler_running 1 2 3 x\n"])
def test_a_file_that_is_none_of_ours_says_nothing(text: str) -> None:
    assert from_text(text) == {}


@given(st.lists(st.floats(0, 1e6)))
def test_latencies_are_counted_up_to_each_bound(seconds: list[float]) -> None:
    latencies = Latencies()
    for one in seconds:
        latencies.add(one)
    for bound, count in zip(BOUNDS, latencies.up_to(), strict=False):
        assert count == sum(one <= bound for one in seconds)
    assert latencies.up_to()[-1] == len(seconds)
    assert latencies.seconds == pytest.approx(sum(seconds))
    assert bisect_left(BOUNDS, 0.0) == 0


def report(exit_code: int = 0, **more: object) -> RunReport:
    return RunReport(
        "R",
        "2026-11-23",
        "2026-11-23T02:00:00.000Z",
        finished_at="2026-11-23T03:00:00.000Z",
        exit_code=exit_code,
        sellers={"total": 3, "complete": 1, "failed": 1, "pending": 1},
        rows={"received": 9, "written": 8},
        requests=Requests(5, 4, 1, {"200": 4, "timeout": 1}),
        qps={"limit": 5.0, "achieved": 1.5},
        **more,  # type: ignore[arg-type]
    )


def test_an_end_says_what_the_report_says() -> None:
    credit = Credits(100, 5, 7, 1000, 70)
    odd = report(plausibility={"verdict": "odd"}, credits=credit)
    values = at_the_end(odd, Latencies(), is_ok=True, now=1.0)
    assert values[table.DATE_LEFT.name] == {"": 93.0}
    assert values[table.MONTH_LEFT.name] == {"": 930.0}
    assert values[table.REQUESTS.name] == {"200": 4, "timeout": 1}
    assert values[table.SELLERS.name] == {"complete": 1, "partial": 0, "failed": 1, "pending": 1}
    assert values[table.SELLERS_ENDED.name] == {"": 2.0}
    assert values[table.PLAUSIBILITY.name] == {"plausible": 0.0, "odd": 1.0, "implausible": 0.0}
    assert values[table.ENDED.name] == values[table.SUCCEEDED_AT.name] == {"": 1795402800.0}
    assert values[table.SUCCESS_ROWS.name] == {"": 8.0}


def test_what_a_failing_run_does_not_know_stays() -> None:
    good = at_the_end(report(plausibility={"verdict": "plausible"}), Latencies(), is_ok=True, now=1.0)
    crawled = over(good, at_the_end(report(9), Latencies(), is_ok=False, now=2.0))
    refused = over(crawled, without_report(2, is_ok=False, ended=3.0, now=3.0))
    kept = (table.SUCCEEDED_AT, table.SUCCESS_ROWS, table.PLAUSIBILITY, table.SELLERS, table.ROWS)
    assert {metric.name: refused[metric.name] for metric in kept} == {m.name: good[m.name] for m in kept}
    assert refused[table.EXIT_CODE.name] == {"": 2.0}
    assert refused[table.SUCCESS.name] == {"": 0.0}


def test_a_budget_that_is_gone_leaves_no_figure() -> None:
    with_budget = at_the_end(report(credits=Credits(100, 5, 7)), None, is_ok=True, now=1.0)
    without = over(with_budget, at_the_end(report(credits=Credits(None, 5, 7)), None, is_ok=True, now=2.0))
    assert b"crawler_date_credits_left" in as_text(with_budget)
    assert b"crawler_date_credits_left" not in as_text(without)
