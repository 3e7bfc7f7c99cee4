"""What a user chooses about a crawl: which page ends a seller, and which page is asked for next."""

from __future__ import annotations

from enum import StrEnum


class StopRule(StrEnum):
    """Which page ends a seller."""

    SHORT = "short"
    EMPTY = "empty"


class Strategy(StrEnum):
    """Which page is asked for next when there is a choice."""

    DEPTH_FIRST = "depth-first"
    BREADTH_FIRST = "breadth-first"
    BEST_FIRST = "best-first"
