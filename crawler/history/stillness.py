"""Which sellers stand still: what earlier snapshots tell of how many could be carried forward."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from math import sqrt
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.carrying import CarryRule
from crawler.history.snapshots import History
from crawler.models.api import PAGE_SIZE
from crawler.models.seller import SellerStatus, StopReason

_COMPARED = 4
"""Snapshots whose first pages are compared: three nights, so that two tell what follows on another."""

_CARRIED: Any = pc.field("stop_reason") == StopReason.CARRIED.value
_DEEP: Any = (pc.field("status") == SellerStatus.COMPLETE.value) & (pc.field("videos") > PAGE_SIZE)


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


class Stillness:
    """Which deep sellers' first pages were as in the snapshot before, in the newest snapshots.

    `still`: each seller's last answer. `turns`: by what the answer was before, for each snapshot how much
    then stood still: after True and False that is known from the third snapshot on, and None is all.
    `left_out`: of the snapshots that the growth of the others is to be measured by, the sellers that
    stood still. Where `compares` is not set, only what was carried is looked at.
    """

    def __init__(self, history: History, sorting: str, *, compares: bool) -> None:
        self._history = history
        self._sorting = sorting
        self._digests: dict[str, int] = {}
        self.still: dict[str, bool] = {}
        self.turns: dict[bool | None, list[Share]] = {True: [], False: [], None: []}
        self.left_out: dict[date, pa.Array[Any]] = {}
        compared = {day for day, _ in history.sellers(_COMPARED) if compares}
        known: set[date] = set()
        for day, table in reversed(history.sellers()):
            stood = {str(seller_id): True for seller_id in table.filter(_CARRIED)["seller_id"].to_pylist()}
            if day in compared and history.sorting(day) == sorting:
                told = self._compare(day, table.filter(_DEEP))
                known |= {day} if told else set()
                stood |= told
            self.still.update(stood)
            self.left_out[day] = pa.array([i for i, still in stood.items() if still], pa.string())
        if known:
            # Elsewhere sellers that were read in full though they stood still would pass for slow ones.
            self.left_out = {day: ids for day, ids in self.left_out.items() if day in known}

    def may_carry(self, rule: CarryRule) -> set[str]:
        """The sellers that the rule would carry tonight, if their first page were the same again."""
        oldest = rule.crawl_date - timedelta(days=rule.max_age)
        found: set[str] = set()
        seen: set[str] = set()
        for day, table in self._history.sellers():
            if day < oldest:
                break
            read = table.filter(pc.field("pages") > 0)
            if self._history.sorting(day) == self._sorting:
                found |= self._young(day, read.filter(_DEEP), oldest) - seen
            seen.update(map(str, read["seller_id"].to_pylist()))
        return {seller_id for seller_id in found if not rule.audits(seller_id)}

    def _young(self, day: date, deep: pa.Table, oldest: date) -> set[str]:
        ids = set(map(str, deep["seller_id"].to_pylist()))
        return ids - self._history.older_than(day, oldest) if len(deep.filter(_CARRIED)) else ids

    def _compare(self, day: date, deep: pa.Table) -> dict[str, bool]:
        """Whether each seller's first page is the one before; counts what that followed on."""
        digests = self._history.first_pages(day)
        names = ("seller_id", "videos")
        turns: dict[bool | None, Share] = defaultdict(Share)
        stood: dict[str, bool] = {}
        for seller_id, videos in zip(*(deep[name].to_pylist() for name in names), strict=True):
            before, now = self._digests.get(seller_id), digests.get(seller_id)
            if before is None or now is None:
                continue
            stood[seller_id] = before == now
            for group in {None, self.still.get(seller_id)}:
                turns[group].add(videos // PAGE_SIZE, counts=before == now)
        for group, share in turns.items():
            self.turns[group].append(share)
        self._digests.update(digests)
        return stood
