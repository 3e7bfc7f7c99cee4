"""Some simulated crawls by workers; `make simulate-cluster` plays thousands."""

from __future__ import annotations

from functools import partial

import pytest
import scripts

play = partial(scripts.play, "cluster_nights.py")


def test_crawls_by_workers_keep_every_promise() -> None:
    played = play("--seeds", "24", "--jobs", "1")
    assert played.returncode == 0, played.stdout + played.stderr
    assert "24 crawls" in played.stdout


@pytest.mark.long
def test_a_seed_replays_exactly() -> None:
    once, again = (play("--replay", "9").stdout for _ in range(2))
    assert once == again
    assert "None" in once


def test_an_attempt_whose_first_renewal_was_never_answered_ends() -> None:
    """Its driver gave it up meanwhile; it asked on for ever."""
    assert "None" in play("--replay", "11538").stdout
