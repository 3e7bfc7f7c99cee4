"""The nights of a data folder as figures, from the ledger: one a crawl date, by all its runs."""

from __future__ import annotations

from collections.abc import Container, Iterable
from datetime import UTC, datetime

from crawler.exit_codes import verdict_of
from crawler.report.page_facts import NightFigures
from crawler.store.ledger_records import RunRecord

_NO_END = "running, or killed"


def night_figures(runs: Iterable[RunRecord], with_page: Container[str]) -> list[NightFigures]:
    """The nights, the newest last. `runs` come latest first, as the ledger has them."""
    by_date: dict[str, list[RunRecord]] = {}
    for run in runs:
        by_date.setdefault(run.crawl_date, []).append(run)
    nights = (_figures(day, by_date[day], with_page) for day in sorted(by_date))
    return [night for night in nights if night.runs]


def _figures(day: str, all_runs: list[RunRecord], with_page: Container[str]) -> NightFigures:
    """One night; the credits are also those of checks, the rest is of its crawls."""
    runs = [run for run in all_runs if not run.is_check]
    code = runs[0].exit_code if runs else None
    left = next((run for run in runs if run.sellers is not None), None)
    lengths = [length for run in runs if (length := _minutes(run)) is not None]
    return NightFigures(
        crawl_date=day,
        runs=tuple(run.run_id for run in runs),
        verdict=_NO_END if code is None else verdict_of(code),
        exit_code=code,
        rows=None if left is None else left.rows,
        sellers=None if left is None else left.sellers,
        complete=None if left is None else left.complete,
        failed=None if left is None else left.failed,
        credits=sum(run.reserved for run in all_runs),
        minutes=round(sum(lengths), 1) if lengths else None,
        pages=tuple(run.run_id for run in runs if run.run_id in with_page),
    )


def _minutes(run: RunRecord) -> float | None:
    if run.finished_at is None:
        return None
    try:
        length = _moment(run.finished_at) - _moment(run.started_at)
    except ValueError:
        return None
    return max(0.0, length.total_seconds() / 60)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
