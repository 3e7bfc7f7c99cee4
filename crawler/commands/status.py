"""`crawler status`: past runs, credits spent, what the month will cost, what is unfinished."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from crawler.commands.watching import progress_in_words
from crawler.exit_codes import IMPLAUSIBLE
from crawler.nightly.dates import DateRule, what_is_left
from crawler.nightly.past_nights import minutes_of, noted_every, past_nights, state_of, verdict_in_words
from crawler.nightly.shell import Commands, key_variables
from crawler.options import CreditSettings, Settings
from crawler.report.page_facts import PastNight
from crawler.rules.budget import Forecast, forecast, month_begin, pace_since, utc_day
from crawler.rules.nights import Gap, gaps
from crawler.settings.load import Loaded
from crawler.settings.resume import flags_of
from crawler.store.files import output_errors
from crawler.store.layout import JournalFiles, Layout, require_data_folder
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import DateRecord, RunRecord
from crawler.store.lock import Holder, holder_of
from crawler.store.progress_file import progress_of
from crawler.store.sqlite import state_errors

_NIGHT_ROW = (
    "{crawl_date:10}  {verdict:{width}}  {rows:>9}  {sellers:>13}  {failed:>6}  {credits:>8}  {minutes:>7}  "
    "{latest_run}\n"
)


_NOTHING: dict[str, Any] = {
    "nights": [],
    "nights_in_all": 0,
    "gaps": [],
    "runs": [],
    "runs_in_all": 0,
    "unfinished": [],
    "dates": [],
    "running": None,
    "progress": None,
    "copies": {},
}
"""What `--json` says where no run ever began."""


def status_command(loaded: Loaded, *, as_json: bool, limit: int, now: datetime | None = None) -> int:
    """Print the last `limit` nights, the latest first, the month, and what is unfinished; 0.

    Raises `InputError` where it is no data folder.
    """
    settings = loaded.settings
    data, now = settings.run.data, now or datetime.now(UTC)
    require_data_folder(data)
    with output_errors(str(Layout(data).lock)):
        holder = holder_of(data)
    if not Layout(data).ledger.exists():
        sys.stdout.write(_as_json(_NOTHING) if as_json else f"no runs under {data}\n")
        return 0
    with state_errors(Layout(data).state), Ledger(data, only_read=True) as ledger:
        runs, days = ledger.runs(), ledger.dates()
        month = month_of(ledger, settings.credits, now)
        rule = DateRule.of(settings.run, now)
        listed = [d for d in days if d.leaves_work or d.refused or d.closed_at or _logs(data, d)][:limit]
        commands = Commands(data, flags_of(loaded, ["run.data"]), key_variables(settings.api.key_file))
        keys = _keys(ledger, settings, now)
        dates = [_date_line(ledger, rule, day, holder, commands) for day in listed]
    nights = past_nights(runs, holder, now)
    today = now.astimezone(ZoneInfo(settings.run.timezone)).date()
    begun = (date.fromisoformat(night.crawl_date) for night in nights)
    missed = gaps(begun, settings.run.every, today, noted_every(runs))
    listed_nights = nights[:limit]
    progress, copies = progress_of(data, holder), _copies_left(settings)
    if as_json:
        figures = {
            "nights": listed_nights,
            "nights_in_all": len(nights),
            "gaps": missed,
            "runs": [_run_line(run, holder, now) for run in runs[:limit]],
            "runs_in_all": len(runs),
            "unfinished": sorted(line.crawl_date for line in dates if line.state in {"unfinished", "held"}),
            "dates": dates,
            "running": holder,
            "progress": progress,
            "month": month,
            "copies": copies,
            **({"keys": keys} if keys else {}),
        }
        sys.stdout.write(_as_json(figures))
        return 0
    _print_nights(listed_nights, missed)
    if len(nights) > limit:
        sys.stdout.write(f"{len(nights) - limit} earlier nights are not shown (--limit {len(nights)} does)\n")
    _print_gaps(missed, settings.run.every)
    sys.stdout.write(f"credits in all: {sum(run.reserved for run in runs)}\n{_in_words(month)}\n")
    for key in keys:
        sys.stdout.write(f"key {key}\n")
    if holder is not None:
        so_far = "" if progress is None else f", {progress_in_words(progress)}"
        sys.stdout.write(f"running: {holder}{so_far}\n")
    _print_dates(dates)
    for place, left in copies.items():
        words = f"{len(left)} of what is published here are not there; copy them by: {commands.upload()}"
        sys.stdout.write(f"copies: {place}: {words if left else 'all that is published here'}\n")
    return 0


def _copies_left(settings: Settings) -> dict[str, list[str]]:
    """What is not copied yet to each place, as far as is known here."""
    if not settings.output.is_copied:
        return {}
    from crawler.copies.parts import published_parts  # noqa: PLC0415 - most folders are copied nowhere
    from crawler.copies.places import places_of  # noqa: PLC0415 - as above
    from crawler.copies.remembered import Remembered  # noqa: PLC0415 - as above

    parts, remembered = published_parts(settings.run.data)[0], Remembered(settings.run.data)
    return {
        str(place): [p.name for p in remembered.left(place, parts)] for place in places_of(settings.output)
    }


def _as_json(figures: dict[str, Any]) -> str:
    return orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode() + "\n"


def _run_line(run: RunRecord, holder: Holder | None, now: datetime) -> dict[str, Any]:
    """A run with `--json`'s keys; `verdict` is for people."""
    return {
        **asdict(run),
        "minutes": minutes_of(run, holder, now),
        "state": state_of(run, holder),
        "verdict": verdict_in_words(run, holder),
    }


@dataclass(frozen=True, slots=True)
class _DateLine:
    """A crawl date with `--json`'s keys; `go_on`, `close` and `accept` are commands.

    `worker_logs`: what workers of a killed run have left, which each of these commands takes in.
    """

    crawl_date: str
    state: str
    reason: str
    failed: int | None
    refused: int | None
    worker_logs: int
    go_on: str | None
    close: str | None
    accept: str | None


def _date_line(
    ledger: Ledger, rule: DateRule, day: DateRecord, holder: Holder | None, commands: Commands
) -> _DateLine:
    reason, is_closed = what_is_left(day), rule.is_closed(day)
    if holder is not None and holder.run_id == day.latest.run_id:
        state, reason = "running", ""
    elif is_closed and (day.leaves_work or day.closed_at is not None):
        state, reason = "closed", "; ".join(filter(None, (rule.why_closed(day), reason)))
    else:
        state = "unfinished" if day.leaves_work else "finished"
    go_on = close = accept = None
    reasons = _held_for(commands.data, day) if state != "running" else []
    if reasons:
        state, reason = "held", f"{IMPLAUSIBLE.verdict}: {' '.join(reasons)}"
        accept = commands.accept(day.crawl_date)
    logs = 0 if state == "running" else _logs(commands.data, day)
    if state != "running" and (day.leaves_work or day.refused or logs):
        extra = ["--late"] if is_closed else []
        extra += ["--retry-failed"] if day.refused and not day.retriable else []
        go_on = commands.run(ledger, day.crawl_date, extra=extra)
    if state in {"unfinished", "held"}:
        close = commands.close(day.crawl_date)
    failed, refused = day.latest.failed, day.latest.refused
    return _DateLine(day.crawl_date.isoformat(), state, reason, failed, refused, logs, go_on, close, accept)


def _logs(data: Path, day: DateRecord) -> int:
    """How many logs of workers the journal of a date lacks."""
    return len(JournalFiles(Layout(data).latest_journal(day.crawl_date)).attempt_logs())


def _held_for(data: Path, day: DateRecord) -> list[str]:
    """Why a date's night is held back; nothing where it is not."""
    if day.is_published:
        return []
    from crawler.store.held import held_of  # noqa: PLC0415 - heavy

    held = held_of(data, day.crawl_date)
    return [] if held is None else held.reasons


def month_of(ledger: Ledger, limits: CreditSettings, now: datetime) -> Forecast:
    """What the current billing month has cost and will cost, as the ledger has it."""
    today = utc_day(now)
    began = month_begin(today, limits.month_begins)
    since = pace_since(today, began, ledger.first_day() or today)
    a_day = ledger.spent_since(since, today) / ((today - since).days + 1)
    spent = ledger.spent_since(began, today)
    return forecast(today, limits.month_begins, limits.monthly_budget, spent, a_day)


@dataclass(frozen=True, slots=True)
class _KeyLine:
    """What one of several keys has cost, with `--json`'s keys; its budgets are those of the settings now."""

    name: str
    spent_for_day: int
    daily_budget: int | None
    spent_for_month: int
    monthly_budget: int | None

    def __str__(self) -> str:
        day = "" if self.daily_budget is None else f" of {self.daily_budget}"
        month = "" if self.monthly_budget is None else f" of {self.monthly_budget}"
        spent = f"{self.spent_for_day}{day} credits spent today, {self.spent_for_month}{month} in the month"
        return f"{self.name}: {spent}"


def _keys(ledger: Ledger, settings: Settings, now: datetime) -> list[_KeyLine]:
    """Those of the settings, and those that the month has cost anything by; none where there is one key."""
    today = utc_day(now)
    began = month_begin(today, settings.credits.month_begins)
    named = {key.name: key for key in settings.api.keys or ()}
    earlier = [name for name in ledger.key_names() if ledger.spent_since(began, today, name)]
    lines = []
    for name in dict.fromkeys((*named, *earlier)):
        spent, limits = [ledger.spent_since(since, today, name) for since in (today, began)], named.get(name)
        daily, monthly = (None, None) if limits is None else (limits.daily_budget, limits.monthly_budget)
        lines.append(_KeyLine(name, spent[0], daily, spent[1], monthly))
    return lines


def _print_nights(nights: Sequence[PastNight], missed: Sequence[Gap]) -> None:
    """The nights as a table, the latest first, and among them the dates on which nothing ran."""
    width = max((len(night.verdict) for night in nights), default=0)
    names = ("crawl_date", "verdict", "rows", "sellers", "failed", "credits", "minutes", "latest_run")
    heads = {name: name.replace("_", " ") for name in names}
    sys.stdout.write(_NIGHT_ROW.format(**heads, width=max(width, len("verdict"))))
    left = list(missed)
    for night in nights:
        while left and left[-1].last.isoformat() > night.crawl_date:
            gap = left.pop()
            dates = "" if gap.dates == 1 else f" on {gap.dates} dates"
            sys.stdout.write(f"{gap}  nothing ran{dates}\n")
        cells = {name: "-" if value is None else value for name, value in asdict(night).items()}
        cells["sellers"] = "-" if night.sellers is None else f"{night.complete}/{night.sellers}"
        sys.stdout.write(_NIGHT_ROW.format(**cells, width=max(width, len("verdict"))))


def _print_gaps(missed: Sequence[Gap], every: int) -> None:
    if missed:
        dates, last = sum(gap.dates for gap in missed), missed[-1].last
        wanted = "daily" if every == 1 else f"every {every} days"
        sys.stdout.write(f"gaps: {dates} wanted dates without a run, last {last} (run.every: {wanted})\n")


def _print_dates(lines: Sequence[_DateLine]) -> None:
    """What is unfinished; of what is closed, or finished with refused sellers, the latest date."""
    unfinished = [line for line in lines if line.state in {"unfinished", "held"}]
    closed, finished = ([line for line in lines if line.state == state] for state in ("closed", "finished"))
    names = ", ".join(line.crawl_date for line in reversed(unfinished))
    sys.stdout.write(f"unfinished: {names or 'nothing'}\n")
    for line in (*unfinished, *closed[:1], *finished[:1]):
        text = f"{line.crawl_date} {line.state}"
        text += f" ({line.reason})" if line.reason else ""
        text += f"; {line.worker_logs} logs of workers wait to be taken in" if line.worker_logs else ""
        text += f"; publish it as it is by: {line.accept}" if line.accept else ""
        text += f"; end it as it is by: {line.close}" if line.close else ""
        text += f"; go on with it by: {line.go_on}" if line.go_on else ""
        sys.stdout.write(f"{text}\n")


def _in_words(month: Forecast) -> str:
    line = f"month from {month.begins}: {month.spent} credits spent"
    if month.budget is not None:
        line += f" of {month.budget}, {month.left} left"
    line += f"; {month.forecast} by {month.ends_before} at this pace"
    if month.holds is not None:
        line += ": the budget will hold" if month.holds else ": the budget will not hold"
    return line
