"""What each stretch is expected to gain in a night, learnt from the published nights."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import islice, pairwise
from math import log
from pathlib import Path

from crawler import events
from crawler.history.gains import NIGHTS, GainHistory, Reading
from crawler.history.reader import published_dates
from crawler.models.api import PAGE_SIZE, Value
from crawler.models.stretches import STRETCH_PAGES, pages_expected
from crawler.planning.visits import NewSeller
from crawler.rules.gain_forecast import Past, Pasts, Pool, rate
from crawler.store.bases import Bases
from crawler.store.records import Base

_UNTAUGHT = 1e-6
"""Before any gain is known, stretches count as if they gained this share of their size a night."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What is expected of a new seller, and which nights could not be learnt from."""

    new: NewSeller
    warnings: list[events.Sentence] = field(default_factory=list)


def learn_rates(data: Path, crawl_date: date, bases: Bases, value: Value) -> Learnt:
    """Give bases their rates, learnt from the newest nights before a date.

    A night that cannot be read is left out with a warning.
    """
    history = GainHistory(data, value, bases.ids)
    days = [*islice((day for day in published_dates(data) if day < crawl_date), NIGHTS)]
    past = _PastGains(len(bases))
    for reading in history.readings(days):
        past.observed(reading)
    pool = Pool()
    for seller, stretch, of_stretch in past:
        sizes = _sizes(bases[seller], history.totals[seller])
        if stretch < len(sizes):
            pool.add(of_stretch, sizes[stretch])
    for number, base in enumerate(bases):
        sizes = _sizes(base, history.totals[number])
        bases.add_rates(_rates(past, pool, number, sizes, base, crawl_date))
    pages = sum(min(STRETCH_PAGES, pages_expected(videos)) for videos in bases.videos)
    new = NewSeller(max(1, round(pages / len(bases))), pool.prior(None)) if len(bases) else NewSeller()
    return Learnt(new, [*_warnings(history)])


class _PastGains:
    """What is learnt of each stretch of so many sellers."""

    def __init__(self, sellers: int) -> None:
        self._pasts = Pasts()
        self._sellers, self._stretches = array("I"), array("I")
        # Most sellers have one stretch.
        self._first = array("i", [-1]) * sellers
        self._later: dict[tuple[int, int], int] = {}

    def __iter__(self) -> Iterator[tuple[int, int, Past]]:
        """Each seller and stretch with a reading, in the order of their first ones."""
        for number, (seller, stretch) in enumerate(zip(self._sellers, self._stretches, strict=True)):
            yield seller, stretch, self._pasts[number]

    def observed(self, reading: Reading) -> None:
        """Learn from a reading."""
        seller, stretch, gain, nights = reading
        number = self._number(seller, stretch)
        if number < 0:
            number = len(self._pasts)
            self._sellers.append(seller)
            self._stretches.append(stretch)
            if stretch:
                self._later[seller, stretch] = number
            else:
                self._first[seller] = number
        self._pasts.observed(number, gain, nights)

    def of(self, seller: int, stretch: int) -> Past:
        """The past of a stretch; an empty one where it has none."""
        number = self._number(seller, stretch)
        return Past() if number < 0 else self._pasts[number]

    def _number(self, seller: int, stretch: int) -> int:
        return self._later.get((seller, stretch), -1) if stretch else self._first[seller]


def _rates(
    past: _PastGains, pool: Pool, number: int, sizes: Sequence[float], base: Base, crawl_date: date
) -> Iterator[float]:
    """The rate of each stretch of a seller, as of a date."""
    for stretch, (size, day) in enumerate(zip(sizes, base.last_read, strict=True)):
        age = 1 if day is None else (crawl_date - day).days
        prior = pool.prior(size) or size * _UNTAUGHT
        yield rate(past.of(number, stretch), prior, age)


def _sizes(base: Base, total: float) -> list[float]:
    """The value of each stretch of a seller that is worth `total`, if values fall with one over the rank."""
    ends = [STRETCH_PAGES * PAGE_SIZE * number for number in range(len(base.last_read))]
    ranks = [*ends, max(base.videos, ends[-1] + 1)]
    whole = log(ranks[-1] + 1)
    return [total * log((end + 1) / (begin + 1)) / whole for begin, end in pairwise(ranks)]


def _warnings(history: GainHistory) -> Iterator[events.Sentence]:
    for day, reason in history.unreadable.items():
        yield events.SNAPSHOT_LEFT_OUT(kind="sellers", crawl_date=day, reason=reason)
