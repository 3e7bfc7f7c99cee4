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

from crawler.history.cursor import SellerCursor, between
from crawler.history.earlier import NEWER_VIDEO_COLUMNS
from crawler.history.reader import SnapshotFiles, columns_of
from crawler.store.parts import rows_by_seller
from crawler.store.schema import EITHER_FORM_SCHEMA, REGION, VIDEO_SCHEMA, folders_of

_PART_ROWS = 32_768
_IDS = columns_of(VIDEO_SCHEMA, "seller_id")
_PLACES: Any = [("seller_id", "ascending"), ("position", "ascending"), ("video_id", "ascending")]


class Range(NamedTuple):
    """Sellers from `first` to `last`, who have so many `rows`."""

    first: str
    last: str
    rows: int


def seller_ranges(files: SnapshotFiles) -> Iterator[Range]:
    """The sellers of a night's files, so many at a time that their rows fit in a part."""
    begun: Range | None = None
    found = merge(*map(_counts, files.each()), key=itemgetter(0))
    for seller_id, counts in groupby(found, itemgetter(0)):
        rows = sum(count for _, count in counts)
        if begun is not None and begun.rows + rows > _PART_ROWS:
            yield begun
            begun = None
        if begun is None:
            begun = Range(seller_id, seller_id, rows)
        else:
            begun = Range(begun.first, seller_id, begun.rows + rows)
    if begun is not None:
        yield begun


def _counts(file: SnapshotFiles) -> Iterator[tuple[str, int]]:
    """The sellers of a file with how many rows they have in each batch, in its order."""
    for rows in file.batches(_IDS):
        yield from rows_by_seller(rows).items()


def rows_by_place(*forms: SnapshotFiles) -> Iterator[tuple[pa.Table, ...]]:
    """A night's rows by seller and position, as they wait to be published: of each form, side by side.

    They come in pieces that the first one decides. Raises `UnreadableError`.
    """
    cursors = [SellerCursor(files, EITHER_FORM_SCHEMA, NEWER_VIDEO_COLUMNS) for files in forms]
    for sellers in seller_ranges(forms[0]):
        back = [cursor.mark() for cursor in cursors]
        last = sellers.rows // _PART_ROWS
        for number in range(last + 1):
            for move_back in back if number else ():
                move_back()
            high = None if number == last else (number + 1) * _PART_ROWS
            keep = partial(between, "position", number * _PART_ROWS, high) if last else None
            yield tuple(_waiting(cursor.rows(sellers.first, sellers.last, keep)) for cursor in cursors)


def _waiting(rows: pa.Table) -> pa.Table:
    """Rows in order, with partition folders in the place of regions."""
    rows = rows.sort_by(_PLACES)
    return rows.drop_columns([REGION]).append_column("folder", folders_of(rows[REGION]))
