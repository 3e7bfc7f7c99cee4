"""The plan of a night: what it would cost and bring, as one value. Nothing is printed or sent here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import pyarrow as pa

from crawler.history.snapshots import History
from crawler.models.api import SortOrder
from crawler.models.seller import Strategy
from crawler.options import RunSettings, Settings
from crawler.planning.forecast import Forecast
from crawler.planning.freshest_plan import Tonight, tonight
from crawler.planning.inputs import PlanInputs, read_inputs
from crawler.planning.reach import PageValues, Reach, reaches
from crawler.planning.trade import Trade, trade
from crawler.rules.budget import credits_left, month_begin, utc_day
from crawler.store.layout import Layout
from crawler.store.ledger import Ledger

NO_SNAPSHOT = "no earlier snapshot: nothing is known of what these sellers cost but one credit for each"
_MISPLACED = 0.05


@dataclass(frozen=True, slots=True)
class SellerCounts:
    """How many sellers are listed, how many of them are known or not, and how many have ended already."""

    total: int
    known: int
    unknown: int
    ended: int


@dataclass(frozen=True, slots=True)
class Budget:
    """The budgets, what is spent of them, and what is left to spend; None: no limit."""

    budget: int | None
    spent: int
    monthly_budget: int | None
    spent_for_month: int
    left: int | None


@dataclass(frozen=True, slots=True)
class Carrying:
    """How many sellers may be carried, what is expected of it (None: not known), by so many nights."""

    may_be_carried: int
    expected: int | None
    credits_saved: int | None
    nights: int


@dataclass(frozen=True, slots=True)
class Basis:
    """What the figures rest on: snapshots, newest first, and what is doubtful about them."""

    crawl_dates: list[date]
    growth_per_night: float | None
    credits_per_page: float | None
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class NightPlan:
    """What a night would cost and bring; None is what is not known. `plan --json` has the same names.

    `trade` is what budgets bring by `--strategy freshest`; None where that is not planned.
    """

    crawl_date: date
    sellers: SellerCounts
    credits: Forecast
    minutes: float | None
    budget: Budget
    carry_forward: Carrying | None
    by_strategy: dict[str, Reach]
    basis: Basis
    trade: Trade | None = None


def plan_tonight(settings: Settings, ids: pa.Array[Any], today: date) -> NightPlan:
    """The plan of today's crawl date; of the next wanted one, where today's listed sellers have all ended."""
    plan = plan_night(settings, ids, today)
    if plan.sellers.ended < plan.sellers.total:
        return plan
    following = today + timedelta(settings.run.every)
    return plan_night(settings, ids, following, following)


def plan_night(
    settings: Settings, ids: pa.Array[Any], crawl_date: date, sent_on: date | None = None
) -> NightPlan:
    """The plan for an Arrow array of sellers, whose requests are sent on a day by UTC; None: now.

    Raises `CrawlerError` where journal or ledger cannot be read.
    """
    run = settings.run
    history = History(run.data, crawl_date)
    inputs = read_inputs(run, history, ids, crawl_date)
    page_values: PageValues = cache(history.page_values)
    total = inputs.forecaster.total(inputs.left())
    budget = _budget(settings, crawl_date, sent_on or utc_day(datetime.now(UTC)))
    known = sum(seller.is_known for seller in inputs.sellers)
    found = traded = None
    if known and run.strategy is Strategy.FRESHEST:
        found = tonight(settings, ids, crawl_date)
        traded = _trade(run, found)
        if traded.target is not None:
            budget = _with_target(budget, traded.target.credits)
    return NightPlan(
        crawl_date,
        SellerCounts(len(ids), known, len(ids) - known, sum(inputs.ended)),
        total,
        None if total.expected is None else round(total.expected / settings.qps / 60, 1),
        budget,
        _carrying(inputs) if run.carry_forward else None,
        reaches(run, inputs, page_values, total, budget.left, found),
        _basis(run, history, inputs, total, page_values, [] if found is None else found.doubts(settings)),
        traded,
    )


def _trade(run: RunSettings, found: Tonight) -> Trade:
    picked = None if run.target is None else found.received.target_budget
    return trade(found.listed.stretches, run.max_age, run.value, run.target, picked)


def _budget(settings: Settings, crawl_date: date, sent_on: date) -> Budget:
    """The date's and the month's budget, by what the ledger says was spent."""
    limits, data = settings.credits, settings.run.data
    spent = of_month = 0
    if Layout(data).ledger.exists():
        with Ledger(data, only_read=True) as ledger:
            spent = ledger.spent_for(crawl_date)
            of_month = ledger.spent_since(month_begin(sent_on, limits.month_begins), sent_on)
    left = credits_left((limits.budget, spent), (limits.monthly_budget, of_month))
    return Budget(limits.budget, spent, limits.monthly_budget, of_month, left)


def _with_target(budget: Budget, target: int) -> Budget:
    """What is left to spend where the date may cost no more than its target needs."""
    return replace(budget, left=credits_left((target, budget.spent), (budget.left, 0)))


def _carrying(inputs: PlanInputs) -> Carrying:
    expected = inputs.forecaster.savings(inputs.left())
    carried, saved = (None, None) if expected is None else map(round, expected)
    may_carry = sum(seller.may_carry for seller in inputs.left())
    return Carrying(may_carry, carried, saved, inputs.compared_nights)


def _basis(
    run: RunSettings,
    history: History,
    inputs: PlanInputs,
    total: Forecast,
    page_values: PageValues,
    warnings: Sequence[str],
) -> Basis:
    growth, cost = inputs.forecaster.growth, inputs.forecaster.cost_per_page
    doubts = _doubts_of_carrying(inputs) if run.carry_forward else []
    if not history.sellers():
        doubts.append(NO_SNAPSHOT)
    elif total.expected is None:
        doubts.append("too few sellers were ever read to their end to judge the others by: no upper end")
    elif not growth.nights:
        doubts.append("only one snapshot: no growth is assumed, and the interval is wider for it")
    if run.top is not None or run.min_value is not None:
        doubts.append("--top and --min-value end a run sooner: the figures are for all pages")
    if run.order is SortOrder.DESC and _is_sorted_otherwise(page_values, run):
        doubts.append(f"the last snapshot was not sorted by {run.sort}: best-first's figures are rough")
    return Basis(
        [day for day, _ in history.sellers()],
        round(growth.mean, 5) if growth.nights else None,
        round(cost.mean, 5) if cost.nights else None,
        [*dict.fromkeys((*history.warnings, *warnings)), *doubts],
    )


def _doubts_of_carrying(inputs: PlanInputs) -> list[str]:
    if not any(seller.may_carry for seller in inputs.sellers):
        return ["no seller may be carried tonight: none is complete, young enough and sorted the same way"]
    if not inputs.compared_nights:
        return ["no two snapshots show who is unchanged: carrying is in the low end only"]
    if not inputs.followed_nights:
        return ["one night shows who is unchanged, none whether they stay so: the interval is wide for it"]
    return []


def _is_sorted_otherwise(page_values: PageValues, run: RunSettings) -> bool:
    pages = [p for p in page_values(run.sort).values() if len(p) > 1]
    return sum(p[0] < p[1] for p in pages) > _MISPLACED * len(pages)
