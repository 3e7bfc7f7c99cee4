"""Writes the metrics of one run, every 20 s while it crawls and at its end; nothing here holds up the run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from crawler.exit_codes import LOCKED
from crawler.metrics.values import Values, at_the_end, over, while_running, without_report
from crawler.models.latency import Latencies
from crawler.ports import CrawlFigures
from crawler.report.run_report import RunReport

EVERY_S = 20.0
_PATIENCE_S = 5.0
"""Seconds that the last write is waited for: a file system may hang."""
_READABLE = 0o644
_MAX_BYTES = 1 << 20


class Meter:
    """Writes one file; use it by `crawling`, then `ended` or `ended_early`."""

    def __init__(self, path: Path, ok: tuple[int, ...], qps: float) -> None:
        self._path = path
        self._qps = qps
        self._ok = ok
        self._figures: CrawlFigures | None = None
        self._began = 0.0
        self._earlier: Values | None = None
        self._writing = threading.Lock()
        self._is_over = threading.Event()
        self._fault: str | None = None
        self._is_said = False

    def crawling(self, figures: CrawlFigures) -> None:
        """Write these figures from now on."""
        self._figures = figures
        if not self._began:
            self._began = time.time()
            self._begin(self._write_often)

    def fault_so_far(self) -> str | None:
        """Why metrics could not be written; said once."""
        if self._fault is None or self._is_said:
            return None
        self._is_said = True
        return self._fault

    def ended(self, report: RunReport) -> str | None:
        """Write what the report says; returns why that could not be, if nobody was told of it yet."""
        is_ok, latencies = report.exit_code in self._ok, self._latencies()
        return self._write_last(partial(at_the_end, report, latencies, is_ok=is_ok, now=time.time()))

    def ended_early(self, exit_code: int) -> str | None:
        """Do the same for a run without a report, unless another run writes here."""
        if exit_code == LOCKED.number:
            return None
        now, is_ok = time.time(), exit_code in self._ok
        return self._write_last(partial(without_report, exit_code, is_ok=is_ok, ended=now, now=now))

    def close(self) -> None:
        """Write no more."""
        self._is_over.set()

    def _latencies(self) -> Latencies | None:
        return None if self._figures is None else self._figures.latencies

    def _write_often(self) -> None:
        while not self._is_over.is_set():
            if (figures := self._figures) is not None:
                now = time.time()
                self._write(partial(while_running, figures, self._qps, self._began, now), is_last=False)
            self._is_over.wait(EVERY_S)

    def _write_last(self, values: Callable[[], Values]) -> str | None:
        self._is_over.set()
        last = self._begin(partial(self._write, values, is_last=True))
        if last is not None:
            last.join(_PATIENCE_S)
        if last is not None and last.is_alive():
            self._fault = f"metrics are not written: {self._path} did not take them within {_PATIENCE_S:g} s"
        return self.fault_so_far()

    def _begin(self, work: Callable[[], None]) -> threading.Thread | None:
        """A thread that works; None where none is to be had."""
        thread = threading.Thread(target=work, name="metrics", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._fault = f"metrics are not written: {error}"
            return None
        return thread

    def _write(self, values: Callable[[], Values], *, is_last: bool) -> None:
        """Write the values over those of the run before; whatever fails becomes the fault."""
        with self._writing:
            if self._is_over.is_set() and not is_last:
                return
            try:
                from crawler.metrics.exposition import as_text, from_text  # noqa: PLC0415 - heavy

                if self._earlier is None:
                    self._earlier = from_text(_text_at(self._path))
                _replace(self._path, as_text(over(self._earlier, values())))
            except Exception as error:  # noqa: BLE001 - metrics harm no run
                why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
                self._fault = f"metrics are not written: {self._path}: {why}"


def _text_at(path: Path) -> str:
    with suppress(OSError), path.open("rb") as file:
        return file.read(_MAX_BYTES).decode(errors="replace")
    return ""


def _replace(path: Path, content: bytes) -> None:
    """Put a file in the place of another at once, readable for all: the collector is another user."""
    temporary = path.with_name(".".join((path.name, str(os.getpid()))))
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as file:
            os.fchmod(file.fileno(), _READABLE)
            file.write(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
