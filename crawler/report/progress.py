"""How far a run is: a live display on a terminal, now and then a log line under cron."""

from __future__ import annotations

import time
from typing import Any, Self

from crawler import events
from crawler.ports import CrawlFigures
from crawler.report.log_lines import draw_on

LINE_EVERY_S = 60.0
_GROWTH = 1.1
"""How much further a run has come from one line to the next, at least: the longest has less than 100."""
_MEDIUM, _WIDE = 80, 110
"""Columns of a terminal from which on the budget is shown, and the bar."""


class Progress:
    """Shows a run's figures while it goes on; `tick` is called several times a second."""

    def __init__(self, figures: CrawlFigures, *, live: bool) -> None:
        self._figures = figures
        self._began = time.monotonic()
        self._line_at_s = LINE_EVERY_S
        self._live: Any = _live_display() if live else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.add_task("", **self._fields())
            self._live.start()
            draw_on(self._live.console)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            draw_on(None)
            self._live.stop()

    def tick(self) -> None:
        """Draw the display, or log a line: first each minute, then more and more seldom."""
        if self._live is not None:
            self._live.update(self._live.task_ids[0], **self._fields())
        elif (elapsed := self._elapsed()) >= self._line_at_s:
            self._line_at_s = max(self._line_at_s + LINE_EVERY_S, self._line_at_s * _GROWTH)
            self._log(elapsed)

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
            "workers": "" if figures.workers is None else f"{figures.workers}",
        }

    def _elapsed(self) -> float:
        return max(time.monotonic() - self._began, 1e-6)

    def _log(self, elapsed: float) -> None:
        f, fields = self._figures, self._fields()
        left = round((f.total - f.ended) * elapsed / f.ended) if f.ended else None
        progress = events.RUN_PROGRESS(
            ended=f.ended,
            sellers=f.total,
            failed=f.failed,
            failed_words=f" ({f.failed} failed)" if f.failed else "",
            pages=f.pages,
            rows=f.rows,
            credits=fields["spent"],
            budget=f.budget,
            credits_words=fields["credits"],
            qps=round(fields["rate"], 2),
            left_s=left,
            left_words="" if left is None else f", about {_duration(left)} left",
            workers_words="" if f.workers is None else f"; {f.workers}",
        )
        progress.log()


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
    columns += [text("{task.fields[workers]}")] if console.width >= _WIDE else []
    columns += [TimeRemainingColumn(table_column=Column(no_wrap=True)), text("left")]
    return Display(*columns, console=console, expand=True, transient=True, redirect_stderr=False)


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
