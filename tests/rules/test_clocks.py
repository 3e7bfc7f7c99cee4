"""Which dates may be crawled, and when a clock is doubted."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.rules.dates import (
    doubt_by_api,
    doubt_by_last_run,
    is_future,
    is_late,
    late_from,
    latest_date,
    stamp,
)

NOW = datetime(2026, 11, 23, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def test_today_is_what_the_easternmost_place_calls_it() -> None:
    noon = datetime(2026, 11, 23, 9, 59, 59, tzinfo=UTC)
    assert latest_date(noon).isoformat() == "2026-11-23"
    assert latest_date(noon + timedelta(seconds=1)).isoformat() == "2026-11-24"
    assert not is_late(noon, noon + timedelta(hours=36), 36.0)
    assert is_late(noon, noon + timedelta(hours=36, milliseconds=1), 36.0)
    assert not is_late(noon + 400 * DAY, noon, 0.0)


def test_two_clocks_are_compared() -> None:
    assert doubt_by_last_run(NOW, None) is None
    for days in (-2, -1, 0, 1, 35):
        assert doubt_by_last_run(NOW + days * DAY, NOW) is None
    for off in (-400, -2.1, 35.1, 400):
        assert doubt_by_last_run(NOW + off * DAY, NOW)
    hour = timedelta(hours=1)
    today = datetime(2026, 11, 23, 9, tzinfo=UTC)
    doubts = [bool(doubt_by_api(today, n * hour)) for n in (-13, -12, 0, 12, 13)]
    assert doubts == [True, False, False, False, True]
    assert doubt_by_api(today, None) is None
    # Of a day that has begun somewhere nobody can say that it lies ahead.
    assert [is_future(date(2026, 11, day), today, -13 * hour) for day in (22, 23, 24)] == [False, False, True]
    assert not is_future(date(2027, 11, 24), today, -11 * hour)


def test_a_moment_is_written_in_utc_with_milliseconds() -> None:
    assert stamp(datetime.fromisoformat("2026-11-23T09:00:00.0015+08:00")) == "2026-11-23T01:00:00.001Z"


@pytest.mark.parametrize(
    ("began", "zone", "late"),
    [
        ("2026-11-23T02:10", "UTC", "2026-11-24T14:10"),
        ("2026-11-23T23:59", "UTC", "2026-11-25T11:59"),
        ("2026-11-24T00:00", "UTC", "2026-11-24T00:00"),
        ("2026-12-06T02:10", "UTC", "2026-11-24T00:00"),
        ("2026-11-23T16:30", "Asia/Singapore", "2026-11-23T16:00"),
        ("2026-11-24T04:00", "America/New_York", "2026-11-25T16:00"),
        # begun where the day had begun already
        ("2026-11-22T11:00", "UTC", "2026-11-23T23:00"),
    ],
)
def test_a_date_is_late_some_hours_after_it_began_or_once_its_day_is_over(
    began: str, zone: str, late: str
) -> None:
    moment = datetime.fromisoformat(began).replace(tzinfo=UTC)
    found = late_from(date(2026, 11, 23), moment, ZoneInfo(zone), 36)
    assert found == datetime.fromisoformat(late).replace(tzinfo=UTC)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC)),  # noqa: DTZ001
    st.integers(-3, 30),
    st.sampled_from(("UTC", "Pacific/Kiritimati", "America/Adak", "Europe/Berlin")),
    st.integers(0, 72),
)
def test_a_date_that_is_begun_on_its_day_is_not_late_at_once_and_any_later_one_is(
    began: datetime, days: int, zone: str, hours: int
) -> None:
    today = began.astimezone(ZoneInfo(zone)).date()
    found = late_from(today - days * DAY, began, ZoneInfo(zone), hours)
    assert (found <= began) == (days > 0) or (hours == 0 and found == began)
