"""The past nights as the ledger knows them: one line a crawl date, whatever number of runs it took."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from crawler.exit_codes import IMPLAUSIBLE, verdict_of
from crawler.report.page_facts import PastNight
from crawler.store.layout import RunFolder
from crawler.store.ledger_records import RunRecord
from crawler.store.lock import Holder

_CHECK, _ACCEPTED = "check --online", "implausible, accepted"
_PLAUSIBLE = "plausible"


def past_nights(runs: Sequence[RunRecord], holder: Holder | None, now: datetime) -> list[PastNight]:
    """The nights of these runs, the latest date first; the latest run of each comes first in `runs`."""
    by_date: dict[str, list[RunRecord]] = {}
    for run in runs:
        by_date.setdefault(run.crawl_date, []).append(run)
    nights = (_night(day, by_date[day], holder, now) for day in sorted(by_date, reverse=True))
    return [night for night in nights if night is not None]


def _night(day: str, runs: Sequence[RunRecord], holder: Holder | None, now: datetime) -> PastNight | None:
    crawls = [run for run in runs if not run.is_check]
    if not crawls:
        return None
    latest = crawls[0]
    minutes = [took for run in crawls if (took := minutes_of(run, holder, now)) is not None]
    return PastNight(
        crawl_date=day,
        verdict=verdict_in_words(latest, holder),
        state=state_of(latest, holder),
        exit_code=latest.exit_code,
        rows=latest.rows,
        sellers=latest.sellers,
        complete=latest.complete,
        failed=latest.failed,
        credits=sum(run.reserved for run in runs),
        minutes=round(sum(minutes), 1) if minutes else None,
        runs=len(crawls),
        latest_run=latest.run_id,
    )


def judged(night: PastNight, data: Path) -> PastNight:
    """The night with its report's verdict on whether it can be believed, as long as the report is kept."""
    plausibility = None
    with suppress(OSError, ValueError, LookupError, TypeError):
        report = orjson.loads(RunFolder(data, night.latest_run).report.read_bytes())
        plausibility = report["plausibility"]["verdict"]
    if not isinstance(plausibility, str):
        return night
    is_said = plausibility == _PLAUSIBLE or night.exit_code == IMPLAUSIBLE.number
    verdict = night.verdict if is_said else f"{night.verdict}, {plausibility}"
    return replace(night, plausibility=plausibility, verdict=verdict)


def state_of(run: RunRecord, holder: Holder | None) -> str:
    """Whether a run is finished, running or killed."""
    if run.finished_at is not None:
        return "finished"
    return "running" if holder is not None and holder.run_id == run.run_id else "killed"


def verdict_in_words(run: RunRecord, holder: Holder | None) -> str:
    """How a run ended, for people."""
    if run.is_check:
        return _CHECK
    if run.is_accepted:
        return _ACCEPTED
    return state_of(run, holder) if run.exit_code is None else verdict_of(run.exit_code)


def minutes_of(run: RunRecord, holder: Holder | None, now: datetime) -> float | None:
    """How long a run took, or has taken so far; None of one that was killed."""
    state = state_of(run, holder)
    if state == "killed":
        return None
    end = now if run.finished_at is None else _moment(run.finished_at)
    return round((end - _moment(run.started_at)).total_seconds() / 60, 1)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
