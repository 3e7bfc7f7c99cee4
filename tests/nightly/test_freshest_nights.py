"""Nights of `--strategy freshest`: a whole snapshot for a part of the price."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Night, stand_in

from crawler.history.gains import GainHistory
from crawler.models.api import Value
from crawler.models.stretches import STRETCH_PAGES
from crawler.simulator.catalogue import CatalogueOptions
from crawler.simulator.faults import parse_faults
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.layout import VIDEOS, Layout

CATALOGUE = CatalogueOptions(seed=7, largest=420, scale=25, exponent=0.9)
BEGIN = date(2026, 9, 1)
SELLERS = 12


class Nights:
    """Nights one after the other, each on the catalogue of its date."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.job = Night(folder, "")

    def day(self, number: int) -> str:
        return str(BEGIN + timedelta(number))

    @contextmanager
    def served(self, number: int, **options: Any) -> Iterator[tuple[Simulator, Path]]:
        options = {"catalogue": CATALOGUE, "day": BEGIN + timedelta(number), **options}
        with stand_in(SimulatorOptions(**options)) as simulator:
            self.job = Night(self.folder, simulator.url)
            yield simulator, self.job.sellers(simulator.catalogue.seller_ids(SELLERS))

    def run(self, number: int, *options: str, code: int = 0, sellers: int = SELLERS, **serving: Any) -> Any:
        with self.served(number, **serving) as (simulator, _):
            source = self.job.sellers(simulator.catalogue.seller_ids(sellers))
            words = ("--crawl-date", self.day(number), "--strategy", "freshest", *options)
            self.let_a_minute_pass()
            report = self.job.run(source, *words, code=code)
            return report | {"charged": simulator.stats.credits}

    def let_a_minute_pass(self) -> None:
        """Have the last run end a minute ago: one that follows at once waits a second."""
        lock = self.job.data / "state" / "lock"
        if lock.exists():
            noted = orjson.loads(lock.read_bytes())
            boot, seconds = noted["released"]
            lock.write_bytes(orjson.dumps(noted | {"released": [boot, seconds - 60]}))

    def rows(self, kind: str, number: int) -> list[dict[str, Any]]:
        (path,) = (self.job.data / kind / f"crawl_date={self.day(number)}").glob("*.parquet")
        return pq.ParquetFile(path).read().to_pylist()

    def videos(self, number: int) -> dict[tuple[str, str], dict[str, Any]]:
        rows = self.rows("videos", number)
        found = {(row["seller_id"], row["video_id"]): row for row in rows}
        assert len(found) == len(rows)
        return found

    def sellers(self, number: int) -> dict[str, dict[str, Any]]:
        return {row["seller_id"]: row for row in self.rows("sellers", number)}


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


def test_what_is_not_read_stands_as_it_was_last_seen(nights: Nights) -> None:
    whole = nights.run(0)
    assert whole["charged"] > 120
    before = nights.videos(0)
    report = nights.run(1, "--budget", "50")
    assert (report["charged"], report["exit_code"], report["certain_above"]) == (50, 0, None)
    after, sellers = nights.videos(1), nights.sellers(1)
    carried = {key: row for key, row in after.items() if row["carried_from"] is not None}
    assert {str(row["carried_from"]) for row in carried.values()} == {nights.day(0)}
    # no video is lost but those that a whole reading did not find
    read = {seller_id for seller_id, row in sellers.items() if row["stretches"] is None}
    assert read
    assert {key for key in before.keys() - after.keys() if key[0] not in read} == set()
    for key, row in carried.items():
        assert row | {"carried_from": None, "snapshot_date": None} == before[key] | {"snapshot_date": None}
    for seller_id, row in sellers.items():
        own = [video for key, video in after.items() if key[0] == seller_id]
        assert row["videos"] == len(own)
        assert row["carried"] == sum(video["carried_from"] is not None for video in own)
        assert row["status"] == "complete"
        assert (row["age"] is None) == (seller_id in read)


@pytest.mark.long
def test_ages_stay_within_the_limit_and_every_night_costs_its_budget(nights: Nights) -> None:
    budget = nights.run(0)["charged"] // 3
    for number in range(1, 7):
        report = nights.run(number, "--budget", str(budget), "--max-age", "4")
        assert budget * 0.85 <= report["charged"] <= budget
        day, videos = BEGIN + timedelta(number), nights.videos(number).values()
        assert max((day - (row["carried_from"] or day)).days for row in videos) <= 4
        assert max(row["age"] or 0 for row in nights.sellers(number).values()) <= 4


def test_without_a_budget_it_is_the_night_of_depth_first(nights: Nights) -> None:
    nights.run(0)
    nights.run(1)
    found = nights.videos(1)
    other = Nights(nights.folder / "other")
    other.folder.mkdir()
    with other.served(1) as (_, source):
        other.job.run(source, "--crawl-date", other.day(1))
    own = dict.fromkeys(("run_id", "request_id", "crawled_at"))
    expected = other.videos(1)
    assert {key: row | own for key, row in found.items()} == {k: row | own for k, row in expected.items()}


def test_a_deep_seller_is_read_in_stretches(nights: Nights) -> None:
    nights.run(0)
    deep = {s for s, row in nights.sellers(0).items() if row["pages"] > STRETCH_PAGES}
    assert deep
    read_in_part = 0
    for number in range(1, 4):
        nights.run(number, "--budget", "40", "--max-age", "6")
        videos, sellers = nights.videos(number), nights.sellers(number)
        for seller_id in deep:
            row, own = sellers[seller_id], [v for key, v in videos.items() if key[0] == seller_id]
            if row["stretches"] is None or not row["pages"]:
                continue
            read_in_part += 1
            pages = {video["page_num"] for video in own if video["carried_from"] is None}
            stretches = {(page - 1) // STRETCH_PAGES for page in pages}
            days = orjson.loads(row["stretches"])
            assert {n for n, day in enumerate(days) if day == nights.day(number)} <= stretches
            assert len(pages) >= row["pages"] - 1
            for video in own:
                assert (video["position"] - 1) // 10 + 1 == video["page_num"]
            assert row["views_gain"] is not None
    assert read_in_part


def test_a_killed_night_goes_on_without_paying_twice(nights: Nights) -> None:
    nights.run(0)
    before = nights.videos(0)
    with nights.served(1, latency=0.01) as (simulator, source):
        words = ("--crawl-date", nights.day(1), "--strategy", "freshest", "--budget", "70", "--workers", "4")
        for _ in range(3):
            asked, process = simulator.stats.requests, nights.job.start(source, *words, "--qps", "300")
            while simulator.stats.requests < asked + 12 and process.poll() is None:
                time.sleep(0.01)
            process.kill()
            process.communicate()
        report = nights.job.run(source, *words)
        assert simulator.stats.requests <= 70
        assert report["credits"]["spent_for_date"] >= simulator.stats.requests
        twice = sum(count - 1 for count in simulator.stats.pages.values())
        assert twice <= 3 * 4
    read = {seller_id for seller_id, row in nights.sellers(1).items() if row["stretches"] is None}
    assert {key for key in before.keys() - nights.videos(1).keys() if key[0] not in read} == set()


def test_a_budget_without_any_page_is_no_success(nights: Nights) -> None:
    nights.run(0, "--budget", "0", code=3)
    assert not Layout(nights.job.data).snapshot(VIDEOS, BEGIN).exists()


def test_a_failure_that_no_credit_is_left_for_is_no_spent_budget(nights: Nights) -> None:
    """The next run forgets a 404, to ask again: with nothing overdue the night is as good without it."""
    nights.run(0, sellers=1)
    before = nights.videos(0)
    failed = nights.run(1, "--budget", "1", code=4, sellers=1, faults=parse_faults("status=404@1"))
    assert (failed["charged"], failed["sellers"]["failed"]) == (1, 1)
    for _ in range(2):
        report = nights.run(1, "--budget", "1", sellers=1)
        assert (report["requests"]["sent"], report["published"]) == (0, True)
        assert nights.videos(1).keys() == before.keys()
        assert [row["status"] for row in nights.sellers(1).values()] == ["complete"]


def test_a_folder_that_lost_its_state_keeps_every_row(nights: Nights) -> None:
    nights.run(0)
    before = nights.videos(0)
    shutil.rmtree(Layout(nights.job.data).state)
    report = nights.run(1, "--budget", "50")
    assert any("no digests" in note for note in report["notes"])
    read = {seller_id for seller_id, row in nights.sellers(1).items() if row["stretches"] is None}
    assert {key for key in before.keys() - nights.videos(1).keys() if key[0] not in read} == set()
    assert read != nights.sellers(0).keys()
    # Of what cannot be read no row can be had.
    (path,) = Layout(nights.job.data).snapshot(VIDEOS, BEGIN + timedelta(1)).glob("*.parquet")
    shutil.rmtree(Layout(nights.job.data).state)
    os.truncate(path, path.stat().st_size // 2)
    nights.run(2, "--budget", "50")
    read |= {seller_id for seller_id, row in nights.sellers(2).items() if row["stretches"] is None}
    assert {key for key in before.keys() - nights.videos(2).keys() if key[0] not in read} == set()


def test_a_damaged_snapshot_costs_no_row_that_an_older_one_has(nights: Nights) -> None:
    nights.run(0)
    before = nights.videos(0)
    nights.run(1, "--budget", "50")
    read = {seller_id for seller_id, row in nights.sellers(1).items() if row["stretches"] is None}
    (path,) = Layout(nights.job.data).snapshot(VIDEOS, BEGIN + timedelta(1)).glob("*.parquet")
    os.truncate(path, path.stat().st_size // 2)
    report = nights.run(2, "--budget", "50")
    assert any("damaged" in note for note in report["notes"])
    read |= {seller_id for seller_id, row in nights.sellers(2).items() if row["stretches"] is None}
    assert read != nights.sellers(0).keys()
    assert {key for key in before.keys() - nights.videos(2).keys() if key[0] not in read} == set()


def test_a_seller_that_another_strategy_cut_off_keeps_its_rows(nights: Nights) -> None:
    """That night has only the rows that it read: the night before has all."""
    nights.run(0)
    before = nights.videos(0)
    with nights.served(1) as (_, source):
        words = ("--crawl-date", nights.day(1), "--strategy", "breadth-first", "--budget", "30")
        nights.job.run(source, *words, code=3)
    assert len(nights.videos(1)) < len(before) / 2
    nights.run(2, "--budget", "50")
    read = {seller_id for seller_id, row in nights.sellers(2).items() if row["stretches"] is None}
    read |= {seller_id for seller_id, row in nights.sellers(1).items() if row["status"] == "complete"}
    assert read != nights.sellers(0).keys()
    assert {key for key in before.keys() - nights.videos(2).keys() if key[0] not in read} == set()


def test_a_seller_that_fails_keeps_its_rows(nights: Nights) -> None:
    nights.run(0)
    before = nights.videos(0)
    report = nights.run(1, "--budget", "60", code=4, faults=parse_faults("status=400@4"))
    (failed,) = (row for row in nights.sellers(1).values() if row["status"] == "failed")
    assert [failure["seller"] for failure in report["failures"]] == [failed["seller_id"]]
    assert (failed["kept_status"], failed["stop_reason"]) == ("complete", "error")
    kept = {key for key in nights.videos(1) if key[0] == failed["seller_id"]}
    assert kept >= {key for key in before if key[0] == failed["seller_id"]}
    assert failed["videos"] == len(kept)


def test_a_budget_that_cannot_bear_the_duties_says_which_would(nights: Nights) -> None:
    whole = nights.run(0)["charged"]
    for number in (1, 2):
        nights.run(number, "--budget", "12", "--max-age", "30")
    before = nights.videos(2)
    report = nights.run(3, "--budget", "12", "--max-age", "2", code=3)
    assert report["freshness"]["stale"] > 0
    assert report["freshness"]["oldest_days"] == 3
    (note,) = [note for note in report["notes"] if "overdue" in note]
    assert any(str(budget) in note for budget in range(whole // 2, whole + 1))
    after = nights.videos(3)
    read = {seller_id for seller_id, row in nights.sellers(3).items() if row["stretches"] is None}
    assert {key for key in before.keys() - after.keys() if key[0] not in read} == set()


@pytest.mark.long
def test_another_run_of_the_date_is_judged_by_its_own_max_age(nights: Nights) -> None:
    """Though nothing is read, and nothing of the date has changed."""
    nights.run(0)
    for number in (1, 2, 3):
        nights.run(number, "--budget", "12", "--max-age", "30")
    for max_age, code in (("30", 0), ("2", 3), ("2", 3), ("30", 0)):
        report = nights.run(3, "--budget", "12", "--max-age", max_age, code=code)
        assert report["requests"]["sent"] == 0
        assert (report["freshness"]["stale"] > 0) == (code == 3)


def test_a_new_list_is_read_seller_by_seller(nights: Nights) -> None:
    """As many as the budget bears are read to their end, and no more are begun than must be."""
    complete: set[str] = set()
    for number in range(3):
        assert nights.run(number, "--budget", "45")["charged"] == 45
        sellers = nights.sellers(number)
        cut_off = [row for row in sellers.values() if row["status"] == "partial" and not row["carried"]]
        assert sum(row["pages"] % STRETCH_PAGES > 0 for row in cut_off) <= 1
        now = {seller_id for seller_id, row in sellers.items() if row["status"] == "complete"}
        assert now >= complete
        complete = now
    assert len(complete) > 4


@pytest.mark.long
def test_a_new_seller_is_read_and_one_that_left_the_list_is_gone(nights: Nights) -> None:
    nights.run(0, sellers=8)
    nights.run(1, "--budget", "60", sellers=12)
    sellers = nights.sellers(1)
    new = sellers.keys() - nights.sellers(0).keys()
    assert len(new) == 4
    assert any(sellers[seller_id]["videos"] for seller_id in new)
    nights.run(2, "--budget", "60", sellers=6)
    assert len(nights.sellers(2)) == 6
    assert {key[0] for key in nights.videos(2)} <= nights.sellers(2).keys()


@pytest.mark.long
def test_another_strategy_reads_the_rest_of_the_date(nights: Nights) -> None:
    nights.run(0)
    first = nights.run(1, "--budget", "50")
    with nights.served(1) as (simulator, source):
        nights.job.run(source, "--crawl-date", nights.day(1))
        assert not any(count > 1 for count in simulator.stats.pages.values())
        cost = simulator.stats.credits
    assert all(row["carried_from"] is None for row in nights.videos(1).values())
    assert first["charged"] + cost <= nights.run(0)["charged"] * 2 + 400


@pytest.mark.long
def test_rows_that_no_reading_shows_any_more_leave_after_the_longest_age(nights: Nights) -> None:
    budget = nights.run(0)["charged"] // 2
    deep = {s for s, row in nights.sellers(0).items() if row["pages"] > STRETCH_PAGES}
    for number in range(1, 9):
        nights.run(number, "--budget", str(budget), "--max-age", "3")
        day = BEGIN + timedelta(number)
        for key, row in nights.videos(number).items():
            assert row["carried_from"] is None or (day - row["carried_from"]).days <= 3, key
    assert deep


@pytest.mark.parametrize(
    "options",
    [("--top", "5"), ("--min-value", "3"), ("--carry-forward",), ("--fresh",), ("--max-pages", "3")],
)
def test_what_freshest_cannot_go_with_is_refused(nights: Nights, options: tuple[str, ...]) -> None:
    with nights.served(0) as (simulator, source):
        words = ("run", str(source), "--strategy", "freshest", *options)
        done = nights.job.call(*words)
        assert (done.returncode, simulator.stats.requests) == (2, 0)
        assert "freshest" in done.stderr


@pytest.mark.long
def test_a_date_that_freshest_began_is_not_crawled_anew(nights: Nights) -> None:
    nights.run(0)
    nights.run(1, "--budget", "30")
    with nights.served(1) as (simulator, source):
        done = nights.job.call("run", str(source), "--crawl-date", nights.day(1), "--fresh", "--late")
        assert (done.returncode, simulator.stats.requests) == (2, 0)
        assert "--strategy freshest" in done.stderr


@pytest.mark.parametrize("value", [Value.VIEWS, pytest.param(Value.ROWS, marks=pytest.mark.long)])
def test_what_each_reading_brought_is_learnt_from_what_is_published(nights: Nights, value: Value) -> None:
    """Of every seller that was read whole again, also in stretches, all its gains are found."""
    nights.run(0)
    for number in range(1, 4):
        nights.run(number, "--budget", "60", "--max-age", "6")
    ids = pa.array(sorted(nights.sellers(0)), pa.string())
    days = [BEGIN + timedelta(number) for number in range(4)]
    found = [*GainHistory(nights.job.data, value, ids).readings(days)]
    column = "published" if value is Value.ROWS else f"{value}_gain"
    for number, seller_id in enumerate(sorted(nights.sellers(0))):
        rows = [nights.sellers(night)[seller_id] for night in range(1, 4)]
        own = [reading for reading in found if reading.seller == number]
        read = [n for n, row in enumerate(rows, 1) if row["pages"]]
        if all(rows[night - 1]["stretches"] is None for night in read):
            assert sum(reading.gain for reading in own) == sum(rows[n - 1][column] for n in read)
            depth = 1 + max((reading.stretch for reading in own), default=0)
            assert [r.nights for r in own[::depth]] == [b - a for a, b in pairwise([0, *read])]
        else:
            assert sum(reading.gain for reading in own) <= sum(row[column] or 0 for row in rows)
    assert {reading.nights for reading in found} > {1}


def test_a_gain_found_by_a_reading_that_was_cut_off_counts_at_the_next(nights: Nights) -> None:
    nights.run(0)
    total = 0
    for number, budget in ((1, 3), (2, 3), (3, 1000)):
        nights.run(number, "--budget", str(budget), "--max-age", "60", sellers=1)
        total += next(iter(nights.sellers(number).values()))["views_gain"] or 0
    assert total
    ids = pa.array([*nights.sellers(3)], pa.string())
    days = [BEGIN + timedelta(number) for number in range(4)]
    found = GainHistory(nights.job.data, Value.VIEWS, ids).readings(days)
    assert sum(reading.gain for reading in found) == total


@pytest.mark.long
def test_how_many_rows_leave_is_said(nights: Nights) -> None:
    """Rows that the night before carried, and this one has no more though nothing of their sellers failed."""
    budget, left = nights.run(0)["charged"] // 2, 0
    for number in range(1, 9):
        report = nights.run(number, "--budget", str(budget), "--max-age", "3")
        said = [int(note.split()[0]) for note in report["notes"] if "were last seen" in note]
        before, now, sellers = nights.videos(number - 1), nights.videos(number), nights.sellers(number)
        lost = [key for key in before.keys() - now.keys() if sellers[key[0]]["stretches"] is not None]
        assert sum(said) >= len(lost)
        left += len(lost)
    assert left
