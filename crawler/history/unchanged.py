"""Which sellers were unchanged from one snapshot to the next, and so might have been carried."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from math import sqrt
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.carrying import CarryRule
from crawler.history.figures import DEEP, READ
from crawler.history.snapshots import History
from crawler.models.api import PAGE_SIZE
from crawler.models.seller import StopReason

_COMPARED_SNAPSHOTS = 4
"""Snapshots whose first pages are compared: three nights, so that two show what follows on another."""

_CARRIED: Any = pc.field("stop_reason") == StopReason.CARRIED.value


@dataclass(slots=True)
class Share:
    """How much of some sellers' cost a rule saves, in pages beyond the first."""

    part: float = 0.0
    whole: float = 0.0
    squares: float = 0.0

    def add(self, pages: float, *, counts: bool) -> None:
        """Add a seller."""
        self.part += pages * counts
        self.whole += pages
        self.squares += pages * pages

    @property
    def rate(self) -> float:
        """The share."""
        return self.part / self.whole

    @property
    def error(self) -> float:
        """The sampling error of the share: that of few large sellers is wide."""
        return sqrt(self.rate * (1 - self.rate) * self.squares) / self.whole


class UnchangedSellers:
    """Which deep sellers' first pages were as in the snapshot before, in the newest snapshots.

    `unchanged`: each seller's last answer. `shares`: by what the answer was before, for each snapshot how
    much was unchanged then; after True and False that is known from the third snapshot on, and None is all.
    `left_out`: of the snapshots that growth is to be measured by, the sellers that were unchanged. Without
    `compares` no first pages are compared: only carried sellers count as unchanged.
    """

    def __init__(self, history: History, sorting: str, *, compares: bool) -> None:
        self._history = history
        self._sorting = sorting
        self._digests: dict[str, int] = {}
        self.unchanged: dict[str, bool] = {}
        self.shares: dict[bool | None, list[Share]] = {True: [], False: [], None: []}
        self.left_out: dict[date, pa.Array[Any]] = {}
        to_compare = {day for day, _ in history.sellers(_COMPARED_SNAPSHOTS) if compares}
        compared: set[date] = set()
        for day, table in reversed(history.sellers()):
            found = {str(seller_id): True for seller_id in table.filter(_CARRIED)["seller_id"].to_pylist()}
            if day in to_compare and history.sorting(day) == sorting:
                by_first_page = self._compare(day, table.filter(DEEP))
                compared |= {day} if by_first_page else set()
                found |= by_first_page
            self.unchanged.update(found)
            self.left_out[day] = pa.array([i for i, unchanged in found.items() if unchanged], pa.string())
        if compared:
            # Elsewhere sellers that were read in full though unchanged would pass for slow ones.
            self.left_out = {day: ids for day, ids in self.left_out.items() if day in compared}

    def may_carry(self, rule: CarryRule) -> set[str]:
        """The sellers that the rule would carry tonight, if their first page were the same again."""
        oldest = rule.crawl_date - timedelta(days=rule.max_age)
        found: set[str] = set()
        seen: set[str] = set()
        for day, table in self._history.sellers():
            if day < oldest:
                break
            read = table.filter(READ)
            if self._history.sorting(day) == self._sorting:
                found |= self._young(day, read.filter(DEEP), oldest) - seen
            seen.update(map(str, read["seller_id"].to_pylist()))
        return {seller_id for seller_id in found if not rule.audits(seller_id)}

    def _young(self, day: date, deep: pa.Table, oldest: date) -> set[str]:
        ids = set(map(str, deep["seller_id"].to_pylist()))
        return ids - self._history.older_than(day, oldest) if len(deep.filter(_CARRIED)) else ids

    def _compare(self, day: date, deep: pa.Table) -> dict[str, bool]:
        """Whether each seller's first page is the one before; adds to the shares what that followed on."""
        digests = self._history.first_pages(day)
        names = ("seller_id", "videos")
        shares: dict[bool | None, Share] = defaultdict(Share)
        found: dict[str, bool] = {}
        for seller_id, videos in zip(*(deep[name].to_pylist() for name in names), strict=True):
            before, now = self._digests.get(seller_id), digests.get(seller_id)
            if before is None or now is None:
                continue
            found[seller_id] = before == now
            for group in {None, self.unchanged.get(seller_id)}:
                shares[group].add(videos // PAGE_SIZE, counts=before == now)
        for group, share in shares.items():
            self.shares[group].append(share)
        self._digests.update(digests)
        return found
