"""What a staged snapshot is judged by: its measures alone, and beside what was read of its sellers before.

Open it to change how a measure is taken; `rules/plausibility.py` says what each one is, and what is odd.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.history.cursor import SellerCursor, time_span
from crawler.history.earlier import (
    NEWER_SELLER_COLUMNS,
    DamagedSnapshotError,
    EarlierSnapshot,
    Keep,
    earlier_snapshots,
    observation_cursor,
)
from crawler.history.reader import SnapshotFiles, columns_of, reading
from crawler.history.seller_sums import added
from crawler.history.yardsticks import Baselines, Readings, one_chunk
from crawler.models.api import API_COLUMNS, COUNT_COLUMNS, PAGE_SIZE
from crawler.models.seller import StopReason
from crawler.rules.plausibility import FIGURES, ROWS, STILL_HOURS, Comparison, Measures, Share
from crawler.store.layout import SELLERS
from crawler.store.records import PageFacts
from crawler.store.schema import SELLER_SCHEMA, VIDEO_SCHEMA

_SELLERS_AT_A_TIME = 8192
_FALLEN, _RISEN = 0.9, 10.0
_LOST_HOURS = 72.0
"""Readings further apart differ by too many videos that were taken down."""
_SUMS_HOURS = 8 * 24.0
"""In longer times than a week sums may fall with videos that were taken down, and rise without limit."""
_MIN_RISING = 100.0
"""A tenfold rise of less is a good day."""
_MAX_REGIONS = 50
_MAX_FIELDS = 100
_SAMPLED = 200
_HOUR = 3_600_000
_KEYS = ["seller_id", "region"]
_MULTIPLIER: Any = pa.scalar(0x9E3779B97F4A7C15, pa.uint64())
_EXTRA = columns_of(VIDEO_SCHEMA, "extra")
_FILLED = [column.name for column in API_COLUMNS if column.name not in ("seller_id", "video_id", "region")]
"""The columns of which nulls are counted."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A snapshot's measures, and by measure the sellers that it counts."""

    measures: Measures
    hits: dict[str, list[pa.Array[Any]]]
    warnings: tuple[str, ...]


def measure(
    data: Path, videos: SnapshotFiles, sellers: SnapshotFiles, pages: PageFacts, rejected: Share, window: int
) -> Measured:
    """Measure a snapshot, `videos` and `sellers`, beside what `data` has published; `window` in milliseconds.

    Each seller is compared with its last whole reading, under the same sorting. Snapshots that are damaged
    are left out. Raises `UnreadableError` where the snapshot itself is.
    """
    span, damaged = time_span(sellers, "first_crawled_at", "last_crawled_at"), dict[date, str]()
    while True:
        earlier: list[EarlierSnapshot] = []
        try:
            if span is not None:
                # The date's own snapshot too: --fresh reads its sellers again.
                known = earlier_snapshots(data, date.min, span[0] - window, span[1], damaged)
                earlier = [each for each in known if _sorting(data, each.day) == sellers.sorting]
            found = _Found()
            cursor = observation_cursor(videos)
            for some in sellers.batches(SELLER_SCHEMA, NEWER_SELLER_COLUMNS, _SELLERS_AT_A_TIME):
                found.add(some, cursor, earlier, window)
                pa.default_memory_pool().release_unused()
            break
        except DamagedSnapshotError as error:
            damaged[error.day] = str(error)
    nulls = _nulls(videos)
    measures = Measures(
        sellers=found.read,
        rows=found.rows,
        empty=Share(found.empty, found.read),
        rejected=rejected,
        nulls=nulls,
        totals=dict(zip(COUNT_COLUMNS, found.totals, strict=True)) if found.rows else {},
        unknown_fields=_unknown_fields(videos),
        missing_fields=frozenset(name for name, share in nulls.items() if share.part == share.whole > 0),
        short_first_pages=Share(*pages.short_first),
        repeated=Share(found.repeated, found.with_pages),
        shared=Share(*pages.shared),
        compared=found.comparison(),
    )
    return Measured(measures, found.hits, tuple(damaged.values()))


def _sorting(data: Path, day: date) -> str:
    return SnapshotFiles.published(data, SELLERS, day).sorting


class _Pair(NamedTuple):
    """Sellers on two nights: figures before and now (rows, then the counters), and hours between.

    `lost`: whether a sampled video of before is gone; null where there is none.
    """

    ids: pa.Array[Any]
    regions: pa.Array[Any]
    before: list[Any]
    now: list[Any]
    lost: Any
    hours: Any


@dataclass(slots=True)
class _Found:
    """What the sellers add up to."""

    read: int = 0
    empty: int = 0
    rows: int = 0
    with_pages: int = 0
    repeated: int = 0
    totals: list[float] = field(default_factory=lambda: [0.0] * len(COUNT_COLUMNS))
    regions: Counter[str] = field(default_factory=Counter)
    emptied: Counter[str] = field(default_factory=Counter)
    before: Counter[str] = field(default_factory=Counter)
    now: Counter[str] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)
    fallen: Counter[str] = field(default_factory=Counter)
    risen: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    sampled: int = 0
    still: int = 0
    old_enough: int = 0
    hours: list[float] = field(default_factory=list)
    hits: dict[str, list[pa.Array[Any]]] = field(default_factory=dict)

    def add(
        self, sellers: pa.Table, videos: SellerCursor, earlier: Sequence[EarlierSnapshot], window: int
    ) -> None:
        """Add sellers, the next ones in the order of their IDs."""
        readings = Readings.of(sellers)
        if not len(readings.ids):
            return
        own = sellers.filter(pc.is_in(sellers["seller_id"], value_set=readings.ids))
        is_deep: Any = pc.greater(own["pages"], pa.scalar(1))
        is_repeated = pc.and_(is_deep, pc.equal(own["stop_reason"], pa.scalar(StopReason.REPEATED_PAGE)))
        self.read += len(own)
        self.empty += _count(pc.equal(own["videos"], pa.scalar(0)))
        self.with_pages += _count(is_deep)
        self.repeated += _count(is_repeated)
        self._hit("repeated", own["seller_id"], is_repeated)
        now = _figures(videos.rows, readings.ids)
        for at, name in enumerate(COUNT_COLUMNS):
            self.totals[at] += pc.sum(now[name]).as_py() or 0
        self.rows += int(pc.sum(now[ROWS]).as_py() or 0)
        for pair in _pairs(readings, now, earlier, window):
            self._compare(pair)

    def _compare(self, pair: _Pair) -> None:
        """Add sellers that had rows before."""
        zero: Any = pa.scalar(0.0)
        gone: Any = pc.equal(pair.now[0], zero)
        self.regions.update(map(_name, pair.regions.to_pylist()))
        self.emptied.update(map(_name, pair.regions.filter(gone).to_pylist()))
        self._hit("emptied", pair.ids, gone)
        same: Any = pc.invert(gone)
        is_near: Any = pc.less_equal(pair.hours, pa.scalar(_SUMS_HOURS))
        for name, before, now in zip(FIGURES, pair.before, pair.now, strict=True):
            self.before[name] += pc.sum(before).as_py() or 0
            self.now[name] += pc.sum(now).as_py() or 0
            # A tenth of fewer rows than a page has is less than one.
            least = PAGE_SIZE - 0.5 if name == ROWS else 0.0
            known: Any = pc.and_(is_near, pc.greater(before, pa.scalar(least)))
            fallen = pc.and_(known, pc.less(now, pc.multiply(before, pa.scalar(_FALLEN))))
            rising = pc.max_element_wise(before, pa.scalar(_MIN_RISING))
            risen = pc.and_(known, pc.greater(now, pc.multiply(rising, pa.scalar(_RISEN))))
            self.judged[name] += _count(known)
            self.fallen[name] += _count(fallen)
            self.risen[name] += _count(risen)
            same = pc.and_(same, pc.equal(before, now))
        is_old: Any = pc.and_(pc.greater_equal(pair.hours, pa.scalar(STILL_HOURS)), pc.invert(gone))
        self.old_enough += _count(is_old)
        self.still += _count(pc.and_(same, is_old))
        self._hit("still", pair.ids, pc.and_(same, is_old))
        is_sampled: Any = pc.and_(pc.is_valid(pair.lost), pc.less_equal(pair.hours, pa.scalar(_LOST_HOURS)))
        is_lost: Any = pc.and_(is_sampled, pc.fill_null(pair.lost, False))
        self.sampled += _count(is_sampled)
        self.lost += _count(is_lost)
        self.hours += pair.hours.to_pylist()

    def _hit(self, name: str, ids: Any, which: Any) -> None:
        some = one_chunk(ids.filter(which))
        if len(some):
            self.hits.setdefault(name, []).append(some)

    def comparison(self) -> Comparison | None:
        """The comparison; None where no seller could be compared."""
        whole = self.regions.total()
        if not whole:
            return None
        largest = dict(self.regions.most_common(_MAX_REGIONS))
        return Comparison(
            emptied=Share(self.emptied.total(), whole),
            regions={name: Share(self.emptied[name], count) for name, count in largest.items()},
            before={name: float(self.before[name]) for name in FIGURES},
            now={name: float(self.now[name]) for name in FIGURES},
            fallen={name: Share(self.fallen[name], self.judged[name]) for name in FIGURES},
            risen={name: Share(self.risen[name], self.judged[name]) for name in FIGURES},
            lost=Share(self.lost, self.sampled),
            still=Share(self.still, self.old_enough),
            hours=median(self.hours),
        )


def _name(region: object) -> str:
    return str(region or "")


def _count(which: Any) -> int:
    return int(pc.sum(which).as_py() or 0)


def _pairs(
    readings: Readings, now: pa.Table, earlier: Sequence[EarlierSnapshot], window: int
) -> Iterator[_Pair]:
    """Sellers that were read whole on both nights and had rows, by the snapshot that has the earlier one."""
    baselines = Baselines.find(readings, earlier, window)
    sources = pc.if_else(readings.is_whole, baselines.sources, pa.scalar(None, pa.int32()))
    numbers: list[Any] = pc.unique(sources.drop_null()).to_pylist()
    for number in sorted(numbers):
        of_source: Any = pc.equal(sources, pa.scalar(number, pa.int32()))
        of_source = pc.fill_null(of_source, False)
        ids = readings.ids.filter(of_source)
        before = _figures(earlier[number].videos, ids)
        place = pc.index_in(ids, value_set=one_chunk(before["seller_id"]))
        # A seller without rows then says nothing.
        had_rows: Any = pc.is_valid(place)
        ids, place = ids.filter(had_rows), place.filter(had_rows)
        between: Any = pc.subtract(readings.first, baselines.last).filter(of_source).filter(had_rows)
        today = pc.index_in(ids, value_set=one_chunk(now["seller_id"]))
        zero: Any = pa.scalar(0.0)
        low, high = (one_chunk(before[name]).take(place) for name in ("low", "high"))
        low_now, high_now = (one_chunk(now[name]).take(today) for name in ("low", "high"))
        yield _Pair(
            ids,
            one_chunk(before["region"]).take(place),
            [one_chunk(before[name]).take(place) for name in FIGURES],
            [pc.coalesce(one_chunk(now[name]).take(today), zero) for name in FIGURES],
            # New videos only widen this range.
            pc.or_(pc.greater(low_now, low), pc.less(high_now, high)),
            pc.divide(between.cast(pa.float64()), pa.scalar(float(_HOUR))),
        )


_FIGURES = pa.schema(
    [pa.field("seller_id", pa.string()), pa.field("region", pa.string())]
    + [pa.field(name, pa.float64()) for name in FIGURES]
)


_SAMPLES = pa.schema(
    [pa.field("seller_id", pa.string())] + [pa.field(name, pa.uint64()) for name in ("low", "high")]
)


def _figures(read: Callable[[str, str, Keep], pa.Table], ids: pa.Array[Any]) -> pa.Table:
    """How many rows each of some sellers has, the sums of their counters, and the region of most of them.

    `low` and `high` are the ends of the range of its videos' hashes: two that are picked by chance.
    """
    parts, samples = [_FIGURES.empty_table()], [_SAMPLES.empty_table()]

    def keep(rows: pa.Table) -> pa.Table:
        rows = rows.filter(pc.is_null(rows["carried_from"]))
        parts.append(_summed(rows))
        samples.append(_sampled(rows))
        return rows.slice(0, 0)

    if len(ids):
        read(ids[0].as_py(), ids[-1].as_py(), keep)
    found = added(pa.concat_tables(parts), *_KEYS)
    found = found.filter(pc.is_in(found["seller_id"], value_set=ids))
    by_rows = found.take(pc.sort_indices(found, sort_keys=[(ROWS, "descending")]))
    sums = added(found.drop_columns(["region"]), "seller_id")
    of_most = pc.index_in(one_chunk(sums["seller_id"]), value_set=one_chunk(by_rows["seller_id"]))
    sampled = _ends(pa.concat_tables(samples))
    place = pc.index_in(one_chunk(sums["seller_id"]), value_set=one_chunk(sampled["seller_id"]))
    for name in ("low", "high"):
        sums = sums.append_column(name, one_chunk(sampled[name]).take(place))
    return sums.append_column("region", one_chunk(by_rows["region"]).take(of_most))


def _summed(rows: pa.Table) -> pa.Table:
    """The sums of a batch's rows, by seller and region."""
    zero: Any = pa.scalar(0.0)
    columns: dict[str, Any] = {name: rows[name] for name in _KEYS}
    columns[ROWS] = pa.repeat(pa.scalar(1.0), len(rows))
    columns |= {name: pc.coalesce(rows[name].cast(pa.float64()), zero) for name in COUNT_COLUMNS}
    return added(pa.table(columns), *_KEYS)


def _sampled(rows: pa.Table) -> pa.Table:
    """The ends of the range of the hashes of a batch's videos, by seller; of IDs that are numbers."""
    ids: Any = one_chunk(rows["video_id"])
    is_number: Any = pc.match_substring_regex(ids, "^[0-9]{1,19}$")
    numbers: Any = pc.if_else(is_number, ids, pa.scalar(None, pa.string())).cast(pa.uint64())
    # Products wrap around, so that the order is not the one of the IDs, which is that of creation.
    hashes: Any = pc.multiply(numbers, _MULTIPLIER)
    return _ends(pa.table({"seller_id": rows["seller_id"], "low": hashes, "high": hashes}))


def _ends(samples: pa.Table) -> pa.Table:
    found = samples.group_by("seller_id").aggregate([("low", "min"), ("high", "max")])
    return found.select(["seller_id", "low_min", "high_max"]).rename_columns(_SAMPLES.names)


def _nulls(videos: SnapshotFiles) -> dict[str, Share]:
    """The nulls of each column, by what the files' footers say."""
    nulls, rows = Counter[str](), Counter[str]()
    for path in videos.paths:
        with reading(path):
            metadata = pq.read_metadata(path)
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            for at in range(group.num_columns):
                column: Any = group.column(at)
                if column.path_in_schema in _FILLED and column.statistics is not None:
                    nulls[column.path_in_schema] += column.statistics.null_count or 0
                    rows[column.path_in_schema] += group.num_rows
    return {name: Share(nulls[name], rows[name]) for name in _FILLED if rows[name]}


def _unknown_fields(videos: SnapshotFiles) -> frozenset[str]:
    """Names of fields that the schema does not know, in some rows of each file."""
    known, found = {column.name for column in API_COLUMNS}, set[str]()
    for file in videos.each():
        for rows in file.batches(_EXTRA):
            texts: list[Any] = pc.unique(rows["extra"].drop_null()).slice(0, _SAMPLED).to_pylist()
            for text in texts:
                found.update(orjson.loads(text).keys() - known)
            break
    return frozenset(sorted(found)[:_MAX_FIELDS])
