"""How many credits are reserved at once, and which billing month they count for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import ceil

_LARGEST_SHARE = 32
_LEASES_A_SECOND = 10
_FEW_CREDITS = 8
_DAY = timedelta(days=1)


def lease_size(qps: float, in_use: int, remaining: int | None) -> int:
    """Credits to reserve on disk before the next requests are sent; `in_use` are in use or wanted now.

    A kill counts the whole lease as spent. So it is at most a tenth of a second's worth, at most what can be
    in flight (but for a few, so that fast answers to few workers do not wait for the disk each time), and
    at most a small share of what is left.
    """
    size = min(max(1, ceil(qps)), max(_FEW_CREDITS, min(in_use, ceil(qps / _LEASES_A_SECOND))))
    if remaining is None:
        return size
    return min(remaining, size, max(1, remaining // _LARGEST_SHARE))


def utc_day(now: datetime) -> date:
    """The day that a provider's bill would name."""
    return now.astimezone(UTC).date()


def lease_day(now: datetime) -> date:
    """The day that a lease counts for.

    A credit may be in hand for a while before its request leaves, as where the API throttles or is down.
    So what is leased in the last hour before midnight counts for the next day: with the month's border
    between, it may cost either month, and a month's sum has no last day, so that both of them count it.
    """
    return utc_day(now + timedelta(hours=1))


def month_begin(day: date, begins: int) -> date:
    """The first day of the billing month that holds a day; `begins` is 1 to 28, so each month has it."""
    if day.day < begins:
        day = day.replace(day=1) - _DAY
    return day.replace(day=begins)


def month_end(day: date, begins: int) -> date:
    """The first day of the billing month after the one that holds a day."""
    in_next = month_begin(day, begins).replace(day=28) + 4 * _DAY
    return in_next.replace(day=begins)


def credits_left(*limited: tuple[int | None, int]) -> int | None:
    """What the tightest of some budgets leaves, each beside what was spent of it; None: there is no limit."""
    return min((max(0, budget - spent) for budget, spent in limited if budget is not None), default=None)


def pace_since(today: date, month: date, first: date) -> date:
    """The day from which on the mean credits a day are taken, `today` included.

    The month's days so far; or, in its first two days, the last 30 days. No day counts before the `first`
    that cost anything.
    """
    since = month if today - month >= 2 * _DAY else today - 29 * _DAY
    return min(today, max(first, since))


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the current billing month has cost and, going on as before, will cost."""

    begins: str
    ends_before: str
    spent: int
    budget: int | None
    left: int | None
    forecast: int
    holds: bool | None


def forecast(today: date, begins: int, budget: int | None, spent: int, a_day: float) -> Forecast:
    """The month at its end, where each day after today costs `a_day`; `holds` is None without a budget."""
    end = month_end(today, begins)
    total = spent + ceil(a_day * ((end - today).days - 1))
    return Forecast(
        month_begin(today, begins).isoformat(),
        end.isoformat(),
        spent,
        budget,
        credits_left((budget, spent)),
        total,
        None if budget is None else total <= budget,
    )
