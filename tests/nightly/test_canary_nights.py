"""Canaries: a night of wrong answers stops after tens of credits, publishes nothing, and is asked again."""

from __future__ import annotations

import shutil
import signal
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import DATE, SMALL, Night, stand_in
from launcher import LAUNCHER

from crawler.simulator.catalogue import Catalogue
from crawler.simulator.server import SimulatorOptions

COUNT = 120
TODAY = date.fromisoformat(DATE)
YESTERDAY = TODAY - timedelta(days=1)
IDS = Catalogue(SMALL).seller_ids(COUNT)


def served(folder: Path, outage: str | None, *options: str, code: int = 0, day: int = 1) -> dict[str, Any]:
    """A run of the date against a stand-in of the day, which counted as many requests as the report."""
    with stand_in(SimulatorOptions(SMALL, day=day, outage=outage)) as simulator:
        job = Night(folder, simulator.url)
        report = job.run(job.sellers(IDS), "--qps=200", *options, code=code)
        assert report["requests"]["sent"] == simulator.stats.requests
    return report


@pytest.fixture(scope="module")
def good_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one good night, the day before."""
    folder = tmp_path_factory.mktemp("canaries")
    served(folder, None, f"--crawl-date={YESTERDAY}", day=0)
    return folder


@pytest.fixture
def folder(good_night: Path, tmp_path: Path) -> Path:
    shutil.copytree(good_night / "data", tmp_path / "data")
    return tmp_path


def nights(folder: Path) -> set[str]:
    return {path.name for path in (folder / "data" / "videos").iterdir()}


@pytest.mark.parametrize("outage", ["empty", "half-empty", "foreign", "rejected", "region"])
def test_an_outage_stops_the_run_and_publishes_nothing(folder: Path, outage: str) -> None:
    before = nights(folder)
    report = served(folder, outage, "--workers=4", code=10)
    assert report["requests"]["sent"] < 100
    assert not report["published"]
    assert "canaries" in report["plausibility"]["reasons"][0]
    assert nights(folder) == before


def test_the_next_run_asks_the_canaries_again_and_then_all(folder: Path) -> None:
    stopped = served(folder, "empty", "--workers=4", code=10)
    again = served(folder, "empty", "--workers=4", code=10)
    assert again["requests"]["sent"] < 20
    report = served(folder, None)
    assert report["published"]
    assert report["sellers"]["complete"] == COUNT
    spent = sum(each["requests"]["sent"] for each in (stopped, again, report))
    assert report["credits"]["spent_for_date"] == spent
    catalogue = Catalogue(SMALL, 1)
    assert report["requests"]["sent"] == sum(catalogue.size(i) // 10 + 1 for i in IDS)
    job = Night(folder, "")
    rows = job.seller_rows()
    assert {i: row["videos"] for i, row in rows.items()} == {i: catalogue.size(i) for i in IDS}
    assert sum(row["credits"] for row in rows.values()) == spent


@pytest.mark.parametrize("outage", ["empty"])
def test_fresh_over_a_good_night_meets_an_outage(folder: Path, outage: str) -> None:
    served(folder, None)
    before = {i: row["videos"] for i, row in Night(folder, "").seller_rows().items()}
    served(folder, outage, "--workers=4", "--fresh", code=10)
    assert {i: row["videos"] for i, row in Night(folder, "").seller_rows().items()} == before
    report = served(folder, None)
    assert report["published"]
    assert {i: row["videos"] for i, row in Night(folder, "").seller_rows().items()} == before


def test_what_the_api_has_changed_for_good_is_accepted_once(folder: Path) -> None:
    """Half of the shops are gone: without a person's word each night would stop at its canaries."""
    served(folder, "half-empty", "--workers=4", code=10)
    accepted = Night(folder, "").call("publish", "--crawl-date", DATE, "--accept")
    assert "reads them, and is not held back again" in accepted.stdout
    report = served(folder, "half-empty", "--workers=4")
    assert report["sellers"]["complete"] == COUNT
    assert report["plausibility"]["verdict"] == "implausible"
    tomorrow = TODAY + timedelta(days=1)
    later = served(folder, "half-empty", f"--crawl-date={tomorrow}", "--workers=4", day=2)
    assert later["plausibility"]["verdict"] == "plausible"
    served(folder, "empty", "--workers=4", "--fresh", code=10)


def test_a_healthy_night_pays_nothing_for_its_canaries(folder: Path) -> None:
    report = served(folder, None, "--workers=4")
    catalogue = Catalogue(SMALL, 1)
    assert report["requests"]["sent"] == sum(catalogue.size(i) // 10 + 1 for i in IDS)


def test_under_a_budget_the_order_of_the_list_stays(folder: Path) -> None:
    report = served(folder, None, "--workers=1", "--budget=20", code=3)
    rows = Night(folder, "").seller_rows()
    read = [i for i in IDS if rows[i]["pages"]]
    assert report["published"]
    assert read == IDS[: len(read)]


@pytest.mark.parametrize("outage", ["page-ignored"])
def test_a_night_that_was_held_back_is_asked_again_by_its_canaries_first(folder: Path, outage: str) -> None:
    """Outages that first pages do not show: the night is read whole, and held back."""
    held = served(folder, outage, code=10)
    assert held["requests"]["sent"] > COUNT
    for _ in range(2):
        again = served(folder, outage, code=10)
        assert 20 <= again["requests"]["sent"] < 80
        assert "answered as before" in " ".join(again["notes"])
    report = served(folder, None)
    assert report["published"]
    assert report["plausibility"]["verdict"] == "plausible"
    catalogue = Catalogue(SMALL, 1)
    rows = Night(folder, "").seller_rows()
    assert {i: row["videos"] for i, row in rows.items()} == {i: catalogue.size(i) for i in IDS}
    assert sum(row["credits"] for row in rows.values()) == report["credits"]["spent_for_date"]


@pytest.mark.parametrize("outage", ["renamed", pytest.param("no-region", marks=pytest.mark.long)])
def test_a_recheck_compares_what_made_the_night_implausible_and_not_counts_that_move(
    folder: Path, outage: str
) -> None:
    """The outage goes on, and so do the counts: nobody but the canaries is paid for again."""
    served(folder, outage, code=10)
    again = served(folder, outage, day=2, code=10)
    assert 20 <= again["requests"]["sent"] < 40
    assert "answered as before" in " ".join(again["notes"])
    assert served(folder, None)["published"]
    assert is_true(folder)


@pytest.mark.parametrize("outage", ["renamed", pytest.param("no-region", marks=pytest.mark.long)])
def test_only_sellers_that_show_what_is_wrong_are_rechecked(folder: Path, outage: str) -> None:
    """A budget ended a well night in its midst, and the rest of it was wrong."""
    catalogue = Catalogue(SMALL, 1)
    whole = sum(catalogue.size(i) // 10 + 1 for i in IDS)
    served(folder, None, f"--budget={whole // 2}", "--strategy=breadth-first", code=3)
    served(folder, outage, f"--budget={4 * whole}", code=10)
    assert served(folder, None, f"--budget={4 * whole}")["published"]
    assert is_true(folder)


@pytest.mark.long
def test_canaries_are_answered_otherwise_in_columns_that_the_api_does_not_sort_by(folder: Path) -> None:
    served(folder, "renamed", "--sort=gmv", code=10)
    report = served(folder, None, "--sort=gmv")
    assert report["published"]
    assert is_true(folder)


def test_a_held_night_is_gone_on_with_where_its_recheck_was_cut_off(folder: Path) -> None:
    held = served(folder, "zeros", code=10)
    spent = held["credits"]["spent_for_date"]
    cut = served(folder, None, f"--budget={spent + 100}", code=3)
    assert cut["requests"]["sent"] == 100
    assert cut["rows"]["written"] < held["rows"]["written"]
    report = served(folder, None)
    assert report["published"]
    assert report["requests"]["sent"] < held["requests"]["sent"]


def killed(folder: Path, outage: str | None, at: str, *options: str) -> int:
    """A run that kills itself at a step; how many requests were sent."""
    with stand_in(SimulatorOptions(SMALL, day=1, outage=outage)) as simulator:
        job = Night(folder, simulator.url)
        words = ["run", str(job.sellers(IDS)), f"--crawl-date={DATE}", "--qps=200", *options]
        process = LAUNCHER.start(words, job.environ(), job.folder, at=at)
        assert process.wait() == -signal.SIGKILL
        return simulator.stats.requests


def is_true(folder: Path) -> bool:
    """Whether `sellers/` has as many videos of each seller as the API has on the second day."""
    catalogue = Catalogue(SMALL, 1)
    rows = Night(folder, "").seller_rows()
    return {i: row["videos"] for i, row in rows.items()} == {i: catalogue.size(i) for i in IDS}


def test_a_kill_after_the_answers_that_stop_a_run_forgets_no_suspicion(folder: Path) -> None:
    """The sixth answer says that the API is broken; the process is gone before it has said so."""
    assert killed(folder, "empty", "commit.durable:6", "--workers=1") == 6
    report = served(folder, None)
    assert is_true(folder)
    assert any("could not be believed; they are asked again" in note for note in report["notes"])


@pytest.mark.long
def test_canaries_of_a_run_that_was_killed_undecided_are_asked_again(folder: Path) -> None:
    """Those that had no videos any more: four are no proof, and must not stay finished."""
    assert killed(folder, "empty", "commit.durable:4", "--workers=1") == 4
    stopped = served(folder, "empty", "--workers=1", code=10)
    assert stopped["requests"]["sent"] == 6
    served(folder, None)
    assert is_true(folder)


def test_answers_in_doubt_stay_where_no_credit_is_left_to_ask_again(folder: Path) -> None:
    """What a run has published of them would be replaced by nothing."""
    short = ("--workers=1", "--strategy=breadth-first", "--budget=2")
    assert killed(folder, "empty", "commit.durable:2", *short) == 2
    report = served(folder, None, *short, code=3)
    assert report["sellers"]["complete"] == 2
    again = served(folder, None, "--workers=1", "--budget=2000")
    assert any("too early to tell" in note for note in again["notes"])
    assert is_true(folder)


def test_a_healthy_night_that_is_killed_asks_for_nothing_twice(folder: Path) -> None:
    sent = killed(folder, None, "commit.durable:9", "--workers=1")
    report = served(folder, None)
    assert sent + report["requests"]["sent"] <= sum(Catalogue(SMALL, 1).size(i) // 10 + 1 for i in IDS) + 1


def test_closing_a_date_publishes_no_suspicious_answers(folder: Path) -> None:
    killed(folder, "empty", "commit.durable:6", "--workers=1")
    before = nights(folder)
    closed = Night(folder, "").call("close", DATE)
    assert closed.returncode == 0
    assert "implausible" in closed.stderr
    assert nights(folder) == before


@pytest.mark.parametrize("at", ["publish.begin:1", pytest.param("commit.durable:40", marks=pytest.mark.long)])
def test_a_recheck_that_is_killed_is_gone_on_with(folder: Path, at: str) -> None:
    """After its last canary, and once all are asked again."""
    served(folder, "page-ignored", code=10)
    killed(folder, None, at, "--workers=1")
    report = served(folder, None)
    assert report["published"]
    assert is_true(folder)


@pytest.mark.long
def test_a_recheck_whose_budget_ends_stays_held_and_is_gone_on_with(folder: Path) -> None:
    """So many canaries are well by then that the rest would be odd at most."""
    with stand_in(SimulatorOptions(SMALL, day=1)) as simulator:
        job = Night(folder, simulator.url)
        job.run(job.sellers(IDS[:80]), "--qps=200")
    first = Night(folder, "").seller_rows()
    spent = served(folder, "page-ignored", code=10)["credits"]["spent_for_date"]
    cut = served(folder, None, f"--budget={spent + 20}", code=10)
    assert cut["plausibility"]["verdict"] == "implausible"
    assert Night(folder, "").seller_rows() == first
    report = served(folder, None)
    assert report["published"]
    assert is_true(folder)
