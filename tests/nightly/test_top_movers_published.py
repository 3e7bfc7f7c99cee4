"""`--top-movers` on real nights: what is proved is true by the stand-in's own catalogue."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import DATE, SMALL, Night, stand_in

from crawler.nightly.most_moved import top_movers_of
from crawler.nightly.night import Notes
from crawler.options import RunSettings, Settings
from crawler.simulator.catalogue import Catalogue
from crawler.simulator.server import SimulatorOptions
from crawler.store.layout import SELLERS, Layout, parquet_file

DAY = date.fromisoformat(DATE)
BEFORE = DAY - timedelta(days=1)
LIST = replace(SMALL, scale=20.0, still=0.4)
COUNT = 30
TOP = 10
Key = tuple[str, str]


def views_on(day: date) -> dict[Key, int]:
    catalogue = Catalogue(LIST, day)
    ids = catalogue.seller_ids(COUNT)
    return {(s, row["video_id"]): row["total_views_cnt"] for s in ids for row in catalogue.videos(s)}


@pytest.fixture(scope="module")
def gains() -> dict[Key, int]:
    """What each video gained in truth that was there on both days."""
    before, now = views_on(BEFORE), views_on(DAY)
    return {key: now[key] - before[key] for key in now.keys() & before.keys()}


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the night before; not to be changed."""
    folder = tmp_path_factory.mktemp("first")
    with stand_in(SimulatorOptions(LIST, day=BEFORE)) as simulator:
        job = Night(folder, simulator.url)
        job.run(job.sellers(simulator.catalogue.seller_ids(COUNT)), "--crawl-date", str(BEFORE))
    return folder


Tonight = Callable[..., tuple[Night, dict[str, Any]]]


@pytest.fixture
def tonight(first_night: Path, tmp_path: Path) -> Tonight:
    """Run the second night with some options; returns its report."""
    shutil.copytree(first_night, tmp_path, dirs_exist_ok=True)

    def run(*options: str, code: int = 0) -> tuple[Night, dict[str, Any]]:
        with stand_in(SimulatorOptions(LIST, day=DAY)) as simulator:
            job = Night(tmp_path, simulator.url)
            return job, job.run(tmp_path / "sellers.csv", "--top-movers", str(TOP), *options, code=code)

    return run


def proved_of(found: dict[str, Any], gains: dict[Key, int]) -> int:
    """How many are proved, all of which must be true."""
    assert found["doubts"] == []
    for row in found["rows"]:
        assert row["gain"] == gains[row["seller_id"], row["video_id"]] > 0
        if row["certainty"] == "proved":
            ahead = sum(gain > row["gain"] for gain in gains.values())
            assert ahead < row["worst_place"] <= found["top"]
    return sum(row["certainty"] == "proved" for row in found["rows"])


@pytest.mark.usefixtures("pages")
def test_of_a_whole_night_all_are_proved_and_every_form_says_the_same(
    tonight: Tonight, gains: dict[Key, int]
) -> None:
    job, report = tonight()
    found = report["top_movers"]
    assert (found["by"], found["top"]) == ("views", TOP)
    assert proved_of(found, gains) == TOP
    assert [row["worst_place"] for row in found["rows"]] == [*range(1, TOP + 1)]
    assert [row["gain"] for row in found["rows"]] == sorted(gains.values(), reverse=True)[:TOP]
    assert found["unread"] == {
        "unbounded_sellers": 0,
        "unbounded_videos": 0,
        "rivals": 0,
        "largest_gain": 0.0,
    }
    same = json.loads(job.call("changes", "--json", "--top-movers", str(TOP)).stdout)["top_movers"]
    assert same == found
    text = job.call("changes", "--top-movers", str(TOP)).stdout
    assert "10 of 10 are proved to be among the 10 that gained most" in text
    table = text.partition("Top movers: the 10 that gained most views")[2]
    assert table.count("│ proved ") == TOP
    head, *rows = csv.reader(job.call("changes", "--csv", "--top-movers", "3").stdout.splitlines())
    movers = [dict(zip(head, row, strict=True)) for row in rows if row[0] == "top_mover"]
    assert [(row["video_id"], row["certainty"]) for row in movers] == [
        (row["video_id"], "proved") for row in found["rows"][:3]
    ]
    assert "top_movers" not in json.loads(job.call("changes", "--json").stdout)
    page = (job.data / "runs" / report["run_id"] / "report.html").read_text()
    assert "<h2>Top movers</h2>" in page
    assert "10 of 10 are proved to be among the 10 that gained most" in page


@pytest.mark.parametrize(
    ("budget", "strategy", "proves"),
    [(40, "best-first", True), (60, "best-first", True), (12, "depth-first", False)],
)
def test_of_a_night_that_a_budget_cut_off_what_is_proved_is_true(
    tonight: Tonight, gains: dict[Key, int], budget: int, strategy: str, proves: bool
) -> None:
    job, report = tonight("--budget", str(budget), "--strategy", strategy, code=3)
    found = report["top_movers"]
    assert (proved_of(found, gains) > 0) == proves
    unread = found["unread"]
    assert unread["rivals"] > 0
    assert (unread["unbounded_sellers"] > 0) == (report["sellers"]["pending"] > 0) == (not proves)
    hidden = gains.keys() - {(row["seller_id"], row["video_id"]) for row in rows_of(job)}
    if proves:
        assert unread["largest_gain"] >= max(gains[key] for key in hidden)


def rows_of(job: Night) -> list[dict[str, Any]]:
    return [row for row in job.videos() if str(row["crawl_date"]) == DATE]


def test_carried_rows_are_bounded_by_the_page_that_was_read(tonight: Tonight, gains: dict[Key, int]) -> None:
    job, report = tonight("--carry-forward", "--audit", "0")
    assert report["carry_forward"]["carried"] > 2
    assert any(row["carried_from"] for row in rows_of(job))
    assert proved_of(report["top_movers"], gains) > 0
    unread = report["top_movers"]["unread"]
    assert unread["unbounded_sellers"] == 0
    assert unread["largest_gain"] > 0, "the tails of carried sellers may have gained"


def test_a_night_in_another_order_proves_no_more_than_it_read_whole(
    tonight: Tonight, gains: dict[Key, int]
) -> None:
    job, report = tonight("--max-pages", "1", "--order", "asc")
    found, unread = report["top_movers"], report["top_movers"]["unread"]
    proved_of(found, gains)
    assert unread["unbounded_sellers"] == report["stops"]["max_pages"] > 0
    by_sales = json.loads(job.call("changes", "--json", "--top-movers", "4", "--by", "sales").stdout)
    assert by_sales["top_movers"]["by"] == "sales"


def test_nothing_is_looked_for_unless_it_is_asked_for(first_night: Path) -> None:
    (report,) = first_night.glob("data/runs/*/report.json")
    assert json.loads(report.read_bytes())["top_movers"] == {}


def test_a_fault_of_the_list_costs_the_list_alone(tmp_path: Path) -> None:
    """Here a file is damaged as soon as the night is published."""
    damaged = parquet_file(Layout(tmp_path).snapshot(SELLERS, DAY), "run")
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"PAR1")
    settings = Settings(run=RunSettings(data=tmp_path, top_movers=3))
    notes = Notes()
    night = SimpleNamespace(run=settings.run, settings=settings, data=tmp_path, crawl_date=DAY)
    opened: Any = SimpleNamespace(night=night, notes=notes)
    published: Any = SimpleNamespace(is_published=True)
    assert top_movers_of(opened, published) == {}
    assert notes.texts[0].startswith("cannot find the top movers: ")
    published.is_published = False
    assert top_movers_of(opened, published) == {}
    assert len(notes.texts) == 1


OPTIONS = (
    (),
    ("--budget", "25", "--strategy", "best-first"),
    ("--budget", "60", "--strategy", "breadth-first"),
    ("--budget", "45"),
    ("--carry-forward",),
    ("--carry-forward", "--budget", "50", "--strategy", "best-first"),
    ("--max-pages", "2"),
    ("--min-value", "300"),
    ("--top", "60"),
    ("--sort", "sales"),
    ("--order", "asc"),
    ("--repair-drift",),
    ("--strategy", "freshest", "--budget", "40"),
    ("--strategy", "freshest", "--budget", "90"),
)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6))
def test_of_nights_of_any_kind_what_is_proved_is_true(tmp_path: Path, seed: int) -> None:
    """By what is published of the nights before and the catalogue of tonight; on some nights lists move."""
    rng = Random(seed)
    known: dict[Key, int] = {}
    last: dict[Key, int] = {}
    proved = 0
    for number in range(6):
        day = BEFORE + timedelta(days=number)
        drift, options = rng.choice((0, 0, 5)), rng.choice(OPTIONS)
        with stand_in(SimulatorOptions(LIST, day=day, drift=drift)) as simulator:
            job = Night(tmp_path, simulator.url)
            source = job.sellers(simulator.catalogue.seller_ids(COUNT))
            words = ["--crawl-date", str(day), "--qps", "1000", "--top-movers", str(TOP), *options]
            done = job.call("run", str(source), *words)
        assert done.returncode in (0, 3), done.stderr
        found = json.loads(job.call("changes", "--json", "--top-movers", str(TOP)).stdout)["top_movers"]
        now = views_on(day)
        rows = [
            row for row in job.videos() if str(row["crawl_date"]) == str(day) and row["carried_from"] is None
        ]
        fresh = {(row["seller_id"], row["video_id"]): row["total_views_cnt"] for row in rows}
        true = {key: now[key] - value for key, value in known.items() if key in now}
        true |= {key: value - last[key] for key, value in fresh.items() if key in last}
        proved += proved_of(found, true)
        (path,) = (job.data / "sellers" / f"crawl_date={day}").glob("*.parquet")
        whole = {
            row["seller_id"]
            for row in pq.ParquetFile(path).read().to_pylist()
            if row["status"] == "complete" and not (row["drift"] or row["carried"])
        }
        known = {key: value for key, value in known.items() if key[0] not in whole} | fresh
        last |= fresh
    assert proved
