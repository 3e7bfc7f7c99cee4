"""Leases, the billing month and its forecast."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.rules.budget import forecast, lease_day, lease_size, month_begin, month_end, pace_since

DAY = timedelta(days=1)


def leases(qps: float, budget: int, in_use: int = 4096) -> list[int]:
    sizes = list[int]()
    while size := lease_size(qps, in_use, budget - sum(sizes)):
        assert size >= 1
        sizes.append(size)
    return sizes


@settings(max_examples=50)
@given(st.floats(0.1, 2000), st.integers(0, 5000))
def test_leases_are_the_budget_in_small_shares(qps: float, budget: int) -> None:
    sizes, left = leases(qps, budget), budget
    assert sum(sizes) == budget
    for size in sizes:
        assert size <= max(1, left // 32)
        assert size <= ceil(qps)
        left -= size


@given(st.floats(0.1, 2000))
def test_a_budget_of_100_buys_97_though_a_lease_be_stranded(qps: float) -> None:
    assert 100 - max(leases(qps, 100)) >= 97


@pytest.mark.parametrize(
    ("qps", "size"), [(0.1, 1), (1, 1), (2.5, 3), (5, 5), (50, 8), (200, 20), (2000, 200)]
)
def test_without_a_budget_a_lease_is_a_second_of_requests_or_a_tenth(qps: float, size: int) -> None:
    assert lease_size(qps, 4096, None) == size
    assert lease_size(qps, 4096, 10**9) == size


@given(st.floats(0.1, 10_000), st.integers(1, 4096), st.none() | st.integers(0, 10**9))
def test_a_lease_is_limited_by_what_can_be_in_flight(qps: float, in_use: int, left: int | None) -> None:
    size = lease_size(qps, in_use, left)
    assert size <= max(8, in_use)
    assert (size > 0) == (left != 0)


@pytest.mark.parametrize(
    ("day", "begins", "begin", "end"),
    [
        ("2024-02-29", 28, "2024-02-28", "2024-03-28"),
        ("2024-02-27", 28, "2024-01-28", "2024-02-28"),
        ("2023-02-28", 28, "2023-02-28", "2023-03-28"),
        ("2024-03-01", 1, "2024-03-01", "2024-04-01"),
        ("2026-01-31", 1, "2026-01-01", "2026-02-01"),
        ("2026-12-31", 1, "2026-12-01", "2027-01-01"),
        ("2026-12-31", 15, "2026-12-15", "2027-01-15"),
        ("2027-01-01", 15, "2026-12-15", "2027-01-15"),
        ("2027-01-14", 15, "2026-12-15", "2027-01-15"),
        ("2027-01-15", 15, "2027-01-15", "2027-02-15"),
    ],
)
def test_billing_months(day: str, begins: int, begin: str, end: str) -> None:
    that = date.fromisoformat(day)
    assert (month_begin(that, begins).isoformat(), month_end(that, begins).isoformat()) == (begin, end)


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(1, 28))
def test_billing_months_are_those_that_the_calendar_shows(day: date, begins: int) -> None:
    begin = next(d for d in (day - n * DAY for n in range(31)) if d.day == begins)
    end = next(d for d in (day + n * DAY for n in range(1, 32)) if d.day == begins)
    assert (month_begin(day, begins), month_end(day, begins)) == (begin, end)


def test_a_lease_counts_for_the_utc_day_of_an_hour_later() -> None:
    east = datetime.fromisoformat("2026-12-01T06:59:59+08:00")
    assert lease_day(east) == date(2026, 11, 30)
    assert lease_day(east + timedelta(seconds=1)) == date(2026, 12, 1)


def test_the_mean_is_taken_over_days_that_tell_something() -> None:
    first, month = date(2026, 1, 1), date(2026, 11, 1)
    assert pace_since(date(2026, 11, 3), month, first) == month
    assert pace_since(date(2026, 11, 2), month, first) == date(2026, 10, 4)
    assert pace_since(date(2026, 11, 2), month, date(2026, 10, 30)) == date(2026, 10, 30)
    assert pace_since(date(2026, 11, 20), month, date(2026, 11, 11)) == date(2026, 11, 11)
    assert pace_since(date(2026, 11, 20), month, date(2027, 1, 1)) == date(2026, 11, 20)


@given(st.dates(date(2026, 1, 1), date(2027, 1, 1)), st.integers(1, 28), st.floats(0, 1000))
def test_a_month_is_forecast_at_the_same_pace_to_its_last_day(day: date, begins: int, a_day: float) -> None:
    """The days after today cost `a_day` each; today has been counted."""
    month = forecast(day, begins, 3000, 1000, a_day)
    days_left = (date.fromisoformat(month.ends_before) - day).days - 1
    assert month.forecast == 1000 + ceil(a_day * days_left)
    assert (month.left, month.holds) == (2000, month.forecast <= 3000)
    without = forecast(day, begins, None, 1000, a_day)
    assert (without.left, without.holds, without.forecast) == (None, None, month.forecast)


def test_a_month_beyond_its_budget_has_nothing_left() -> None:
    assert forecast(date(2026, 11, 10), 1, 900, 1000, 0.0).left == 0
