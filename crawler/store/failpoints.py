"""Named steps between which a crash must do no harm: `tests/steps.py` lists them, for tests to crash at."""

from __future__ import annotations

from collections.abc import Callable

on_reach: Callable[[str], None] | None = None
"""Called at each step where it is set; nothing but a test sets it."""


def reached(step: str) -> None:
    """Tell that the program is between two writes."""
    if on_reach is not None:
        on_reach(step)
