"""Which dates were missed."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.rules.nights import Gap, gaps, gaps_before

FIRST = date(2026, 11, 1)
NIGHTS = st.lists(st.dates(FIRST, FIRST + timedelta(days=60)), max_size=20)


def day(number: int) -> date:
    return date(2026, 11, number)


def days(*gap: Gap) -> list[date]:
    found: list[date] = []
    for one in gap:
        step = (one.last - one.first) // max(1, one.dates - 1)
        found += [one.first + step * n for n in range(one.dates)]
    return found


@pytest.mark.parametrize(
    ("nights", "every", "today", "missed"),
    [
        ([], 1, 9, []),
        ([9], 1, 9, []),
        ([8], 1, 9, []),
        ([7], 1, 9, [8]),
        ([3, 7, 9], 1, 9, [4, 5, 6, 8]),
        ([3, 12], 1, 9, [4, 5, 6, 7, 8]),
        ([12], 1, 9, []),
        ([1], 7, 8, []),
        ([1], 7, 9, [8]),
        ([1, 9], 7, 9, []),
        ([1, 14], 7, 14, []),
        ([1, 15], 7, 15, [8]),
        ([1, 30], 7, 30, [8, 15, 22]),
        ([1, 3, 8], 7, 9, []),
    ],
)
def test_a_date_is_missed_where_nothing_ran_until_the_next_one_was_due(
    nights: list[int], every: int, today: int, missed: list[int]
) -> None:
    assert days(*gaps(map(day, nights), every, day(today))) == list(map(day, missed))


def test_a_gap_is_named_by_its_first_and_last_date() -> None:
    assert list(map(str, gaps([day(3), day(5), day(9)], 1, day(9)))) == [
        "2026-11-04",
        "2026-11-06 to 2026-11-08",
    ]


@given(NIGHTS, st.integers(1, 9), st.dates(FIRST, FIRST + timedelta(days=80)))
def test_missed_dates_are_wanted_ones_after_the_first_night_and_before_today(
    nights: list[date], every: int, today: date
) -> None:
    missed = days(*gaps(nights, every, today))
    assert missed == sorted(set(missed))
    assert not set(missed) & set(nights)
    assert all(min(nights) < one < today for one in missed)
    if every == 1:
        known = [night for night in nights if night <= today]
        span = (today - min(known)).days if known else 0
        assert len(missed) == span - len({night for night in known if night < today}) if known else not missed


@given(NIGHTS, st.integers(1, 9), st.dates(FIRST, FIRST + timedelta(days=80)))
def test_what_is_missed_before_tonight_stays_missed(nights: list[date], every: int, tonight: date) -> None:
    missed = days(*gaps_before(nights, every, tonight))
    later = days(*gaps([*nights, tonight], every, tonight + timedelta(days=1)))
    assert set(missed) <= set(later)
