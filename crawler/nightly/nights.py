"""The table `nights/`: a row for each crawl date that was wanted, made from the ledger as each run ends.

Open it to change what a row says of its night.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from crawler import events
from crawler.models.night import NO_FACTS, NightOutcome, RunFacts
from crawler.nightly.dates import DateRule
from crawler.nightly.past_nights import noted_every, runs_by_date
from crawler.options import RunSettings
from crawler.rules.nights import gaps, outcome_of
from crawler.store.held import held_of
from crawler.store.layout import VIDEOS, Layout
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import DateRecord, RunRecord
from crawler.store.nights_table import NightRow, read_nights, write_nights


def write_nights_of(run: RunSettings, ledger: Ledger, run_id: str, now: datetime) -> None:
    """Write the table anew, while no run goes on; a fault here costs the table of before alone."""
    try:
        runs = ledger.runs()
        rows = {row["crawl_date"]: row for row in _rows(run, ledger, runs, now)}
        rows |= {row["crawl_date"]: row for row in _not_in_ledger(run.data, rows, runs)}
        write_nights(run.data, run_id, [rows[day] for day in sorted(rows)])
    except Exception as error:  # noqa: BLE001 - a fault of the table is no fault of the night
        events.NIGHTS_FAILED(reason=f"{type(error).__name__}: {error}").log()


def _rows(run: RunSettings, ledger: Ledger, runs: Sequence[RunRecord], now: datetime) -> Iterator[NightRow]:
    """The rows of the dates that were crawled, and of the wanted ones between them."""
    by_date, days, rule = runs_by_date(runs), ledger.dates(), DateRule.of(run, now)
    today = now.astimezone(ZoneInfo(run.timezone)).date()
    for gap in gaps((day.crawl_date for day in days), run.every, today, noted_every(runs)):
        for day in gap.days:
            yield {"crawl_date": day, "outcome": NightOutcome.MISSING, "credits": 0, "runs": 0}
    for record in days:
        yield _Night(run.data, rule, record, by_date[str(record.crawl_date)]).row()


def _not_in_ledger(
    data: Path, rows: Mapping[date, NightRow], runs: Sequence[RunRecord]
) -> Iterator[NightRow]:
    """What the table of before knows of runs that the ledger does not know, since it was lost.

    What was missing counts only before the dates that the ledger knows: a clock that was wrong leaves no
    traces. A date that was crawled again since is as the ledger has it.
    """
    first, known = min(rows, default=date.max), {run.run_id for run in runs}
    noted = {run.crawl_date for run in runs if run.facts != NO_FACTS}
    for row in read_nights(data):
        day = row["crawl_date"]
        is_lost = row["run_id"] not in known and str(day) not in noted
        if is_lost and (day < first or row["outcome"] != NightOutcome.MISSING):
            yield row


@dataclass(frozen=True, slots=True)
class _Night:
    """A crawl date that was begun, and its runs, the latest first."""

    data: Path
    rule: DateRule
    day: DateRecord
    runs: Sequence[RunRecord]

    def row(self) -> NightRow:
        """What the table says of it."""
        crawls = [run for run in self.runs if not run.is_check]
        latest = self.day.latest
        # What a run that was killed has left, nobody has counted.
        ended = next((run for run in crawls if run.facts.is_published is not None), latest)
        facts, rows = ended.facts, _published_rows(crawls)
        is_published = rows is not None or Layout(self.data).snapshot(VIDEOS, self.day.crawl_date).is_dir()
        outcome = outcome_of(
            latest.exit_code,
            is_held=self._is_held(),
            is_published=is_published,
            leaves_work=self.day.leaves_work,
            is_closed=self.rule.is_closed(self.day),
        )
        return {
            "crawl_date": self.day.crawl_date,
            "outcome": outcome,
            "verdict": facts.verdict,
            "late": _is_late(crawls),
            "closed_at": self._closed_at(),
            **_asked(latest.facts),
            "credits": sum(run.reserved for run in self.runs),
            "rows": rows,
            "sellers": ended.sellers,
            "complete": ended.complete,
            "partial": facts.partial,
            "failed": ended.failed,
            "pending": facts.pending,
            "certain_above": facts.certain_above,
            "drift": facts.drift,
            "audited": facts.audited,
            "audit_wrong": facts.audit_wrong,
            "runs": len(crawls),
            "run_id": latest.run_id,
            "exit_code": latest.exit_code,
            "started_at": self.day.began,
            "finished_at": _moment(latest.finished_at),
        }

    def _is_held(self) -> bool:
        if self.day.is_published:
            return False
        known = self.day.latest.facts.is_held
        return held_of(self.data, self.day.crawl_date) is not None if known is None else known

    def _closed_at(self) -> datetime | None:
        """Since when only `--late` goes on with it."""
        if self.day.closed_at is not None:
            return _moment(self.day.closed_at)
        closes = self.day.began + timedelta(hours=self.rule.late_after)
        return closes if self.rule.is_late(self.day) else None


def _is_late(crawls: Sequence[RunRecord]) -> bool | None:
    """Whether any page of the date came late; None where no run knew (killed, or an earlier version's)."""
    known = [run.facts.is_late for run in crawls if run.facts.is_late is not None]
    return any(known) if known else None


def _asked(facts: RunFacts) -> NightRow:
    names = ("strategy", "sort", "order", "top", "min_value", "budget")
    return {name: getattr(facts, name) for name in names}


def _published_rows(crawls: Sequence[RunRecord]) -> int | None:
    """The rows of a date's snapshot, by the latest of its runs that knew them; None where it has none."""
    for run in crawls:
        if run.facts.is_published is False:
            return None
        if run.facts.published_rows is not None:
            return run.facts.published_rows
    # Runs of earlier versions knew no more than this.
    latest = crawls[0]
    return latest.rows if latest.facts == NO_FACTS and latest.rows else None


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
