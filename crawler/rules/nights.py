"""Which dates a night was wanted on, and nothing ran: open it to change what counts as missed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Gap:
    """Wanted dates in a row on which nothing ran: the first, the last, and how many."""

    first: date
    last: date
    dates: int

    def __str__(self) -> str:
        return str(self.first) if self.dates == 1 else f"{self.first} to {self.last}"


def gaps(nights: Iterable[date], every: int, today: date) -> list[Gap]:
    """The gaps after the first night and before today, the earliest first.

    A night is wanted `every` so many days. One that came late is not missed: each date has until the next
    one is due, and the last one until its day is over. Nights that are dated after today are left out.
    """
    known = sorted(night for night in set(nights) if night <= today)
    found = [_gap(one, (other - one).days // every - 1, every) for one, other in pairwise(known)]
    found += [_gap(last, ((today - last).days - 1) // every, every) for last in known[-1:]]
    return [gap for gap in found if gap is not None]


def gaps_before(nights: Iterable[date], every: int, tonight: date) -> list[Gap]:
    """The gaps before the night that begins now."""
    return gaps([*nights, tonight], every, tonight)


def _gap(night: date, dates: int, every: int) -> Gap | None:
    if dates < 1:
        return None
    return Gap(night + timedelta(days=every), night + timedelta(days=every * dates), dates)
