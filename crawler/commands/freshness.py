"""`crawler status --max-age`: whether the newest snapshot is fresh, for monitors that run a command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from crawler.models.duration import shown_duration
from crawler.models.errors import CrawlerError
from crawler.store.layout import SELLERS, Layout, dated_folders, parquet_files, run_of
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import RunRecord

TOO_OLD = 1
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest crawl date that is published, and when its crawl ended."""

    crawl_date: date
    crawled_until: datetime


def freshness_command(data: Path, max_age: timedelta, *, as_json: bool, now: datetime | None = None) -> int:
    """Print how old the newest published snapshot is; 0 where that is within `max_age`, else 1."""
    found, now = _newest(data), now or datetime.now(UTC)
    age = None if found is None else now - found.crawled_until
    # A snapshot of a day to come was made, or is looked at, by a clock that is wrong.
    is_fresh = age is not None and abs(age) <= max_age
    if as_json:
        import orjson  # noqa: PLC0415 - a monitor asks often, and mostly for the line

        figures = {
            "is_fresh": is_fresh,
            "crawl_date": None if found is None else found.crawl_date.isoformat(),
            "crawled_until": None if found is None else found.crawled_until.isoformat(),
            "age_seconds": None if age is None else round(age.total_seconds(), 3),
            "max_age_seconds": max_age.total_seconds(),
        }
        sys.stdout.write(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode() + "\n")
    elif found is None or age is None:
        sys.stdout.write(f"too old: no snapshot is published under {data}\n")
    else:
        words = f"crawl date {found.crawl_date}, crawled until {found.crawled_until:%Y-%m-%dT%H:%M:%SZ}"
        sys.stdout.write(f"{_verdict(words, age, max_age)}\n")
    return 0 if is_fresh else TOO_OLD


def _verdict(words: str, age: timedelta, max_age: timedelta) -> str:
    if -age > max_age:
        return f"not known: {words}, by this clock {shown_duration(-age)} from now: one of the two was wrong"
    verdict, than = ("fresh", "within") if age <= max_age else ("too old", "older than")
    return f"{verdict}: {words}, {shown_duration(age)} ago, {than} {shown_duration(max_age)}"


def _newest(data: Path) -> _Newest | None:
    for day, folder in sorted(dated_folders(data, SELLERS), reverse=True):
        files = parquet_files(folder)
        if files:
            return _Newest(day, _crawled_until(data, day, run_of(files[-1])))
    return None


def _crawled_until(data: Path, day: date, published_by: str) -> datetime:
    """When the last run ended that sent requests for what this run has published.

    A run that only builds a snapshot anew, or publishes a night that was held back, makes nothing newer.
    """
    runs: list[RunRecord] = []
    if Layout(data).ledger.exists():
        with suppress(CrawlerError), Ledger(data, only_read=True) as ledger:
            runs = ledger.runs()
    publisher = next((run for run in runs if run.run_id == published_by), None)
    began = _stamp_of(published_by) if publisher is None else _moment(publisher.started_at)
    return max(_ends(runs, day, began), default=began)


def _ends(runs: Sequence[RunRecord], day: date, last: datetime) -> list[datetime]:
    crawls = (run for run in runs if run.crawl_date == day.isoformat() and run.reserved and not run.is_check)
    return [_moment(run.finished_at or run.started_at) for run in crawls if _moment(run.started_at) <= last]


def _stamp_of(run_id: str) -> datetime:
    """When a run began, by its ID; long ago where that says nothing."""
    with suppress(ValueError):
        return datetime.strptime(run_id.partition("-")[0], _STAMP).replace(tzinfo=UTC)
    return datetime.fromtimestamp(0, UTC)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
