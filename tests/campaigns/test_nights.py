"""Some simulated nights; `make simulate-nights` plays thousands."""

from __future__ import annotations

from functools import partial

import pytest
import scripts

play = partial(scripts.play, "nights.py")


def test_nights_keep_every_promise() -> None:
    played = play("--seeds", "21", "--jobs", "1")
    assert played.returncode == 0, played.stdout + played.stderr
    assert "21 nights" in played.stdout


@pytest.mark.long
def test_a_seed_replays_exactly() -> None:
    once, again = (play("--replay", "48").stdout for _ in range(2))
    assert once == again
    assert "None" in once
