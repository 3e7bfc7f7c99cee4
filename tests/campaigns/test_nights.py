"""Some simulated nights; `make simulate-nights` plays thousands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "nights.py"


def play(*options: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-W", "ignore", str(SCRIPT), *options]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=200, check=False)


def test_nights_keep_every_promise() -> None:
    played = play("--seeds", "21", "--jobs", "1")
    assert played.returncode == 0, played.stdout + played.stderr
    assert "21 nights" in played.stdout


@pytest.mark.long
def test_a_seed_replays_exactly() -> None:
    once, again = (play("--replay", "48").stdout for _ in range(2))
    assert once == again
    assert "None" in once
