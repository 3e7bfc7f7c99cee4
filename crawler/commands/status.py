"""`crawler status`: past runs, credits spent, what the month will cost, what is unfinished."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import orjson

from crawler.rules.budget import Forecast, forecast, month_begin, pace_since, utc_day
from crawler.settings import CreditSettings
from crawler.store.ledger import Ledger, RunRecord


def status_command(
    data: Path, *, as_json: bool, limits: CreditSettings | None = None, now: datetime | None = None
) -> int:
    """Print the runs under a data folder, the latest first, and with `limits` the current billing month."""
    if not (data / "state" / "ledger.sqlite").exists():
        sys.stdout.write('{"runs": [], "unfinished": []}\n' if as_json else f"no runs under {data}\n")
        return 0
    with Ledger(data, only_read=True) as ledger:
        runs, open_dates = ledger.runs(), sorted(ledger.unfinished())
        month = None if limits is None else month_of(ledger, limits, now or datetime.now(UTC))
    if as_json:
        told = {"runs": [asdict(run) for run in runs], "unfinished": open_dates}
        if month is not None:
            told["month"] = asdict(month)
        sys.stdout.write(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n")
        return 0
    _print_runs(runs)
    if month is not None:
        sys.stdout.write(_in_words(month))
    sys.stdout.write(f"unfinished: {', '.join(open_dates) or 'nothing'}\n")
    return 0


def month_of(ledger: Ledger, limits: CreditSettings, now: datetime) -> Forecast:
    """What the current billing month has cost and will cost, as the ledger has it."""
    today = utc_day(now)
    began = month_begin(today, limits.month_begins)
    since = pace_since(today, began, ledger.first_day() or today)
    a_day = ledger.spent_since(since) / ((today - since).days + 1)
    spent = ledger.spent_since(began)
    return forecast(today, limits.month_begins, limits.monthly_budget, spent, a_day)


def _print_runs(runs: Sequence[RunRecord]) -> None:
    sys.stdout.write(f"{'run':34}  {'crawl date':10}  {'credits':>8}  {'exit':>4}  finished\n")
    for run in runs:
        code = "-" if run.exit_code is None else run.exit_code
        ended = run.finished_at or "killed, or still running"
        sys.stdout.write(f"{run.run_id:34}  {run.crawl_date:10}  {run.reserved:8}  {code:>4}  {ended}\n")
    sys.stdout.write(f"credits in all: {sum(run.reserved for run in runs)}\n")


def _in_words(month: Forecast) -> str:
    told = f"month from {month.begins}: {month.spent} credits spent"
    if month.budget is not None:
        told += f" of {month.budget}, {month.left} left"
    told += f"; {month.forecast} by {month.ends_before} at this pace"
    if month.holds is not None:
        told += ": the budget will hold" if month.holds else ": the budget will not hold"
    return told + "\n"
