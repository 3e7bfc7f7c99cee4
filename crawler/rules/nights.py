"""Which dates a night was wanted on, and how each stands: open it to change what counts as missed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from types import MappingProxyType

from crawler.exit_codes import COMPLETE
from crawler.models.night import NightOutcome

_NOTHING: Mapping[date, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Gap:
    """Wanted dates in a row on which nothing ran: the first, the last, and how many."""

    first: date
    last: date
    dates: int

    @property
    def days(self) -> list[date]:
        """Each of these dates."""
        step = (self.last - self.first) // max(1, self.dates - 1)
        return [self.first + step * number for number in range(self.dates)]

    def __str__(self) -> str:
        return str(self.first) if self.dates == 1 else f"{self.first} to {self.last}"


def gaps(nights: Iterable[date], every: int, today: date, noted: Mapping[date, int] = _NOTHING) -> list[Gap]:
    """The gaps after the first night and before today, the earliest first.

    A night is wanted `every` so many days; `noted` is what this was for each night that has noted it, and
    between two nights the longer time counts. One that came late is not missed: each date has until the next
    one is due, and the last one until its day is over. Nights that are dated after today are left out.
    """
    known = sorted(night for night in set(nights) if night <= today)
    steps = {night: noted.get(night, every) for night in known}
    found = []
    for one, other in pairwise(known):
        step = max(steps[one], steps[other])
        found.append(_gap(one, (other - one).days // step - 1, step))
    for last in known[-1:]:
        step = max(steps[last], every)
        found.append(_gap(last, ((today - last).days - 1) // step, step))
    return [gap for gap in found if gap is not None]


def gaps_before(
    nights: Iterable[date], every: int, tonight: date, noted: Mapping[date, int] = _NOTHING
) -> list[Gap]:
    """The gaps before the night that begins now."""
    return gaps([*nights, tonight], every, tonight, noted)


def outcome_of(
    exit_code: int | None, *, is_held: bool, is_published: bool, leaves_work: bool, is_closed: bool
) -> NightOutcome:
    """How a crawl date stands on which something ran.

    `exit_code` is its latest run's, None where that was killed. `leaves_work`: a later run would ask for
    something. `is_closed`: only `--late` goes on with it.
    """
    if is_held:
        return NightOutcome.HELD
    if not is_published:
        is_waiting = exit_code is None and not is_closed
        return NightOutcome.UNFINISHED if is_waiting else NightOutcome.FAILED
    if leaves_work:
        return NightOutcome.CLOSED if is_closed else NightOutcome.UNFINISHED
    return NightOutcome.COMPLETE if exit_code == COMPLETE.number else NightOutcome.PARTIAL


def _gap(night: date, dates: int, every: int) -> Gap | None:
    if dates < 1:
        return None
    return Gap(night + timedelta(days=every), night + timedelta(days=every * dates), dates)
