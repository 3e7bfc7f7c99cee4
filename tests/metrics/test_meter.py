"""The file of metrics, written by real runs: whole, readable, in time, and at no run's expense."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, Night

from crawler.metrics import meter as metering
from crawler.metrics.exposition import from_text
from crawler.metrics.meter import Meter
from crawler.models.latency import Latencies
from crawler.ports import CrawlFigures
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.lock import hold_lock

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]


def metrics(path: Path) -> dict[str, Any]:
    """Each metric's value, or its values by label."""
    values = from_text(path.read_text())
    return {name.removeprefix("crawler_"): some.get("", some) for name, some in values.items()}


def config(job: Night, path: Path) -> list[str]:
    file = job.folder / "metrics.toml"
    file.write_text(f'[metrics]\ntextfile = "{path}"\n')
    return ["--config", str(file)]


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed")
    return found


def test_a_night_writes_what_its_report_says(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    path = job.folder / "crawler.prom"
    report = job.run(job.sellers(simulator.catalogue.seller_ids(5)), "--budget", "500", *config(job, path))
    found = metrics(path)
    assert found["last_exit_code"] == found["running"] == 0
    assert found["last_run_success"] == 1
    assert found["sellers"] == {s: report["sellers"][s] for s in ("complete", "partial", "failed", "pending")}
    assert found["rows"]["written"] == found["last_success_rows"] == report["rows"]["written"]
    assert found["requests_total"] == report["requests"]["by_status"]
    assert found["request_duration_seconds"]["+Inf"] == report["requests"]["sent"]
    assert 0 < found["request_duration_seconds"]["sum"] < 60
    assert found["date_credits_left"] == 500 - report["credits"]["spent"]
    assert found["requests_per_second"] == report["qps"]["achieved"]
    assert abs(found["last_success_timestamp_seconds"] - time.time()) < 60
    assert [one.name for one in job.folder.glob("*prom*")] == ["crawler.prom"]


def test_promtool_has_nothing_against_the_file(night: Begin, promtool: str) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    path = job.folder / "crawler.prom"
    job.run(job.sellers(simulator.catalogue.seller_ids(3)), "--budget", "500", *config(job, path))
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=path.read_bytes(), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_a_run_that_goes_on_shows_and_one_that_was_killed_stays(night: Begin) -> None:
    """And a run that does not begin changes its exit code alone; one that finds the folder held, nothing."""
    job, simulator = night(SimulatorOptions(SMALL, latency=0.2))
    path, source = job.folder / "crawler.prom", job.sellers(simulator.catalogue.seller_ids(2))
    flags = config(job, path)
    job.run(source, *flags)
    good = metrics(path)
    more = job.sellers(simulator.catalogue.seller_ids(30))
    process = job.start(more, "--qps", "5", *flags)
    while not metrics(path)["running"]:
        assert process.poll() is None
        time.sleep(0.02)
    live = metrics(path)
    assert live["sellers_listed"] == 30
    assert live["requests_per_second_limit"] == 5
    assert live["last_success_rows"] == good["last_success_rows"]
    assert live["last_start_timestamp_seconds"] > good["last_start_timestamp_seconds"]
    process.kill()
    process.wait()
    assert metrics(path)["running"] == 1

    before = path.read_bytes()
    with hold_lock(job.data, "other"):
        assert job.call("run", str(source), *flags).returncode == 7
    assert path.read_bytes() == before

    assert job.call("run", str(job.folder / "none.csv"), *flags).returncode == 2
    refused = metrics(path)
    assert (refused["running"], refused["last_exit_code"], refused["last_run_success"]) == (0, 2, 0)
    for name in ("last_success_timestamp_seconds", "last_success_rows", "sellers", "rows", "plausibility"):
        assert refused[name] == good[name]


@pytest.mark.parametrize("place", ["no/such/folder/crawler.prom", "a folder"])
def test_a_path_that_cannot_be_written_costs_one_warning(night: Begin, place: str) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    path = job.folder / place
    if place == "a folder":
        path.mkdir()
    process = job.start(job.sellers(simulator.catalogue.seller_ids(2)), *config(job, path))
    out, err = process.communicate()
    assert process.returncode == 0
    (line,) = [line for line in err.splitlines() if "WARNING" in line]
    assert f"metrics are not written: {path}: " in line
    assert len(out.split("metrics are not written")) <= 2


def test_a_file_system_that_hangs_is_waited_for_a_few_seconds(night: Begin) -> None:
    """A pipe that nobody writes to holds up who opens it, as a dead file server does."""
    job, simulator = night(SimulatorOptions(SMALL))
    path = job.folder / "crawler.prom"
    os.mkfifo(path)
    process = job.start(job.sellers(simulator.catalogue.seller_ids(2)), *config(job, path))
    _, err = process.communicate(40)
    assert process.returncode == 0
    assert "did not take them within 5 s" in err


def figures(count_sent: Callable[[], int] = lambda: 3) -> CrawlFigures:
    return CrawlFigures(9, 1, 10, 2, {"200": 3}, Latencies(), count_sent)


def test_the_file_is_readable_by_all_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "crawler.prom"
    former = os.umask(0o077)
    try:
        meter = Meter(path, (0,), 5.0)
        meter.crawling(figures())
        while not path.exists():
            time.sleep(0.01)
        meter.close()
        assert meter.ended_early(2) is None
    finally:
        os.umask(former)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_it_is_written_again_and_again_and_never_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metering, "EVERY_S", 0.005)
    path, sent = tmp_path / "crawler.prom", count()
    meter, seen = Meter(path, (0,), 5.0), set[float]()
    meter.crawling(figures(partial(next, sent)))
    until = time.monotonic() + 20
    while len(seen) < 5 and time.monotonic() < until:
        if path.exists():
            found = metrics(path)
            assert found["sellers_listed"] == 9
            assert path.read_text().endswith("\n")
            seen.add(found["credits_spent"])
        time.sleep(0.01)
    assert len(seen) == 5
    assert meter.ended_early(1) is None
    last = path.read_bytes()
    time.sleep(0.05)
    assert path.read_bytes() == last
    assert metrics(path)["running"] == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "metrics" and thread.is_alive()]


def test_a_run_that_is_interrupted_says_so(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, latency=0.2))
    path = job.folder / "crawler.prom"
    process = job.start(job.sellers(simulator.catalogue.seller_ids(20)), "--qps", "5", *config(job, path))
    while not simulator.stats.requests:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    found = metrics(path)
    assert (found["running"], found["last_exit_code"], found["last_run_success"]) == (0, 143, 0)
    assert "last_success_timestamp_seconds" not in found
