"""What all measurements share: least, middle and most, and where they are kept."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson


def spread(values: Sequence[float]) -> dict[str, float]:
    """Least, middle and most."""
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def in_words(values: Sequence[float], form: str = ".2f") -> str:
    """The same in words."""
    found = spread(values)
    return f"{found['median']:{form}} ({found['min']:{form}} to {found['max']:{form}})"


def keep(name: str, result: object) -> None:
    """Write a result as JSON to the folder that the command names, if it does."""
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n")
