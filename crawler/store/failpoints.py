"""Named steps between which a crash must do no harm: the crash tests stop the process at each of them."""

from __future__ import annotations

from collections.abc import Callable

STEPS = (
    "pins.built",
    "lease.reserve",
    "lease.reserved",
    "commit.begin",
    "commit.written",
    "commit.durable",
    "segment.begin",
    "segment.written",
    "segment.adopted",
    "publish.begin",
    "publish.built",
    "publish.judged",
    "publish.staged",
    "publish.synced",
    "publish.digests",
    "publish.announced",
    "publish.withdrawn",
    "publish.videos",
    "publish.sellers",
    "publish.changes",
    "publish.noted",
    "ledger.settle",
    "ledger.finish",
    "report.written",
)
"""Every step, in the order in which a run first comes to them."""
REWRITE_STEPS = (
    "rewrite.synced",
    "rewrite.digests",
    "rewrite.withdrawn",
    "rewrite.sellers",
    "rewrite.changes",
)
"""The steps of writing published files anew under their own names, which few runs do."""

on_reach: Callable[[str], None] | None = None
"""Called at each step where it is set; nothing but a test sets it."""


def reached(step: str) -> None:
    """Tell that the program is between two writes."""
    if on_reach is not None:
        on_reach(step)
