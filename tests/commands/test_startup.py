"""What a command does not import: the cheapest part of a start is the one that is left out."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from conftest import DATE, SMALL, Night

from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.ledger import Ledger

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]

# The attempt to import either is listed too.
STRANGERS = {"numpy.linalg", "pandas.core"}
ARROW = {"pyarrow", "pyarrow.lib"}
WORKERS = {"dask", "distributed", "crawler.cluster"}
"""One process needs none of these."""
HEAVY = {"aiohttp", "asyncio", "orjson", "pydantic", "pydantic_settings", "rich", "sqlite3"}


def imported(*arguments: str, code: int = 0, environ: dict[str, str] | None = None) -> set[str]:
    """Every module that the command line imports on its way."""
    job = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "crawler", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert job.returncode == code, job.stderr
    return {found[1] for found in re.finditer(r"^import time:.*\| +(\S+)$", job.stderr, re.MULTILINE)}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["run", "--help"], 0),
        (["run"], 2),
        (["run", "--no-such-option"], 2),
        (["no-such-command"], 2),
    ],
)
def test_help_and_usage_errors_import_nothing_heavy(arguments: list[str], code: int) -> None:
    modules = imported(*arguments, code=code)
    assert "crawler.cli" in modules
    assert not modules & (HEAVY | ARROW | STRANGERS)


def test_status_and_faulty_settings_import_no_arrow(tmp_path: Path) -> None:
    unwanted = {"aiohttp", "rich"} | ARROW | STRANGERS
    with Ledger(tmp_path) as ledger:
        ledger.begin("r", date(2026, 11, 23), "2026-11-23T01:00:00.000Z")
        ledger.finish("r", "2026-11-23T01:00:01.000Z", 0)
    assert not imported("status", "--data", str(tmp_path)) & unwanted
    assert not imported("run", "list.csv", "--qps", "many", code=2) & unwanted


def test_a_run_with_nothing_to_do_imports_no_client(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(3))
    job.run(source)
    modules = imported("run", str(source), "--crawl-date", DATE, environ={**os.environ, **job.environ()})
    assert "crawler.nightly.run" in modules
    assert not modules & ({"aiohttp", "pyarrow.dataset", "crawler.copies", "rich"} | STRANGERS | WORKERS)


def handles(pid: int, number: int) -> bool:
    """Whether a process has a handler of its own for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = re.search(r"^SigCgt:\s+(\w+)$", status, re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="handlers are seen in /proc alone")
@pytest.mark.parametrize("pause", [0.0, 0.05, 0.15])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)]
)
def test_a_signal_during_the_start_ends_it_at_once(
    tmp_path: Path, number: signal.Signals, code: int, pause: float
) -> None:
    source = tmp_path / "sellers.csv"
    os.mkfifo(source)
    command = [sys.executable, "-m", "crawler", "run", str(source), "--data", str(tmp_path / "data")]
    environ = {**os.environ, "KEYAPI_API_KEY": "sk_live_any"}
    job = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    while not handles(job.pid, signal.SIGTERM):
        time.sleep(0.001)
    time.sleep(pause)
    job.send_signal(number)
    _, err = job.communicate(timeout=10)
    assert (job.returncode, err) == (
        code,
        f"crawler: interrupted by {number.name}; run the same command again\n",
    )


def test_the_handlers_come_before_the_imports() -> None:
    heavy = "import sys; import crawler.__main__; print(*sys.modules)"
    job = subprocess.run([sys.executable, "-S", "-c", heavy], capture_output=True, text=True, check=True)
    assert not set(job.stdout.split()) & {"click", "crawler.cli", "asyncio", "typing"}
