"""The run report: what happened, for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from crawler.exit_codes import BUG, SELLERS_FAILED, verdict_of

FAILURES_TOLD = 1000


@dataclass(slots=True)
class RunReport:
    """`report.json`, with the contract's keys."""

    run_id: str
    crawl_date: str
    started_at: str
    finished_at: str = ""
    status: str = "failed"
    exit_code: int = BUG.number
    message: str = ""
    go_on: str = ""
    published: bool = False
    sellers: dict[str, int] = field(default_factory=dict)
    requests: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, Any] = field(default_factory=dict)
    credits: dict[str, int | None] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    stops: dict[str, int] = field(default_factory=dict)
    qps: dict[str, float] = field(default_factory=dict)
    certain_above: float | None = None
    certain_rows: int = 0
    probes: dict[str, int] = field(default_factory=dict)
    after_rejects: dict[str, int] = field(default_factory=dict)
    carry_forward: dict[str, int] = field(default_factory=dict)
    drift: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> bytes:
        """The report as indented JSON with a final newline."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def summary(self) -> str:
        """One line for people."""
        sellers, credit = self.sellers, self.credits
        counted = ", ".join(
            f"{sellers[s]} {s}" for s in ("complete", "partial", "failed", "pending") if sellers.get(s)
        )
        budget = "" if credit["budget"] is None else f" of {credit['budget']}"
        told = f"{self.status}: sellers {counted or 'none'}; {self.rows['written']} rows"
        told += f"; {credit['spent']} credits ({credit['spent_for_date']}{budget} for the date)"
        return told + (f"; {self.message}" if self.message else "")

    def reason(self) -> str:
        """One line for people that says why the exit code is not 0, and what goes on."""
        words = f"exit code {self.exit_code}, {verdict_of(self.exit_code, 'unknown')}: {self.summary()}"
        if self.exit_code == SELLERS_FAILED.number and self.failures:
            words += f"; the first that failed: {self.failures[0]['reason']}"
        return words + (f"; go on with it by: {self.go_on}" if self.go_on else "")


def count_stops(reasons: Counter[str]) -> dict[str, int]:
    """How many sellers stopped for which reason, most first."""
    return {str(reason): n for reason, n in reasons.most_common()}
