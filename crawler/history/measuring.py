"""What a snapshot is judged by: its measures alone, and beside what was read of its sellers before.

Open it to change how a measure is taken; `rules/plausibility.py` says what each one is, and what is odd.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.fields import extra_fields, nulls_by_column
from crawler.history.reader import SnapshotFiles
from crawler.history.seller_sums import SAMPLED
from crawler.history.shortened import lengths_in_stretches
from crawler.history.yardsticks import Baselines, Readings, one_chunk
from crawler.models.api import COUNT_COLUMNS, PAGE_SIZE
from crawler.models.seller import StopReason
from crawler.rules.plausibility import FIGURES, ROWS, STILL_HOURS, Comparison, Measures, Share
from crawler.store.journal import Journal
from crawler.store.records import PageFacts

_FALLEN, _RISEN = 0.9, 10.0
_LOST_HOURS = 72.0
"""Readings further apart differ by too many videos that were taken down."""
_SUMS_HOURS = 8 * 24.0
"""In longer times than a week sums may fall with videos that were taken down, and rise without limit."""
_MIN_RISING = 100.0
"""A tenfold rise of less is a good day."""
_MAX_REGIONS = 50
_HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class Figures:
    """Some sellers as they are judged: their readings, and the last whole ones before these.

    `now`, `before`: what `sums_by_seller` has of their received rows; `before` has a table for each snapshot
    that has some of the earlier readings. `zero_before`: rows of which all counters were 0 when last seen.
    """

    sellers: pa.Table
    readings: Readings
    baselines: Baselines
    now: pa.Table
    before: list[pa.Table]
    zero_before: int


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
class Measuring:
    """What the sellers of a snapshot add up to."""

    read: int = 0
    empty: int = 0
    rows: int = 0
    zero_before: int = 0
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
    rows_judged: list[pa.Array[Any]] = field(default_factory=list)
    """The sellers whose numbers of rows are compared."""
    hits: dict[str, list[pa.Array[Any]]] = field(default_factory=dict)
    """The sellers that a measure counts: by its name, or by what of their rows shows it."""

    def add(self, figures: Figures) -> None:
        """Add sellers."""
        readings, now = figures.readings, figures.now
        if not len(readings.ids):
            return
        own = figures.sellers.filter(pc.is_in(figures.sellers["seller_id"], value_set=readings.ids))
        is_deep: Any = pc.greater(own["pages"], pa.scalar(1))
        is_repeated = pc.and_(is_deep, pc.equal(own["stop_reason"], pa.scalar(StopReason.REPEATED_PAGE)))
        self.read += len(own)
        self.empty += _count(pc.equal(own["videos"], pa.scalar(0)))
        self.with_pages += _count(is_deep)
        self.repeated += _count(is_repeated)
        self._hit("repeated", own["seller_id"], is_repeated)
        for at, name in enumerate(COUNT_COLUMNS):
            self.totals[at] += pc.sum(now[name]).as_py() or 0
        self.rows += int(pc.sum(now[ROWS]).as_py() or 0)
        self.zero_before += figures.zero_before
        for before in figures.before:
            self._compare(_pair(figures, before))

    def add_in_stretches(self, journal: Journal) -> None:
        """Add sellers that were read in stretches, by where their lists end; what was added before counts."""
        judged = {str(seller_id) for ids in self.rows_judged for seller_id in ids.to_pylist()}
        lengths = [*lengths_in_stretches(journal, judged)]
        ids = pa.array([each.seller_id for each in lengths], pa.string())
        fallen = pa.array([each.now < each.before * _FALLEN for each in lengths], pa.bool_())
        self.judged[ROWS] += len(lengths)
        self.fallen[ROWS] += _count(fallen)
        self.before[ROWS] += sum(each.before for each in lengths)
        self.now[ROWS] += sum(each.now for each in lengths)
        self._hit(ROWS, ids, fallen)

    def measures(self, videos: SnapshotFiles, pages: PageFacts, rejected: Share) -> Measures:
        """The measures of the snapshot that has these files and pages."""
        nulls, extra = nulls_by_column(videos), extra_fields(videos)
        return Measures(
            sellers=self.read,
            rows=self.rows,
            empty=Share(self.empty, self.read),
            rejected=rejected,
            nulls=nulls,
            totals=dict(zip(COUNT_COLUMNS, self.totals, strict=True)) if self.rows else {},
            zero_before=self.zero_before,
            unknown_fields=extra.unknown,
            misfits=extra.misfits,
            missing_fields=frozenset(name for name, share in nulls.items() if share.part == share.whole > 0),
            short_first_pages=Share(*pages.short_first),
            repeated=Share(self.repeated, self.with_pages),
            shared=Share(*pages.shared),
            compared=self._comparison(),
        )

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
            self._hit(name, pair.ids, pc.or_(fallen, risen))
            if name == ROWS:
                self.rows_judged.append(one_chunk(pair.ids.filter(known)))
            same = pc.and_(same, pc.equal(before, now))
        is_old: Any = pc.and_(pc.greater_equal(pair.hours, pa.scalar(STILL_HOURS)), pc.invert(gone))
        self.old_enough += _count(is_old)
        self.still += _count(pc.and_(same, is_old))
        self._hit("still", pair.ids, pc.and_(same, is_old))
        is_sampled: Any = pc.and_(pc.is_valid(pair.lost), pc.less_equal(pair.hours, pa.scalar(_LOST_HOURS)))
        is_lost: Any = pc.and_(is_sampled, pc.fill_null(pair.lost, False))
        self.sampled += _count(is_sampled)
        self.lost += _count(is_lost)
        self._hit("video_id", pair.ids, is_lost)
        self.hours += pair.hours.to_pylist()

    def _hit(self, name: str, ids: Any, which: Any) -> None:
        some = one_chunk(ids.filter(which))
        if len(some):
            self.hits.setdefault(name, []).append(some)

    def _comparison(self) -> Comparison | None:
        """The comparison; None where no seller could be compared."""
        whole = self.regions.total()
        if not whole and not self.judged[ROWS]:
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
            hours=median(self.hours or [0.0]),
        )


def _name(region: object) -> str:
    return str(region or "")


def _count(which: Any) -> int:
    return int(pc.sum(which).as_py() or 0)


def _pair(figures: Figures, before: pa.Table) -> _Pair:
    """Sellers that were read whole on both nights and had rows; `before` has what each of them had."""
    now, readings = figures.now, figures.readings
    # A seller without rows then says nothing.
    place = pc.index_in(readings.ids, value_set=one_chunk(before["seller_id"]))
    had_rows: Any = pc.is_valid(place)
    ids, place = readings.ids.filter(had_rows), place.filter(had_rows)
    between: Any = pc.subtract(readings.first, figures.baselines.last).filter(had_rows)
    today = pc.index_in(ids, value_set=one_chunk(now["seller_id"]))
    zero: Any = pa.scalar(0.0)
    low, high = (one_chunk(before[name]).take(place) for name in SAMPLED)
    low_now, high_now = (one_chunk(now[name]).take(today) for name in SAMPLED)
    return _Pair(
        ids,
        one_chunk(before["region"]).take(place),
        [one_chunk(before[name]).take(place) for name in FIGURES],
        [pc.coalesce(one_chunk(now[name]).take(today), zero) for name in FIGURES],
        # New videos only widen this range.
        pc.or_(pc.greater(low_now, low), pc.less(high_now, high)),
        pc.divide(between.cast(pa.float64()), pa.scalar(float(_HOUR))),
    )
