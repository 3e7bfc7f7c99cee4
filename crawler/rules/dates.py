"""Which crawl dates may be written: those that some place on earth has reached, and that are not too old."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

_EASTERNMOST = timedelta(hours=14)


def latest_date(now: datetime) -> date:
    """Today's date where the day begins first, at UTC+14."""
    return (now.astimezone(UTC) + _EASTERNMOST).date()


def is_late(began: datetime, now: datetime, late_after: float) -> bool:
    """Whether a date whose first run began then is older than `late_after` hours."""
    return now - began > timedelta(hours=late_after)


def stamp(moment: datetime) -> str:
    """A moment as reports and the ledger write it: UTC, in milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
