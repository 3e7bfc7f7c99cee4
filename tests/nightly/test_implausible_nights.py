"""Nights of nonsense after good ones: none is published without a word, and the good ones stay."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import Night, stand_in

from crawler.simulator.catalogue import CatalogueOptions
from crawler.simulator.outages import OUTAGES
from crawler.simulator.server import SimulatorOptions

CATALOGUE = CatalogueOptions(seed=7, largest=60)
FIRST, SECOND, THIRD = date(2026, 11, 21), date(2026, 11, 22), date(2026, 11, 23)


def served(
    folder: Path, day: date, outage: str | None, sellers: int, *options: str, code: int
) -> dict[str, Any]:
    """One night's report."""
    with stand_in(SimulatorOptions(CATALOGUE, day=day, outage=outage)) as simulator:
        job = Night(folder, simulator.url)
        source = job.sellers(simulator.catalogue.seller_ids(sellers))
        return job.run(source, "--crawl-date", day.isoformat(), *options, code=code)


@pytest.mark.parametrize("outage", sorted(OUTAGES.keys() - {"stale"}))
def test_nonsense_after_good_nights(tmp_path: Path, outage: str) -> None:
    for day in (FIRST, SECOND):
        good = served(tmp_path, day, None, 80, code=0)
        assert good["plausibility"] == {"verdict": "plausible", "reasons": []}, good
    report = served(tmp_path, THIRD, outage, 80, code=10)
    assert report["plausibility"]["verdict"] == "implausible"
    assert not (tmp_path / f"data/videos/crawl_date={THIRD}").exists()
