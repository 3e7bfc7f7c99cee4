"""Nights that go by the nights before them, crawled by worker processes: all that one process publishes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from conftest import Night, stand_in
from evenings import STILL, ids_of, on
from process_tree import workers_of
from test_workers import PROCESSES

from crawler.simulator.server import Simulator, SimulatorOptions

IDS = ids_of(60)
DAYS = 3
CARRIED = ("--carry-forward", "--audit", "0.2")
REPAIRED = ("--repair-drift", "--lookahead", "off")
"""In this order of pages a list drifts by the same videos in each crawl."""
OF_A_RUN = {"crawled_at", "run_id", "first_crawled_at", "last_crawled_at", "since", "until", "days"}
"""Columns of when a page came, and by which run."""
OF_REQUESTS = {*OF_A_RUN, "request_id", "credits"}
"""What also depends on whether a page was asked for twice."""
COUNTS = ("sellers", "stops", "rows", "carry_forward", "drift", "certain_above", "changes", "freshness")


def night_of(folder: Path, day: int, *options: str, **more: Any) -> dict[str, Any]:
    """Crawl one day; the stand-in counts what was `sent`, and which of it `again`."""
    folder.mkdir(exist_ok=True)
    with stand_in(SimulatorOptions(STILL, day=day, **more)) as shop:
        night = Night(folder, shop.url)
        report = night.run(night.sellers(IDS), "--crawl-date", on(day), *options)
        again = sum(times - 1 for times in shop.stats.pages.values())
        return {**report, "sent": shop.stats.requests, "again": again}


def night_with_a_kill(folder: Path, day: int, *options: str, **more: Any) -> dict[str, Any]:
    """The same by workers, of which one is killed in its midst."""
    with stand_in(SimulatorOptions(STILL, day=day, **more)) as shop:
        night = Night(folder, shop.url)
        words = ("--crawl-date", on(day), "--qps", "60", *PROCESSES, *options)
        job = night.start(night.sellers(IDS), *words)
        _kill_one(job.pid, shop)
        out, err = job.communicate(timeout=120)
        assert job.returncode == 0, err
        assert "Traceback" not in err
        report: dict[str, Any] = orjson.loads(out)
        return report


def _kill_one(pid: int, shop: Simulator) -> None:
    deadline = time.monotonic() + 60
    while shop.stats.requests < 30:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(workers_of(pid)[0], signal.SIGKILL)


def published(folder: Path, day: int, but: set[str] = OF_A_RUN) -> dict[str, list[tuple[str, ...]]]:
    """All rows of a date, but for some columns."""
    found = {}
    for kind in ("videos", "sellers", "changes"):
        paths = sorted((folder / "data" / kind / f"crawl_date={on(day)}").rglob("*.parquet"))
        rows = [row for path in paths for row in pq.ParquetFile(path).read().to_pylist()]
        found[kind] = sorted(tuple(f"{k}={v}" for k, v in row.items() if k not in but) for row in rows)
    return found


def counts(report: Mapping[str, Any]) -> dict[str, Any]:
    """What a report counts, but for what depends on time."""
    return {name: report.get(name) for name in COUNTS} | {"sent": report["sent"]}


@pytest.mark.long
def test_nights_that_carry_are_those_of_one_process(tmp_path: Path) -> None:
    carried = audited = 0
    for day in range(DAYS):
        here = night_of(tmp_path / "workers", day, *CARRIED, *PROCESSES)
        alone = night_of(tmp_path / "one", day, *CARRIED)
        assert published(tmp_path / "workers", day) == published(tmp_path / "one", day)
        assert counts(here) == counts(alone)
        assert here["requests"]["sent"] == here["credits"]["spent_for_date"] == here["sent"]
        carried += here["carry_forward"]["carried"]
        audited += here["carry_forward"]["audited"]
    assert carried > 20
    assert audited > 3


@pytest.mark.long
def test_gaps_of_nights_are_repaired_as_by_one_process(tmp_path: Path) -> None:
    repaired = overlap = 0
    for day in range(DAYS - 1):
        options = (*REPAIRED, *CARRIED)
        here = night_of(tmp_path / "workers", day, *options, *PROCESSES, drift=5)
        alone = night_of(tmp_path / "one", day, *options, drift=5)
        assert published(tmp_path / "workers", day) == published(tmp_path / "one", day)
        assert counts(here) == counts(alone)
        assert here["requests"]["sent"] == here["credits"]["spent_for_date"] == here["sent"]
        overlap += here["drift"]["overlap"]
        assert here["drift"]["gaps"] == 0
        repaired += here["again"]
    assert repaired > 10
    assert overlap > 10


@pytest.mark.long
def test_a_worker_that_is_lost_while_sellers_are_carried_changes_no_row(tmp_path: Path) -> None:
    for folder in (tmp_path / "workers", tmp_path / "one"):
        night_of(folder, 0)
    night_with_a_kill(tmp_path / "workers", 1, *CARRIED)
    report = night_of(tmp_path / "one", 1, *CARRIED)
    assert report["carry_forward"]["carried"] > 10
    rows = [published(tmp_path / folder, 1, OF_REQUESTS) for folder in ("workers", "one")]
    assert rows[0] == rows[1]


@pytest.mark.long
def test_a_worker_that_is_lost_leaves_no_gap(tmp_path: Path) -> None:
    report = night_with_a_kill(tmp_path, 0, *REPAIRED, drift=5)
    assert report["drift"]["overlap"] > 10
    assert report["drift"]["gaps"] == 0
    assert report["sellers"]["complete"] == len(IDS)
