"""State that was lost, damaged or changed between runs: nothing is paid twice in silence, no row goes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest
from conftest import DATE, SMALL, Night

from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.ledger import Ledger
from crawler.store.retention import prune

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]


def begun(night: Begin, count: int = 12) -> tuple[Night, Simulator, list[str], Path]:
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(count)
    return job, simulator, ids, job.sellers(ids)


def journals(job: Night, pattern: str) -> list[Path]:
    return sorted((job.data / "state" / "journal").glob(pattern))


@pytest.mark.parametrize("budget", [1, 10])
def test_a_small_budget_is_spent_though_another_run_came_before(night: Begin, budget: int) -> None:
    job, simulator, _, source = begun(night, 40)
    job.run(source, "--crawl-date", "2026-11-20", "--budget", "1", code=3)
    sent = simulator.stats.requests
    report = job.run(source, "--budget", str(budget), "--qps", "20", code=3)
    assert report["credits"]["spent_for_date"] == simulator.stats.requests - sent == budget


@pytest.mark.parametrize("harm", ["gone", "truncated", "rubbish", "one bit"])
def test_pages_of_a_damaged_segment_are_asked_for_again(night: Begin, harm: str) -> None:
    job, simulator, ids, source = begun(night)
    job.run(source, "--budget", "20", code=3)
    known = Counter(simulator.stats.pages)
    (segment,) = journals(job, "*.segments/*.arrow")
    if harm == "gone":
        segment.unlink()
    else:
        whole = segment.read_bytes()
        place = len(whole) // 2
        flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        harmed = {"truncated": whole[:100], "rubbish": b"rubbish" * 100, "one bit": flipped}
        segment.write_bytes(harmed[harm])
    report = job.run(source)
    again = sum((simulator.stats.pages - known).values()) - (len(simulator.stats.pages) - len(known))
    if harm == "one bit":
        assert again == 0
        assert any("damaged files of rows were written again" in note for note in report["notes"])
    else:
        assert 0 < again <= 20
        assert any(f"{again} stored pages were damaged or lost" in note for note in report["notes"])
    assert report["is_warning"]
    assert report["credits"]["spent_for_date"] == simulator.stats.requests
    assert_true(job, simulator, ids)


def assert_true(job: Night, simulator: Simulator, ids: list[str]) -> None:
    """What is published is what the stand-in has."""
    found = {(row["seller_id"], row["video_id"]): row["total_views_cnt"] for row in job.videos()}
    assert found == {
        (seller, video["video_id"]): video["total_views_cnt"]
        for seller in ids
        for video in simulator.catalogue.videos(seller)
    }


@pytest.mark.parametrize("user_version", [1, 99])
def test_a_journal_of_another_format_is_refused_with_the_way_out(night: Begin, user_version: int) -> None:
    job, simulator, ids, source = begun(night)
    job.run(source, "--budget", "20", code=3)
    (journal,) = journals(job, "*.sqlite")
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("DELETE FROM meta WHERE name = 'published_mark'")
        connection.commit()
        connection.execute(f"PRAGMA user_version = {user_version}")
    sent = simulator.stats.requests
    assert "format" in job.run(source, code=2)["stderr"]
    assert simulator.stats.requests == sent
    report = job.run(source, "--fresh")
    assert report["sellers"]["complete"] == len(ids)
    assert any("not published" in note for note in report["notes"])


@pytest.mark.parametrize("harm", ["gone", "empty"])
def test_a_lost_journal_is_not_paid_for_again_in_silence(night: Begin, harm: str) -> None:
    job, simulator, _, source = begun(night)
    job.run(source, "--budget", "20", code=3)
    (journal,) = journals(job, "*.sqlite")
    journal.unlink() if harm == "gone" else journal.write_bytes(b"")
    sent = simulator.stats.requests
    assert "--fresh" in job.run(source, code=2)["stderr"]
    assert simulator.stats.requests == sent
    assert journals(job, "*.segments/*.arrow")
    job.run(source, "--fresh")


def test_a_lost_ledger_does_not_lift_the_budget(night: Begin) -> None:
    job, simulator, _, source = begun(night)
    job.run(source, "--budget", "20", code=3)
    for path in (job.data / "state").glob("ledger.sqlite*"):
        path.unlink()
    report = job.run(source, "--budget", "30", code=3)
    assert simulator.stats.requests == report["credits"]["spent_for_date"] == 30


def test_a_lost_ledger_learns_what_other_dates_cost(night: Begin) -> None:
    job, simulator, _, source = begun(night)
    job.run(source, "--crawl-date", "2026-11-20", "--budget", "7", code=3)
    for path in (job.data / "state").glob("ledger.sqlite*"):
        path.unlink()
    report = job.run(source, "--budget", "5", code=3)
    assert any("7 credits that the journals of other crawl dates know" in note for note in report["notes"])
    with Ledger(job.data) as ledger:
        assert ledger.spent_for(date(2026, 11, 20)) == 7
        assert ledger.spent_since(date(2020, 1, 1)) == simulator.stats.requests == 12


@pytest.mark.parametrize("name", ["ledger.sqlite", f"journal/{DATE}.1.sqlite"])
def test_a_damaged_database_is_named_without_a_traceback(night: Begin, name: str) -> None:
    job, simulator, _, source = begun(night)
    job.run(source, "--budget", "20", code=3)
    path = job.data / "state" / name
    path.write_bytes(path.read_bytes()[:5000] + b"rubbish" * 3000)
    sent = simulator.stats.requests
    assert "restore it" in job.run(source, code=8)["stderr"]
    assert simulator.stats.requests == sent


@pytest.mark.parametrize(
    "stream", ["<&- >&- 2>&-", *(pytest.param(one, marks=pytest.mark.long) for one in (">&-", "2>&-"))]
)
def test_closed_streams_stop_nothing(night: Begin, stream: str) -> None:
    job, _, ids, source = begun(night)
    command = f"{sys.executable} -m crawler run {source} --crawl-date {DATE} --json {stream}"
    assert subprocess.run(command, shell=True, env=job.environ(), cwd=job.folder, check=False).returncode == 0
    assert len(job.seller_rows()) == len(ids)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no second file system here")
def test_a_dataset_on_another_file_system_is_refused_before_anything_is_sent(night: Begin) -> None:
    job, simulator, _, source = begun(night)
    other = Path("/dev/shm") / job.folder.name
    other.mkdir()
    job.data.mkdir()
    (job.data / "sellers").symlink_to(other)
    try:
        if other.stat().st_dev == job.data.stat().st_dev:
            pytest.skip("there is no second file system here")
        assert "another file system" in job.run(source, code=8)["stderr"]
    finally:
        shutil.rmtree(other)
    assert simulator.stats.requests == 0


@pytest.mark.parametrize("fresh", [True, False])
def test_a_shorter_list_does_not_take_the_place_of_the_previous_snapshot(night: Begin, fresh: bool) -> None:
    job, _, ids, source = begun(night)
    job.run(source)
    rows = job.ids()
    if fresh:
        job.run(source, "--fresh", "--budget", "60", code=3)
    else:
        shutil.rmtree(job.data / "state")
    report = job.run(job.sellers(ids[:3]))
    assert job.ids() == rows
    assert any("previous snapshot stays published" in note for note in report["notes"])
    job.run(job.sellers(ids))
    assert job.ids() == rows


def test_stop_empty_after_stop_short_asks_again_only_for_the_next_page(night: Begin) -> None:
    job, simulator, ids, source = begun(night)
    job.run(source)
    sent = simulator.stats.requests
    report = job.run(source, "--stop", "empty")
    short = sum(simulator.catalogue.size(seller) % 10 > 0 for seller in ids)
    assert simulator.stats.requests - sent == short == report["stops"]["empty_page"] - (len(ids) - short)


def test_a_deleted_snapshot_is_built_again_for_nothing(night: Begin) -> None:
    job, simulator, _, source = begun(night)
    job.run(source)
    rows, sent = job.ids(), simulator.stats.requests
    for kind in ("videos", "sellers"):
        shutil.rmtree(job.data / kind / f"crawl_date={DATE}")
        job.run(source)
        assert job.ids() == rows
        assert job.seller_rows()
    assert simulator.stats.requests == sent


def test_a_list_of_the_same_length_is_another_list(night: Begin) -> None:
    job, simulator, ids, source = begun(night)
    job.run(source)
    (other,) = set(simulator.catalogue.seller_ids(13)) - set(ids)
    spent = str(simulator.stats.requests)
    job.run(job.sellers([*ids[1:], other]), "--budget", spent, code=3)
    assert job.seller_rows()[other]["status"] == "pending"


def test_sellers_that_stop_for_another_reason_are_reported_anew(night: Begin) -> None:
    """A run that only ends sellers for another reason says so in the report and in sellers/."""
    job, _, _, source = begun(night)
    job.run(source, "--top", "5")
    report = job.run(source, "--max-pages", "1")
    assert report["requests"]["sent"] == 0
    reasons = [row["stop_reason"] for row in job.seller_rows().values()]
    assert report["stops"]["max_pages"] == reasons.count("max_pages") > 0
    assert "top" not in report["stops"] | dict.fromkeys(reasons)


def test_sellers_that_left_the_list_keep_how_they_ended(night: Begin) -> None:
    job, _, ids, source = begun(night)
    job.run(source, "--max-pages", "1")
    before = job.seller_rows()
    report = job.run(job.sellers(ids[:6]))
    after = job.seller_rows()
    assert all(after[seller] == before[seller] for seller in ids[6:])
    assert report["sellers"]["complete"] == 6


def test_the_latest_run_is_the_one_that_began_last_whatever_the_clock_said(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        for run_id, began, code in (("a", "2026-11-25", 0), ("b", "2026-11-23", 3)):
            ledger.begin(run_id, date.fromisoformat(DATE), f"{began}T00:00:00.000Z")
            ledger.finish(run_id, f"{began}T00:00:01.000Z", code)
        (day,) = ledger.dates()
        assert (str(day.crawl_date), day.latest.run_id, day.leaves_work) == (DATE, "b", True)


def test_pruning_leaves_no_journal_without_its_segments(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "journal"
    for name in ("2026-01-01.1", "2026-01-02.1"):
        (folder / f"{name}.segments").mkdir(parents=True)
        (folder / f"{name}.sqlite").touch()
        os.utime(folder / f"{name}.sqlite", (0, 0))
    (folder / "2026-01-03.1.segments").mkdir()
    prune(tmp_path, 30, {"2026-01-02": ()})
    assert sorted(path.name for path in folder.iterdir()) == ["2026-01-02.1.segments", "2026-01-02.1.sqlite"]


def test_stale_staging_goes_before_room_is_looked_for(night: Begin) -> None:
    job, _, _, source = begun(night)
    stale = job.data / "state" / "staging" / "killed"
    stale.mkdir(parents=True)
    (stale / "half.parquet").write_bytes(b"x")
    free = shutil.disk_usage(job.folder).free >> 20
    job.environ = lambda: {**Night.environ(job), "CRAWLER_JOURNAL_RESERVE_MIB": str(free * 2)}  # type: ignore[method-assign]
    job.run(source, code=8)
    assert not stale.exists()


def test_resume_and_status_leave_nothing_where_nothing_was(night: Begin) -> None:
    job, *_ = begun(night)
    for words in (["run", "--resume"], ["status"]):
        assert job.call(*words).returncode == 2
    assert not job.data.exists()
