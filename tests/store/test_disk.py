"""A disk that fills up: exit 8, nothing half-published, and nothing paid twice when there is room again."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

import orjson
import pytest
from conftest import DATE, SMALL, Night

from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.ledger import Ledger

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
WORKERS = 6


class Disk:
    """A small file system of its own, whose size can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self._mount("size=64k")

    def resize(self, kib: int) -> None:
        self._mount(f"remount,rw,size={kib}k")

    def read_only(self) -> None:
        self._mount("remount,ro")

    def _mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if shutil.which("mount") is None:
        pytest.skip("no mount command here")
    try:
        made = Disk(tmp_path / "data")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a tmpfs cannot be mounted here: {error.stderr.decode().strip()}")
    yield made
    subprocess.run(["umount", str(made.folder)], check=True)


@pytest.mark.long
def test_a_disk_that_fills_up_at_every_size(
    night: Begin, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Night, "environ", _without_reserve(Night.environ))
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(60)
    source = job.sellers(ids)
    codes: list[int] = []
    for kib in range(80, 4000, 330):
        disk.resize(kib)
        process = job.start(source, "--workers", str(WORKERS))
        _, err = process.communicate(timeout=60)
        codes.append(process.returncode)
        assert "Traceback" not in err
        assert process.returncode in {0, 8}, err
        if process.returncode == 0:
            break
        assert "make room" in err
        assert not list((job.data / "videos").rglob("*"))
    assert codes.count(8) > 3
    assert codes[-1] == 0
    assert job.ids() == sorted((i, video["video_id"]) for i in ids for video in simulator.catalogue.videos(i))
    with Ledger(job.data) as ledger:
        assert ledger.spent_for(date.fromisoformat(DATE)) == simulator.stats.requests, "a lease was stranded"
    twice = sum(simulator.stats.pages.values()) - len(simulator.stats.pages)
    assert twice <= WORKERS * codes.count(8)
    assert not list((job.data / "state" / "staging").glob("*"))


def test_a_disk_that_another_program_fills_up_is_told_with_figures_and_a_command(
    night: Begin, disk: Disk
) -> None:
    """As told by the report alone: its file has no room."""
    job, simulator = night(SimulatorOptions(SMALL, latency=0.05))
    disk.resize(100 * 1024)
    told = job.folder / "told.json"
    config = job.folder / "notify.toml"
    config.write_text(f'[notify]\ncommand = ["sh", "-c", "cat > {told}"]\n')
    process = job.start(job.sellers(simulator.catalogue.seller_ids(60)), "--config", str(config))
    while simulator.stats.requests < 30:
        time.sleep(0.02)
    with suppress(OSError), (job.data / "core").open("wb", 0) as file:
        while True:
            file.write(bytes(1 << 16))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 8, err
    report = orjson.loads(told.read_bytes())
    assert report["credits"]["spent_for_date"] == simulator.stats.requests
    assert report["sellers"]["total"] == 60
    (job.data / "core").unlink()
    done = subprocess.run(
        ["bash", "-c", report["go_on"]], env=job.environ(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (left,) = (line for line in done.stderr.splitlines() if "died" in line or "complete: " in line)
    assert "died" not in left, "the run before has an end"


def test_a_disk_below_the_reserve_sends_nothing(night: Begin, disk: Disk) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    disk.resize(60 * 1024)
    report = job.run(job.sellers(simulator.catalogue.seller_ids(3)), code=8)
    assert "reserve" in report["stderr"]
    assert simulator.stats.requests == 0


def test_a_disk_that_is_read_only_sends_nothing(night: Begin, disk: Disk) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    disk.resize(100 * 1024)
    disk.read_only()
    report = job.run(job.sellers(simulator.catalogue.seller_ids(3)), code=8)
    assert "Read-only" in report["stderr"]
    assert simulator.stats.requests == 0


def _without_reserve(environ: Callable[[Night], dict[str, str]]) -> Callable[[Night], dict[str, str]]:
    return lambda night: {**environ(night), "CRAWLER_JOURNAL_RESERVE_MIB": "0"}
