"""A crawl date means that day: what is received later for it is marked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
from conftest import SMALL, Night

from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.ledger import Ledger, _update_run

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
TODAY = datetime.now(UTC).date()


def rows_by_lateness(job: Night, day: str) -> dict[bool, set[str]]:
    """The runs whose rows are late, and those whose rows are not."""
    (path,) = (job.data / "videos" / f"crawl_date={day}").glob("*.parquet")
    found: dict[bool, set[str]] = {}
    for row in pq.ParquetFile(path).read(["run_id", "late"]).to_pylist():
        found.setdefault(row["late"], set()).add(row["run_id"])
    return found


def late_nights(job: Night) -> dict[str, bool]:
    (path,) = (job.data / "nights").glob("*.parquet")
    rows = pq.ParquetFile(path).read(["crawl_date", "late"]).to_pylist()
    return {str(row["crawl_date"]): row["late"] for row in rows if row["late"] is not None}


def test_a_past_date_that_is_only_begun_now_is_late_and_says_so_once(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(6))
    past = str(TODAY - timedelta(days=20))
    done = job.call("run", str(source), "--crawl-date", past, "--qps", "1000", "--budget", "4")
    assert done.returncode == 3
    assert done.stderr.count(f"crawl date {past} is late: its day was over when its first run began") == 1
    # it goes on without --late, as long as any other date does
    report = job.run(source, "--crawl-date", past)
    assert report["late"] is True
    assert set(rows_by_lateness(job, past)) == {True}
    assert late_nights(job) == {past: True}


def test_going_on_with_a_date_by_late_marks_what_came_late_alone(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(6))
    words = (source, "--crawl-date", str(TODAY))
    first = job.run(*words, "--budget", "4", code=3)
    assert (first["late"], late_nights(job)) == (False, {str(TODAY): False})
    assert not any("late" in note for note in first["notes"])
    # what there is came on time; whatever comes from here on is late
    with Ledger(job.data) as ledger:
        began = datetime.now(UTC)
        _update_run(ledger._db, first["run_id"], "started_at = ?", began.isoformat())
    later = {"CRAWLER_RUN_LATE_AFTER": "0"}
    refused = job.call("run", *map(str, words), **later)
    assert (refused.returncode, "--late" in refused.stderr) == (2, True)
    done = job.call("run", *map(str, words), "--late", "--qps", "1000", **later)
    assert done.returncode == 0
    assert done.stderr.count("rows that are received from now on are marked late") == 1
    found = rows_by_lateness(job, str(TODAY))
    assert found[False] == {first["run_id"]}
    assert len(found[True] - found[False]) == 1
    assert late_nights(job) == {str(TODAY): True}


def test_a_date_that_is_closed_by_hand_keeps_its_marks(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(6))
    past = str(TODAY - timedelta(days=20))
    job.run(source, "--crawl-date", past, "--budget", "4", code=3)
    assert job.call("close", past).returncode == 0
    assert set(rows_by_lateness(job, past)) == {True}
    assert late_nights(job) == {past: True}
