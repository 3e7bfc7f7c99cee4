"""`crawler status`: past runs, credits spent, what the month will cost, what is unfinished."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from crawler.exit_codes import verdict_of
from crawler.models.errors import InputError
from crawler.nightly.dates import DateRule, close_command, what_is_left
from crawler.options import CreditSettings
from crawler.rules.budget import Forecast, forecast, month_begin, pace_since, utc_day
from crawler.store.files import output_errors
from crawler.store.layout import Layout
from crawler.store.ledger import DateRecord, Ledger, RunRecord
from crawler.store.lock import Holder, holder_of
from crawler.store.sqlite import state_errors

_LATE_AFTER = 36.0
_RUNS_SHOWN = 20


def require_data_folder(data: Path) -> None:
    """Raise `InputError` where a folder holds nothing of this program's."""
    if not Layout(data).state.is_dir():
        what = "has no state/ in it, so no run wrote it" if data.is_dir() else "is no folder"
        raise InputError(f"no data folder: {data} {what}; name the one that a run writes with --data")


def status_command(
    data: Path,
    *,
    as_json: bool,
    limits: CreditSettings | None = None,
    now: datetime | None = None,
    late_after: float = _LATE_AFTER,
    limit: int = _RUNS_SHOWN,
    place: Sequence[str] = (),
) -> int:
    """Print the last `limit` runs under a data folder, the latest first, and what is unfinished.

    With `limits` the current billing month as well. `place` is the flags that lead to the folder, for the
    commands that are printed. Raises `InputError` where it is no data folder.
    """
    require_data_folder(data)
    with output_errors(str(Layout(data).lock)):
        holder = holder_of(data)
    if not Layout(data).ledger.exists():
        empty = {"runs": [], "runs_in_all": 0, "unfinished": [], "dates": [], "running": None}
        sys.stdout.write(_as_json(empty) if as_json else f"no runs under {data}\n")
        return 0
    now = now or datetime.now(UTC)
    with state_errors(Layout(data).state), Ledger(data, only_read=True) as ledger:
        runs, days = ledger.runs(), ledger.dates()
        month = None if limits is None else month_of(ledger, limits, now)
        rule = DateRule(now, late_after)
        listed = [day for day in days if day.leaves_work or day.refused or day.closed_at][:limit]
        dates = [_date_figures(ledger, data, rule, day, holder, place) for day in listed]
    shown = [_run_figures(run, holder, now) for run in runs[:limit]]
    if as_json:
        figures: dict[str, Any] = {
            "runs": shown,
            "runs_in_all": len(runs),
            "unfinished": sorted(d["crawl_date"] for d in dates if d["state"] == "unfinished"),
            "dates": dates,
            "running": None if holder is None else asdict(holder),
        }
        if month is not None:
            figures["month"] = asdict(month)
        sys.stdout.write(_as_json(figures))
        return 0
    _print_runs(shown)
    if len(runs) > len(shown):
        sys.stdout.write(f"{len(runs) - len(shown)} earlier runs are not shown (--limit {len(runs)} does)\n")
    sys.stdout.write(f"credits in all: {sum(run.reserved for run in runs)}\n")
    if month is not None:
        sys.stdout.write(_in_words(month))
    if holder is not None:
        sys.stdout.write(f"running: {holder}\n")
    _print_dates(dates)
    return 0


def _as_json(figures: dict[str, Any]) -> str:
    return orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode() + "\n"


def _run_figures(run: RunRecord, holder: Holder | None, now: datetime) -> dict[str, Any]:
    """A run for programs; `state` is finished, running or killed, `verdict` its exit code in words."""
    state = "finished"
    if run.finished_at is None:
        state = "running" if holder is not None and holder.run_id == run.run_id else "killed"
    end = None if state == "killed" else now if run.finished_at is None else _moment(run.finished_at)
    minutes = None if end is None else round((end - _moment(run.started_at)).total_seconds() / 60, 1)
    verdict = state
    if run.is_check:
        verdict = "check --online"
    elif run.exit_code is not None:
        verdict = verdict_of(run.exit_code)
    return {**asdict(run), "minutes": minutes, "state": state, "verdict": verdict}


def _date_figures(
    ledger: Ledger, data: Path, rule: DateRule, day: DateRecord, holder: Holder | None, place: Sequence[str]
) -> dict[str, Any]:
    """A crawl date for programs: its state, its failed sellers, and the command that goes on with it."""
    extra = ["--late"] if rule.is_closed(day) else []
    reason = what_is_left(day)
    if holder is not None and holder.run_id == day.latest.run_id:
        state, reason = "running", ""
    elif rule.is_closed(day) and (day.leaves_work or day.closed_at is not None):
        state, reason = "closed", "; ".join(filter(None, (rule.why_closed(day), reason)))
    elif day.leaves_work:
        state = "unfinished"
    else:
        state = "finished"
    if day.refused and not day.retriable:
        extra = [*extra, "--retry-failed"]
    command = None
    if state != "running" and (day.leaves_work or day.refused):
        from crawler.nightly.going_on import run_command  # noqa: PLC0415 - heavy

        command = run_command(ledger, data, day.crawl_date, place, extra=extra)
    return {
        "crawl_date": day.crawl_date.isoformat(),
        "state": state,
        "reason": reason,
        "failed": day.latest.failed,
        "refused": day.latest.refused,
        "go_on": command,
        "close": close_command(day.crawl_date, place) if state == "unfinished" else None,
    }


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def month_of(ledger: Ledger, limits: CreditSettings, now: datetime) -> Forecast:
    """What the current billing month has cost and will cost, as the ledger has it."""
    today = utc_day(now)
    began = month_begin(today, limits.month_begins)
    since = pace_since(today, began, ledger.first_day() or today)
    a_day = ledger.spent_since(since, today) / ((today - since).days + 1)
    spent = ledger.spent_since(began, today)
    return forecast(today, limits.month_begins, limits.monthly_budget, spent, a_day)


def _print_runs(runs: Sequence[dict[str, Any]]) -> None:
    sys.stdout.write(
        f"{'run':25}  {'crawl date':10}  {'credits':>8}  {'rows':>9}  {'sellers':>13}  {'failed':>6}  "
        f"{'minutes':>7}  {'exit':>4}  verdict\n"
    )
    for run in runs:
        sellers = "-" if run["sellers"] is None else f"{run['complete']}/{run['sellers']}"
        sys.stdout.write(
            f"{run['run_id']:25}  {run['crawl_date']:10}  {run['reserved']:8}  {_or_dash(run['rows']):>9}  "
            f"{sellers:>13}  {_or_dash(run['failed']):>6}  {_or_dash(run['minutes']):>7}  "
            f"{_or_dash(run['exit_code']):>4}  {run['verdict']}\n"
        )


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _print_dates(dates: Sequence[dict[str, Any]]) -> None:
    """What is unfinished; of what is closed, or finished with refused sellers, the latest date."""
    by_state: dict[str, list[dict[str, Any]]] = {}
    for figures in dates:
        by_state.setdefault(figures["state"], []).append(figures)
    unfinished = by_state.get("unfinished", [])
    sys.stdout.write(f"unfinished: {', '.join(d['crawl_date'] for d in reversed(unfinished)) or 'nothing'}\n")
    for figures in (*unfinished, *by_state.get("closed", [])[:1], *by_state.get("finished", [])[:1]):
        line = f"{figures['crawl_date']} {figures['state']}"
        line += f" ({figures['reason']})" if figures["reason"] else ""
        line += f"; end it as it is by: {figures['close']}" if figures["close"] else ""
        line += f"; go on with it by: {figures['go_on']}" if figures["go_on"] else ""
        sys.stdout.write(f"{line}\n")


def _in_words(month: Forecast) -> str:
    line = f"month from {month.begins}: {month.spent} credits spent"
    if month.budget is not None:
        line += f" of {month.budget}, {month.left} left"
    line += f"; {month.forecast} by {month.ends_before} at this pace"
    if month.holds is not None:
        line += ": the budget will hold" if month.holds else ": the budget will not hold"
    return line + "\n"
