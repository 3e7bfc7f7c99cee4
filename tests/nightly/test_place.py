"""A run whose lock, journal or ledger is no longer at its path, and who may read or redirect them."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, Night

from crawler.models.errors import DataLockedError
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store import lock
from crawler.store.files import open_private
from crawler.store.lock import hold_lock

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
SLOW = ("--qps", "40", "--workers", "2")


def displace(job: Night, harm: str) -> None:
    state = job.data / "state"
    if harm == "folder moved":
        job.data.rename(job.folder / "elsewhere")
    elif harm == "state deleted":
        shutil.rmtree(state)
    elif harm == "journal moved":
        (state / "journal").rename(state / "other")
    elif harm == "ledger replaced":
        shutil.copy(state / "ledger.sqlite", state / "copy")
        (state / "copy").rename(state / "ledger.sqlite")
    else:
        (state / "lock").unlink()


def cut_off(job: Night, simulator: Simulator, source: Path, harm: str) -> tuple[str, int]:
    """Start a run, displace what it uses, and wait for its end."""
    run = job.start(source, *SLOW)
    until = time.monotonic() + 30
    while simulator.stats.requests < 8 and time.monotonic() < until:
        time.sleep(0.02)
    displace(job, harm)
    sent = simulator.stats.requests
    _, error = run.communicate(timeout=60)
    assert run.returncode == 8, error
    assert "Traceback" not in error
    return error, simulator.stats.requests - sent


@pytest.mark.parametrize(
    "harm", ["folder moved", "state deleted", "journal moved", "ledger replaced", "lock removed"]
)
def test_a_run_stops_where_what_it_uses_is_no_longer_at_its_path(night: Begin, harm: str) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(25)
    source = job.sellers(ids)
    error, sent = cut_off(job, simulator, source, harm)
    assert "is no longer the file that this run uses" in error
    assert "nothing that was paid for is lost" not in error
    # A quarter of a second passes between two looks.
    assert sent <= 25
    assert not list(job.folder.rglob("*.parquet"))
    if harm == "folder moved":
        assert not job.data.exists()
        (job.folder / "elsewhere").rename(job.data)
    if harm in {"folder moved", "lock removed"}:
        before = simulator.stats.requests
        report = job.run(source)
        assert report["sellers"]["complete"] == len(ids)
        pages = simulator.stats.pages
        assert sum(pages.values()) == len(pages)
        assert report["credits"]["spent"] == simulator.stats.requests - before


def test_a_removed_lock_lets_no_second_run_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_LONG_PAUSES", (0.0,))
    with hold_lock(tmp_path, "one"):
        (tmp_path / "state" / "lock").unlink()
        with pytest.raises(DataLockedError, match="another run"), hold_lock(tmp_path, "two"):
            pass
    with hold_lock(tmp_path, "two"):
        pass


def test_a_lock_that_another_run_takes_while_it_is_replaced_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with a second name is replaced; of two runs that do so at once one gets the new file's lock."""
    with hold_lock(tmp_path, "one"):
        pass
    path = tmp_path / "state" / "lock"
    (tmp_path / "second").hardlink_to(path)

    def taken_by_another(path: Path) -> int:
        handle, other = open_private(path), open_private(path)
        fcntl.flock(other, fcntl.LOCK_EX)
        os.write(other, b'{"run_id": "two", "pid": 2}')
        return handle

    openings = [taken_by_another, open_private]
    monkeypatch.setattr(lock, "_PAUSES", (0.0,))

    def next_opening(path: Path) -> int:
        return openings.pop()(path)

    monkeypatch.setattr(lock, "open_private", next_opening)
    with pytest.raises(DataLockedError, match=r"in use by run two \(process 2\)"), hold_lock(tmp_path, "one"):
        pass


@pytest.mark.parametrize("name", ["lock", "ledger.sqlite"])
@pytest.mark.parametrize("what", ["link", "pipe", "folder"])
def test_what_is_no_regular_file_is_not_written_to(night: Begin, name: str, what: str) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(2))
    path, target = job.data / "state" / name, job.folder / "target"
    path.parent.mkdir(parents=True)
    target.write_text("mine")
    if what == "link":
        path.symlink_to(target)
    elif what == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert name in job.run(source, code=8)["stderr"]
    assert target.read_text() == "mine"
    assert simulator.stats.requests == 0


def test_a_lock_file_with_a_second_name_is_replaced_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    path, other = tmp_path / "state" / "lock", tmp_path / "other"
    other.write_text("mine")
    path.hardlink_to(other)
    with hold_lock(tmp_path, "one") as guard:
        guard()
        assert b'"one"' in path.read_bytes()
        with pytest.raises(DataLockedError, match="run one"), hold_lock(tmp_path, "two"):
            pass
    assert other.read_text() == "mine"


def test_state_is_for_its_owner_alone_whatever_the_umask(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(4))
    job.run(source, "--budget", "5", code=3)
    state = job.data / "state"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (state, *state.rglob("*"))}
    assert {path: m for path, m in modes.items() if path.is_dir() and m != 0o700} == {}
    assert {path: m for path, m in modes.items() if path.is_file() and m != 0o600} == {}
    assert all(path.stat().st_mode & 0o044 for path in (job.data / "videos").rglob("*.parquet"))
    for path in modes:
        path.chmod(0o777 if path.is_dir() else 0o666)
    before: Any = os.umask(0)
    try:
        job.run(source)
    finally:
        os.umask(before)
    assert not [path for path in (state, *state.rglob("*")) if path.stat().st_mode & 0o077]
