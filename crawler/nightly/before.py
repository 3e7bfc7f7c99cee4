"""What went wrong since the last night: dates on which nothing ran, and runs that died. It is said once."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from datetime import date
from itertools import takewhile

from crawler.rules.nights import gaps_before
from crawler.store.ledger_records import DateRecord, RunRecord

_NAMED = 3
"""Gaps that are named at most."""


def what_went_wrong(
    runs: Sequence[RunRecord], days: Iterable[DateRecord], tonight: date, every: int
) -> list[str]:
    """What no finished run can have said: a sentence for the missed dates, and one for the runs that died.

    `runs` and `days` are those of the ledger, the latest first, while no run goes on; `every` is in days.
    """
    crawls = [run for run in runs if not run.is_check]
    closed = {str(day.crawl_date) for day in days if day.closed_at is not None}
    return [*_died(crawls, closed), *_missed(crawls, tonight, every)]


def _died(crawls: Sequence[RunRecord], closed: Container[str]) -> Iterator[str]:
    """The runs since the last one that has an end; whoever closed a date has seen how it ended."""
    without_end = takewhile(lambda run: run.finished_at is None, crawls)
    dead = [run for run in without_end if run.crawl_date not in closed]
    if dead:
        latest = dead[0]
        others = f"{len(dead)} runs died before this one, the latest: " if len(dead) > 1 else ""
        yield (
            f"{others}run {latest.run_id} of crawl date {latest.crawl_date}, begun at {latest.started_at}, "
            "died: it was killed, or this machine went down; what it had paid for is kept"
        )


def _missed(crawls: Sequence[RunRecord], tonight: date, every: int) -> Iterator[str]:
    """The gaps before tonight, since the last night whose report could name those before it."""
    ended = {date.fromisoformat(run.crawl_date) for run in crawls if run.finished_at is not None}
    if any(day >= tonight for day in ended):
        return
    begun = {date.fromisoformat(run.crawl_date) for run in crawls}
    since = max(ended, default=date.min)
    missed = gaps_before((day for day in begun if since <= day < tonight), every, tonight)
    if missed:
        dates = sum(gap.dates for gap in missed)
        named = ", ".join(map(str, missed[-_NAMED:]))
        wanted = "a run is wanted daily" if every == 1 else f"a run is wanted every {every} days"
        yield (
            f"nothing ran on {dates} crawl {'date' if dates == 1 else 'dates'} before this one: {named} "
            f"({wanted}, by run.every); the API has today's figures alone, so they cannot be crawled any more"
        )
