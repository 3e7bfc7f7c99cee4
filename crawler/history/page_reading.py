"""Reading what the page of a run shows beside its report. Open it to gather more for a page.

Each part that cannot be read is named on the page, and the rest is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TypeVar

import orjson

from crawler.history.fallen_sellers import cut_off, fallen, sellers_of
from crawler.history.movers import dates_with_changes, night_changes
from crawler.history.reader import SnapshotFiles, UnreadableError, published_dates
from crawler.models.api import SortField
from crawler.report.page_facts import Moved, PageFacts, SellerNames
from crawler.report.series import Series
from crawler.store.layout import SELLERS, run_of

_TOP = 10
_TOP_SELLERS = 25
_T = TypeVar("_T")


def page_facts(data: Path, day: date, series: Path) -> PageFacts:
    """What is known of a date, but for its nights; `series` is the file of a run's course."""
    return _Gathering(data, day).facts(series)


@dataclass(slots=True)
class _Gathering:
    """Reads one part after another, and notes what cannot be read."""

    data: Path
    day: date
    faults: list[str] = field(default_factory=list)

    def facts(self, series: Path) -> PageFacts:
        published = SnapshotFiles.published(self.data, SELLERS, self.day).paths
        before = next(islice((day for day in published_dates(self.data) if day < self.day), 1), None)
        moved = self._try("the changes of the night", self._moved, None)
        fell, cut = self._try(
            "the sellers of the night", lambda: self._sellers(before), (SellerNames(), SellerNames())
        )
        samples = self._try("the course of the night", lambda: _series(series), None)
        return PageFacts(
            series=samples,
            published_by=run_of(published[0]) if published else None,
            compared_with=None if before is None else str(before),
            moved=moved,
            fallen=fell,
            cut_off=cut,
            faults=self.faults,
        )

    def _try(self, what: str, read: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return read()
        except (UnreadableError, OSError, ValueError) as error:
            self.faults.append(f"{what} cannot be shown: {error}")
            return otherwise

    def _moved(self) -> Moved | None:
        if self.day not in dates_with_changes(self.data):
            return None
        found = night_changes(self.data, self.day, SortField.VIEWS, _TOP)
        movers, newcomers, losses = (
            table.to_pylist() for table in (found.movers, found.newcomers, found.losses)
        )
        return Moved(found.totals, movers, newcomers, losses, found.outdated_by)

    def _sellers(self, before: date | None) -> tuple[SellerNames, SellerNames]:
        now = sellers_of(self.data, self.day)
        cut = cut_off(now, _TOP_SELLERS)
        if before is None:
            return SellerNames(), cut
        return fallen(now, sellers_of(self.data, before), _TOP_SELLERS), cut


def _series(path: Path) -> Series | None:
    return Series.from_document(orjson.loads(path.read_bytes())) if path.is_file() else None
