"""Credits in hand: leased on disk before they are spent."""

from __future__ import annotations

import asyncio

from crawler.engine.ports import Ledger
from crawler.errors import BudgetSpentError


class Credits:
    """Hands out credits one by one from leases that the ledger has on disk."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._refill = asyncio.Lock()
        self._left = 0
        self._dry = False
        self.spent = 0

    async def take(self) -> None:
        """Take one credit.

        Raises `BudgetSpentError` where the budget has none left.
        """
        while self._left == 0:
            async with self._refill:
                if self._left == 0:
                    await self._lease()
        self._left -= 1
        self.spent += 1

    def give_back(self) -> None:
        """Return a credit whose request was never sent."""
        self._left += 1
        self.spent -= 1

    async def _lease(self) -> None:
        # Shielded: a lease that is on disk must reach `_left` even if this worker is cancelled.
        self._left += await asyncio.shield(asyncio.ensure_future(self._ledger.reserve()))
        if self._left == 0:
            raise BudgetSpentError(
                "the credit budget is spent: raise --budget, or run again on another crawl date"
            )
