"""The credits of all attempts: leased on disk before they are given, and what one leaves serves another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from crawler.cluster.attempts import Attempt
from crawler.cluster.messages import LostError, Reserve, Reserved
from crawler.models.errors import BudgetSpentError, KeySpentError


class Leases(Protocol):
    """The driver's ledger."""

    async def reserve(self, key: int, in_use: int) -> int:
        """Reserve a lease of credits on disk. Raises `BudgetSpentError`, `KeySpentError`."""


class SharedCredits:
    """Gives credits to attempts; `live` are those whose lease goes on, by fence."""

    def __init__(self, leases: Leases, keys: int, live: Mapping[int, Attempt]) -> None:
        self._leases, self._live = leases, live
        self._spare, self._charged = [0] * keys, [0] * keys
        self.unaccounted = 0
        """Credits that lost attempts may have spent after they were last heard of."""

    @property
    def charged(self) -> list[int]:
        """Credits by key that attempts have spent, or may have: of a lost one all that it had leased."""
        live = self._live.values()
        return [done + sum(a.leased[key] for a in live) for key, done in enumerate(self._charged)]

    async def reserve(self, attempt: Attempt, message: Reserve) -> Reserved:
        """Give credits; asked again under the same number, the same: the reply before may have been lost.

        Raises `LostError` where the attempt is over once they are leased.
        """
        async with attempt.credit_lock:
            number, reply = attempt.reserved.get(message.key, (0, Reserved()))
            if number != message.number:
                reply = await self._lease(attempt, message)
                if reply.credits:
                    attempt.reserved[message.key] = message.number, reply
            return reply

    def settle(self, attempt: Attempt) -> None:
        """Take back what an attempt that has ended did not spend."""
        for key, leased in enumerate(attempt.leased):
            self._charged[key] += attempt.charged[key]
            self._spare[key] += leased - attempt.charged[key]

    def lose(self, attempt: Attempt) -> int:
        """Count all that a lost attempt had leased as spent; returns how much of that it had not reported."""
        unaccounted = sum(attempt.leased) - attempt.figures.sent
        self.unaccounted += unaccounted
        for key, leased in enumerate(attempt.leased):
            self._charged[key] += leased
        return unaccounted

    async def _lease(self, attempt: Attempt, message: Reserve) -> Reserved:
        key = message.key
        size = min(self._spare[key], max(1, message.in_use))
        if size:
            self._spare[key] -= size
        else:
            try:
                size = await self._leases.reserve(key, message.in_use)
            except KeySpentError as spent:
                return Reserved(key_spent=str(spent))
            except BudgetSpentError as spent:
                may_come_back = any(self._spare) or _hold_some(self._others(attempt))
                return Reserved(must_wait=True) if may_come_back else Reserved(spent=str(spent))
        if self._live.get(attempt.fence) is not attempt:
            self._spare[key] += size
            raise LostError
        attempt.leased[key] += size
        return Reserved(credits=size)

    def _others(self, attempt: Attempt) -> Iterable[Attempt]:
        return (other for other in self._live.values() if other is not attempt)


def _hold_some(attempts: Iterable[Attempt]) -> bool:
    """Whether any has credits that no request has left with: those that wait may yet be given back."""
    return any(sum(attempt.leased) > attempt.figures.sent for attempt in attempts)
