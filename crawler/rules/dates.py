"""Which crawl dates may be written; and which clock may be wrong, by the last run and the API's."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo

from crawler import events

_LONGEST_PAUSE = timedelta(days=35)
_MAX_BACKWARDS = timedelta(days=2)
"""How long ago the last run may be, and how far in the future, before the clock is doubted."""

_MAX_OFFSET = timedelta(hours=12)
"""How far the API's clock may be off ours."""


def latest_date(now: datetime) -> date:
    """Today's date where the day begins first, at UTC+14."""
    return (now.astimezone(UTC) + timedelta(hours=14)).date()


def is_late(began: datetime, now: datetime, late_after: float) -> bool:
    """Whether a date whose first run began then is older than `late_after` hours."""
    return now - began > timedelta(hours=late_after)


def late_from(crawl_date: date, began: datetime, zone: tzinfo, late_after: float) -> datetime:
    """From when on what is received for a crawl date is late: figures of another day than the date says.

    That is `late_after` hours after its first run `began`; where that was only once the day was over in
    `zone`, the end of the day.
    """
    over = datetime.combine(crawl_date + timedelta(days=1), time(), zone).astimezone(UTC)
    return over if began >= over else began + timedelta(hours=late_after)


def stamp(moment: datetime) -> str:
    """A moment as reports and the ledger write it: UTC, in milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def doubt_by_last_run(now: datetime, last: datetime | None) -> events.Sentence | None:
    """Why the clock may be wrong now, or was in the last run; None where both fit together."""
    if last is None or -_MAX_BACKWARDS <= now - last <= _LONGEST_PAUSE:
        return None
    days, way = abs((now - last).days), "before" if now < last else "after"
    return events.CLOCK_DOUBTED(now=_minute(now), days=days, way_words=way, last_run=_minute(last))


def doubt_by_api(now: datetime, offset: timedelta | None) -> events.Sentence | None:
    """Why the clock may be wrong, where the API's is so far ahead of it; None where they agree."""
    if offset is None or abs(offset) <= _MAX_OFFSET:
        return None
    return events.CLOCK_DIFFERS(now=_minute(now), api=_minute(now + offset))


def is_future(crawl_date: date, now: datetime, offset: timedelta | None) -> bool:
    """Whether a date has begun nowhere on earth by the API's clock, where that differs from ours."""
    return offset is not None and abs(offset) > _MAX_OFFSET and crawl_date > latest_date(now + offset)


def _minute(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
