"""How far rows that would have been carried differ from the same sellers' rows as crawled."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.first_pages import COMPARED, joined
from crawler.store.carried import Audit


def compare(sellers: int, crawled: pa.Table, earlier: pa.Table) -> Audit:
    """Compare the rows of so many sellers, as crawled and as carrying would have had them."""
    key, whole = ("seller_id", "video_id"), ("seller_id", *COMPARED)
    was_there = pc.is_in(joined(crawled, key), value_set=joined(earlier, key))
    same = pc.is_in(joined(crawled, whole), value_set=joined(earlier, whole))
    is_there = pc.is_in(joined(earlier, key), value_set=joined(crawled, key))
    changed = crawled.filter(pc.and_not(was_there, same))["seller_id"]
    missed = crawled.filter(pc.invert(was_there))["seller_id"]
    gone = earlier.filter(pc.invert(is_there))["seller_id"]
    chunks = [*changed.chunks, *missed.chunks, *gone.chunks]
    wrong = len(pc.unique(pa.chunked_array(chunks, pa.string())))
    return Audit(sellers, wrong, len(changed), len(missed), len(gone))
