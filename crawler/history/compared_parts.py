"""A snapshot some sellers at a time, each part compared with the earlier snapshots.

Open it to change how much is held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.change_kinds import Rules, changed_videos, gone_videos
from crawler.history.cursor import SellerCursor
from crawler.history.earlier import (
    NEWER_SELLER_COLUMNS,
    OBSERVATION_SCHEMA,
    EarlierSnapshot,
    observation_cursor,
)
from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.history.yardsticks import Baselines, Readings, YardstickSearch, one_chunk
from crawler.store.schema import SELLER_SCHEMA

SUMMED = {"views": "total_views_cnt", "sales": "total_video_sale_cnt", "gmv": "total_video_sale_gmv_amt"}
"""The sums of `sellers/`, and what each adds up."""

PART_ROWS = 16_384
_PART_SELLERS = 8192


@dataclass(frozen=True, slots=True)
class Part:
    """Some sellers of the snapshot, all their rows summed, and what changed."""

    sellers: pa.Table
    readings: Readings
    sums: pa.Table
    changes: pa.Table
    sources: pa.Array[Any]


class ComparedParts:
    """The sellers of a snapshot some at a time, each part compared with the earlier snapshots."""

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
            rows = OBSERVATION_SCHEMA.empty_table()
            if len(ids):
                first, end = ids[0].as_py(), ids[-1].as_py()
                if (
                    first <= last
                    or pc.all(pc.less(ids.slice(0, len(ids) - 1), ids.slice(1))).as_py() is False
                ):
                    raise UnreadableError(f"{self._sellers.paths[0]}: its rows are not sorted by seller_id")
                last = end
                rows = self._videos.rows(first, end)
            yield self._compared(sellers, rows)
            # What is left of a part in the allocator adds up otherwise.
            del rows
            pa.default_memory_pool().release_unused()

    def _compared(self, sellers: pa.Table, rows: pa.Table) -> Part:
        readings = Readings.of(sellers)
        sums = rows.group_by("seller_id").aggregate([(name, "sum") for name in SUMMED.values()])
        observed: Any = pc.and_(
            pc.is_null(rows["carried_from"]), pc.is_in(rows["seller_id"], value_set=readings.ids)
        )
        rows = rows.filter(observed).combine_chunks()
        baselines = Baselines.find(readings, self._earlier, self._rules.window)
        found = YardstickSearch(rows, readings, baselines, self._rules.window).run(self._earlier)
        changes = pa.concat_tables(
            [changed_videos(rows, readings, baselines, found, self._rules), *gone_videos(readings, found)]
        )
        changes = changes.take(
            pc.sort_indices(changes, sort_keys=[("seller_id", "ascending"), ("video_id", "ascending")])
        )
        sources = [found.sources, baselines.sources, *(one_chunk(rows["source"]) for rows in found.gone)]
        return Part(sellers, readings, sums, changes, pc.unique(pa.concat_arrays(sources)))


def _ranges(files: SnapshotFiles) -> Iterator[pa.Table]:
    """The sellers of a snapshot, so many at a time that their videos fit in a part."""
    waiting: list[pa.Table] = []
    videos = count = 0
    for batch in files.batches(SELLER_SCHEMA, NEWER_SELLER_COLUMNS, _PART_SELLERS):
        start = 0
        for at, number in enumerate(batch["videos"].to_pylist()):
            if count and (videos + (number or 0) > PART_ROWS or count >= _PART_SELLERS):
                yield pa.concat_tables([*waiting, batch.slice(start, at - start)]).combine_chunks()
                waiting, videos, count, start = [], 0, 0, at
            videos, count = videos + (number or 0), count + 1
        waiting.append(batch.slice(start))
    if count:
        yield pa.concat_tables(waiting).combine_chunks()
