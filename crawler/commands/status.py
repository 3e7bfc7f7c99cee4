"""`crawler status`: past runs, credits spent, what is unfinished."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import orjson

from crawler.store.ledger import Ledger


def status_command(data: Path, *, as_json: bool) -> int:
    """Print the runs under a data folder, the latest first."""
    if not (data / "state" / "ledger.sqlite").exists():
        sys.stdout.write("[]\n" if as_json else f"no runs under {data}\n")
        return 0
    with Ledger(data) as ledger:
        runs, open_dates = ledger.runs(), sorted(ledger.unfinished())
    if as_json:
        told = {"runs": [asdict(run) for run in runs], "unfinished": open_dates}
        sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")
        return 0
    sys.stdout.write(f"{'run':34}  {'crawl date':10}  {'credits':>8}  {'exit':>4}  finished\n")
    for run in runs:
        code = "-" if run.exit_code is None else run.exit_code
        ended = run.finished_at or "killed, or still running"
        sys.stdout.write(f"{run.run_id:34}  {run.crawl_date:10}  {run.reserved:8}  {code:>4}  {ended}\n")
    sys.stdout.write(f"credits in all: {sum(run.reserved for run in runs)}\n")
    sys.stdout.write(f"unfinished: {', '.join(open_dates) or 'nothing'}\n")
    return 0
