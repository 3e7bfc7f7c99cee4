"""Sellers read in stretches whose lists end earlier than they did: what is missing there is carried at first.

Open it to change what counts as earlier. Of such sellers no two whole readings can be compared.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import NamedTuple

from crawler.models.api import PAGE_SIZE
from crawler.models.stretches import STRETCH_PAGES
from crawler.store.journal import Journal

_STRETCH_ROWS = STRETCH_PAGES * PAGE_SIZE


class Length(NamedTuple):
    """How many videos a seller had at least, and how many it has now at most, by the end of its list."""

    seller_id: str
    before: int
    now: int


def lengths_in_stretches(journal: Journal, judged: Container[str]) -> Iterator[Length]:
    """Those of deep sellers of which pages were received, and that are not `judged` by whole readings.

    As long as nothing shows that the list is shorter, it counts as it was.
    """
    if not journal.carried.has_bases:
        return
    counts = ((seller_id, len(base.last_read)) for seller_id, base in journal.carried.bases().items())
    # The last stretch may be short, or was never read.
    rows = {seller_id: (count - 1) * _STRETCH_ROWS for seller_id, count in counts if count > 1}
    for seller in journal.reader.summaries():
        before = rows.get(seller.seller_id)
        if before is None or not seller.pages or seller.seller_id in judged:
            continue
        now = seller.rows if seller.base is None else len(seller.base.last_read) * _STRETCH_ROWS
        yield Length(seller.seller_id, before, min(before, now))
