"""How often a page is asked for again, and how long to wait before it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from crawler.models.seller import PageRequest

HARD_ATTEMPTS = 10
"""Requests of one page that are never exceeded in a run (contract, promise 5)."""

BACKOFF_CAP = 30.0
THROTTLE_CAP = 60.0


@dataclass(frozen=True, slots=True)
class RetryRule:
    """Retries of a page without a usable answer: `backoff` s doubling, with jitter."""

    attempts: int = 6
    backoff: float = 1.0

    def is_at_fault(self, request: PageRequest) -> bool:
        """Whether a page is given up: attempts with no answer between them count as one, but for the last."""
        return request.faults >= self.attempts or request.failures >= HARD_ATTEMPTS

    def wait(self, failures: int, rng: Random) -> float:
        """Seconds before the next attempt; jitter keeps workers that failed together apart."""
        full: float = min(BACKOFF_CAP, self.backoff * 2.0 ** (failures - 1))
        return full * rng.uniform(0.5, 1.0)


def throttle_wait(bursts: int, retry_after: float | None, cap: float) -> float:
    """Seconds of quiet after the `bursts`-th burst of 429s in a row (from 1).

    `Retry-After` stands where it was sent; otherwise 1 s, doubling, 60 s at most.
    """
    if retry_after is not None:
        return min(retry_after, cap)
    return float(min(THROTTLE_CAP, 2.0 ** min(bursts - 1, 6)))
