"""What earlier snapshots advise for the order of a crawl: used where it can be read, never needed."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.snapshots import History
from crawler.models.api import PAGE_SIZE, SortField
from crawler.nightly.night import Notes
from crawler.sellers.listing import SellerList

_T = TypeVar("_T")


class Advice:
    """Reads earlier snapshots; where that fails it notes so and advises nothing: no night depends on it."""

    def __init__(self, history: History, notes: Notes) -> None:
        self._history = history
        self._notes = notes

    def page_values(self, sort: SortField) -> dict[str, array[float]]:
        """What each page of each seller was worth."""
        nothing: dict[str, array[float]] = {}
        return self._read(lambda: self._history.page_values(sort), nothing)

    def depths(self, least_pages: int) -> dict[str, int]:
        """How many full pages each seller had, of those with at least so many."""
        nothing: dict[str, int] = {}
        return self._read(lambda: self._history.depths(least_pages), nothing)

    def deepest_first(self, fresh: SellerList, unknown_pages: int) -> SellerList:
        """The deepest first, so that no seller is left to be read page after page when all else is done.

        One that was never read may be deep: it counts as `unknown_pages` deep.
        """
        return self._read(lambda: self._deepest_first(fresh, unknown_pages), fresh)

    def _deepest_first(self, fresh: SellerList, unknown_pages: int) -> SellerList:
        known = self._history.videos(fresh.ids)
        if known.null_count == len(fresh):
            return fresh
        depth: Any = pc.divide(known, pa.scalar(PAGE_SIZE, pa.int64()))
        order = pc.sort_indices(pc.negate(pc.fill_null(depth, pa.scalar(unknown_pages, pa.int64()))))
        return replace(fresh, ids=fresh.ids.take(order))

    def _read(self, read: Callable[[], _T], otherwise: _T) -> _T:
        try:
            found = read()
        except Exception as error:  # noqa: BLE001 - whatever damage does to statistics
            self._notes.add(
                f"earlier snapshots are not used to order this run: {type(error).__name__}: {error}"
            )
            return otherwise
        for warning in self._history.warnings:
            self._notes.add(warning)
        return found
