"""What is spent beside the crawl's own pages: leases that a kill strands, the request of `check --online`."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date

from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.ledger import Ledger
from conftest import DATE, SMALL, Night

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]

THAT_DATE = date.fromisoformat(DATE)


def spent_for(job: Night) -> int:
    with Ledger(job.data) as ledger:
        return ledger.spent_for(THAT_DATE)


def test_a_kill_strands_no_more_credits_than_can_be_in_flight(night: Begin) -> None:
    """However high the pace: of 40 sellers no more than 40 requests can be in flight."""
    job, simulator = night(SimulatorOptions(SMALL, latency=0.05))
    source = job.sellers(simulator.catalogue.seller_ids(40))
    for kills in (1, 2):
        before = simulator.stats.requests
        process = job.start(source, "--qps", "3000")
        while simulator.stats.requests < before + 10:
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
        process.communicate()
        time.sleep(0.1)
        assert 0 <= spent_for(job) - simulator.stats.requests <= kills * (40 + 8)
