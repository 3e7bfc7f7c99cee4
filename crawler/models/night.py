"""A night as a whole: the words for how it stands, and the facts of its runs that the ledger keeps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Self, get_args, get_type_hints

import orjson


def month_of(night: date) -> str:
    """The month of a night, as `2026-10`."""
    return f"{night:%Y-%m}"


class NightOutcome(StrEnum):
    """How a crawl date that was wanted stands."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    UNFINISHED = "unfinished"
    CLOSED = "closed"
    FAILED = "failed"
    HELD = "held"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run was asked for, and what came of it; None is what does not apply or is not known.

    `every` is `run.every`. `is_late`: rows of its date were received late by then. `is_published`: the date
    had a snapshot when the run ended, `published_rows` the rows of it where the run knew them. `is_held`: the
    night was held back. `drift` counts the gaps that are left, `audited` and `audit_wrong` sellers.
    """

    strategy: str | None = None
    sort: str | None = None
    order: str | None = None
    top: int | None = None
    min_value: float | None = None
    budget: int | None = None
    every: int | None = None
    is_late: bool | None = None
    is_published: bool | None = None
    is_held: bool | None = None
    verdict: str | None = None
    published_rows: int | None = None
    partial: int | None = None
    pending: int | None = None
    certain_above: float | None = None
    drift: int | None = None
    audited: int | None = None
    audit_wrong: int | None = None

    def as_json(self) -> str:
        """The facts that are known, as one line of JSON."""
        return orjson.dumps(
            {name: value for name, value in asdict(self).items() if value is not None}
        ).decode()

    @classmethod
    def from_json(cls, text: object) -> Self:
        """The facts that `as_json` wrote; what is damaged, or of another version, is not known."""
        try:
            known: Any = orjson.loads(text) if isinstance(text, str) else {}
        except ValueError:
            known = {}
        pairs = known.items() if isinstance(known, dict) else ()
        return cls(**{name: value for name, value in pairs if type(value) in _KINDS.get(name, ())})


NO_FACTS = RunFacts()

# A whole number is written without a point.
_KINDS: dict[str, set[type]] = {
    name: {*get_args(hint)} | ({int} if float in get_args(hint) else set())
    for name, hint in get_type_hints(RunFacts).items()
}
