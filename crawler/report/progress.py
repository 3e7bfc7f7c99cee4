"""What a run prints: a live display on a terminal, a line a minute under cron, all on standard error."""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, Self

import orjson

LOG = logging.getLogger("crawler")
LINE_EVERY = 60.0


class Figures(Protocol):
    """What a progress display shows; read whenever it is drawn."""

    total: int
    ended: int
    pages: int
    rows: int
    budget: int | None
    spent_before: int

    @property
    def sent(self) -> int:
        """Requests sent so far."""


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            # A file's name need not be UTF-8.
            "message": record.getMessage().encode("utf-8", "backslashreplace").decode(),
        }
        return orjson.dumps(told).decode()


def set_up_logging(form: str, *, quiet: bool) -> None:
    """Send log lines to standard error, in text or JSON; `quiet` leaves warnings and errors."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    handler.setFormatter(_JsonLines() if form == "json" else text)
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.WARNING if quiet else logging.INFO)
    LOG.propagate = False


class Progress:
    """Shows a run's figures while it goes on; `tick` is called several times a second."""

    def __init__(self, figures: Figures, *, live: bool) -> None:
        self._figures = figures
        self._live: Any = None
        self._wants_live = live
        self._began = time.monotonic()
        self._next_line = self._began + LINE_EVERY

    def __enter__(self) -> Self:
        if self._wants_live:
            from rich.console import Console  # noqa: PLC0415 - a terminal is rare under cron
            from rich.live import Live  # noqa: PLC0415

            self._live = Live(console=Console(stderr=True), refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tick(self) -> None:
        """Draw the display, or log a line where a minute has passed."""
        if self._live is not None:
            self._live.update(self._drawn())
        elif time.monotonic() >= self._next_line:
            self._next_line += LINE_EVERY
            LOG.info("%s", self._line())

    def _drawn(self) -> Any:
        from rich.console import Group  # noqa: PLC0415 - a terminal is rare under cron
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        return Group(ProgressBar(max(1, self._figures.total), self._figures.ended), Text(self._line()))

    def _line(self) -> str:
        f = self._figures
        elapsed = max(time.monotonic() - self._began, 1e-6)
        spent = f.spent_before + f.sent
        budget = "" if f.budget is None else f" of {f.budget}"
        left = (f.total - f.ended) * elapsed / f.ended if f.ended else None
        remaining = "" if left is None else f", about {_duration(left)} left"
        return (
            f"sellers {f.ended}/{f.total}, pages {f.pages}, rows {f.rows}, "
            f"credits {spent}{budget}, {f.sent / elapsed:.2f} requests/s{remaining}"
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
