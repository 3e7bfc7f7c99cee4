"""A month's file: its nights' rows by seller and video, compared row by row with what they were made of.

Open it to change its form, or how much is held in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.cursor import Keep, SellerCursor, by_videos
from crawler.history.ordered_rows import Range, seller_ranges
from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.store.failpoints import reached
from crawler.store.months import NIGHTS, ArchivedNight
from crawler.store.parts import counted
from crawler.store.row_groups import grouped, video_writer
from crawler.store.schema import SNAPSHOT_DATE, VIDEO_FILE_SCHEMA, VIDEO_SCHEMA

_SORTED_BY = ("seller_id", "video_id", SNAPSHOT_DATE)
_ORDER: Any = [(name, "ascending") for name in _SORTED_BY]
_PIECE_ROWS = 131_072
"""Rows that are held at a time, but for sellers with few videos of very many nights."""


@dataclass(frozen=True, slots=True)
class Source:
    """Files of `VIDEOS` or of a month, and which nights of theirs are meant."""

    files: SnapshotFiles
    nights: Sequence[date]


def write_month(path: Path, sources: Sequence[Source], digests: Mapping[date, Mapping[str, str]]) -> None:
    """Write a month's file, and compare it row by row with its sources, which are read twice.

    `digests` are those of the files of `videos/` that each night's rows come from. Raises `UnreadableError`
    where a source is damaged, has rows of other nights, or the file has other rows; `OSError` where it cannot
    be written.
    """
    rows = Counter[date]()
    # In a month's worth of nights most values repeat.
    with video_writer(
        path, VIDEO_FILE_SCHEMA, _SORTED_BY, use_dictionary=True, write_page_checksum=True
    ) as writer:
        for group in grouped(_merged(sources)):
            rows.update(counted(group[SNAPSHOT_DATE]))
            writer.write_table(pa.Table.from_arrays(group.columns, schema=VIDEO_FILE_SCHEMA))
            pa.default_memory_pool().release_unused()
        nights = {str(day): asdict(ArchivedNight(rows[day], of_day)) for day, of_day in digests.items()}
        writer.add_key_value_metadata({NIGHTS: orjson.dumps(nights).decode()})
    reached("compact.written")
    _compare(path, sources, rows)
    reached("compact.compared")


def _compare(path: Path, sources: Sequence[Source], rows: Mapping[date, int]) -> None:
    expected = Counter[date]()
    for source in sources:
        expected.update(_counted(source))
    written, at = SnapshotFiles((path,)).batches(VIDEO_SCHEMA), _Rows()
    for piece in _merged(sources):
        if not at.next_rows(written, len(piece)).equals(piece):
            raise UnreadableError(f"{path} has other rows than the files that it was made of")
    if at.next_rows(written, 1).num_rows or +expected != Counter({day: n for day, n in rows.items() if n}):
        raise UnreadableError(f"{path} has another number of rows than the files that it was made of")


def _counted(source: Source) -> Mapping[date, int]:
    """How many rows a source has of each of its nights; of one night, by what its files say."""
    if len(source.nights) == 1:
        return {source.nights[0]: source.files.row_count}
    counts = Counter[date]()
    for rows in source.files.batches(pa.schema([VIDEO_SCHEMA.field(SNAPSHOT_DATE)])):
        counts.update(counted(rows[SNAPSHOT_DATE]))
    return {day: counts[day] for day in source.nights}


class _Rows:
    """Rows that are read in batches of one size, and taken in pieces of another."""

    def __init__(self) -> None:
        self._left: pa.Table = VIDEO_SCHEMA.empty_table()

    def next_rows(self, batches: Iterator[pa.Table], count: int) -> pa.Table:
        """The next rows; fewer where there are no more."""
        parts, have = [self._left], len(self._left)
        while have < count and (more := next(batches, None)) is not None:
            parts.append(more)
            have += len(more)
        whole = pa.concat_tables(parts)
        self._left = whole.slice(count)
        return whole.slice(0, count)


def _merged(sources: Sequence[Source]) -> Iterator[pa.Table]:
    """The rows of all sources by seller, video and night, some at a time."""
    cursors = [
        (SellerCursor(each.files, VIDEO_SCHEMA, frozenset()), partial(_of_nights, each)) for each in sources
    ]
    every = SnapshotFiles(tuple(path for each in sources for path in each.files.paths))
    try:
        for sellers in seller_ranges(every):
            yield from _pieces(cursors, sellers)
    finally:
        for cursor, _ in cursors:
            cursor.close()


def _pieces(cursors: Sequence[tuple[SellerCursor, Keep]], sellers: Range) -> Iterator[pa.Table]:
    if sellers.rows <= _PIECE_ROWS:
        yield _sorted(cursor.rows(sellers.first, sellers.last, keep) for cursor, keep in cursors)
        return
    back = [cursor.mark() for cursor, _ in cursors]

    def read(piece: Keep) -> pa.Table:
        return pa.concat_tables(cursor.rows(sellers.first, sellers.last, piece) for cursor, _ in cursors)

    for piece in by_videos(read, max(1, sellers.rows // 10_000), sellers.rows // _PIECE_ROWS + 1):
        for move_back in back:
            move_back()
        yield _sorted(
            cursor.rows(sellers.first, sellers.last, partial(_both, piece, keep)) for cursor, keep in cursors
        )


def _sorted(tables: Iterable[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).sort_by(_ORDER)


def _of_nights(source: Source, rows: pa.Table) -> pa.Table:
    """The rows of the nights that are meant. Raises `UnreadableError` where a night's file has others."""
    meant: Any = pc.is_in(rows[SNAPSHOT_DATE], value_set=pa.array(source.nights, pa.date32()))
    if len(source.nights) == 1 and not pc.all(meant, min_count=0).as_py():
        names = ", ".join(map(str, source.files.paths))
        raise UnreadableError(f"{names}: it has rows of another date than {source.nights[0]}")
    return rows.filter(meant)


def _both(first: Keep, then: Keep, rows: pa.Table) -> pa.Table:
    return then(first(rows))
