"""A snapshot some sellers at a time, each part compared with the earlier snapshots.

Open it to change how much is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history import cursor, seller_sums
from crawler.history.change_kinds import Rules, Seen, changes_of
from crawler.history.compared_sellers import ComparedSellers, Judging
from crawler.history.earlier import (
    NEWER_SELLER_COLUMNS,
    OBSERVATION_SCHEMA,
    EarlierSnapshot,
    NightSpan,
    observation_cursor,
)
from crawler.history.measuring import Figures
from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.history.yardsticks import YardstickSearch, one_chunk, received
from crawler.store.schema import SELLER_SCHEMA, SUMMED_SELLER_SCHEMA

PART_ROWS = 32_768
_PART_SELLERS = 8192
_PARTS_KEPT = 2
MAX_ROWS = 65_536
"""Videos of a seller above which it is compared in pieces."""
_Piece = cursor.Keep | None
"""What keeps the rows of some videos of a seller; None: all are."""

_NOBODY: pa.Array[Any] = pa.array([], pa.string())


@dataclass(frozen=True, slots=True)
class Part:
    """What changed in some videos, and the sellers that end with them, with their sums.

    `figures` has what these sellers are judged by, where they are to be judged.
    """

    sellers: pa.Table
    changes: pa.Table
    sources: pa.Array[Any]
    figures: Figures | None = None


class ComparedParts:
    """The sellers of a snapshot some at a time, each part compared with the earlier snapshots.

    What is compared is of other dates than the one of the `night`. A seller with more than `MAX_ROWS` videos
    is read once for each piece of them, in the order of their IDs.
    """

    def __init__(
        self,
        night: NightSpan,
        videos: SnapshotFiles,
        sellers: SnapshotFiles,
        earlier: list[EarlierSnapshot],
        rules: Rules,
        judging: Judging | None = None,
    ) -> None:
        self._night = night
        self._videos = observation_cursor(videos)
        self._sellers = sellers
        self._earlier = earlier
        self._rules = rules
        self._judging = judging

    def __iter__(self) -> Iterator[Part]:
        last = ""
        for number, sellers in enumerate(_ranges(self._sellers), 1):
            # Sellers without a page come last, in any order.
            ids = one_chunk(sellers["seller_id"]).filter(seller_sums.may_have_rows(sellers))
            if len(ids):
                ascending = pc.all(pc.less(ids.slice(0, len(ids) - 1), ids.slice(1))).as_py()
                if ids[0].as_py() <= last or ascending is False:
                    raise UnreadableError(f"{self._sellers.paths[0]}: its rows are not sorted by seller_id")
                last = ids[-1].as_py()
            yield from self._compared(sellers, ids)
            if number % _PARTS_KEPT == 0:
                # What is left of parts in the allocator adds up otherwise.
                pa.default_memory_pool().release_unused()

    def _compared(self, sellers: pa.Table, ids: pa.Array[Any]) -> Iterator[Part]:
        compared = ComparedSellers.of(
            sellers, ids, self._earlier, self._rules.window, self._night, self._judging
        )
        videos, moved = [], []
        for is_last, keep, rows in self._pieces(sellers, ids):
            videos.append(seller_sums.summed_videos(rows))
            changes, sources = self._changes(rows, compared, keep)
            moved.append(seller_sums.summed_changes(changes))
            if is_last:
                summed = seller_sums.with_sums(sellers, compared.readings.ids, videos, moved)
                yield Part(summed, changes, sources, compared.figures)
            else:
                yield Part(SUMMED_SELLER_SCHEMA.empty_table(), changes, sources)

    def _pieces(self, sellers: pa.Table, ids: pa.Array[Any]) -> Iterator[tuple[bool, _Piece, pa.Table]]:
        """The rows of sellers: whether they are the last ones, and what keeps those of the same videos."""
        if not len(ids):
            yield True, None, OBSERVATION_SCHEMA.empty_table()
            return
        first, last = ids[0].as_py(), ids[-1].as_py()
        count = (sellers["videos"][0].as_py() or 0) // MAX_ROWS + 1
        if count == 1:
            yield True, None, self._videos.rows(first, last)
            return
        move_back = [self._videos.mark(), *(snapshot.mark() for snapshot in self._earlier)]
        pieces = cursor.by_videos(partial(self._videos.rows, first, last), 64, count)
        for number, keep in enumerate(pieces, 1):
            for move in move_back:
                move()
            yield number == len(pieces), keep, self._videos.rows(first, last, keep)

    def _changes(
        self, rows: pa.Table, compared: ComparedSellers, keep: _Piece
    ) -> tuple[pa.Table, pa.Array[Any]]:
        """What changed, sorted, and the numbers of the snapshots that decided about it."""
        readings, baselines, bases = compared.readings, compared.baselines, compared.bases
        all_rows, rows = rows, received(rows)
        place: pa.Array[Any] = pc.index_in(one_chunk(rows["seller_id"]), value_set=readings.ids)
        if place.null_count:
            is_read = pc.is_valid(place)
            rows, place = rows.filter(is_read).combine_chunks(), place.filter(is_read)
        compared.add(rows)
        leaving = compared.leaving(rows, all_rows)
        known_gone = bases.days_of(readings.ids)
        search = YardstickSearch(rows, place, readings, baselines, self._rules.window, known_gone)
        for number, snapshot in enumerate(self._earlier):
            needed = search.needed(snapshot, keep) if snapshot.day != self._night.day else _NOBODY
            judged, stood = compared.judged_beside(number), bases.needed(number)
            before = self._rows_of(snapshot, (needed, judged, stood), keep)
            if len(stood):
                leaving.compare(_of_sellers(before, stood, bases.ids), number, snapshot.day)
            before = received(before)
            if len(judged):
                compared.add_before(number, _of_sellers(before, judged, readings.ids))
            if len(needed):
                search.compare(_of_sellers(before, needed, readings.ids), number, snapshot.day)
        found, gone = search.found, [*search.gone, *leaving.gone]
        compared.add_seen(found)
        days = pa.array([snapshot.day for snapshot in self._earlier], pa.date32())
        seen = Seen(found, days.take(found.sources), leaving.stayed, gone)
        changes = changes_of(rows, place, bases.ids, baselines, seen, self._rules)
        of_gone = (one_chunk(each["source"]) for each in gone)
        sources = [found.sources, baselines.sources, bases.numbers, *of_gone]
        return changes, pc.unique(pa.concat_arrays(sources))

    def _rows_of(
        self,
        snapshot: EarlierSnapshot,
        sellers: Sequence[pa.Array[Any]],
        keep: _Piece,
    ) -> pa.Table:
        """The rows of a snapshot from the first to the last seller that is asked for."""
        wanted = [each for each in sellers if len(each)]
        if not wanted:
            return OBSERVATION_SCHEMA.empty_table()
        first, last = min(each[0].as_py() for each in wanted), max(each[-1].as_py() for each in wanted)
        return snapshot.videos(first, last, keep)


def _of_sellers(rows: pa.Table, sellers: pa.Array[Any], ids: pa.Array[Any]) -> pa.Table:
    """The rows of some of the sellers; all where these are all that there are."""
    if len(sellers) == len(ids):
        return rows
    return rows.filter(pc.is_in(rows["seller_id"], value_set=sellers)).combine_chunks()


def _ranges(files: SnapshotFiles) -> Iterator[pa.Table]:
    """The sellers of a snapshot, so many at a time that their videos fit in a part."""
    waiting: list[pa.Table] = []
    videos = count = 0
    for batch in files.batches(SELLER_SCHEMA, NEWER_SELLER_COLUMNS, _PART_SELLERS):
        start = 0
        for at, number in enumerate(batch["videos"].to_pylist()):
            is_full = videos >= PART_ROWS or count >= _PART_SELLERS
            if count and (is_full or videos + (number or 0) > PART_ROWS):
                yield pa.concat_tables([*waiting, batch.slice(start, at - start)]).combine_chunks()
                waiting, videos, count, start = [], 0, 0, at
            videos, count = videos + (number or 0), count + 1
        waiting.append(batch.slice(start))
    if count:
        yield pa.concat_tables(waiting).combine_chunks()
