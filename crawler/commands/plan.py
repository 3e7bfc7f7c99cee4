"""`crawler plan`: print what tonight would cost, and what a budget would buy. It sends nothing."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from crawler.nightly.resuming import source_and_date
from crawler.planning.forecast import Forecast
from crawler.planning.plan import NO_SNAPSHOT, Carrying, NightPlan, plan_night, plan_tonight
from crawler.planning.trade import Kept, Trade
from crawler.report.log_lines import set_up_logging
from crawler.sellers.reading import read_sellers
from crawler.settings.load import Loaded

_WIDTH = 90
_DATES_SHOWN = 3


def plan_command(loaded: Loaded, sellers: str | None) -> int:
    """Print what the run with these settings would cost; 0.

    Raises `CrawlerError` where the list or the data folder's own records cannot be read.
    """
    set_up_logging(loaded.settings.log, loaded.warnings)
    loaded, source, crawl_date = source_and_date(loaded, sellers, datetime.now(UTC))
    settings = loaded.settings
    listed = read_sellers(source, column=settings.run.column, skip_bad_ids=settings.run.skip_bad_ids)
    for warning in listed.warnings:
        warning.log()
    is_named = settings.run.crawl_date is not None or settings.run.resume
    plan = (plan_night if is_named else plan_tonight)(settings, listed.ids, crawl_date)
    if settings.run.json:
        sys.stdout.write(orjson.dumps(plan, _named, orjson.OPT_INDENT_2).decode() + "\n")
    else:
        if plan.crawl_date != crawl_date:
            sys.stdout.write(f"{crawl_date} has nothing left to do, so this is the next night:\n")
        _print(plan, settings.qps)
    return 0


def _named(value: Forecast | Kept) -> dict[str, Any]:
    return value._asdict()


def _print(plan: NightPlan, qps: float) -> None:
    if NO_SNAPSHOT in plan.basis.warnings:
        sys.stdout.write(f"{_first_night(plan, qps)}\n")
    else:
        console = Console(file=sys.stdout, highlight=False)
        # Figures cut off would be of no use.
        console.width = max(console.width, _WIDTH)
        console.print(_summary(plan, qps), _strategies(plan))
        if plan.trade is not None:
            console.print(_budgets(plan.trade))
            sys.stdout.write(f"{_advice(plan.trade)}\n")
    for warning in plan.basis.warnings:
        if warning != NO_SNAPSHOT:
            sys.stdout.write(f"warning: {warning}\n")


def _first_night(plan: NightPlan, qps: float) -> str:
    """What is known of a night without an earlier snapshot: its low end."""
    low, left, ended = plan.credits.low, plan.budget.left, plan.sellers.ended
    rest = f"{plan.sellers.total:,} sellers" + (f", of which {ended:,} have ended already," if ended else "")
    budget = "" if left is None else f" The budget has {left:,} credits left."
    return (
        f"Plan for {plan.crawl_date}: there is no earlier snapshot, so what the {rest} cost is not known. "
        f"The night costs at least {low:,} credits, one for each seller, and takes at least "
        f"{_duration(low / qps)} at {qps:g} requests a second.{budget}"
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:,.1f} minutes" if seconds < 2 * 3600 else f"{seconds / 3600:,.1f} hours"


def _summary(plan: NightPlan, qps: float) -> Table:
    sellers, cost, budget, basis = plan.sellers, plan.credits, plan.budget, plan.basis
    table = Table(title=f"Plan for {plan.crawl_date}", show_header=False)
    low = f"{cost.low:,}"
    rows = {
        "sellers": f"{sellers.total:,}: {sellers.known:,} known, {sellers.unknown:,} unknown",
        "ended already": _number(sellers.ended) if sellers.ended else "",
        "expected credits": _number(cost.expected),
        "low to high": f"at least {low}" if cost.high is None else f"{low} to {cost.high:,}",
        "carried forward": _carried(plan.carry_forward),
        "minutes": f"at least {cost.low / qps / 60:,.1f}" if plan.minutes is None else f"{plan.minutes:,.1f}",
        "budget left": "no budget" if budget.left is None else _number(budget.left),
        "snapshots used": ", ".join(map(str, basis.crawl_dates[:_DATES_SHOWN])) or "none",
        "growth a night": _percent(basis.growth_per_night),
    }
    for name, text in rows.items():
        if text:
            table.add_row(name, text)
    return table


def _strategies(plan: NightPlan) -> Table:
    left = plan.budget.left
    title = "Without a budget" if left is None else f"What {left:,} credits reach"
    names = ("strategy", "credits", "complete", "seen", "views", "sales", "GMV")
    table = Table(*names, title=f"{title}, measured on the last snapshots")
    for strategy, reach in plan.by_strategy.items():
        figures = map(_number, (reach.credits, reach.sellers_complete, reach.sellers_seen))
        shares = map(_percent, (reach.share_of_views, reach.share_of_sales, reach.share_of_gmv))
        table.add_row(strategy, *figures, *shares)
    return table


def _budgets(trade: Trade) -> Table:
    names = ("of the cost", "credits", "gains seen", "mean age", "oldest", "overdue")
    title = f"What a budget brings, kept up for {trade.nights} nights, by gains in {trade.value}"
    table = Table(*names, title=title)
    for kept in trade.budgets:
        age = "not known" if kept.mean_age is None else f"{kept.mean_age:.2f} nights"
        share, seen = f"{kept.share_of_cost:.0%}", _percent(kept.share_seen)
        table.add_row(share, f"{kept.credits:,}", seen, age, str(kept.oldest_age), f"{kept.overdue:,}")
    return table


def _advice(trade: Trade) -> str:
    little = "Each credit up to the whole cost buys more than a little."
    if trade.enough is None:
        little = "No gain is known or expected of these sellers."
    elif trade.enough < trade.cost:
        little = f"Beyond {trade.enough:,} credits a night another credit buys little."
    target = ""
    if trade.target is not None:
        target = (
            f" The target takes {trade.target.credits:,}, which show {_percent(trade.target.share_seen)}."
        )
    return f"{little} {trade.bearable_budget:,} read every page at least every {trade.max_age} days.{target}"


def _carried(carrying: Carrying | None) -> str:
    if carrying is None:
        return ""
    may = f"of {_number(carrying.may_be_carried)} sellers at most"
    if carrying.expected is None:
        return f"not known, {may}"
    return f"{_number(carrying.expected)} {may}, saving {_number(carrying.credits_saved)} credits"


def _number(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"


def _percent(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1%}"
