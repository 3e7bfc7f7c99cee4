"""API keys: where each comes from, what it may do, and how it is named where it must not be shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

DEFAULT_QPS = 5.0


class Retirement(StrEnum):
    """Why a key is not used any more in a run."""

    REFUSED = "refused"
    USED_UP = "used_up"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySettings:
    """One of several keys (`[[api.keys]]`): its name, its source, and its own limits.

    One of `variable`, the environment variable that holds it, and `file` is given. `qps` is in requests a
    second, the budgets in credits a UTC day and a billing month; None: no limit of its own.
    """

    name: str
    variable: str | None = None
    file: Path | None = None
    qps: float = DEFAULT_QPS
    daily_budget: int | None = None
    monthly_budget: int | None = None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that requests carry; `limits` has its name and its own limits where there are several keys."""

    value: str = field(repr=False)
    limits: KeySettings | None = None
