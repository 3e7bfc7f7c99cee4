"""`crawler status --watch`: follow a run from another terminal until it ends; it opens no journal."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson

from crawler.models.duration import shown_duration
from crawler.nightly.past_nights import verdict_in_words
from crawler.ports import WorkerFigures
from crawler.store.files import output_errors
from crawler.store.layout import Layout, RunFolder, require_data_folder
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import RunRecord
from crawler.store.lock import Holder, holder_of
from crawler.store.progress_file import progress_of
from crawler.store.sqlite import state_errors

_LOOK_EVERY_S = 0.5
_LINE_EVERY_S = 10.0
"""How often a line is written where there is no terminal to write over."""


def watch_command(data: Path, *, as_json: bool) -> int:
    """Show what the run under way does until it ends, then how it ended; without one, how the last did; 0."""
    require_data_folder(data)
    display = _Display(as_json=as_json)
    # Who has seen enough leaves so: nothing is under way here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _watch(data, display)
    except KeyboardInterrupt:
        sys.stdout.write("\n")
    return 0


def _watch(data: Path, display: _Display) -> None:
    holder = _holder_of(data)
    if holder is None:
        display.write(_ending(data, None), prefix="no run is on; the last one: ")
    while holder is not None:
        followed = holder
        while holder is not None and holder.run_id == followed.run_id:
            display.show(followed, progress_of(data, followed))
            time.sleep(_LOOK_EVERY_S)
            holder = _holder_of(data)
        # A run that goes on with an earlier date is followed by another one at once.
        display.write(_ending(data, followed))


def progress_in_words(progress: Mapping[str, Any]) -> str:
    """What a run has done so far, on one line."""
    words = [f"crawl date {progress.get('crawl_date')}: {progress.get('phase')}"]
    if sellers := progress.get("sellers"):
        credit = progress["credits"]
        budget = "" if credit["budget"] is None else f" of {credit['budget']}"
        words += [
            f"sellers {sellers['ended']}/{sellers['total']}",
            f"rows {progress['rows']}",
            f"credits {credit['spent_for_date']}{budget}",
        ]
        if progress["requests_per_second"] is not None:
            words.append(f"{progress['requests_per_second']:.1f} requests/s")
        if workers := progress.get("workers"):
            words.append(str(WorkerFigures(**workers)))
        if progress["phase"] == "crawling" and progress["seconds_left"] is not None:
            words.append(f"about {shown_duration(timedelta(seconds=progress['seconds_left']))} left")
    return ", ".join(words)


class _Display:
    """Writes over its line on a terminal; elsewhere it writes lines, and few of them."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._is_live = sys.stdout.isatty() and not as_json
        self._next_line = 0.0
        self._last = ""

    def show(self, holder: Holder, progress: Mapping[str, Any] | None) -> None:
        if self._as_json:
            text = orjson.dumps({"running": holder, "progress": progress}).decode()
        else:
            text = str(holder) if progress is None else progress_in_words(progress)
        if self._is_live:
            columns = shutil.get_terminal_size().columns
            sys.stdout.write(f"\r{text[: columns - 1]}\x1b[K")
        elif text == self._last or time.monotonic() < self._next_line:
            return
        else:
            sys.stdout.write(f"{text}\n")
            # The first figures are not waited for.
            self._next_line = 0.0 if progress is None else time.monotonic() + _LINE_EVERY_S
        self._last = text
        sys.stdout.flush()

    def write(self, ending: tuple[str, dict[str, Any] | None], prefix: str = "") -> None:
        words, figures = ending
        if self._as_json:
            text = orjson.dumps({"running": None, "ended": figures}).decode()
        else:
            text = f"{prefix}{words}"
        if self._is_live and self._last:
            sys.stdout.write("\r\x1b[K")
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        self._next_line = 0.0


def _holder_of(data: Path) -> Holder | None:
    with output_errors(str(Layout(data).lock)):
        return holder_of(data)


def _ending(data: Path, holder: Holder | None) -> tuple[str, dict[str, Any] | None]:
    """How a run ended, in words and with `--json`'s keys; without a holder, the last run."""
    run = _run_of(data, holder)
    if run is None:
        return "none" if holder is None else f"{holder} has ended; the ledger has no such run", None
    verdict = verdict_in_words(run, None)
    words = f"run {run.run_id}, crawl date {run.crawl_date}: {verdict}"
    if run.exit_code is not None:
        words += f", exit code {run.exit_code}"
    if run.sellers is not None:
        words += f"; {run.complete} of {run.sellers} sellers complete, {run.failed} failed, {run.rows} rows"
    words += f"; {run.reserved} credits"
    report = RunFolder(data, run.run_id).page
    words += f"; {report}" if report.exists() else ""
    return words, {**asdict(run), "verdict": verdict}


def _run_of(data: Path, holder: Holder | None) -> RunRecord | None:
    if not Layout(data).ledger.exists():
        return None
    with state_errors(Layout(data).state), Ledger(data, only_read=True) as ledger:
        runs = [run for run in ledger.runs() if not run.is_check]
    return next((run for run in runs if holder is None or run.run_id == holder.run_id), None)
