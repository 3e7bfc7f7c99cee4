"""Which crawl dates are unfinished or closed, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Self
from zoneinfo import ZoneInfo

from crawler.exit_codes import verdict_of
from crawler.models.errors import InputError, OutputError
from crawler.options import RunSettings
from crawler.rules.dates import doubt_by_api, is_future, is_late, late_from, latest_date
from crawler.store.layout import Layout
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import FINISHED, DateRecord


@dataclass(frozen=True, slots=True)
class DateRule:
    """What may be done with a crawl date now; `late_after` in hours, `zone` is where its day is."""

    now: datetime
    late_after: float
    zone: tzinfo = UTC

    @classmethod
    def of(cls, run: RunSettings, now: datetime) -> Self:
        """The rule by the settings of a run."""
        return cls(now, run.late_after, ZoneInfo(run.timezone))

    def late_from(self, crawl_date: date, began: datetime) -> datetime:
        """From when on rows of a date are late whose first run began then."""
        return late_from(crawl_date, began, self.zone, self.late_after)

    def why_late(self, crawl_date: date, began: datetime) -> str:
        """Why rows of a date are late now whose first run began then, in words; empty where they are not."""
        late_from = self.late_from(crawl_date, began)
        if self.now < late_from:
            return ""
        if began >= late_from:
            return f"its day was over when its first run began ({self.zone})"
        return f"its first run began more than {self.late_after:g} h ago, at {began:%Y-%m-%d %H:%M} UTC"

    def is_late(self, day: DateRecord) -> bool:
        """Whether the date closed by itself, as its first run began too long ago."""
        return is_late(day.began, self.now, self.late_after)

    def is_closed(self, day: DateRecord) -> bool:
        """Whether only `--late` goes on with the date."""
        return day.closed_at is not None or self.is_late(day)

    def unfinished(
        self, days: Iterable[DateRecord], *, late: bool = False, retry_failed: bool = False
    ) -> list[DateRecord]:
        """The dates that a run with these options can go on with, in the order given."""
        today = latest_date(self.now)
        return [
            day
            for day in days
            if day.crawl_date <= today
            and (late or not self.is_closed(day))
            and (day.leaves_work or (retry_failed and day.refused > 0))
        ]

    def why_closed(self, day: DateRecord) -> str:
        """Why the date is closed, in words."""
        if day.closed_at is not None:
            return f"was closed by `crawler close` at {day.closed_at}"
        return (
            f"closed by itself, as its first run began more than {self.late_after:g} h ago, "
            f"at {day.began:%Y-%m-%d %H:%M} UTC (setting run.late_after)"
        )


def late_from_in(run: RunSettings, crawl_date: date, now: datetime) -> datetime | None:
    """From when on rows of a date are late by what the ledger knows; None where there is no ledger."""
    if not Layout(run.data).ledger.exists():
        return None
    with Ledger(run.data, only_read=True) as ledger:
        day = ledger.date(crawl_date)
    return DateRule.of(run, now).late_from(crawl_date, now if day is None else day.began)


def require_reached(crawl_date: date, now: datetime) -> None:
    """Raise `InputError` where a crawl date lies in the future everywhere on earth."""
    latest = latest_date(now)
    if crawl_date > latest:
        raise InputError(
            f"crawl date {crawl_date} is later than today anywhere on earth ({latest} at UTC+14): "
            "nothing was sent; name a date that has begun in --crawl-date, or set this machine's clock right"
        )


def require_begun(crawl_date: date, now: datetime, clock_offset: timedelta | None) -> None:
    """Raise `OutputError` where the crawl date lies in the API's future: it is not published.

    `clock_offset` is how far the API's clock is ahead of ours; None where that is not known.
    """
    if is_future(crawl_date, now, clock_offset):
        raise OutputError(
            f"crawl date {crawl_date} lies in the API's future and is not published: "
            f"{doubt_by_api(now, clock_offset)}; what was paid for is kept in its journal: the same "
            "command publishes it once that date has come"
        )


def what_is_left(day: DateRecord) -> str:
    """Why the date's latest run left something, and how many sellers failed, in words; maybe empty."""
    code = day.latest.exit_code
    ended = "" if code in FINISHED else "killed" if code is None else verdict_of(code, f"exit code {code}")
    counts = [(day.retriable, "failed"), (day.refused, "refused for good")]
    failed = ", ".join(f"{count} {what}" for count, what in counts if count)
    return "; ".join(filter(None, (ended, failed and f"sellers: {failed}")))
