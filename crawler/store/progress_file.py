"""What a run has done so far, in a small file for those who look on: nobody else may open its journal.

Open it to tell more of a run that is under way.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, Self

import orjson

from crawler.models.errors import DisplacedError
from crawler.ports import CrawlFigures
from crawler.store.files import replace_volatile
from crawler.store.layout import Layout
from crawler.store.lock import Guard, Holder

_EVERY_S = 1.0


class ProgressFile:
    """Keeps the file of one run, which holds the lock; it is removed at the end of the block.

    Nothing here is raised, and nothing is synced: the file is of use only while the run lives.
    """

    def __init__(
        self, data: Path, run_id: str, crawl_date: date, now: Callable[[], str], guard: Guard
    ) -> None:
        self._path = Layout(data).progress
        self._now = now
        self._guard = guard
        self._run: dict[str, Any] = {
            "run_id": run_id,
            "crawl_date": crawl_date.isoformat(),
            "pid": os.getpid(),
            "started_at": now(),
        }
        self._figures: dict[str, Any] = {}
        self._began = self._next = 0.0

    def __enter__(self) -> Self:
        self.enter("opening")
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_ours():
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def tick(self, figures: CrawlFigures) -> None:
        """Write the figures of the crawl; called several times a second, it writes once."""
        clock = time.monotonic()
        if clock < self._next:
            return
        self._began = self._began or clock
        self._next = clock + _EVERY_S
        self._figures = _as_figures(figures, clock - self._began)
        self.enter("crawling")

    def enter(self, phase: str) -> None:
        """Write what the run does now, with the last figures."""
        content = {**self._run, "updated_at": self._now(), "phase": phase, **self._figures}
        if self._is_ours():
            with suppress(OSError):
                replace_volatile(self._path, orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE))

    def _is_ours(self) -> bool:
        try:
            self._guard()
        except DisplacedError:
            return False
        return True


def progress_of(data: Path, holder: Holder | None) -> dict[str, Any] | None:
    """What the run that holds the folder has done so far; None where no run does, or nothing is known."""
    if holder is None:
        return None
    with suppress(OSError, ValueError):
        content = orjson.loads(Layout(data).progress.read_bytes())
        # A killed run has left its own.
        if isinstance(content, dict) and content.get("run_id") == holder.run_id:
            return content
    return None


def _as_figures(figures: CrawlFigures, elapsed: float) -> dict[str, Any]:
    sent, ended, total = figures.sent, figures.ended, figures.total
    workers = {} if figures.workers is None else {"workers": asdict(figures.workers)}
    return {
        "sellers": {"total": total, "ended": ended},
        "pages": figures.pages,
        "rows": figures.rows,
        "credits": {"spent": sent, "spent_for_date": figures.spent_before + sent, "budget": figures.budget},
        "requests_per_second": round(sent / elapsed, 2) if elapsed else None,
        "seconds_left": round((total - ended) * elapsed / ended) if ended and elapsed else None,
        **workers,
    }
