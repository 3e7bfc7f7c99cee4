"""Which clock may be wrong: this machine's, by its last run and by the API's."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

_LONG_AFTER = timedelta(days=35)
_BEFORE = timedelta(days=2)
_MOST_OFF = timedelta(hours=12)
_EARLIEST_ZONE = timedelta(hours=14)
"""By how much the first places on earth to begin a day are ahead of UTC."""


def doubt_by_last_run(now: datetime, last: datetime | None) -> str | None:
    """Why the clock may be wrong now, or was in the last run; None where both fit together."""
    if last is None or -_BEFORE <= now - last <= _LONG_AFTER:
        return None
    way = "before" if now < last else "after"
    return (
        f"the clock says {_minute(now)}, {abs((now - last).days)} days {way} the last run ({_minute(last)}): "
        "one of the two is wrong, or no run was made for long; this run removes no old journal and no report"
    )


def doubt_by_api(now: datetime, offset: timedelta | None) -> str | None:
    """Why the clock may be wrong, where the API's is so far ahead of it; None where they agree."""
    if offset is None or abs(offset) <= _MOST_OFF:
        return None
    return (
        f"this machine's clock says {_minute(now)}, the API's Date says {_minute(now + offset)}: "
        "set the clock, if it is this one that is wrong"
    )


def is_future(crawl_date: date, now: datetime, offset: timedelta | None) -> bool:
    """Whether a date has begun nowhere on earth by the API's clock, where that differs from ours."""
    if offset is None or abs(offset) <= _MOST_OFF:
        return False
    return crawl_date > ((now + offset).astimezone(UTC) + _EARLIEST_ZONE).date()


def _minute(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
