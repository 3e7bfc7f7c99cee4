"""The pages of real nights, and of a ledger of three years."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from calls import assert_linear
from conftest import DATE, SMALL, Night

from crawler.nightly.page_making import write_pages
from crawler.simulator.faults import parse_faults
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.layout import Layout, RunFolder
from crawler.store.ledger_records import RunRecord

pytestmark = pytest.mark.usefixtures("pages")

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
NOW = datetime(2026, 11, 27, tzinfo=UTC)
BEFORE = str(date.fromisoformat(DATE) - timedelta(days=2))


def test_two_real_nights_a_day_apart_from_a_third(night: Begin) -> None:
    """The second page names what was cut off and missed, and is made again alike."""
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(30))
    job.run(source, "--crawl-date", BEFORE)
    simulator.catalogue.day = date.fromisoformat(DATE)
    report = job.run(source, "--budget", "20", code=3)
    folder = RunFolder(job.data, report["run_id"])
    page, index = folder.page.read_text(), Layout(job.data).index
    assert page.count("nothing ran on 1 crawl date before this one") == 1
    missed = str(date.fromisoformat(DATE) - timedelta(days=1))
    assert f"<td>{missed}</td><td>no night</td>" in page
    assert "<h2>Tonight and the nights before</h2>" in page
    assert "<h2>What changed</h2>" in page
    assert "<h2>Sellers that were cut off</h2>" in page or report["sellers"]["partial"] == 0
    assert index.stat().st_mode & 0o777 == folder.page.stat().st_mode & 0o777 == 0o644
    assert index.read_text().count('<a href="') == 2
    assert f"<td>{missed}</td><td>nothing ran</td>" in index.read_text()
    assert f'<a href="{report["run_id"]}/report.html">page</a>' in index.read_text()
    index.unlink()
    assert job.call("report").returncode == 0
    assert folder.page.read_text() == page
    assert index.read_text().count('<a href="') == 2


def test_a_run_without_a_report_is_refused(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    assert job.call("report").returncode == 2
    report = job.run(job.sellers(simulator.catalogue.seller_ids(2)))
    refused = job.call("report", "../state")
    assert refused.returncode == 2
    assert report["run_id"] in refused.stderr


def test_damage_costs_its_part_of_the_page_alone(night: Begin) -> None:
    """What cannot be read is named on the page; the rest is there, and the exit code is 0."""
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults("status=429:0.05")))
    report = job.run(job.sellers(simulator.catalogue.seller_ids(10)))
    for path in (*job.data.glob("changes/*/*.parquet"), *job.data.glob("sellers/*/*.parquet")):
        path.write_bytes(b"PAR1 not at all")
    folder = RunFolder(job.data, report["run_id"])
    folder.series.write_text("{")
    assert job.call("report", report["run_id"]).returncode == 0
    page = folder.page.read_text()
    for what in ("the changes of the night", "the sellers of the night", "the course of the night"):
        assert f"{what} cannot be shown" in page
    assert "<h2>Credits</h2>" in page


@pytest.mark.parametrize("is_killed", [False, True])
def test_three_years_of_nights_take_no_more_work_than_their_lines(tmp_path: Path, is_killed: bool) -> None:
    def written(count: int) -> Callable[[], None]:
        days = [NOW.date() - timedelta(days=number) for number in range(count)]
        runs = [
            RunRecord(f"r{day}", str(day), f"{day}T02:00:00Z", 250, f"{day}T02:05:00Z", 0, 1000, 60, 60, 0, 0)
            for day in days
        ]
        if is_killed:
            runs[0] = RunRecord(runs[0].run_id, runs[0].crawl_date, runs[0].started_at, 250, None, None)
        report = orjson.loads(orjson.dumps({"run_id": runs[0].run_id, "crawl_date": str(days[0])}))
        return lambda: write_pages(tmp_path, report, runs, 1, NOW)

    assert_linear(written, 550)
    assert Layout(tmp_path).index.read_text().count("<tr>") == 1101
    page = RunFolder(tmp_path, f"r{NOW.date()}").page.read_text()
    assert page.count("<figure>") == 5
    assert "no night" not in page
