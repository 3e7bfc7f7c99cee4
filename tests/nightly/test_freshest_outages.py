"""Outages on nights of `--strategy freshest`: what is not read tonight must not hide them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_freshest_nights import Nights

from crawler.models.stretches import STRETCH_PAGES
from crawler.simulator import outages
from crawler.simulator.outages import OUTAGES, Outage, Page, Row


def _no_deep_pages(catalogue: Any, page: Page) -> list[Row]:
    return [] if page.page_num > 2 * STRETCH_PAGES else page.rows(catalogue)


class DeepNights(Nights):
    """Nights of sellers of six stretches each."""

    def run(self, number: int, *options: str, code: int = 0, sellers: int = 40, **serving: Any) -> Any:
        with self.served(number, **serving) as (simulator, _):
            catalogue = simulator.catalogue
            deep = [each for each in catalogue.seller_ids(1500) if catalogue.size(each) > 400]
            source = self.job.sellers(deep[:sellers])
            self.let_a_minute_pass()
            words = ("--crawl-date", self.day(number), "--strategy", "freshest", *options)
            report = self.job.run(source, *words, code=code)
            return report | {"charged": simulator.stats.credits}


@pytest.fixture
def nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DeepNights:
    known = {**OUTAGES, "deep": Outage("pages behind the 16th are empty", _no_deep_pages)}
    monkeypatch.setattr(outages, "OUTAGES", known)
    return DeepNights(tmp_path)


def test_lists_that_end_earlier_than_they_did_hold_a_night_back(nights: DeepNights) -> None:
    nights.run(0)
    # The first stretches gain most: on the third night others are read.
    nights.run(1, "--budget", "400")
    nights.run(2, "--budget", "400")
    first = nights.run(3, "--budget", "400", outage="deep", code=10)
    assert first["plausibility"]["reasons"][0].startswith("rows fell by more than a tenth at ")
    # Of a seller of which a late stretch was read, only pages like these say whether it still ends there.
    again = nights.run(3, "--budget", "1200", outage="deep", code=10)
    assert "canaries are answered as before" in again["message"]
    healed = nights.run(3, "--budget", "6000")
    assert (healed["published"], healed["plausibility"]["verdict"]) == (True, "plausible")
    lost = nights.videos(0).keys() - nights.videos(3).keys()
    assert len(lost) < len(nights.videos(0)) * 0.05
