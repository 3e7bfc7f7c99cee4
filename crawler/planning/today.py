"""What a crawl date has already: pages and endings in its journal, credits in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from crawler.models.seller import SellerStatus, StopReason, StopRule
from crawler.options import Settings
from crawler.rules.budget import month_begin, utc_day
from crawler.store.journal import Journal
from crawler.store.layout import Layout
from crawler.store.ledger import Ledger
from crawler.store.records import SellerSummary


@dataclass(frozen=True, slots=True)
class Today:
    """What the crawl date's journal has of a seller: pages read, and whether no more are asked for."""

    pages: int
    ended: bool


@dataclass(frozen=True, slots=True)
class Budget:
    """The budgets, what is spent of them, and what is left to spend; None: no limit."""

    budget: int | None
    spent: int
    monthly_budget: int | None
    spent_for_month: int
    left: int | None


def read_today(settings: Settings, crawl_date: date) -> dict[str, Today]:
    """What the crawl date's journal has of each seller that tonight's run would go on with."""
    run = settings.run
    path = Layout(run.data).latest_journal(crawl_date)
    if not path.exists():
        return {}
    with Journal(path, only_read=True) as journal:
        ended = {seller_id for some in journal.sellers.settled() for seller_id in some.to_pylist()}
        return {
            s.seller_id: Today(
                s.pages, (s.seller_id in ended and _stays_ended(settings, s)) or s.pages >= run.max_pages
            )
            for s in journal.reader.summaries()
            if not run.fresh or s.is_renewing
        }


def _stays_ended(settings: Settings, seller: SellerSummary) -> bool:
    """Whether tonight's settings ask for no more of a seller that ended before."""
    run = settings.run
    if seller.status is SellerStatus.FAILED:
        return not (run.retry_failed or run.fresh)
    goes_on = {
        StopReason.SHORT_PAGE: run.stop is StopRule.EMPTY,
        StopReason.CARRIED: not run.carry_forward,
    }
    is_reopened = seller.stop_reason is not None and goes_on.get(seller.stop_reason, False)
    return seller.status is SellerStatus.COMPLETE and not is_reopened


def read_budget(settings: Settings, crawl_date: date) -> Budget:
    """The date's and the month's budget, by what the ledger says was spent."""
    limits, data = settings.credits, settings.run.data
    spent = of_month = 0
    if Layout(data).ledger.exists():
        with Ledger(data, only_read=True) as ledger:
            spent = ledger.spent_for(crawl_date)
            today = utc_day(datetime.now(UTC))
            of_month = ledger.spent_since(month_begin(today, limits.month_begins), today)
    rests = [] if limits.budget is None else [limits.budget - spent]
    if limits.monthly_budget is not None:
        rests.append(limits.monthly_budget - of_month)
    left = max(0, min(rests)) if rests else None
    return Budget(limits.budget, spent, limits.monthly_budget, of_month, left)
