"""Credits in hand: leased on disk before they are spent."""

from __future__ import annotations

import asyncio

from crawler.engine.stop import Stop
from crawler.models.errors import BudgetSpentError
from crawler.ports import Ledger


class Credits:
    """Hands out credits one by one from leases that the ledger has on disk.

    Each credit taken is either spent or given back. The budget counts as spent only when nobody holds
    one that might still come back. A stop ends every wait.
    """

    def __init__(self, ledger: Ledger, stop: Stop) -> None:
        self._ledger = ledger
        self._stop = stop
        self._leasing: asyncio.Task[None] | None = None
        self._left = 0
        self._in_flight = 0
        self._dry = False
        self._message = "the credit budget is spent"
        self._settled = asyncio.Event()
        self._wanting = 0
        self.spent = 0

    @property
    def charged(self) -> int:
        """Credits spent plus credits reserved by requests in flight."""
        return self.spent + self._in_flight

    async def take(self) -> None:
        """Take one credit; raises `BudgetSpentError` where the budget has none left."""
        if self._left == 0:
            self._wanting += 1
            try:
                with self._stop.interruptible():
                    while self._left == 0:
                        await self._more()
            finally:
                self._wanting -= 1
        self._left -= 1
        self._in_flight += 1

    def spend(self, _key: int = 0, _label: str = "") -> None:
        """Count a credit whose request was sent."""
        self._in_flight -= 1
        self.spent += 1
        self._settled.set()

    def give_back(self) -> None:
        """Return a credit whose request was never sent."""
        self._in_flight -= 1
        self._left += 1
        self._settled.set()

    async def _more(self) -> None:
        """Lease, or wait for a credit that comes back."""
        if not self._dry:
            # Shared, so that all who wait go on at once; shielded, so that a lease that is on disk reaches
            # `_left` even if this worker is cancelled.
            if self._leasing is None or self._leasing.done():
                self._leasing = asyncio.create_task(self._lease())
            await asyncio.shield(self._leasing)
        while self._left == 0 and self._dry:
            if self._in_flight == 0:
                raise BudgetSpentError(self._message)
            self._settled.clear()
            await self._settled.wait()

    async def _lease(self) -> None:
        lease = 0
        try:
            lease = await self._ledger.reserve(self._in_flight + self._wanting)
        except BudgetSpentError as spent:
            # others may still give theirs back
            self._message = str(spent)
        self._left += lease
        self._dry = lease == 0
