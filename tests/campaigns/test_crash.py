"""A short crash campaign; `make crash` is the long one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from steps import (
    ATTEMPT_STEPS,
    BACKUP_STEPS,
    COMPACT_STEPS,
    COPY_STEPS,
    REBUILD_STEPS,
    REWRITE_STEPS,
    STEPS,
    UPGRADE_STEPS,
)

import crawler
from crawler.store.layout import PUBLISHED_KINDS

SCRIPT = Path(__file__).parents[1] / "crash.py"


@pytest.mark.long
def test_kills_lose_and_overpay_nothing() -> None:
    command = [sys.executable, "-W", "ignore", str(SCRIPT), "--kills", "5", "--jobs", "2"]
    played = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert played.returncode == 0, played.stdout + played.stderr
    assert "steps never hit: []" in played.stdout


def test_every_step_that_the_program_comes_to_is_one_of_those_that_are_tested() -> None:
    sources = [path.read_text() for path in Path(crawler.__file__).parent.rglob("*.py")]
    named = {step for source in sources for step in re.findall(r'reached\(f?"(.+?)"\)', source)}
    kinds = {step.format(kind=kind) for step in named for kind in PUBLISHED_KINDS}
    others = (REWRITE_STEPS, REBUILD_STEPS, BACKUP_STEPS, UPGRADE_STEPS, COPY_STEPS, COMPACT_STEPS)
    steps = {*STEPS, *ATTEMPT_STEPS, *(step for some in others for step in some)}
    assert kinds == steps
