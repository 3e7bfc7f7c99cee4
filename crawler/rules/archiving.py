"""Which months are old enough to be compacted, and which nights thinning keeps: open it to change either."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from datetime import date, timedelta

from crawler.models.night import month_of

NEWEST_NIGHTS = 14
"""Nights that stay as they are however old they are: runs, plans and verdicts read the newest ones."""

_WEEK = timedelta(days=7)


def old_months(nights: Mapping[date, date], today: date, older_than: int) -> dict[str, list[date]]:
    """The months, as `2026-10`, that may be compacted, each with its nights, the earliest first.

    `nights` has for each crawl date the day on which it was last read: one that was caught up later is as
    young as its rows. A month is old where all its days and readings were more than `older_than` days ago.
    """
    newest = set(sorted(nights)[-NEWEST_NIGHTS:])
    by_month: dict[str, list[date]] = {}
    for night in sorted(nights):
        by_month.setdefault(month_of(night), []).append(night)
    limit = today - timedelta(days=older_than)
    return {
        month: days
        for month, days in by_month.items()
        if newest.isdisjoint(days) and _last_day(days[0]) < limit and all(nights[day] < limit for day in days)
    }


def kept_nights(
    nights: Iterable[date], today: date, days: int, whole: Container[date] = frozenset()
) -> set[date]:
    """The nights that thinning keeps: each for so many days, and then one of each week from Monday to Sunday.

    Of a week, all of which is more than `days` ago, that is the last one that is among the `whole` ones, or
    the last one where none is.
    """
    limit = today - timedelta(days=days)
    kept: set[date] = set()
    weeks: dict[date, list[date]] = {}
    for night in sorted(nights):
        monday = night - timedelta(days=night.weekday())
        if monday + _WEEK <= limit:
            weeks.setdefault(monday, []).append(night)
        else:
            kept.add(night)
    for of_week in weeks.values():
        kept.add(([night for night in of_week if night in whole] or of_week)[-1])
    return kept


def _last_day(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=31)).replace(day=1) - timedelta(days=1)
