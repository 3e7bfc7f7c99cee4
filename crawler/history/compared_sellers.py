"""The sellers of a part: which earlier readings they are compared with, and what they are judged by.

Open it to change which snapshots a seller is judged beside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.earlier import EarlierSnapshot, NightSpan
from crawler.history.leaving import BasesBefore, LeavingRows
from crawler.history.measuring import Figures
from crawler.history.seller_sums import summed_figures, sums_by_seller
from crawler.history.yardsticks import Baselines, EarlierReadings, Readings, Yardsticks


@dataclass(frozen=True, slots=True)
class Judging:
    """That sellers are to be judged: beside their last whole reading under the same `sorting`."""

    sorting: str

    def __call__(self, snapshot: EarlierSnapshot) -> bool:
        """Whether a snapshot counts. The date's own one does: --fresh reads its sellers again."""
        return snapshot.sorting == self.sorting


@dataclass(slots=True)
class ComparedSellers:
    """The sellers of a part: their readings, what these are compared with, and what they are judged by."""

    readings: Readings
    baselines: Baselines
    bases: BasesBefore
    judged: Baselines | None
    sellers: pa.Table
    now: list[pa.Table] = field(default_factory=list)
    before: dict[int, list[pa.Table]] = field(default_factory=dict)
    zero_before: int = 0

    @classmethod
    def of(
        cls,
        sellers: pa.Table,
        ids: pa.Array[Any],
        earlier: list[EarlierSnapshot],
        window: int,
        night: NightSpan,
        judging: Judging | None,
    ) -> ComparedSellers:
        """Find what they are compared with, of other dates than the one of the `night`.

        `ids` are those that have pages.
        """
        readings = Readings.of(sellers)
        ends = (ids[0].as_py(), ids[-1].as_py()) if len(ids) else ("", "")
        known = EarlierReadings(earlier, *ends)

        def is_other(snapshot: EarlierSnapshot) -> bool:
            return snapshot.day != night.day

        baselines = Baselines.find(readings, earlier, window, known, is_other)
        with_pages = sellers.filter(pc.is_in(sellers["seller_id"], value_set=ids))
        bases = BasesBefore.find(with_pages, readings, earlier, known, night)
        judged = None
        if judging is not None:
            judged = baselines
            # Rows that are judged beside others must be of one night.
            if baselines.dates.null_count < len(baselines.dates) or not all(
                is_other(each) and judging(each) for each in earlier
            ):
                judged = Baselines.find(readings, earlier, window, known, judging, only_whole=True)
        return cls(readings, baselines, bases, judged, sellers)

    def judged_beside(self, number: int) -> pa.Array[Any]:
        """The sellers that were read whole, and last so before in the snapshot of a number."""
        if self.judged is None:
            return pa.array([], pa.string())
        is_beside: Any = pc.equal(self.judged.sources, pa.scalar(number, pa.int32()))
        return self.readings.ids.filter(pc.and_(pc.fill_null(is_beside, False), self.readings.is_whole))

    def leaving(self, rows: pa.Table, all_rows: pa.Table) -> LeavingRows:
        """What finds out which rows have left; `rows` are the received ones of `all_rows`."""
        return LeavingRows(self.bases, rows, all_rows)

    def add(self, rows: pa.Table) -> None:
        """Add received rows of tonight."""
        if self.judged is not None:
            self.now.append(summed_figures(rows))

    def add_seen(self, yardsticks: Yardsticks) -> None:
        """Add what received rows of tonight were when they were last seen."""
        if self.judged is not None:
            self.zero_before += yardsticks.zeros

    def add_before(self, number: int, rows: pa.Table) -> None:
        """Add rows of the snapshot of a number, of sellers that are judged beside it."""
        self.before.setdefault(number, []).append(summed_figures(rows))

    @property
    def figures(self) -> Figures | None:
        """What they are judged by; None where they are not."""
        if self.judged is None:
            return None
        before = [sums_by_seller(tables) for tables in self.before.values()]
        return Figures(
            self.sellers, self.readings, self.judged, sums_by_seller(self.now), before, self.zero_before
        )
