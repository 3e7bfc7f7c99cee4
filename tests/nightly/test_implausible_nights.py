"""Nights of nonsense after good ones: none is published without a word, and the good ones stay."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import Night, as_printed, stand_in

from crawler.simulator.catalogue import CatalogueOptions
from crawler.simulator.outages import OUTAGES
from crawler.simulator.server import SimulatorOptions
from crawler.store.layout import Layout

CATALOGUE = CatalogueOptions(seed=7, largest=60)
FIRST, SECOND, THIRD, FOURTH = (date(2026, 11, day) for day in (21, 22, 23, 24))


def served(
    folder: Path, day: date, outage: str | None, sellers: int, *options: str, code: int
) -> dict[str, Any]:
    """One night's report."""
    with stand_in(SimulatorOptions(CATALOGUE, day=day, outage=outage)) as simulator:
        job = Night(folder, simulator.url)
        source = job.sellers(simulator.catalogue.seller_ids(sellers))
        return job.run(source, "--crawl-date", day.isoformat(), *options, code=code)


@pytest.fixture(scope="module")
def good_nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with two good nights of 80 sellers."""
    folder = tmp_path_factory.mktemp("good")
    for day in (FIRST, SECOND):
        good = served(folder, day, None, 80, code=0)
        assert good["plausibility"] == {"verdict": "plausible", "reasons": []}, good
    return folder


@pytest.mark.parametrize("outage", sorted(OUTAGES.keys() - {"stale"}))
def test_nonsense_after_good_nights(good_nights: Path, tmp_path: Path, outage: str) -> None:
    shutil.copytree(good_nights / "data", tmp_path / "data")
    report = served(tmp_path, THIRD, outage, 80, code=10)
    assert report["plausibility"]["verdict"] == "implausible"
    assert not (tmp_path / f"data/videos/crawl_date={THIRD}").exists()


def test_the_next_night_reminds_of_one_that_is_held_back_with_the_command_that_publishes_it(
    tmp_path: Path,
) -> None:
    for outage, day, code in ((None, FIRST, 0), ("zeros", SECOND, 10)):
        served(tmp_path, day, outage, 20, code=code)
    report = served(tmp_path, THIRD, None, 20, code=0)
    (note,) = (note for note in report["notes"] if f"{SECOND} is unfinished" in note)
    assert f"; publish it as it is by: crawler publish --crawl-date {SECOND} --accept " in note.replace(
        " ".join(as_printed()), "crawler"
    )
    done = Night(tmp_path, "").call("publish", "--crawl-date", str(SECOND), "--accept")
    assert done.returncode == 0, done.stderr
    assert f"an earlier night was published after {THIRD}; " in done.stderr


def test_all_empty_on_a_first_night(tmp_path: Path) -> None:
    report = served(tmp_path, FIRST, "empty", 30, code=10)
    assert report["plausibility"]["reasons"][0].startswith("30 of 30 sellers that were read have no videos")
    assert not snapshot(tmp_path, FIRST)


@pytest.mark.long
def test_a_fresh_crawl_in_an_outage_keeps_the_good_snapshot(
    tmp_path: Path,
) -> None:
    served(tmp_path, FIRST, None, 40, code=0)
    good = snapshot(tmp_path, FIRST)
    report = served(tmp_path, FIRST, "zeros", 40, "--fresh", code=10)
    assert not report["published"]
    assert any(note.startswith("the night is implausible; ") for note in report["notes"])
    assert snapshot(tmp_path, FIRST) == good
    again = served(tmp_path, FIRST, None, 40, code=0)
    assert again["requests"]["sent"] > 40
    assert snapshot(tmp_path, FIRST) != good
    assert served(tmp_path, FIRST, None, 40, code=0)["requests"]["sent"] == 0


def test_a_good_snapshot_stays_published_until_all_that_was_implausible_is_asked_again(
    tmp_path: Path,
) -> None:
    served(tmp_path, FIRST, None, 40, code=0)
    good = snapshot(tmp_path, FIRST)
    served(tmp_path, FIRST, "zeros", 40, "--fresh", code=10)
    spent = served(tmp_path, FIRST, None, 40, "--budget", "1", code=10)["credits"]["spent_for_date"]
    assert snapshot(tmp_path, FIRST) == good
    served(tmp_path, FIRST, None, 40, "--budget", str(spent + 100), code=3)
    assert snapshot(tmp_path, FIRST) == good
    served(tmp_path, FIRST, None, 40, code=0)
    assert snapshot(tmp_path, FIRST) != good


def test_a_held_first_night_without_credits_left_publishes_nothing(tmp_path: Path) -> None:
    served(tmp_path, FIRST, "empty", 30, code=10)
    served(tmp_path, FIRST, None, 30, "--budget", "1", code=10)
    assert not snapshot(tmp_path, FIRST)


def test_a_held_night_is_published_once_it_is_accepted(tmp_path: Path) -> None:
    for day in (FIRST, SECOND):
        served(tmp_path, day, None, 40, code=0)
    served(tmp_path, THIRD, "half-empty", 40, code=10)
    job = Night(tmp_path, "http://127.0.0.1:1")
    (line,) = orjson.loads(job.call("status", "--json").stdout)["dates"]
    assert (line["crawl_date"], line["state"]) == (THIRD.isoformat(), "held")
    printed = job.call("status").stdout
    assert f"{THIRD} held (implausible, held back: " in printed
    assert "publish it as it is by: " in printed
    refused = job.call("publish", "--crawl-date", THIRD.isoformat())
    assert (refused.returncode, snapshot(tmp_path, THIRD)) == (2, [])
    words = shlex.split(line["accept"])
    index = Layout(job.data).index
    index.write_text("nights as they were")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(words, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"crawl date {THIRD} is published as it is" in done.stdout
    assert snapshot(tmp_path, THIRD)
    assert job.call("publish", "--crawl-date", THIRD.isoformat(), "--accept").returncode == 2
    (night, *_), printed = (
        orjson.loads(job.call("status", "--json").stdout)["nights"],
        job.call("status").stdout,
    )
    assert (night["crawl_date"], night["verdict"]) == (THIRD.isoformat(), "implausible, accepted")
    assert "implausible, accepted" in index.read_text()
    assert "unfinished: nothing" in printed
    # An accepted night is believed: the next one like it is no fall.
    report = served(tmp_path, FOURTH, "half-empty", 40, code=0)
    assert report["plausibility"]["verdict"] != "implausible"


def test_closing_a_held_date_publishes_nothing(tmp_path: Path) -> None:
    served(tmp_path, FIRST, "empty", 30, code=10)
    job = Night(tmp_path, "http://127.0.0.1:1")
    closed = job.call("close", FIRST.isoformat())
    assert closed.returncode == 0
    assert "is implausible and is not published" in closed.stderr
    assert not snapshot(tmp_path, FIRST)


@pytest.mark.long
def test_the_newest_good_snapshot_is_the_history_of_the_next_night(tmp_path: Path) -> None:
    served(tmp_path, FIRST, None, 40, code=0)
    job = Night(tmp_path, "http://127.0.0.1:1")
    source = str(tmp_path / "sellers.csv")
    before = orjson.loads(job.call("plan", source, "--crawl-date", THIRD.isoformat(), "--json").stdout)
    served(tmp_path, SECOND, "zeros", 40, code=10)
    after = orjson.loads(job.call("plan", source, "--crawl-date", THIRD.isoformat(), "--json").stdout)
    assert after["credits"] == before["credits"]


def snapshot(folder: Path, day: date) -> list[str]:
    """The published files of a date."""
    kinds = ("videos", "sellers", "changes")
    paths = (p for kind in kinds for p in (folder / "data" / kind / f"crawl_date={day}").rglob("*.parquet"))
    return sorted(str(path) for path in paths)
