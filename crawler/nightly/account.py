"""Whose credits a run spends, by budget, month and lease; those that a lost ledger forgot count again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

from crawler import events
from crawler.models.errors import BudgetSpentError, CrawlerError, KeySpentError
from crawler.models.keys import KeySettings
from crawler.nightly.night import Night, Notes
from crawler.options import CreditSettings
from crawler.rules.budget import credits_left, lease_day, lease_size, month_begin, month_end, utc_day
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles, journals_below
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import BillingMonth, KeyAccount

_PAUSE_MARGIN = 1.05
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
        """The billing month by the clock of now."""
        now = self.now()
        began = month_begin(utc_day(now), self.limits.month_begins)
        return BillingMonth(began, self.limits.monthly_budget, lease_day(now))

    @property
    def left(self) -> int | None:
        """Credits that the budgets leave; None: there is no limit."""
        month = self.month
        return credits_left(
            (self.budget, self.ledger.spent_for(self.crawl_date)),
            (month.budget, self.ledger.spent_since(month.began, month.lease_day)),
        )

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

    def reserve_for(self, key: KeySettings, lease: Callable[[int | None], int]) -> int:
        """Reserve credits for a key.

        Raises as `reserve` does, and `KeySpentError` where only the key's own budgets leave nothing.
        """
        self.guard()
        month, account = self.month, self.account_of(key)
        size = self.ledger.reserve(self.run_id, self.crawl_date, self.budget, lease, month, account)
        if size == 0:
            if reasons := [*self._spent(month)]:
                raise BudgetSpentError("; ".join(reasons))
            raise KeySpentError(
                f"the key {key.name} has spent what it may: raise its daily_budget or monthly_budget"
            )
        return size

    def account_of(self, key: KeySettings) -> KeyAccount:
        """What the ledger is to know of a key, by the clock of now."""
        return KeyAccount(key.name, key.daily_budget, key.monthly_budget, utc_day(self.now()))

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


class LedgerPort:
    """The engine's ledger ports: leases are written by a thread of their own."""

    def __init__(self, account: Account, qps: float, executor: Executor) -> None:
        self._account = account
        self._qps = qps
        self._executor = executor

    async def reserve(self, in_use: int) -> int:
        """See the engine's port."""
        lease = partial(lease_size, self._qps, in_use)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._account.reserve, lease)

    async def reserve_for(self, key: KeySettings, in_use: int) -> int:
        """See the engine's port."""
        lease = partial(lease_size, min(self._qps, key.qps), in_use)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._account.reserve_for, key, lease)

    async def give_back(self, key: KeySettings, spent: int) -> None:
        """See the engine's port."""
        ledger, run_id = self._account.ledger, self._account.run_id
        await asyncio.get_running_loop().run_in_executor(
            self._executor, ledger.return_unused_of_key, run_id, key.name, spent
        )


def initial_pause_s(free_for_s: float, qps: float) -> float:
    """Seconds to wait before the first request, since an earlier process may have sent right before.

    The folder was free for `free_for_s` seconds, or has never had a run: infinity. By the clock that is not
    asked: after a step of it nobody could tell.
    """
    return max(0.0, max(1.0, 1.0 / qps) * _PAUSE_MARGIN - free_for_s)


def count_lost_credits(
    ledger: Ledger, journal: Journal, night: Night, run_id: str, now: str, notes: Notes
) -> None:
    """Count credits again that the journals know were spent, and a ledger that was lost does not."""
    if others := _count_other_dates(ledger, night, run_id):
        notes.add(events.CREDITS_RECOUNTED(credits=others, crawl_dates="other crawl dates"))
    unknown = journal.reader.credits() - ledger.spent_by_runs(night.crawl_date)
    if unknown > 0:
        _count_again(ledger, f"{run_id}-recovered", night.crawl_date, now, unknown, exit_code=1)
        notes.add(events.CREDITS_RECOUNTED(credits=unknown, crawl_dates=night.crawl_date))


def _count_other_dates(ledger: Ledger, night: Night, run_id: str) -> int:
    """Count again in a ledger without any run what the journals of other dates know; returns the credits.

    They count for the day on which the journal's last page came. A journal that cannot be read is left out.
    """
    total = 0
    if ledger.runs():
        return total
    for path in sorted(journals_below(night.layout.journals)):
        with suppress(ValueError, CrawlerError, sqlite3.Error):
            day = date.fromisoformat(JournalFiles(path).crawl_date)
            if day == night.crawl_date:
                continue
            with Journal(path, only_read=True) as journal:
                moment, unknown = journal.reader.last_received, journal.reader.credits()
                is_published = journal.meta("published_mark") == journal.mark()
            if moment is not None:
                name = f"{run_id}-recovered-{path.stem}"
                _count_again(ledger, name, day, moment, unknown, exit_code=0 if is_published else 1)
                total += unknown
    return total


def _count_again(
    ledger: Ledger, run_id: str, crawl_date: date, moment: str, unknown: int, *, exit_code: int
) -> None:
    ledger.begin(run_id, crawl_date, moment)
    ledger.reserve(run_id, crawl_date, None, lambda _left: unknown)
    ledger.finish(run_id, moment, exit_code)
