"""What the page of a run shows beside its report, as plain values: open it to let the page show more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crawler.report.series import Series

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PastNight:
    """A crawl date, with `--json`'s keys: how its latest run ended, what that left, and what all runs took.

    `state` is finished, running or killed; None is what a killed run or an earlier ledger lacks. `credits`
    holds those of checks. `plausibility` is plausible, odd or implausible, where that is known. `is_late`:
    some of its rows were received only when its day was over.
    """

    crawl_date: str
    verdict: str
    state: str
    exit_code: int | None
    rows: int | None
    sellers: int | None
    complete: int | None
    failed: int | None
    credits: int
    minutes: float | None
    runs: int
    latest_run: str
    plausibility: str | None = None
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class Moved:
    """What changed in a night: `totals` by kind, and the first rows of each list, in words where known."""

    totals: Mapping[str, Row]
    movers: Sequence[Row]
    newcomers: Sequence[Row]
    losses: Sequence[Row]
    outdated_by: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SellerNames:
    """Sellers that stand out: the first rows, and how many there are in all."""

    rows: Sequence[Row] = ()
    count: int = 0


@dataclass(frozen=True, slots=True)
class PageFacts:
    """All of it. `nights` are the last ones, up to the run's, `missed` the dates between them.

    `published_by` is the run whose snapshot `moved`, `fallen` and `cut_off` are of, `compared_with` the date
    that `fallen` is beside.
    `faults`: what could not be read, and why.
    """

    nights: Sequence[PastNight] = ()
    missed: Sequence[str] = ()
    series: Series | None = None
    published_by: str | None = None
    compared_with: str | None = None
    moved: Moved | None = None
    fallen: SellerNames = field(default_factory=SellerNames)
    cut_off: SellerNames = field(default_factory=SellerNames)
    faults: Sequence[str] = ()


NO_FACTS = PageFacts()
