"""How a seller's first page is known again: a digest of its videos and their figures."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from hashlib import blake2b
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.reader import SnapshotFiles, columns_of
from crawler.models.api import COUNT_COLUMNS
from crawler.models.page import PageRows
from crawler.store.schema import VIDEO_SCHEMA

COMPARED = ("video_id", *COUNT_COLUMNS)
"""What a first page is known again by."""

FIRST_PAGE_SCHEMA = columns_of(VIDEO_SCHEMA, "seller_id", *COMPARED, "page_num", "position")
"""The columns that it is found and compared by."""


_ROWS_SCHEMA = pa.schema([*FIRST_PAGE_SCHEMA, VIDEO_SCHEMA.field("carried_from")])


def read_first_pages(
    files: SnapshotFiles, day: date, sellers: pa.Array[Any], oldest: date
) -> tuple[pa.Table, dict[str, int]]:
    """First pages' rows in their order, and how many rows each seller has that may still be carried."""
    parts, counted = [_ROWS_SCHEMA.empty_table()], dict[str, int]()
    for rows in files.rows_of(sellers, _ROWS_SCHEMA, use_threads=True):
        age = pc.coalesce(rows["carried_from"], pa.scalar(day, pa.date32()))
        is_young: Any = pc.greater_equal(age, pa.scalar(oldest, pa.date32()))
        young = pc.value_counts(rows.filter(is_young)["seller_id"])
        for seller_id, count in zip(young.field(0).to_pylist(), young.field(1).to_pylist(), strict=True):
            counted[str(seller_id)] = counted.get(str(seller_id), 0) + (count or 0)
        parts.append(rows.filter(pc.field("page_num") == 1))
    firsts = pa.concat_tables(parts)
    return firsts.sort_by([("seller_id", "ascending"), ("position", "ascending")]), counted


def page_digest(seller_id: str, rows: PageRows) -> int | None:
    """The digest of a seller's first page as it was received; None where it has no rows."""
    columns = {name: pa.array(rows.values[name], VIDEO_SCHEMA.field(name).type) for name in COMPARED}
    seller = pa.array([seller_id] * len(rows.places), pa.string())
    return first_page_digests(pa.table({"seller_id": seller, **columns})).get(seller_id)


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
