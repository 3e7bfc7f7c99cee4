"""The run report: what happened, for programs. The shape of `report.json` is made here alone."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Self

import orjson

from crawler import events
from crawler.exit_codes import BUG, SELLERS_FAILED, verdict_of
from crawler.models.errors import LastError
from crawler.models.keys import Retirement
from crawler.models.seller import SellerStatus
from crawler.report.top_movers_words import proved_of

MAX_FAILURES = 1000
"""Failures that the report lists at most."""
_DRIFT = {"overlap", "gaps", "sellers"}


@dataclass(frozen=True, slots=True)
class Failure:
    """A seller that failed, the first page that it lacks, and why."""

    seller: str
    page: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Counts:
    """How the listed sellers have ended: the part of a report that is kept beside the snapshot it is of."""

    sellers: dict[str, int]
    stops: dict[str, int]
    failures: list[Failure]
    certain_above: float | None
    drift: dict[str, int]

    def as_json(self) -> str:
        """The counts as one line of JSON."""
        return orjson.dumps(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """The counts that `as_json` wrote; None where an earlier version did, by other names."""
        known = orjson.loads(text)
        if known.keys() != set(cls.__slots__) or known["drift"].keys() != _DRIFT:
            return None
        return cls(**{**known, "failures": [Failure(**failure) for failure in known["failures"]]})


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests that were sent, by how they ended.

    `unaccounted` more may have been, by workers that were lost: their credits count as spent.
    """

    sent: int = 0
    ok: int = 0
    retried: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    unaccounted: int = 0


@dataclass(frozen=True, slots=True)
class Errors:
    """Attempts that brought no page, by kind."""

    by_kind: dict[str, int] = field(default_factory=dict)
    last: LastError | None = None


@dataclass(frozen=True, slots=True)
class Credits:
    """Credits spent by the run, for its date and in the billing month, with their limits."""

    budget: int | None = None
    spent: int = 0
    spent_for_date: int = 0
    monthly_budget: int | None = None
    spent_for_month: int = 0


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What a run did with one of several keys, and what it has cost on this UTC day and in this month.

    `retired` says why the run did not use it any more, `reason` in words; None: it did to its end.
    """

    name: str
    qps: float
    sent: int
    by_status: dict[str, int]
    daily_budget: int | None
    spent_for_day: int
    monthly_budget: int | None
    spent_for_month: int
    retired: str | None
    reason: str

    @property
    def is_lost(self) -> bool:
        """Whether the provider refused it, or said that it is used up."""
        return self.retired is not None and self.retired != Retirement.BUDGET


@dataclass(frozen=True, slots=True)
class RunReport:
    """`report.json`, with the contract's keys in their order; `keys` is left out where there is one."""

    run_id: str
    crawl_date: str
    started_at: str
    plausibility: dict[str, Any] = field(default_factory=dict)
    finished_at: str = ""
    status: str = "failed"
    exit_code: int = BUG.number
    message: str = ""
    go_on: str = ""
    published: bool = False
    late: bool = False
    sellers: dict[str, int] = field(default_factory=dict)
    requests: Requests = field(default_factory=Requests)
    errors: Errors = field(default_factory=Errors)
    credits: Credits = field(default_factory=Credits)
    rows: dict[str, int] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    stops: dict[str, int] = field(default_factory=dict)
    qps: dict[str, float] = field(default_factory=dict)
    certain_above: float | None = None
    certain_rows: int = 0
    probes: dict[str, int] = field(default_factory=dict)
    after_rejects: dict[str, int] = field(default_factory=dict)
    carry_forward: dict[str, int] = field(default_factory=dict)
    freshness: dict[str, Any] = field(default_factory=dict)
    drift: dict[str, int] = field(default_factory=dict)
    top_movers: dict[str, Any] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    keys: list[KeyUse] = field(default_factory=list)
    copies: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_warning: bool = False

    @property
    def is_unfinished(self) -> bool:
        """Whether another run of the date has something to do."""
        return self.exit_code != 0 or not self.published

    def as_json(self) -> bytes:
        """The report as indented JSON with a final newline."""
        shown = {one.name: getattr(self, one.name) for one in fields(self)}
        if not self.keys:
            del shown["keys"]
        return orjson.dumps(shown, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def summary(self) -> str:
        """One line for people."""
        sellers, credit = self.sellers, self.credits
        counted = ", ".join(f"{sellers[status]} {status}" for status in SellerStatus if sellers.get(status))
        budget = "" if credit.budget is None else f" of {credit.budget}"
        reasons = self.plausibility.get("reasons")
        words = f"{self.plausibility['verdict']}: {reasons[0]} " if reasons else ""
        carried = f", {self.rows['carried']} carried" if self.rows.get("carried") else ""
        words += f"{self.status}: sellers {counted or 'none'}; {self.rows['written']} rows{carried}"
        words += f"; {credit.spent} credits ({credit.spent_for_date}{budget} for the date)"
        words += f"; {proved_of(self.top_movers)} top movers proved" if self.top_movers else ""
        return words + (f"; {self.message}" if self.message else "")

    def as_event(self) -> events.Sentence:
        """The last log line."""
        return (events.RUN_INCOMPLETE if self.exit_code else events.RUN_COMPLETE)(
            run=self.run_id,
            crawl_date=self.crawl_date,
            exit_code=self.exit_code,
            sellers=self.sellers,
            rows=self.rows["written"],
            credits=self.credits.spent,
            reason=self.message,
            go_on=self.go_on,
            summary_words=self.reason() if self.exit_code else self.summary(),
        )

    def reason(self) -> str:
        """In words why the exit code is not 0, and what goes on."""
        words = f"{verdict_of(self.exit_code, 'unknown')}: {self.summary()}"
        if self.exit_code == SELLERS_FAILED.number and self.failures:
            words += f"; the first that failed: {self.failures[0].reason}"
        return words + (f"; go on with it by: {self.go_on}" if self.go_on else "")
