"""`crawler report`: the page of a run made again, and the index of all nights."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime

import orjson

from crawler.models.errors import InputError
from crawler.nightly.page_making import write_pages
from crawler.options import Settings
from crawler.store.files import output_errors
from crawler.store.layout import Layout, RunFolder, require_data_folder, runs_with_report
from crawler.store.ledger import Ledger
from crawler.store.lock import holder_of
from crawler.store.sqlite import state_errors

_RUN_ID = re.compile(r"[\w.-]+", re.ASCII)


def report_command(settings: Settings, run_id: str | None) -> int:
    """Make a run's page again, that of the latest where none is named, and print the paths; 0.

    Raises `InputError` where the run has no report, `OutputError` where pages cannot be written.
    """
    data = settings.run.data
    require_data_folder(data)
    there, holder = runs_with_report(data), holder_of(data)
    with state_errors(Layout(data).state), Ledger(data, only_read=True) as ledger:
        runs = ledger.runs()
    latest = next((run.run_id for run in runs if run.run_id in there), None)
    chosen = run_id or latest
    if chosen is None or chosen not in there or not _RUN_ID.fullmatch(chosen):
        which = "no run" if run_id is None else f"no run {run_id}"
        newest = "" if latest is None else f"; the latest is {latest}"
        raise InputError(
            f"{which} under {Layout(data).runs} has a report.json: they are kept for run.keep_days{newest}"
        )
    folder = RunFolder(data, chosen)
    try:
        report = orjson.loads(folder.report.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{folder.report} cannot be read: {error}") from None
    with output_errors(str(folder.page)):
        write_pages(data, report, runs, settings.run.every, datetime.now(UTC), holder)
    sys.stdout.write(f"{folder.page}\n{Layout(data).index}\n")
    return 0
