"""Where the crawler's CPU goes: microseconds a request by phase, of one run on pages of `throughput.py`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pages import served
from place import new_folder
from spread import keep
from throughput import CRAWLER_WORKERS, REQUESTS

from crawler.cli import main as command
from crawler.commands import run as _  # noqa: F401 - Arrow's memory is set up before it is imported
from crawler.nightly import run as night
from crawler.store.journal import Journal
from crawler.store.segments import SegmentWriter

used: dict[str, float] = {}


def clocked(phase: str, function: Callable[..., Any], clock: Callable[[], float]) -> Callable[..., Any]:
    """The function, counting what it takes by a clock of CPU."""

    def counting(*args: Any, **others: Any) -> Any:
        began = clock()
        try:
            return function(*args, **others)
        finally:
            used[phase] = used.get(phase, 0.0) + clock() - began

    return counting


def main() -> None:
    """One run in this process."""
    results = sys.argv[:2]
    patched: tuple[tuple[str, Any, str, Callable[[], float]], ...] = (
        ("event loop's thread", night, "_choose_and_crawl", time.thread_time),
        ("crawling, all threads", night, "_choose_and_crawl", time.process_time),
        ("journal: commits", Journal, "write", time.thread_time),
        ("segments: columns and Parquet", SegmentWriter, "_write_segment", time.thread_time),
        ("publishing, all threads", night, "publish", time.process_time),
    )
    for phase, owner, name, clock in patched:
        setattr(owner, name, clocked(phase, getattr(owner, name), clock))
    with new_folder() as place, served(Path(place), REQUESTS) as pages:
        source = Path(place, "sellers.txt")
        source.write_text("\n".join(pages.sellers))
        os.environ.update({"KEYAPI_API_KEY": pages.key, "CRAWLER_API_URL": pages.url})
        flags = ["--qps", "10000", "--workers", str(CRAWLER_WORKERS), "--data", f"{place}/data", "--quiet"]
        sys.argv = ["crawler", "run", str(source), *flags]
        try:
            command()
        except SystemExit as end:
            if end.code:
                raise
        micros_by_phase = {phase: seconds / pages.requests * 1e6 for phase, seconds in used.items()}
    for phase, micros in micros_by_phase.items():
        print(f"{phase:<32} {micros:>6.0f} us a request")
    sys.argv = results
    keep("phases", micros_by_phase)


if __name__ == "__main__":
    main()
