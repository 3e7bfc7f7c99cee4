"""A clock that is wrong: this machine's, or the API's."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import DATE, SMALL, Night

from crawler.api.answers import read_date
from crawler.models.keys import ApiKey
from crawler.nightly.night import Night as Asked
from crawler.nightly.process import Signals
from crawler.nightly.run import run_night
from crawler.nightly.world import World
from crawler.sellers.reading import read_sellers
from crawler.settings.load import load
from crawler.simulator.server import KEY, Simulator, SimulatorOptions
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import BillingMonth

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def run(job: Night, source: Path, now: datetime, crawl_date: date, **settings: str) -> Any:
    """One run by a clock that says `now`."""
    values = {"run.data": str(job.data), "api.url": job.url, "run.qps": "1000", **settings}
    listed = read_sellers(str(source), column=None, skip_bad_ids=False)
    world = World(now=lambda: now)
    asked = load(values, None, {}).settings
    return run_night(Asked(asked, (ApiKey(KEY),), listed, str(source), crawl_date, Signals(), world))


@pytest.mark.parametrize("days", [400, -400])
def test_a_clock_far_from_the_last_run_removes_nothing(night: Begin, days: int) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(2))
    run(job, source, NOW, NOW.date())
    old = [*(job.data / "runs").glob("*Z-*"), *(job.data / "state" / "journal").glob("*.sqlite")]
    for path in old:
        os.utime(path, (0, 0))
    now = NOW + days * DAY
    report = run(job, source, now, date.fromisoformat(DATE) - 900 * DAY)
    assert any("the clock says" in note and "last run" in note for note in report.notes)
    assert any("the API's Date says" in note for note in report.notes)
    assert all(path.exists() for path in old)


@pytest.mark.parametrize("ahead", [0.9, 400])
def test_a_date_in_the_future_of_the_api_is_not_published(night: Begin, ahead: float) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(40)
    source = job.sellers(ids)
    now = NOW + ahead * DAY
    crawl_date = (NOW + max(2.0, ahead) * DAY).date()
    report = run(job, source, now, crawl_date, **{"run.qps": "100"})
    assert report.exit_code == 8
    assert "lies in the API's future and is not published" in report.message
    assert not list((job.data / "videos").rglob("*.parquet"))
    assert simulator.stats.requests < 60
    spent = simulator.stats.requests
    with Ledger(job.data) as ledger:
        assert ledger.spent_for(crawl_date) == spent


def test_what_a_date_header_says_is_not_trusted_blindly() -> None:
    assert read_date("Mon, 23 Nov 2026 01:00:00 GMT") == datetime(2026, 11, 23, 1, tzinfo=UTC)
    odd = ("Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 99 Nov 2026 99:00:00 GMT", "9" * 500)
    for rubbish in (None, "", "x", *odd):
        assert read_date(rubbish) is None


def test_a_day_far_ahead_counts_for_the_month_it_was_spent_in_and_no_later_one(tmp_path: Path) -> None:
    def spend(ledger: Ledger, run_id: str, now: date, credit: int) -> None:
        ledger.begin(run_id, now, f"{now}T02:00:00.000Z")
        month = BillingMonth(now.replace(day=1), None, now)
        ledger.reserve(run_id, now, None, lambda _left: credit, month)

    november, december = date(2026, 11, 20), date(2026, 12, 3)
    with Ledger(tmp_path) as ledger:
        spend(ledger, "a", november, 10)
        spend(ledger, "ahead", november + 400 * DAY, 5)
        assert ledger.spent_since(november.replace(day=1), november) == 15
        spend(ledger, "b", november + DAY, 7)
        assert ledger.spent_since(november.replace(day=1), november + DAY) == 22
        spend(ledger, "c", december, 3)
        assert ledger.spent_since(december.replace(day=1), december) == 3
        days = [day for (day,) in ledger._db.execute("SELECT day FROM lease ORDER BY day")]
        assert days == ["2026-11-20", "2026-11-21", "2026-12-03", str(november + 400 * DAY)]
        # By a clock that is far behind everything counts, since all of it may have been spent this month.
        assert ledger.spent_since(date(2025, 11, 1), date(2025, 11, 2)) == 25
