"""Which months are compacted, and which nights thinning keeps."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from crawler.models.night import month_of
from crawler.rules.archiving import NEWEST_NIGHTS, kept_nights, old_months

DAY = timedelta(days=1)
TODAY = date(2026, 11, 23)
NIGHTS = st.sets(st.dates(TODAY - 400 * DAY, TODAY), max_size=60)


def test_months_are_old_once_their_last_day_is() -> None:
    nights = [date(2026, 6, 1) + DAY * n for n in range(170)]
    read = {night: night for night in nights}
    assert list(old_months(read, date(2026, 9, 28), 90)) == []
    assert list(old_months(read, date(2026, 9, 29), 90)) == ["2026-06"]
    assert list(old_months(read, date(2026, 11, 23), 90)) == ["2026-06", "2026-07"]
    assert old_months(read, date(2026, 11, 23), 90)["2026-06"] == nights[:30]
    # one that was caught up last week
    assert list(old_months(read | {date(2026, 7, 4): date(2026, 11, 16)}, TODAY, 90)) == ["2026-06"]


@given(NIGHTS, st.integers(0, 300), st.dates(TODAY, TODAY + 200 * DAY))
def test_neither_young_nights_nor_the_newest_ones_are_compacted(
    nights: set[date], older_than: int, today: date
) -> None:
    found = old_months({night: night for night in nights}, today, older_than)
    compacted = {night for of_month in found.values() for night in of_month}
    assert not compacted & set(sorted(nights)[-NEWEST_NIGHTS:])
    assert all((today - night).days > older_than for night in compacted)
    for month, of_month in found.items():
        assert of_month == sorted(night for night in nights if month_of(night) == month)


@given(NIGHTS, NIGHTS, st.integers(0, 200), st.dates(TODAY, TODAY + 200 * DAY))
def test_every_night_is_kept_for_some_days_and_then_one_a_week(
    nights: set[date], whole: set[date], days: int, today: date
) -> None:
    kept = kept_nights(nights, today, days, whole)
    assert kept <= nights
    assert {night for night in nights if (today - night).days < days} <= kept
    weeks = {night - DAY * night.weekday() for night in nights}
    for monday in weeks:
        of_week = {night for night in nights if monday <= night < monday + 7 * DAY}
        left = of_week & kept
        if monday + 7 * DAY + days * DAY <= today:
            (only,) = left
            assert not of_week & whole or only in whole
            assert all(night <= only for night in (of_week & whole or of_week))
        else:
            assert left == of_week


@given(NIGHTS, NIGHTS, st.integers(0, 200), st.dates(TODAY, TODAY + 100 * DAY), st.integers(0, 100))
def test_thinning_again_and_again_keeps_what_thinning_once_does(
    nights: set[date], whole: set[date], days: int, today: date, later: int
) -> None:
    once = kept_nights(nights, today, days, whole)
    assert kept_nights(once, today, days, whole) == once
    assert kept_nights(once, today + later * DAY, days, whole) == kept_nights(
        nights, today + later * DAY, days, whole
    )
