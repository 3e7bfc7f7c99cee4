"""Some simulated months of `--strategy freshest`; `make simulate-months` plays hundreds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "months.py"


def play(*options: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-W", "ignore", str(SCRIPT), *options]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=200, check=False)


def test_nights_of_freshest_keep_every_promise() -> None:
    played = play("--months", "4", "--nights", "7", "--jobs", "1")
    assert played.returncode == 0, played.stdout + played.stderr
    assert "4 months" in played.stdout


@pytest.mark.long
def test_months_keep_every_promise() -> None:
    played = play("--months", "4", "--first", "20", "--jobs", "2")
    assert played.returncode == 0, played.stdout + played.stderr


@pytest.mark.long
def test_a_month_replays_exactly() -> None:
    once, again = (play("--replay", "3").stdout for _ in range(2))
    assert once == again
    assert "None" in once
