"""A snapshot some sellers at a time, each part compared with the earlier snapshots.

Open it to change how much is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.change_kinds import Rules, changed_videos, gone_videos
from crawler.history.cursor import SellerCursor
from crawler.history.earlier import (
    NEWER_SELLER_COLUMNS,
    OBSERVATION_SCHEMA,
    EarlierSnapshot,
    Keep,
    observation_cursor,
)
from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.history.seller_sums import summed_changes, summed_videos, with_sums
from crawler.history.yardsticks import Baselines, Readings, YardstickSearch, one_chunk
from crawler.store.schema import SELLER_SCHEMA, SUMMED_SELLER_SCHEMA

PART_ROWS = 16_384
_PART_SELLERS = 8192
MAX_ROWS = 65_536
"""Videos of a seller above which it is compared in pieces."""


@dataclass(frozen=True, slots=True)
class Part:
    """What changed in some videos, and the sellers that end with them, with their sums."""

    sellers: pa.Table
    changes: pa.Table
    sources: pa.Array[Any]


class ComparedParts:
    """The sellers of a snapshot some at a time, each part compared with the earlier snapshots.

    A seller with more than `MAX_ROWS` videos is read once for each piece of them, in the order of their IDs.
    """

    def __init__(
        self, videos: SnapshotFiles, sellers: SnapshotFiles, earlier: list[EarlierSnapshot], rules: Rules
    ) -> None:
        self._videos: SellerCursor = observation_cursor(videos)
        self._sellers = sellers
        self._earlier = earlier
        self._rules = rules

    def __iter__(self) -> Iterator[Part]:
        last = ""
        for sellers in _ranges(self._sellers):
            # Sellers without a page come last, in any order.
            ids = one_chunk(sellers["seller_id"].filter(pc.is_valid(sellers["first_crawled_at"])))
            if len(ids):
                ascending = pc.all(pc.less(ids.slice(0, len(ids) - 1), ids.slice(1))).as_py()
                if ids[0].as_py() <= last or ascending is False:
                    raise UnreadableError(f"{self._sellers.paths[0]}: its rows are not sorted by seller_id")
                last = ids[-1].as_py()
            yield from self._compared(sellers, ids)
            # What is left of a part in the allocator adds up otherwise.
            pa.default_memory_pool().release_unused()

    def _compared(self, sellers: pa.Table, ids: pa.Array[Any]) -> Iterator[Part]:
        readings = Readings.of(sellers)
        baselines = Baselines.find(readings, self._earlier, self._rules.window)
        videos, moved = [], []
        for is_last, keep, rows in self._pieces(sellers, ids):
            videos.append(summed_videos(rows))
            changes, sources = self._changes(rows, readings, baselines, keep)
            moved.append(summed_changes(changes))
            of_piece = SUMMED_SELLER_SCHEMA.empty_table()
            if is_last:
                of_piece = with_sums(sellers, readings.ids, videos, moved)
            yield Part(of_piece, changes, sources)

    def _pieces(self, sellers: pa.Table, ids: pa.Array[Any]) -> Iterator[tuple[bool, Keep | None, pa.Table]]:
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
        sample: list[Any] = self._videos.rows(first, last, _sample)["video_id"].sort().to_pylist()
        bounds: list[Any] = [sample[len(sample) * number // count] for number in range(1, count)]
        for number, bounds_of_piece in enumerate(zip(["", *bounds], [*bounds, None], strict=True), 1):
            for move in move_back:
                move()
            keep = partial(_between, *bounds_of_piece)
            yield number == count, keep, self._videos.rows(first, last, keep)

    def _changes(
        self, rows: pa.Table, readings: Readings, baselines: Baselines, keep: Keep | None
    ) -> tuple[pa.Table, pa.Array[Any]]:
        """What changed, sorted, and the numbers of the snapshots that decided about it."""
        observed: Any = pc.and_(
            pc.is_null(rows["carried_from"]), pc.is_in(rows["seller_id"], value_set=readings.ids)
        )
        rows = rows.filter(observed).combine_chunks()
        found = YardstickSearch(rows, readings, baselines, self._rules.window).run(self._earlier, keep)
        changes = pa.concat_tables(
            [changed_videos(rows, readings, baselines, found, self._rules), *gone_videos(readings, found)]
        )
        order = pc.sort_indices(changes, sort_keys=[("seller_id", "ascending"), ("video_id", "ascending")])
        sources = [found.sources, baselines.sources, *(one_chunk(rows["source"]) for rows in found.gone)]
        return changes.take(order), pc.unique(pa.concat_arrays(sources))


def _sample(rows: pa.Table) -> pa.Table:
    """One row of 64, and the first of each batch."""
    return rows.take(pa.array(range(0, len(rows), 64), pa.int64()))


def _between(low: str | None, high: str | None, rows: pa.Table) -> pa.Table:
    """The rows of the videos from `low` up to `high`, which is left out."""
    inside: Any = pc.greater_equal(rows["video_id"], pa.scalar(low or ""))
    if high is not None:
        inside = pc.and_(inside, pc.less(rows["video_id"], pa.scalar(high)))
    return rows.filter(inside)


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
