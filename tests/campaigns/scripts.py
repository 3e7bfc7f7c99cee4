"""Campaigns as their make targets play them: scripts beside the tests, with an order of hashes that stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def play(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a script of `tests/` to its end."""
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-W", "ignore", str(Path(__file__).parents[1] / script), *options]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=200, check=False)
