"""From many pages' bodies to Arrow columns at once; a page with anything odd goes the way of `rows`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from math import inf
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from crawler.api.rows import read_rows
from crawler.models.api import API_COLUMNS
from crawler.models.page import Reject, RowBatch

_MIN_BISECTED = 8
"""Of so few pages with an odd one among them, each is read by `rows.py`."""
_MAX_FAILED_PARSES_PER_PAGE = 3
"""Bisecting a batch for odd pages stops after this many failed parses per page of it: it always finds two."""
_MAX_PLAIN_BYTES = 256 * 1024
"""A longer page is odd: Arrow makes columns of unknown fields, and is slow with many."""
_PARSED_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "seconds": pa.string(),
}
_KEPT_TYPES = {**_PARSED_TYPES, "seconds": pa.timestamp("ms", tz="UTC")}
_ROW = pa.struct([*((c.name, _PARSED_TYPES[c.kind]) for c in API_COLUMNS), ("seller_id", pa.string())])
_DATA = pa.list_(_ROW)
_PARSING = pj.ParseOptions(explicit_schema=pa.schema([("data", _DATA)]), unexpected_field_behavior="infer")
_ONE, _BELOW_ALL = pa.scalar(1.0), pa.scalar(-inf)
_VISIBLE, _SECONDS = "^[!-~]+$", "^[0-9]{1,11}$"
_ROW_FIELDS: list[pa.Field[Any]] = [
    *(pa.field(c.name, _KEPT_TYPES[c.kind]) for c in API_COLUMNS),
    pa.field("extra", pa.string()),
    pa.field("page", pa.int32()),
    pa.field("place", pa.int64()),
]
ROW_SCHEMA = pa.schema(_ROW_FIELDS)
"""`API_COLUMNS`, `extra`, the number of each row's page in the batch, from 0, and its place there, from 1."""


def read_batch(pages: Sequence[tuple[str, bytes]]) -> RowBatch:
    """Read the rows of pages (a seller and a body of strict JSON each), exactly as `read_rows` does."""
    rejects: list[tuple[int, Reject]] = []
    parts = list(_parts(pages, rejects))
    # Of one part a table of one chunk, which nobody after this has to copy.
    return RowBatch(pa.concat_tables(parts or [ROW_SCHEMA.empty_table()]), rejects)


def _parts(pages: Sequence[tuple[str, bytes]], rejects: list[tuple[int, Reject]]) -> Iterator[pa.Table]:
    """Tables of the pages in their order; an odd page is searched for by halves, while there are few."""
    left = _MAX_FAILED_PARSES_PER_PAGE * len(pages)
    ranges = [range(len(pages))]
    while ranges:
        numbers = ranges.pop()
        some = pages[numbers.start : numbers.stop]
        table = _whole(some, numbers.start) if left > 0 else None
        if table is not None:
            yield table
        elif left > 0 and len(some) > _MIN_BISECTED:
            left -= len(some)
            half = len(some) // 2
            ranges += [numbers[half:], numbers[:half]]
        else:
            yield from (_tolerant(*page, number, rejects) for number, page in zip(numbers, some, strict=True))


def _tolerant(seller_id: str, body: bytes, number: int, rejects: list[tuple[int, Reject]]) -> pa.Table:
    page = read_rows(seller_id, body)
    rejects += [(number, reject) for reject in page.rejects]
    columns = {**page.values, "page": [number] * len(page.places), "place": page.places}
    return pa.table(columns, schema=ROW_SCHEMA)


def _whole(pages: Sequence[tuple[str, bytes]], first: int) -> pa.Table | None:
    """All pages at once; None where a value on any of them needs more than its column's plain form."""
    bodies = [body for _, body in pages]
    data = None if max(map(len, bodies), default=0) > _MAX_PLAIN_BYTES else _parsed(bodies)
    if data is None or len(data) != len(pages):
        return None
    rows, parents = data.flatten(), pc.list_parent_indices(data)
    if rows.null_count:
        return None
    columns = dict(zip((field.name for field in rows.type), rows.flatten(), strict=True))
    asked = pa.array([seller_id for seller_id, _ in pages], pa.string()).take(parents)
    if not _is_plain(columns, asked):
        return None
    # A whole number of at most 11 digits ends long before the year 9999.
    seconds = pc.multiply(columns["create_time"].cast(pa.int64()), 1000)
    columns["create_time"] = seconds.cast(ROW_SCHEMA.field("create_time").type)
    columns["extra"] = pa.nulls(len(rows), pa.string())
    columns["page"] = pc.add(parents.cast(pa.int32()), pa.scalar(first, pa.int32()))
    lengths = (length or 0 for length in data.value_lengths().to_pylist())
    columns["place"] = pa.array(chain.from_iterable(range(1, length + 1) for length in lengths), pa.int64())
    return pa.table([columns[name] for name in ROW_SCHEMA.names], schema=ROW_SCHEMA)


def _parsed(bodies: list[bytes]) -> Any:
    """The pages' `data`, one list for each; None where some value does not fit its column as it is."""
    # Strict JSON has line breaks only between its tokens; the parser takes one for a page's end.
    lines = b"\n".join([body.replace(b"\n", b" ").replace(b"\r", b" ") for body in bodies])
    source: Any = pa.BufferReader(lines)
    reading = pj.ReadOptions(use_threads=False, block_size=len(lines) + 1)
    try:
        table = pj.read_json(source, read_options=reading, parse_options=_PARSING)
        # A field that is not known may have been read into an array that is none: it must not be touched.
        return table["data"].combine_chunks() if table["data"].type == _DATA else None
    except pa.ArrowException:
        return None


def _is_plain(columns: dict[str, Any], asked: pa.Array[Any]) -> bool:
    """Whether every ID is usable, every seller the one asked for, every time a plain number of seconds."""
    ids = columns["video_id"]
    return (
        ids.null_count == 0
        and _all(pc.match_substring_regex(ids, _VISIBLE))
        and _all(pc.equal(columns["seller_id"], asked))
        and _all(pc.match_substring_regex(columns["create_time"], _SECONDS))
        and not any(_has_minus_zero(columns[name]) for name, kind in API_COLUMNS if kind == "float64")
    )


def _all(truths: Any) -> bool:
    return pc.all(truths).as_py() is not False


def _has_minus_zero(values: Any) -> bool:
    """Whether there is a -0.0: `rows.py` reads `-0` as the integer 0."""
    return bool(pc.any(pc.equal(pc.divide(_ONE, values), _BELOW_ALL)).as_py())
