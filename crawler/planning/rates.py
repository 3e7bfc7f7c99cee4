"""What each stretch is expected to gain in a night, learnt from the published nights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import islice, pairwise
from math import log
from pathlib import Path

import pyarrow as pa

from crawler import events
from crawler.history.gains import NIGHTS, GainHistory
from crawler.history.reader import published_dates
from crawler.models.api import PAGE_SIZE, Value
from crawler.models.stretches import STRETCH_PAGES, pages_expected
from crawler.planning.visits import NewSeller
from crawler.rules.gain_forecast import Past, Pool, rate
from crawler.store.records import Base

_UNTAUGHT = 1e-6
"""Before any gain is known, stretches count as if they gained this share of their size a night."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """The rate of each stretch, by seller, and what is expected of a new seller."""

    rates: Mapping[str, list[float]]
    new: NewSeller
    warnings: list[events.Sentence] = field(default_factory=list)


def learnt_rates(data: Path, crawl_date: date, bases: Mapping[str, Base], value: Value) -> Learnt:
    """Learn from the newest nights before a date; a night that cannot be read is left out with a warning."""
    history = GainHistory(data, value)
    days = [*islice((day for day in published_dates(data) if day < crawl_date), NIGHTS)]
    pasts: defaultdict[tuple[int, int], Past] = defaultdict(Past)
    for reading in history.readings(days, pa.array([*bases], pa.string())):
        pasts[reading.seller, reading.stretch].observed(reading.gain, reading.nights)
    sizes = [_sizes(base, history.totals.get(number, 0.0)) for number, base in enumerate(bases.values())]
    pool = Pool()
    for (number, stretch), past in pasts.items():
        if stretch < len(sizes[number]):
            pool.add(past, sizes[number][stretch])
    rates = {
        seller_id: [*_rates(pasts, pool, number, sizes[number], base, crawl_date)]
        for number, (seller_id, base) in enumerate(bases.items())
    }
    pages = [min(STRETCH_PAGES, pages_expected(base.videos)) for base in bases.values()]
    new = NewSeller(max(1, round(sum(pages) / len(pages))), pool.prior(None)) if pages else NewSeller()
    return Learnt(rates, new, [*_warnings(history)])


def _rates(
    pasts: Mapping[tuple[int, int], Past],
    pool: Pool,
    number: int,
    sizes: list[float],
    base: Base,
    crawl_date: date,
) -> Iterator[float]:
    """The rate of each stretch of a seller, as of a date."""
    unread = Past()
    for stretch, (size, day) in enumerate(zip(sizes, base.last_read, strict=True)):
        age = 1 if day is None else (crawl_date - day).days
        prior = pool.prior(size) or size * _UNTAUGHT
        yield rate(pasts.get((number, stretch), unread), prior, age)


def _sizes(base: Base, total: float) -> list[float]:
    """The value of each stretch of a seller that is worth `total`, if values fall with one over the rank."""
    ends = [STRETCH_PAGES * PAGE_SIZE * number for number in range(len(base.last_read))]
    ranks = [*ends, max(base.videos, ends[-1] + 1)]
    whole = log(ranks[-1] + 1)
    return [total * log((end + 1) / (begin + 1)) / whole for begin, end in pairwise(ranks)]


def _warnings(history: GainHistory) -> Iterator[events.Sentence]:
    for day, reason in history.unreadable.items():
        yield events.SNAPSHOT_LEFT_OUT(kind="sellers", crawl_date=day, reason=reason)
