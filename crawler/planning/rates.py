"""What each stretch is expected to gain in a night, learnt from the published nights."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path

import pyarrow as pa

from crawler import events
from crawler.history.gains import NIGHTS, GainHistory
from crawler.history.reader import published_dates
from crawler.models.api import Value
from crawler.models.stretches import pages_expected
from crawler.planning.visits import NewSeller
from crawler.store.records import Base


@dataclass(frozen=True, slots=True)
class Learnt:
    """The rate of each stretch, by seller, and what is expected of a new seller."""

    rates: Mapping[str, list[float]]
    new: NewSeller
    warnings: list[events.Sentence] = field(default_factory=list)


def learnt_rates(data: Path, crawl_date: date, bases: Mapping[str, Base], value: Value) -> Learnt:
    """Learn from the newest nights before a date."""
    history = GainHistory(data, value)
    days = [*islice((day for day in published_dates(data) if day < crawl_date), NIGHTS)]
    ids = pa.array([*bases], pa.string())
    gained, nights = defaultdict[tuple[int, int], float](float), Counter[tuple[int, int]]()
    for reading in history.readings(days, ids):
        gained[reading.seller, reading.stretch] += reading.gain
        nights[reading.seller, reading.stretch] += reading.nights
    rates = {
        seller_id: [gained[number, k] / max(1, nights[number, k]) for k in range(len(base.last_read))]
        for number, (seller_id, base) in enumerate(bases.items())
    }
    pages = [pages_expected(base.videos) for base in bases.values()]
    mean = round(sum(pages) / len(pages)) if pages else 1
    whole = [sum(each) for each in rates.values()]
    new = NewSeller(max(1, mean), sum(whole) / len(whole) if whole else 0.0)
    warnings = [
        events.SNAPSHOT_LEFT_OUT(kind="sellers", crawl_date=day, reason=reason)
        for day, reason in history.unreadable.items()
    ]
    return Learnt(rates, new, warnings)
