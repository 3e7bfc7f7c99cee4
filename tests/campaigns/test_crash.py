"""A short crash campaign; `make crash` is the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "crash.py"


def test_kills_lose_and_overpay_nothing() -> None:
    command = [sys.executable, "-W", "ignore", str(SCRIPT), "--kills", "8", "--jobs", "2"]
    played = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert played.returncode == 0, played.stdout + played.stderr
    assert "steps never hit: []" in played.stdout
