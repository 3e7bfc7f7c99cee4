"""Whose credits a run spends: open it to change what a budget, a month or a lease means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

from crawler.models.errors import BudgetSpentError
from crawler.options import CreditSettings
from crawler.rules.budget import lease_day, month_begin, month_end, utc_day
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import BillingMonth

_HOLD_MARGIN = 1.05
"""The pace of an earlier process is waited for by so much longer than its window."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whose credits a run spends: the ledger, the run, its date, the budgets and the clock of the month."""

    ledger: Ledger
    run_id: str
    crawl_date: date
    limits: CreditSettings
    now: Callable[[], datetime]
    guard: Callable[[], None] = lambda: None

    @property
    def budget(self) -> int | None:
        """The date's budget."""
        return self.limits.budget

    @property
    def month(self) -> BillingMonth:
        """The billing month as the clock now tells it."""
        now = self.now()
        began = month_begin(utc_day(now), self.limits.month_begins)
        return BillingMonth(began, self.limits.monthly_budget, lease_day(now))

    def reserve(self, lease: Callable[[int | None], int]) -> int:
        """Reserve credits.

        Raises `BudgetSpentError` where nothing is left, `DisplacedError` where the ledger is not at its path.
        """
        self.guard()
        month = self.month
        size = self.ledger.reserve(self.run_id, self.crawl_date, self.budget, lease, month)
        if size == 0:
            raise BudgetSpentError("; ".join(self._spent(month)))
        return size

    def in_words(self) -> str:
        """What the budgets have been charged so far, in words."""
        month, words = self.month, "no credit budget"
        if self.budget is not None:
            words = f"{self.ledger.spent_for(self.crawl_date)} of {self.budget} credits spent"
        if month.budget is not None:
            spent = self.ledger.spent_since(month.began, month.lease_day)
            words += f", {spent} of {month.budget} since {month.began}"
        return words

    def _spent(self, month: BillingMonth) -> Iterator[str]:
        if self.budget is not None and self.ledger.spent_for(self.crawl_date) >= self.budget:
            yield "the credit budget is spent: raise --budget, or run again on another crawl date"
        if month.budget is not None and self.ledger.spent_since(month.began, month.lease_day) >= month.budget:
            end = month_end(month.began, self.limits.month_begins)
            yield f"the monthly budget is spent: raise credits.monthly_budget, or run again from {end} (UTC)"


def initial_hold_s(qps: float, ledger: Ledger) -> float:
    """Seconds to wait before the first request, since an earlier process may have sent right before.

    When it did is not asked: after a step of the clock nobody could tell.
    """
    return max(1.0, 1.0 / qps) * _HOLD_MARGIN if ledger.runs() else 0.0
