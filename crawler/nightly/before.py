"""What went wrong since the last night: dates on which nothing ran, and runs that died. It is said once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import takewhile

from crawler import events
from crawler.nightly.dates import DateRule
from crawler.nightly.past_nights import noted_every
from crawler.nightly.shell import Commands
from crawler.options import RunSettings
from crawler.rules.nights import gaps_before
from crawler.store.ledger_records import DateRecord, RunRecord

_NAMED = 3
"""Gaps that are named at most."""


def what_went_wrong(
    runs: Sequence[RunRecord],
    days: Iterable[DateRecord],
    tonight: date,
    run: RunSettings,
    rule: DateRule,
    flags: Sequence[str],
) -> list[events.Sentence]:
    """What no finished run can have said: a sentence for the missed dates, and one for the runs that died.

    `runs` and `days` are those of the ledger, the latest first, while no run goes on; `run` and `flags` are
    the settings of the run that says it, and what sets them again.
    """
    crawls = [each for each in runs if not each.is_check]
    by_date = {str(day.crawl_date): day for day in days}
    died = _died(crawls, by_date, rule, Commands.of(run.data, flags))
    return [*died, *_missed(crawls, tonight, run.every)]


def _died(
    crawls: Sequence[RunRecord], days: Mapping[str, DateRecord], rule: DateRule, commands: Commands
) -> Iterator[events.Sentence]:
    """The runs since the last one that has an end; whoever closed a date has seen how it ended."""
    closed = {name for name, day in days.items() if day.closed_at is not None}
    without_end = takewhile(lambda run: run.finished_at is None, crawls)
    dead = [run for run in without_end if run.crawl_date not in closed]
    if dead:
        latest = dead[0]
        others = f"{len(dead)} runs died before this one, the latest: " if len(dead) > 1 else ""
        day = days.get(latest.crawl_date)
        # Of a date that is still open there is a note of its own, with its commands.
        publish = commands.close(day.crawl_date) if day is not None and rule.is_late(day) else ""
        yield events.RUN_DIED(
            dead_runs=len(dead),
            runs_words=others,
            run=latest.run_id,
            crawl_date=latest.crawl_date,
            begun_at=latest.started_at,
            publish=publish,
            publish_words=publish and f": publish it by: {publish}",
        )


def _missed(crawls: Sequence[RunRecord], tonight: date, every: int) -> Iterator[events.Sentence]:
    """The gaps before tonight, since the last night whose report could name those before it."""
    ended = {date.fromisoformat(run.crawl_date) for run in crawls if run.finished_at is not None}
    if any(day >= tonight for day in ended):
        return
    begun = {date.fromisoformat(run.crawl_date) for run in crawls}
    since = max(ended, default=date.min)
    earlier = (day for day in begun if since <= day < tonight)
    missed = gaps_before(earlier, every, tonight, noted_every(crawls))
    if missed:
        dates = sum(gap.dates for gap in missed)
        wanted = "daily" if every == 1 else f"every {every} days"
        yield events.NIGHTS_MISSED(
            dates=dates,
            dates_words="date" if dates == 1 else "dates",
            gaps=[*map(str, missed[-_NAMED:])],
            every=every,
            every_words=wanted,
        )
