"""Some simulated months of `--strategy freshest`; `make simulate-months` plays hundreds."""

from __future__ import annotations

from functools import partial

import pytest
import scripts

play = partial(scripts.play, "months.py")


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
