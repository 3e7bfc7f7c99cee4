"""What may be read tonight, and how old it counts."""

from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa
import pytest

from crawler.planning.visits import NewSeller, visits
from crawler.store.bases import Bases
from crawler.store.records import text_of

DAY = date(2026, 9, 1)


@pytest.mark.parametrize("max_age", [1, 2, 7])
def test_a_stretch_that_was_cut_off_is_due_once_in_max_age_nights(max_age: int) -> None:
    """When its rows were read is not known: it would never be due by an age that stays the same."""
    bases = Bases()
    bases.add("s", DAY, 120, text_of([DAY, None]))
    bases.add_rates([1.0, 1.0])
    ages = []
    for night in range(1, max_age + 1):
        found = visits(pa.array(["s"]), bases, {}, NewSeller(), DAY + timedelta(night), max_age).stretches
        (cut_off,) = (stretch for stretch in found if stretch.first_page == 9)
        assert cut_off.is_known
        ages.append(cut_off.age)
    assert sorted(ages) == [*range(1, max_age + 1)]
