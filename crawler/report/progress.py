"""What a run prints: a live display on a terminal, a line a minute under cron, all on standard error."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar, Self

import orjson

from crawler.models.encodings import as_text, printable
from crawler.options import LogSettings
from crawler.ports import CrawlFigures

LOG = logging.getLogger("crawler")
LINE_EVERY = 60.0
_MEDIUM, _WIDE = 80, 110
"""Columns of a terminal from which on the budget is shown, and the bar."""


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": as_text(record.getMessage()),
        }
        return orjson.dumps(line).decode()


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # What a file's name or the API's text holds must not reach the terminal as it is.
        return printable(super().format(record))


def set_up_logging(settings: LogSettings, warnings: Iterable[str]) -> None:
    """Send log lines to standard error as text or JSON, `warnings` first; `quiet` leaves those and errors."""
    handler = _Lines(sys.stderr)
    text = _TextLines("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    handler.setFormatter(_JsonLines() if settings.format == "json" else text)
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.WARNING if settings.quiet else logging.INFO)
    LOG.propagate = False
    for warning in warnings:
        LOG.warning("%s", warning)


class _Lines(logging.StreamHandler[Any]):
    """Writes lines to standard error, above the live display where its `console` is there."""

    console: ClassVar[Any] = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, which the display must not break: it may hold a command to be pasted."""
        if self.console is None:
            super().emit(record)
        else:
            line = self.format(record)
            self.console.print(line, soft_wrap=True, markup=False, highlight=False, emoji=False)


class Progress:
    """Shows a run's figures while it goes on; `tick` is called several times a second."""

    def __init__(self, figures: CrawlFigures, *, live: bool) -> None:
        self._figures = figures
        self._began = time.monotonic()
        self._next_line = self._began + LINE_EVERY
        self._live: Any = _live_display() if live else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.add_task("", **self._fields())
            self._live.start()
            _Lines.console = self._live.console
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            _Lines.console = None
            self._live.stop()

    def tick(self) -> None:
        """Draw the display, or log a line where a minute has passed."""
        if self._live is not None:
            self._live.update(self._live.task_ids[0], **self._fields())
        elif time.monotonic() >= self._next_line:
            self._next_line += LINE_EVERY
            LOG.info("%s", self._line())

    def _fields(self) -> dict[str, Any]:
        figures = self._figures
        spent = figures.spent_before + figures.sent
        return {
            "total": figures.total,
            "completed": figures.ended,
            "rows": figures.rows,
            "credits": f"{spent}" if figures.budget is None else f"{spent} of {figures.budget}",
            "spent": spent,
            "rate": figures.sent / self._elapsed(),
        }

    def _elapsed(self) -> float:
        return max(time.monotonic() - self._began, 1e-6)

    def _line(self) -> str:
        f, fields = self._figures, self._fields()
        remaining = ""
        if f.ended:
            remaining = f", about {_duration((f.total - f.ended) * self._elapsed() / f.ended)} left"
        return (
            f"sellers {f.ended}/{f.total}, pages {f.pages}, rows {f.rows}, "
            f"credits {fields['credits']}, {fields['rate']:.2f} requests/s{remaining}"
        )


def _live_display() -> Any:
    """One line on the terminal: the narrower it is, the less it says."""
    from rich.console import Console  # noqa: PLC0415 - a terminal is rare under cron
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Display  # noqa: PLC0415
    from rich.table import Column  # noqa: PLC0415

    def text(form: str) -> TextColumn:
        return TextColumn(form, table_column=Column(no_wrap=True))

    console = Console(stderr=True)
    spent = "spent" if console.width < _MEDIUM else "credits"
    columns: list[ProgressColumn] = [MofNCompleteColumn(table_column=Column(no_wrap=True))]
    columns += [text("sellers")] if console.width >= _MEDIUM else []
    if console.width >= _WIDE:
        columns += [BarColumn(bar_width=None), text("{task.fields[rows]} rows")]
    columns += [text(f"{{task.fields[{spent}]}} credits"), text("{task.fields[rate]:.1f}/s")]
    columns += [TimeRemainingColumn(table_column=Column(no_wrap=True)), text("left")]
    return Display(*columns, console=console, expand=True, transient=True, redirect_stderr=False)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
