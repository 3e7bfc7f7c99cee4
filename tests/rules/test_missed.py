"""Which dates were missed, and how those stand that were not."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.models.night import NightOutcome
from crawler.rules.nights import Gap, gaps, gaps_before, outcome_of

FIRST = date(2026, 11, 1)
NIGHTS = st.lists(st.dates(FIRST, FIRST + timedelta(days=60)), max_size=20)


def day(number: int) -> date:
    return date(2026, 11, number)


def days(*gap: Gap) -> list[date]:
    return [one for each in gap for one in each.days]


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


@pytest.mark.parametrize(
    ("noted", "every", "missed"),
    [
        ({}, 1, [2, 3, 4, 5, 6, 7]),
        ({1: 1, 8: 1}, 7, [2, 3, 4, 5, 6, 7]),
        ({1: 7, 8: 7}, 1, []),
        ({1: 1, 8: 7}, 7, []),
        ({1: 7, 8: 1}, 1, []),
        ({1: 2, 8: 2}, 1, [3, 5]),
    ],
)
def test_what_was_missed_does_not_change_with_how_often_a_night_is_wanted_now(
    noted: dict[int, int], every: int, missed: list[int]
) -> None:
    """Where that changed between two nights, the longer time counts."""
    found = gaps([day(1), day(8)], every, day(8), {day(n): each for n, each in noted.items()})
    assert days(*found) == list(map(day, missed))


@given(NIGHTS, st.integers(1, 9), st.integers(1, 9), st.dates(FIRST, FIRST + timedelta(days=80)))
def test_nights_that_noted_how_often_they_were_wanted_are_counted_by_that(
    nights: list[date], every: int, now: int, today: date
) -> None:
    noted = dict.fromkeys(nights, every)
    last = max((night for night in nights if night <= today), default=today)
    by_then = days(*gaps(nights, every, last))
    assert days(*gaps(nights, now, last, noted)) == by_then


FLAGS = st.booleans()


@given(st.none() | st.sampled_from((0, 3, 4, 8, 9, 10, 130)), FLAGS, FLAGS, FLAGS, FLAGS)
def test_how_a_night_stands(
    code: int | None, is_held: bool, is_published: bool, leaves_work: bool, is_closed: bool
) -> None:
    found = outcome_of(
        code, is_held=is_held, is_published=is_published, leaves_work=leaves_work, is_closed=is_closed
    )
    assert (found is NightOutcome.HELD) == is_held
    if found in {NightOutcome.COMPLETE, NightOutcome.PARTIAL, NightOutcome.CLOSED}:
        assert is_published
        assert leaves_work == (found is NightOutcome.CLOSED)
    if found is NightOutcome.COMPLETE:
        assert code == 0
    if found is NightOutcome.UNFINISHED:
        assert not is_closed
        assert leaves_work or code is None
    if found is NightOutcome.FAILED:
        assert not is_published
    assert found is not NightOutcome.MISSING
