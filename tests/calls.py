"""How much work something is, whatever the machine is busy with: its calls, counted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count


def calls_of(work: Callable[[], object]) -> int:
    """How many functions it calls; each step of a generator is one."""
    numbers = count()

    def note(_frame: object, event: str, _argument: object) -> None:
        if event in {"call", "c_call"}:
            next(numbers)

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return next(numbers)


def assert_linear(work: Callable[[int], Callable[[], object]], size: int) -> None:
    """Fail where twice as much takes more than a little over twice the calls."""
    few, many = calls_of(work(size)), calls_of(work(2 * size))
    assert many < 2.3 * few, f"{few} calls for {size}, {many} for twice as many"
