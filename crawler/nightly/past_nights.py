"""The past nights as the ledger knows them: one line a crawl date, whatever number of runs it took."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

from crawler.exit_codes import IMPLAUSIBLE, verdict_of
from crawler.report.page_facts import PastNight
from crawler.store.ledger_records import RunRecord
from crawler.store.lock import Holder

_CHECK, _ACCEPTED = "check --online", "implausible, accepted"
_PLAUSIBLE = "plausible"


def past_nights(runs: Sequence[RunRecord], holder: Holder | None, now: datetime) -> list[PastNight]:
    """The nights of these runs, the latest date first; the latest run of each comes first in `runs`."""
    by_date = runs_by_date(runs)
    return [_night(day, by_date[day], holder, now) for day in sorted(by_date, reverse=True)]


def runs_by_date(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """The runs of each crawl date that was crawled, in the order given, with those of checks."""
    by_date: dict[str, list[RunRecord]] = {}
    for run in runs:
        by_date.setdefault(run.crawl_date, []).append(run)
    return {day: each for day, each in by_date.items() if not all(run.is_check for run in each)}


def noted_every(runs: Sequence[RunRecord]) -> dict[date, int]:
    """How many days lay between wanted nights when a date was begun, for each date whose runs noted it."""
    noted = ((run.crawl_date, run.facts.every) for run in runs)
    return {date.fromisoformat(day): every for day, every in noted if every is not None}


def _night(day: str, runs: Sequence[RunRecord], holder: Holder | None, now: datetime) -> PastNight:
    crawls = [run for run in runs if not run.is_check]
    latest = crawls[0]
    minutes = [took for run in crawls if (took := minutes_of(run, holder, now)) is not None]
    return PastNight(
        crawl_date=day,
        verdict=_with_doubt(verdict_in_words(latest, holder), latest),
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
        plausibility=latest.facts.verdict,
        is_late=any(run.facts.is_late for run in crawls),
    )


def _with_doubt(words: str, run: RunRecord) -> str:
    """How a run ended, and what else is to be known of its night."""
    verdict = run.facts.verdict
    is_said = verdict in {None, _PLAUSIBLE} or run.exit_code == IMPLAUSIBLE.number or run.is_accepted
    return words if is_said else f"{words}, {verdict}"


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
