"""`crawler status --max-age`: what a monitor is told of the newest snapshot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from conftest import DATE, SMALL, Night
from hypothesis import given
from hypothesis import strategies as st

from crawler.commands.freshness import freshness_command
from crawler.models.duration import read_duration, shown_duration
from crawler.simulator.outages import read_outage
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.layout import SELLERS, Layout, parquet_file
from crawler.store.ledger import Ledger

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
DAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def published(data: Path, day: date, run_id: str) -> None:
    folder = Layout(data).snapshot(SELLERS, day)
    folder.mkdir(parents=True)
    parquet_file(folder, run_id).touch()


def ran(data: Path, run_id: str, day: date, began: str, ended: str | None, sent: int = 5) -> None:
    with Ledger(data) as ledger:
        ledger.begin(run_id, day, began)
        if sent:
            ledger.reserve(run_id, day, None, lambda _left: sent)
        if ended is not None:
            ledger.finish(run_id, ended, 0)


def age(data: Path, capsys: pytest.CaptureFixture[str], max_age: str = "26h") -> tuple[int, float | None]:
    length = read_duration(max_age)
    assert length is not None
    code = freshness_command(data, length, as_json=True, now=NOW)
    seconds = orjson.loads(capsys.readouterr().out)["age_seconds"]
    return code, None if seconds is None else seconds / 3600


def test_a_snapshot_is_as_old_as_its_crawl_s_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published(tmp_path, DAY, "A")
    ran(tmp_path, "A", DAY, "2026-11-23T02:00:00.000Z", "2026-11-23T04:00:00.000Z")
    assert age(tmp_path, capsys, "32h") == (0, 32.0)
    assert age(tmp_path, capsys, "31.9h") == (1, 32.0)


def test_a_snapshot_of_a_day_to_come_is_not_fresh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A clock that jumped ahead while a night ran must not keep a monitor quiet until that day."""
    published(tmp_path, DAY, "A")
    ran(tmp_path, "A", DAY, "2026-11-23T02:00:00.000Z", "2026-12-24T12:00:00.000Z")
    assert age(tmp_path, capsys) == (1, -720.0)
    assert age(tmp_path, capsys, "31d") == (0, -720.0)
    assert freshness_command(tmp_path, timedelta(hours=26), as_json=False, now=NOW) == 1
    assert "by this clock 30d from now: one of the two was wrong" in capsys.readouterr().out


def test_the_newest_crawl_date_counts_whatever_ran_after_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a later run of an older date, nor a later run of it that published nothing."""
    published(tmp_path, DAY, "A")
    published(tmp_path, DAY - timedelta(days=1), "B")
    ran(tmp_path, "A", DAY, "2026-11-23T02:00:00.000Z", "2026-11-23T04:00:00.000Z")
    ran(tmp_path, "B", DAY - timedelta(days=1), "2026-11-24T02:00:00.000Z", "2026-11-24T04:00:00.000Z")
    ran(tmp_path, "C", DAY, "2026-11-24T03:00:00.000Z", "2026-11-24T04:00:00.000Z")
    assert age(tmp_path, capsys) == (1, 32.0)


@pytest.mark.parametrize("publisher", ["R-accept", "R-close", "R"])
def test_publishing_again_makes_nothing_newer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], publisher: str
) -> None:
    published(tmp_path, DAY, publisher)
    ran(tmp_path, "A", DAY, "2026-11-23T02:00:00.000Z", "2026-11-23T04:00:00.000Z")
    ran(tmp_path, publisher, DAY, "2026-11-24T10:00:00.000Z", "2026-11-24T10:01:00.000Z", sent=0)
    assert age(tmp_path, capsys) == (1, 32.0)


def test_without_a_ledger_the_run_s_id_says_when(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published(tmp_path, DAY, "20261124T020000Z-0123abcd")
    assert age(tmp_path, capsys) == (0, 10.0)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "ledger.sqlite").write_bytes(b"no database at all" * 100)
    assert age(tmp_path, capsys) == (0, 10.0)


def test_nothing_published_is_too_old(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert age(tmp_path / "none", capsys) == (1, None)
    Layout(tmp_path).snapshot(SELLERS, DAY).mkdir(parents=True)
    assert age(tmp_path, capsys) == (1, None)


def test_a_monitor_s_morning(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    first = job.call("status", "--max-age", "26h")
    assert (first.returncode, first.stdout) == (1, f"too old: no snapshot is published under {job.data}\n")
    source = job.sellers(simulator.catalogue.seller_ids(3))
    job.run(source)
    fresh, old = job.call("status", "--max-age", "26h"), job.call("status", "--max-age", "1ms")
    assert (fresh.returncode, old.returncode) == (0, 1)
    assert fresh.stdout.startswith(f"fresh: crawl date {DATE}, crawled until 2")
    assert old.stdout.endswith(" ago, older than 0s\n")
    assert fresh.stdout.count("\n") == old.stdout.count("\n") == 1


def test_a_night_that_is_held_back_is_not_the_newest(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, outage=read_outage("empty")))
    job.run(job.sellers(simulator.catalogue.seller_ids(20)), code=10)
    held = job.call("status", "--max-age", "1d")
    assert (held.returncode, held.stdout.partition(":")[0]) == (1, "too old")


@pytest.mark.parametrize("text", ["26", "h", "-1h", "26 hours", "1e3h", "nan", "9" * 400 + "d", ""])
def test_what_is_no_length_of_time_is_refused(night: Begin, text: str) -> None:
    job, _ = night(SimulatorOptions(SMALL))
    refused = job.call("status", "--max-age", text)
    assert refused.returncode == 2
    assert "such as 26h" in refused.stderr


@pytest.mark.parametrize(
    ("text", "length", "shown"),
    [
        ("500ms", timedelta(milliseconds=500), "0s"),
        ("90s", timedelta(seconds=90), "1.5m"),
        ("90m", timedelta(minutes=90), "1.5h"),
        ("26h", timedelta(hours=26), "26h"),
        ("1.5d", timedelta(hours=36), "36h"),
        ("3 d", timedelta(days=3), "3d"),
    ],
)
def test_lengths_of_time(text: str, length: timedelta, shown: str) -> None:
    assert read_duration(text) == length
    assert shown_duration(length) == shown


@given(st.text())
def test_any_text_is_a_length_of_time_or_none(text: str) -> None:
    assert (read_duration(text) or timedelta()) >= timedelta()


def test_it_is_quick(night: Begin) -> None:
    """Nothing heavy is imported for one line."""
    job, _ = night(SimulatorOptions(SMALL))
    words = [sys.executable, "-X", "importtime", "-m", "crawler", "status", "--max-age", "1h"]
    ended = subprocess.run(
        words, env={**os.environ, **job.environ()}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    for heavy in ("pyarrow", "aiohttp", "rich", "asyncio"):
        assert f"| {heavy}\n" not in ended.stderr.replace("  ", " ")
