"""Which sellers a published snapshot has as pending."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.reader import SnapshotFiles, UnreadableError, columns_of
from crawler.models.seller import SellerStatus
from crawler.sellers.listing import missing
from crawler.store.journal import Journal
from crawler.store.layout import SELLERS
from crawler.store.publishing import NOBODY
from crawler.store.schema import SELLER_SCHEMA

_WITH_STATUS = columns_of(SELLER_SCHEMA, "seller_id", "status")


def pending_in(data: Path, crawl_date: date, journal: Journal) -> pa.Array[Any]:
    """The sellers that the present snapshot has as pending, and that the journal does not know either."""
    chunks: list[pa.Array[Any]] = []
    for file in SnapshotFiles.published(data, SELLERS, crawl_date).each():
        try:
            table = file.table(_WITH_STATUS)
        except UnreadableError:
            continue
        chunks += table.filter(pc.field("status") == SellerStatus.PENDING.value)["seller_id"].chunks
    if not chunks:
        return NOBODY
    found: pa.Array[Any] = missing(pa.concat_arrays(chunks), journal.sellers.known())
    return found
