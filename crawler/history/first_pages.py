"""How a seller's first page is known again: a digest of its videos and their figures."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.reader import columns_of
from crawler.models.api import COUNT_COLUMNS
from crawler.store.schema import VIDEO_SCHEMA

COMPARED = ("video_id", *COUNT_COLUMNS)
"""What a first page is known again by."""

FIRST_PAGE_SCHEMA = columns_of(VIDEO_SCHEMA, "seller_id", *COMPARED, "page_num", "position")
"""The columns that it is found and compared by."""


def first_page_digests(rows: pa.Table) -> dict[str, int]:
    """A digest of each seller's videos and counts, from rows that lie together by seller, in their order."""
    if not len(rows):
        return {}
    counted = pc.value_counts(rows["seller_id"])
    ends = accumulate((count or 0 for count in counted.field(1).to_pylist()), initial=0)
    lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), joined(rows, COMPARED).combine_chunks())
    texts: Any = pc.binary_join(lists, "\n")
    by_seller = zip(map(str, counted.field(0).to_pylist()), map(str, texts.to_pylist()), strict=True)
    return {seller_id: digest_of(text) for seller_id, text in by_seller}


def digest_of(text: str) -> int:
    """A number of 64 bits, equal in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def joined(rows: pa.Table, names: Iterable[str]) -> pa.ChunkedArray[Any]:
    """Each row's values of some columns, as one text."""
    texts: list[Any] = [rows[name].cast(pa.string()) for name in names]
    join: Any = pc.binary_join_element_wise
    as_text: pa.ChunkedArray[Any] = join(*texts, "\x1f", null_handling="replace")
    return as_text
