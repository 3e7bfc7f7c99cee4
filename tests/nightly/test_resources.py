"""What the system is short of is named, and is no fault of the program."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import orjson
import pyarrow as pa
import pytest
from conftest import DATE, SMALL, Night

from crawler.endings import shortage
from crawler.nightly.process import OWN_FILES, allow_connections
from crawler.rules.sizing import MAX_WORKERS, PoolSize
from crawler.simulator.server import Simulator, SimulatorOptions

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]


def limited(
    job: Night, source: Path, kind: int, limit: int, *options: str
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "crawler",
        "run",
        str(source),
        "--crawl-date",
        DATE,
        "--qps",
        "2000",
        *options,
    ]
    return subprocess.run(
        command,
        env=job.environ(),
        preexec_fn=partial(resource.setrlimit, kind, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("files", [12, 40, 63])
def test_too_few_files_are_a_two_that_says_so(tmp_path: Path, files: int) -> None:
    source = tmp_path / "sellers.csv"
    source.write_text("7494662098975951181\n")
    ended = limited(Night(tmp_path, "http://127.0.0.1:1"), source, resource.RLIMIT_NOFILE, files)
    assert ended.returncode == 2, ended.stderr
    assert f"may open {files} files, and a run needs 64" in ended.stderr
    assert "fault of the program" not in ended.stderr
    assert not (tmp_path / "data").exists()


def test_few_files_mean_fewer_connections_and_no_failure(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, latency=0.05))
    source = job.sellers(simulator.catalogue.seller_ids(60))
    ended = limited(job, source, resource.RLIMIT_NOFILE, 70, "--workers", "500", "--json")
    assert ended.returncode == 0, ended.stderr
    assert "22 workers at most" in ended.stderr
    assert set(orjson.loads(ended.stdout)["requests"]["by_status"]) == {"200"}


def test_a_file_size_limit_is_an_eight(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(30))
    ended = limited(job, source, resource.RLIMIT_FSIZE, 40_000)
    assert ended.returncode == 8, ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("soft", "allowed"), [(64, MAX_WORKERS), (100_000, MAX_WORKERS)])
def test_a_soft_limit_is_raised(soft: int, allowed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (soft, 100_000))
    monkeypatch.setattr(resource, "setrlimit", lambda _kind, limits: raised.append(limits))
    assert allow_connections() == allowed
    assert raised == ([] if soft == 100_000 else [(OWN_FILES + MAX_WORKERS, 100_000)])


def test_no_pool_is_larger_than_allowed() -> None:
    assert PoolSize(5.0, 500, most=22).target == 22
    assert PoolSize(5000.0, most=22).target == 22


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (MemoryError(), "memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (RuntimeError("can't start new thread"), "thread"),
        (pa.ArrowException("Unknown error: Failed to launch worker thread: no"), "thread"),
        (
            ExceptionGroup(
                "all", [ExceptionGroup("some", [OSError(errno.ENFILE, os.strerror(errno.ENFILE))])]
            ),
            "files",
        ),
    ],
)
def test_what_is_short_is_named(error: Exception, word: str) -> None:
    assert word in (shortage(error) or "")


def test_a_bug_is_noshortage() -> None:
    assert shortage(RuntimeError("odd")) is None
    assert shortage(ExceptionGroup("all", [ValueError()])) is None
