from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from conftest import DATE, SMALL, Night
from launcher import LAUNCHER, Process
from steps import BACKUP_STEPS

from crawler.nightly.opening import Opened
from crawler.nightly.serving_backups import BackupServer
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.simulator.catalogue import Catalogue
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.copying import copy_folder
from crawler.store.journal import Journal
from crawler.store.layout import BackupRequest, Layout
from crawler.store.ledger import Ledger
from crawler.store.lock import hold_lock

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
SLOW = SimulatorOptions(SMALL, latency=0.05)
WAIT_S = 30.0


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the lock and the index of a log."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock" and not path.name.endswith("-shm")
    }


def pages_in(data: Path) -> int:
    journal = data / "state" / "journal" / f"{DATE}.1.sqlite"
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM page").fetchone()[0])


def awaited(is_there: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not is_there():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def under_way(job: Night, source: Path, simulator: Simulator, after: int) -> Iterator[Process]:
    """A run that has sent so many requests, and has many to send."""
    begun, sent = job.start(source, "--qps", "40"), simulator.stats.requests
    try:
        awaited(lambda: simulator.stats.requests >= sent + after)
        yield begun
    finally:
        if begun.poll() is None:
            begun.kill()
            begun.wait()


def restored(job: Night, copy: Path) -> Night:
    """The same job on another machine, whose data folder is the copy."""
    folder = job.folder / "elsewhere"
    folder.mkdir()
    subprocess.run(["cp", "-a", str(copy), str(folder / "data")], check=True)
    return replace(job, folder=folder)


def test_a_backup_without_a_run_is_the_data_folder(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(Catalogue(SMALL).seller_ids(4))
    job.run(source)
    (job.data / "state" / "staging" / "killed").mkdir()
    (job.data / "state" / "published" / ".x.sha256.17").touch()
    done = job.call("backup", str(job.folder / "copy"))
    assert done.returncode == 0, done.stderr
    shutil.rmtree(job.data / "state" / "staging" / "killed")
    (job.data / "state" / "published" / ".x.sha256.17").unlink()
    copied = contents(job.folder / "copy")
    assert copied == contents(job.data)
    size = sum(map(len, copied.values()))
    assert done.stdout.startswith(f"{job.data} is copied to {job.folder}/copy: {len(copied)} files, ")
    assert stat.S_IMODE((job.folder / "copy" / "state").stat().st_mode) == 0o700
    assert size
    sent, again = simulator.stats.requests, restored(job, job.folder / "copy")
    assert again.run(source)["exit_code"] == 0
    assert simulator.stats.requests == sent
    assert again.ids() == job.ids()


def test_no_file_of_a_backup_is_one_of_the_data_folder(night: Begin) -> None:
    job, _ = night(SimulatorOptions(SMALL))
    job.run(job.sellers(Catalogue(SMALL).seller_ids(2)))
    assert job.call("backup", str(job.folder / "copy")).returncode == 0

    def inodes(folder: Path) -> set[int]:
        return {path.stat().st_ino for path in folder.rglob("*") if path.is_file()}

    assert not inodes(job.data) & inodes(job.folder / "copy")


def test_a_file_with_two_names_is_copied_once(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    data.mkdir()
    (data / "a").write_bytes(b"x" * 1000)
    os.link(data / "a", data / "b")
    assert copy_folder(data, copy, {}, None) == (2, 1000)
    assert (copy / "a").samefile(copy / "b")
    assert not (copy / "a").samefile(data / "a")


def test_a_backup_beside_a_run_costs_no_credit_on_restore(night: Begin) -> None:
    """The restored date asks for what the copy lacks, and for nothing that it has."""
    job, simulator = night(SLOW)
    ids = Catalogue(SMALL).seller_ids(12)
    source, copy = job.sellers(ids), job.folder / "copy"
    with under_way(job, source, simulator, after=20) as run:
        done = job.call("backup", str(copy))
        assert done.returncode == 0, done.stderr
        assert run.poll() is None, "the run was to be under way"
        assert "was under way" in done.stdout
        assert not [*(job.data / "state" / "staging").glob("*backup*")]
        assert run.wait() == 0
    whole, sent = job.ids(), simulator.stats.requests
    had = pages_in(copy)
    assert 0 < had < pages_in(job.data)
    with Ledger(copy, only_read=True) as ledger:
        assert ledger.spent_by_runs(ledger.dates()[0].crawl_date) >= had
    again = restored(job, copy)
    report = again.run(source)
    assert again.ids() == whole
    assert simulator.stats.requests - sent == report["requests"]["sent"] == pages_in(job.data) - had


def test_a_backup_waits_while_a_run_publishes(night: Begin) -> None:
    job, _ = night(SimulatorOptions(SMALL))
    job.run(job.sellers(Catalogue(SMALL).seller_ids(2)))
    with hold_lock(job.data, "publishing"):
        backup = LAUNCHER.start(["backup", str(job.folder / "copy")], job.environ(), job.folder)
        awaited(lambda: [*(job.data / "state" / "staging").glob("*.request")])
        time.sleep(0.5)
        assert backup.poll() is None
        assert not (job.folder / "copy").exists()
    out, err = backup.communicate()
    assert backup.returncode == 0, err
    assert contents(job.folder / "copy") == contents(job.data)
    assert "was under way" not in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_backup_that_is_stopped_takes_its_request_back(night: Begin, number: signal.Signals) -> None:
    job, _ = night(SimulatorOptions(SMALL))
    job.run(job.sellers(Catalogue(SMALL).seller_ids(1)))
    staging = job.data / "state" / "staging"
    with hold_lock(job.data, "publishing"):
        backup = LAUNCHER.start(["backup", str(job.folder / "copy")], job.environ(), job.folder)
        awaited(lambda: [*staging.glob("*.request")])
        os.kill(backup.pid, number)
        assert backup.wait() == (130 if number is signal.SIGINT else 143)
    assert not [*staging.iterdir()]
    assert not [*job.folder.glob("*copy*")]


def test_a_backup_is_begun_anew_where_a_run_published_meanwhile(night: Begin) -> None:
    job, _ = night(SimulatorOptions(SMALL))
    job.run(job.sellers(Catalogue(SMALL).seller_ids(2)))
    staging, copy = job.data / "state" / "staging", job.folder / "copy"
    with hold_lock(job.data, "publishing"):
        backup = LAUNCHER.start(["backup", str(copy)], job.environ(), job.folder)
        awaited(lambda: [*staging.glob("*.request")])
        (left,) = staging.glob("*.request")
        request = BackupRequest(job.data, left.stem)
        next((job.data / "videos").rglob("*.parquet")).touch()
        for path in (f"journal/{DATE}.1.sqlite", "ledger.sqlite"):
            half = request.half_copy(job.data / "state" / path)
            half.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(job.data / "state" / path, half)
        left.unlink()
        request.half_answer.rename(request.answer)
        awaited(lambda: not request.answer.exists() and [*staging.glob("*.request")])
        assert not copy.exists()
    assert backup.wait() == 0
    assert contents(copy) == contents(job.data)


@pytest.mark.parametrize("step", BACKUP_STEPS)
def test_a_backup_that_is_killed_leaves_none_and_the_run_goes_on(night: Begin, step: str) -> None:
    job, simulator = night(SLOW)
    source, copy = job.sellers(Catalogue(SMALL).seller_ids(12)), job.folder / "copy"
    with under_way(job, source, simulator, after=10) as run:
        backup = LAUNCHER.start(["backup", str(copy)], job.environ(), job.folder, at=f"{step}:1")
        assert backup.wait() == -9
        assert not copy.exists()
        done = job.call("backup", str(copy))
        assert done.returncode == 0, done.stderr
        if step == "backup.copied":
            assert f"{job.folder}/.copy." in done.stderr
        assert run.wait() == 0
    assert job.run(source)["requests"]["sent"] == 0
    assert pages_in(copy)


def test_a_run_that_is_killed_after_a_backup_costs_only_what_followed(night: Begin) -> None:
    job, simulator = night(SLOW)
    source, copy = job.sellers(Catalogue(SMALL).seller_ids(12)), job.folder / "copy"
    with under_way(job, source, simulator, after=20):
        assert job.call("backup", str(copy)).returncode == 0
    had, again = pages_in(copy), restored(job, copy)
    sent = simulator.stats.requests
    again.run(source)
    assert simulator.stats.requests - sent == pages_in(again.data) - had
    fresh = replace(job, folder=job.folder / "fresh")
    fresh.folder.mkdir()
    fresh.run(source)
    assert again.ids() == fresh.ids()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("data/copy", "lies in"),
        ("data", "lies in"),
        ("full", "is there already"),
        ("no/copy", "is no folder"),
    ],
)
def test_a_place_that_cannot_be_one_is_refused(night: Begin, place: str, said: str) -> None:
    job, _ = night(SimulatorOptions(SMALL))
    job.run(job.sellers(Catalogue(SMALL).seller_ids(1)))
    (job.folder / "full").mkdir()
    (job.folder / "full" / "x").touch()
    before = contents(job.folder)
    done = job.call("backup", str(job.folder / place))
    assert done.returncode == 2
    assert said in done.stderr
    assert contents(job.folder) == before


def test_a_full_disk_is_said_and_the_half_is_removed(night: Begin) -> None:
    job, _ = night(SimulatorOptions(SMALL))
    job.run(job.sellers(Catalogue(SMALL).seller_ids(2)))
    small = job.folder / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        done = job.call("backup", str(small / "copy"))
        assert done.returncode == 8
        assert "No space left on device" in done.stderr
        assert not [*small.iterdir()]
    finally:
        subprocess.run(["umount", str(small)], check=True)


async def test_a_run_without_room_for_it_refuses(tmp_path: Path) -> None:
    layout, day = Layout(tmp_path), date.fromisoformat(DATE)
    layout.staging.mkdir(parents=True)
    request = BackupRequest(tmp_path, "x")
    request.request.touch()
    with Journal(layout.journal(day, 1)) as journal, Ledger(tmp_path) as ledger:
        seen = SimpleNamespace(data=tmp_path, settings=Settings(), world=World(free_bytes=lambda _: 1 << 26))
        opened = SimpleNamespace(night=seen, journal=journal, ledger=ledger, run_id="r", guard=lambda: None)
        with ThreadPoolExecutor(1) as thread:
            await BackupServer(cast("Opened", opened), thread, thread).answer()
    assert "too little is free" in request.refusal.read_text()
    assert not request.request.exists()
    assert [path.name for path in layout.staging.iterdir()] == ["x.refused"]
