"""A night's rows by seller and position, from one file or from a file a region, in bounded memory.

Open it to change how much is held, or what is read of a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.cursor import SellerCursor
from crawler.history.reader import SnapshotFiles, columns_of
from crawler.store.schema import REGION, REGION_FILE_SCHEMA, VIDEO_SCHEMA, region_folder

_PART_ROWS = 32_768
_IDS = columns_of(VIDEO_SCHEMA, "seller_id")
_ROWS = pa.schema([*REGION_FILE_SCHEMA, pa.field(REGION, pa.string())])
_NEWER = frozenset({"carried_from"})
_PLACES: Any = [("seller_id", "ascending"), ("position", "ascending"), ("video_id", "ascending")]


class Range(NamedTuple):
    """Sellers from `first` to `last`, who have so many `rows`."""

    first: str
    last: str
    rows: int


def seller_ranges(files: SnapshotFiles) -> Iterator[Range]:
    """The sellers of a night's files, so many at a time that their rows fit in a part."""
    begun: list[tuple[str, int]] = []
    found = merge(*map(_counts, files.each()), key=itemgetter(0))
    for seller_id, counts in groupby(found, itemgetter(0)):
        rows = sum(count for _, count in counts)
        if begun and sum(count for _, count in begun) + rows > _PART_ROWS:
            yield _range(begun)
            begun = []
        begun.append((seller_id, rows))
    if begun:
        yield _range(begun)


def _range(sellers: list[tuple[str, int]]) -> Range:
    return Range(sellers[0][0], sellers[-1][0], sum(count for _, count in sellers))


def _counts(file: SnapshotFiles) -> Iterator[tuple[str, int]]:
    """The sellers of a file with how many rows they have in each batch, in its order."""
    for rows in file.batches(_IDS):
        counted: Any = pc.value_counts(rows["seller_id"])
        yield from zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True)


def rows_by_place(files: SnapshotFiles, like: SnapshotFiles) -> Iterator[pa.Table]:
    """The rows of the sellers of `like`, by seller and position, as they wait to be published.

    They come in pieces that `like` decides. Raises `UnreadableError`.
    """
    cursor = SellerCursor(files, _ROWS, _NEWER)
    for each in seller_ranges(like):
        move_back = cursor.mark()
        last = each.rows // _PART_ROWS
        for number in range(last + 1):
            if number:
                move_back()
            bounds = number * _PART_ROWS, None if number == last else (number + 1) * _PART_ROWS
            keep = partial(_between, *bounds) if last else None
            yield _with_folders(cursor.rows(each.first, each.last, keep).sort_by(_PLACES))


def _between(low: int, high: int | None, rows: pa.Table) -> pa.Table:
    """The rows at positions from `low` up to `high`, which is left out."""
    inside: Any = pc.greater_equal(rows["position"], pa.scalar(low))
    return rows.filter(
        inside if high is None else pc.and_(inside, pc.less(rows["position"], pa.scalar(high)))
    )


def _with_folders(rows: pa.Table) -> pa.Table:
    """Rows with partition folders in the place of regions."""
    regions: Any = rows[REGION].combine_chunks().dictionary_encode(null_encoding="encode")
    folders = pa.array(map(region_folder, regions.dictionary.to_pylist()), pa.string()).take(regions.indices)
    return rows.drop_columns([REGION]).append_column("folder", folders)
