"""A stop: one reason is reported, and disbelief stays beside a weightier one."""

from __future__ import annotations

from crawler.engine.stop import Stop
from crawler.models.errors import ImplausibleError, InterruptedRunError, KeyRefusedError


async def test_what_cannot_be_believed_stays_so_whatever_else_ends_the_run() -> None:
    """The exit code follows the order of the contract, publishing follows the disbelief."""
    for weightier in (InterruptedRunError(15), KeyRefusedError("401")):
        for first, second in ((weightier, ImplausibleError("x")), (ImplausibleError("x"), weightier)):
            stop = Stop()
            stop.set(first)
            stop.set(second)
            assert stop.reason is weightier
            assert isinstance(stop.disbelief, ImplausibleError)
