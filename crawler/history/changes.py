"""What moved in a snapshot: compares it with what is published, writes its `changes/` and its `sellers/`.

Open it to change a sum of `sellers/`, or how much is compared at a time; `change_kinds.py` has the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.history.change_kinds import ChangeKind, Rules, changed_videos, gone_videos
from crawler.history.cursor import SellerCursor, time_span
from crawler.history.earlier import (
    NEWER_SELLER_COLUMNS,
    OBSERVATION_SCHEMA,
    DamagedSnapshotError,
    EarlierSnapshot,
    earlier_snapshots,
    observation_cursor,
)
from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.history.yardsticks import (
    Baselines,
    Readings,
    YardstickSearch,
    one_chunk,
)
from crawler.store.schema import (
    CHANGES_SCHEMA,
    RESTS_ON,
    RUN,
    SELLER_SCHEMA,
    SORTING,
    SUMMED_SELLER_SCHEMA,
    gain_of,
)

PART_ROWS = 65_536
_PART_SELLERS = 16_384
_ROW_GROUP = 65_536
_FEW_VALUES: Any = ["seller_id", "region", "kind"]
_SUMMED = {"views": "total_views_cnt", "sales": "total_video_sale_cnt", "gmv": "total_video_sale_gmv_amt"}
"""The sums of `sellers/`, and what each adds up."""


_COUNTED = {
    "published": (ChangeKind.PUBLISHED,),
    "discovered": (ChangeKind.DISCOVERED,),
    "gone": (ChangeKind.GONE,),
    "changed": (ChangeKind.CHANGED, ChangeKind.CORRECTED, ChangeKind.RETURNED),
}
"""The counts of `sellers/`, and the kinds that each counts."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found: rows of `changes/` by kind, and the sums of the gains of `sellers/` by column.

    `rests_on` has the run of each snapshot that decided about a row. `warnings` names those that are damaged.
    """

    counts: Mapping[str, int]
    gains: Mapping[str, float]
    rests_on: Mapping[date, str]
    warnings: tuple[str, ...] = ()


def compare(
    data: Path,
    day: date,
    videos: SnapshotFiles,
    sellers: SnapshotFiles,
    changes_file: Path,
    sellers_file: Path,
    run_id: str,
    window: timedelta,
    lag: timedelta,
) -> Comparison:
    """Compare a date's snapshot, `videos` and `sellers`, with those of the other dates that `data` has.

    Writes its changes, and its sellers with the sums. Earlier snapshots that are damaged are left out. Raises
    `UnreadableError` where the snapshot itself is damaged.
    """
    rules = Rules(*(each // timedelta(milliseconds=1) for each in (window, lag)))
    span = time_span(sellers, "first_crawled_at", "last_crawled_at")
    damaged: dict[date, str] = {}
    while True:
        try:
            earlier = earlier_snapshots(data, day, span[0] - rules.window, span[1], damaged) if span else []
            found = _Found()
            with (
                _ChangesWriter(changes_file, run_id, found) as changes,
                pq.ParquetWriter(sellers_file, SUMMED_SELLER_SCHEMA, compression="zstd") as summed,
            ):
                summed.add_key_value_metadata({SORTING: sellers.sorting})
                for part in _Parts(videos, sellers, earlier, rules):
                    changes.write(part)
                    summed.write_table(found.add(part, earlier))
            return found.result(tuple(damaged.values()))
        except DamagedSnapshotError as error:
            # Parts that were compared with it may have rested on rows that cannot be trusted.
            damaged[error.day] = str(error)


@dataclass(frozen=True, slots=True)
class _Part:
    """Some sellers of the snapshot, all their rows summed, and what changed."""

    sellers: pa.Table
    readings: Readings
    sums: pa.Table
    changes: pa.Table
    sources: pa.Array[Any]


class _Parts:
    """The sellers of a snapshot some at a time, each part compared with the earlier snapshots."""

    def __init__(
        self, videos: SnapshotFiles, sellers: SnapshotFiles, earlier: list[EarlierSnapshot], rules: Rules
    ) -> None:
        self._videos: SellerCursor = observation_cursor(videos)
        self._sellers = sellers
        self._earlier = earlier
        self._rules = rules

    def __iter__(self) -> Iterator[_Part]:
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

    def _compared(self, sellers: pa.Table, rows: pa.Table) -> _Part:
        readings = Readings.of(sellers)
        sums = rows.group_by("seller_id").aggregate([(name, "sum") for name in _SUMMED.values()])
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
        return _Part(sellers, readings, sums, changes, pc.unique(pa.concat_arrays(sources)))


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


@dataclass(slots=True)
class _Found:
    """What the parts add up to."""

    counts: Counter[str] = field(default_factory=Counter)
    gains: Counter[str] = field(default_factory=Counter)
    rests_on: dict[date, str] = field(default_factory=dict)

    def add(self, part: _Part, earlier: list[EarlierSnapshot]) -> pa.Table:
        """Add a part; returns its sellers with their sums."""
        numbers: list[Any] = part.sources.drop_null().to_pylist()
        for number in numbers:
            self.rests_on[earlier[number].day] = earlier[number].run_id
        kinds: Any = pc.value_counts(part.changes["kind"])
        self.counts.update(dict(zip(kinds.field(0).to_pylist(), kinds.field(1).to_pylist(), strict=True)))
        summed = _summed(part)
        for name in _SUMMED:
            self.gains[f"{name}_gain"] += pc.sum(summed[f"{name}_gain"]).as_py() or 0
        return summed

    def result(self, warnings: tuple[str, ...]) -> Comparison:
        """The whole."""
        counts = {kind.value: self.counts[kind.value] for kind in ChangeKind}
        return Comparison(counts, dict(self.gains), dict(sorted(self.rests_on.items())), warnings)


def _summed(part: _Part) -> pa.Table:
    """The sellers of a part with the sums of their videos and of their changes.

    Sums are null where no page was received, and what changed where no row was: nothing is known of it.
    """
    ids = one_chunk(part.sellers["seller_id"])
    has_rows = pc.is_valid(part.sellers["first_crawled_at"])
    is_read = pc.is_in(ids, value_set=part.readings.ids)
    columns: dict[str, Any] = {name: part.sellers[name] for name in SELLER_SCHEMA.names}
    place = pc.index_in(ids, value_set=one_chunk(part.sums["seller_id"]))
    for name, column in _SUMMED.items():
        columns[name] = _where(has_rows, one_chunk(part.sums[f"{column}_sum"]).take(place))
    changes = part.changes.select(["seller_id", *map(gain_of, _SUMMED.values())])
    for name, kinds in _COUNTED.items():
        is_counted = pc.is_in(part.changes["kind"], value_set=pa.array(kinds, pa.string()))
        changes = changes.append_column(name, is_counted.cast(pa.int64()))
    sums = changes.group_by("seller_id").aggregate([(name, "sum") for name in changes.column_names[1:]])
    place = pc.index_in(ids, value_set=one_chunk(sums["seller_id"]))
    named = {f"{name}_gain": gain_of(column) for name, column in _SUMMED.items()} | {n: n for n in _COUNTED}
    for name, column in named.items():
        columns[name] = _where(is_read, one_chunk(sums[f"{column}_sum"]).take(place))
    return pa.Table.from_arrays(
        [columns[each.name].cast(each.type) for each in SUMMED_SELLER_SCHEMA], schema=SUMMED_SELLER_SCHEMA
    )


def _where(condition: Any, sums: Any) -> Any:
    """Sums, 0 where there was nothing to add up, and null where the condition is not met."""
    zero: Any = pa.scalar(0, sums.type)
    return pc.if_else(condition, pc.coalesce(sums, zero), pa.scalar(None, sums.type))


class _ChangesWriter:
    """Writes the changes of one part after another, in row groups of one size; a context manager."""

    def __init__(self, path: Path, run_id: str, found: _Found) -> None:
        self._writer = pq.ParquetWriter(path, CHANGES_SCHEMA, compression="zstd", use_dictionary=_FEW_VALUES)
        self._run_id = run_id
        self._found = found
        self._waiting: list[pa.Table] = []
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        try:
            if kind is None:
                self._flush()
                rests_on = {day.isoformat(): run_id for day, run_id in sorted(self._found.rests_on.items())}
                self._writer.add_key_value_metadata(
                    {RUN: self._run_id, RESTS_ON: orjson.dumps(rests_on).decode()}
                )
        finally:
            self._writer.close()

    def write(self, part: _Part) -> None:
        """Write the changes of a part, once they fill a row group."""
        self._waiting.append(part.changes)
        self._count += len(part.changes)
        if self._count >= _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._count:
            self._writer.write_table(pa.concat_tables(self._waiting).combine_chunks())
        self._waiting, self._count = [], 0
