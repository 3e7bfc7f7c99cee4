"""What is spent beside the crawl's own pages: leases that a kill strands, the request of `check --online`."""

from __future__ import annotations

import bisect
import fcntl
import subprocess
import time
from collections.abc import Callable
from datetime import date

from conftest import DATE, SMALL, Night

from crawler.simulator.faults import parse_faults
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.ledger import Ledger

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


def check(job: Night, *options: str) -> subprocess.CompletedProcess[str]:
    return job.call("check", "--online", "--crawl-date", DATE, *options)


def busiest_second(simulator: Simulator) -> int:
    times = list(simulator.stats.arrivals)
    return max(bisect.bisect_left(times, t + 1.0) - i for i, t in enumerate(times))


def test_the_request_of_a_check_is_known_to_ledger_budget_and_pace(night: Begin) -> None:
    """It counts for the date and the month, keeps its distance, and leaves the date as it found it."""
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(9))
    asked = check(job, "--budget", "4")
    assert asked.returncode == 0, asked.stdout
    report = job.run(source, "--qps", "3", "--budget", "4", code=3)
    assert report["credits"]["spent_for_date"] == report["credits"]["spent_for_month"] == 4
    assert not any("lost" in note for note in report["notes"])
    refused = check(job, "--budget", "4")
    assert refused.returncode == 3
    assert "the credit budget is spent" in refused.stdout
    assert simulator.stats.requests == 4
    assert busiest_second(simulator) <= 3
    status = job.call("status").stdout
    assert job.call("status", "--json").stdout.count("-check") == 2
    assert DATE in status.partition("unfinished:")[2], "the check hides that the date is unfinished"


def test_a_check_of_a_date_without_a_run_leaves_nothing_unfinished(night: Begin) -> None:
    """Not even one whose request failed; and the monthly budget holds for it."""
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults("status=500@1")))
    failed = check(job)
    assert failed.returncode == 2
    assert "500" in failed.stdout
    with Ledger(job.data) as ledger:
        assert ledger.dates() == []
        assert ledger.spent_for(THAT_DATE) == simulator.stats.requests == 1
        assert ledger.spent_by_runs(THAT_DATE) == 0
    (job.folder / "config").mkdir()
    (job.folder / "config" / "crawler.toml").write_text("[credits]\nmonthly_budget = 1\n")
    refused = check(job)
    assert refused.returncode == 3
    assert "monthly" in refused.stdout
    assert simulator.stats.requests == 1


def test_a_check_sends_nothing_while_a_run_holds_the_folder(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    (job.data / "state").mkdir(parents=True)
    with (job.data / "state" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        taken = check(job)
    assert taken.returncode == 7
    assert "is in use by another run" in taken.stdout
    assert simulator.stats.requests == 0
    dead = check(job, "--api-url", "http://127.0.0.1:1")
    assert dead.returncode == 2
    with Ledger(job.data) as ledger:
        assert ledger.spent_for(THAT_DATE) == 0, "nothing was sent"
