"""Making the pages: that of a run, and the index of all nights. Open it to make them at another time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from crawler.history.night_figures import night_figures
from crawler.history.page_reading import page_facts
from crawler.report.index_page import as_index
from crawler.report.page import as_page
from crawler.report.trends import NIGHTS
from crawler.store.files import write_whole
from crawler.store.layout import Layout, RunFolder, runs_with_page
from crawler.store.ledger_records import RunRecord


def write_pages(data: Path, run_id: str, report: Mapping[str, Any], runs: Sequence[RunRecord]) -> None:
    """Write a run's page, and the index of all nights with it. `runs`: all of the ledger, latest first."""
    folder, with_page = RunFolder(data, run_id), runs_with_page(data) | {run_id}
    nights = night_figures(runs, with_page)
    own = next((at for at, night in enumerate(nights) if run_id in night.runs), None)
    shown = [] if own is None else nights[max(0, own - NIGHTS) : own + 1]
    facts = page_facts(data, date.fromisoformat(report["crawl_date"]), shown, folder.series)
    write_whole(folder.page, as_page(report, facts).encode())
    links = {run: RunFolder(data, run).page.relative_to(Layout(data).runs).as_posix() for run in with_page}
    write_whole(Layout(data).index, as_index(nights, links).encode())
