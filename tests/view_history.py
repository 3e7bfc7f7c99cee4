"""A history of nights as they happen: cut off, failed, carried, topped, missing, late, on a virtual clock.

The real run, judge and publishing work on the stand-in's catalogue, so that what each view should say follows
from the catalogue and from what was asked for. Open it to add a kind of night.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from outage_nights import Api, Cut, Project
from virtual_process import expect

from crawler.models.errors import RefusedError
from crawler.models.page import Page
from crawler.nightly.process import Signals
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.ports import Departure
from crawler.report.run_report import RunReport
from crawler.settings.load import load
from crawler.simulator.catalogue import Catalogue, CatalogueOptions

SELLERS = 18


class _Hiding(Catalogue):
    """Lacks some videos for a night."""

    def __init__(self, options: CatalogueOptions, day: date, hidden: frozenset[str]) -> None:
        super().__init__(options, day)
        self._hidden = hidden

    def page(
        self, seller_id: str, sort_field: int, sort_type: int, page_num: int, page_size: int, shift: int = 0
    ) -> list[dict[str, Any]]:
        """See `Catalogue`."""
        rows = super().page(seller_id, sort_field, sort_type, 1, 1_000_000, shift)
        rows = [row for row in rows if row["video_id"] not in self._hidden]
        return rows[(page_num - 1) * page_size : page_num * page_size]


class _RefusingApi(Api):
    """Refuses some sellers."""

    def __init__(self, history: History) -> None:
        super().__init__(history, None)
        self._refused = history.refused

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        """See the engine's port."""
        if seller_id in self._refused:
            await departure.leave(lambda: True)
            departure.label = "400"
            raise RefusedError("no such seller")
        return await super().fetch(seller_id, page_num, departure)


@dataclass
class History(Project):
    """Nights of a seller list. `refused`: sellers that fail; `given`: further settings of a run.

    `catalogues` has the truth of each crawl date, as of when it was crawled.
    """

    refused: frozenset[str] = frozenset()
    given: dict[str, Any] = field(default_factory=dict)
    catalogues: dict[date, Catalogue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A catalogue with some sellers that do not change, which can be carried."""
        super().__post_init__()
        self.options = CatalogueOptions(seed=self.seed, largest=130, scale=14.0, still=0.3)
        self.catalogue = Catalogue(self.options, self.day)
        self.ids = self.catalogue.seller_ids(self.count)

    def settings(self, budget: int | None, *, fresh: bool = False) -> Settings:
        """Those of the run under way."""
        values = {"run.data": str(self.folder), "run.qps": 40.0, "run.fresh": fresh, "credits.budget": budget}
        values |= {"api.url": "https://right.test", "log.quiet": True, "log.no_progress": True, **self.given}
        known = {name: value for name, value in values.items() if value is not None}
        return load(known, Path("/dev/null"), {}).settings

    def world(self, outage: str | None, cut: Cut, signals: Signals) -> World:
        """That of a project, whose API refuses some sellers."""
        return replace(super().world(outage, cut, signals), api=lambda _settings, _key: _RefusingApi(self))

    def night(
        self, code: int = 0, budget: int | None = None, refused: tuple[int, ...] = (), **given: Any
    ) -> RunReport:
        """One run of the date, that ends with a code; then the next day begins.

        `refused`: which sellers fail. `given`: settings of `run`.
        """
        self.refused = frozenset(self.ids[number] for number in refused)
        self.given = {f"run.{name}": value for name, value in given.items()}
        report = self.run(cut=Cut(credits=budget))
        expect(report is not None and report.exit_code == code, f"{self.day}: {self.said[-1]}")
        assert report is not None
        self.catalogues[self.day] = self.catalogue
        self.next_day()
        return report


def play(folder: Path) -> History:
    """A history with every kind of night."""
    history = History(3, folder, SELLERS)
    history.night()
    history.night()
    history.night(code=3, budget=20)
    history.night(code=4, refused=(0, 5, 9))
    missed = history.day
    history.next_day()
    history.night()
    history.night(top=60, strategy="best-first")
    history.clock = 7 * 3600.0
    history.night()
    history.night(carry_forward=True)
    some = [row["video_id"] for seller in history.ids for row in history.catalogue.videos(seller)[-3:-1]]
    history.catalogue = _Hiding(history.options, history.day, frozenset(some))
    history.night()
    today, history.day = history.day, missed
    history.clock = (today - missed - timedelta(hours=2)) / timedelta(seconds=1)
    history.catalogue = Catalogue(history.options, today)
    history.night()
    history.day = today - timedelta(days=1)
    history.next_day()
    history.night()
    history.night(code=4, refused=(1, 4), carry_forward=True)
    for budget in (30, 30, 30, 60):
        history.night(budget=budget, strategy="freshest", max_age=5)
    return history
