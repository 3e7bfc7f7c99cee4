"""An API that is slow, broken or lying: the night goes on, nothing leaves its folder, no good row is lost."""

from __future__ import annotations

import bisect
import os
import signal
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from conftest import DATE, SMALL, Night

from crawler.simulator.faults import parse_faults
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.ledger import Ledger

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]


def expected(simulator: Simulator, ids: list[str]) -> list[tuple[str, str]]:
    return sorted((s, row["video_id"]) for s in ids for row in simulator.catalogue.videos(s))


def test_odd_answers_lose_no_row_and_cost_nothing_more(night: Begin, tmp_path: Path) -> None:
    kinds = ("deep", "bigint", "surrogate", "control", "nul", "wide", "region", "odd", "extra_field")
    faults = parse_faults(",".join(f"{kind}:0.1" for kind in kinds))
    job, simulator = night(SimulatorOptions(SMALL, faults=faults))
    ids = simulator.catalogue.seller_ids(60)
    report = job.run(job.sellers(ids))
    assert job.ids() == expected(simulator, ids)
    assert report["requests"]["sent"] == sum(simulator.catalogue.size(i) // 10 + 1 for i in ids)
    regions = {row["region"] for row in job.videos()}
    assert {"../../x", "Ж" * 300} < regions
    assert {p.name for p in tmp_path.iterdir()} == {"data", "sellers.csv"}
    extras = "".join(row["extra"] or "" for row in job.videos())
    for kept in ("brand_new_field", "18446744073709551617", "[[[["):
        assert kept in extras


def test_rows_without_an_id_are_kept_as_rejects(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults("no_id:0.3")))
    ids = simulator.catalogue.seller_ids(40)
    report = job.run(job.sellers(ids))
    (rejects,) = job.data.glob("runs/*/rejects.jsonl")
    count = len(rejects.read_text().splitlines())
    assert count == report["rows"]["rejected"] > 5
    assert len(job.ids()) + count == len(expected(simulator, ids)) == report["rows"]["received"]


def test_answers_that_never_end_are_given_up_and_asked_for_again(night: Begin) -> None:
    kinds = ("hang", "drip", "endless", "endless-headers", "huge", "cut", "reset", "html")
    faults = ",".join(f"{kind}@{5 + 3 * n}" for n, kind in enumerate(kinds))
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults(faults)))
    ids = simulator.catalogue.seller_ids(40)
    report = job.run(job.sellers(ids), "--timeout", "1")
    assert job.ids() == expected(simulator, ids)
    assert report["requests"]["retried"] == len(kinds)
    assert report["sellers"]["failed"] == 0


def test_a_quota_message_under_a_500_stops_the_run(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults("quota500@20")))
    report = job.run(job.sellers(simulator.catalogue.seller_ids(60)), "--workers", "3", code=6)
    assert simulator.stats.requests <= 22
    assert report["rows"]["written"] == len(job.ids()) > 0


def test_a_repeated_page_ends_its_seller(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults("repeat@3")))
    seller = next(i for i in simulator.catalogue.seller_ids(200) if simulator.catalogue.size(i) > 50)
    report = job.run(job.sellers([seller]))
    assert report["stops"] == {"repeated_page": 1}
    assert (report["requests"]["sent"], report["rows"]["duplicate"]) == (3, 10)


def test_429s_slow_the_run_and_fail_nobody(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, qps=40, retry_after="0"))
    ids = simulator.catalogue.seller_ids(30)
    report = job.run(job.sellers(ids), "--qps", "60")
    assert job.ids() == expected(simulator, ids)
    assert report["sellers"]["complete"] == 30
    statuses = report["requests"]["by_status"]
    assert 0 < statuses["429"] < 0.4 * statuses["200"]


def test_a_second_signal_stops_at_once_and_loses_nothing(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, latency=3.0))
    ids = simulator.catalogue.seller_ids(40)
    source = job.sellers(ids)
    process = job.start(source, "--qps", "50")
    while simulator.stats.requests < 20:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 2.5
    assert process.returncode == 143
    assert "Traceback" not in err
    with Ledger(job.data) as ledger:
        assert ledger.spent_for(date.fromisoformat(DATE)) >= simulator.stats.requests


def test_runs_in_a_row_keep_the_ceiling_together(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(40))
    for _ in range(3):
        process = job.start(source, "--qps", "4")
        before = simulator.stats.requests
        while simulator.stats.requests < before + 6:
            time.sleep(0.01)
        process.kill()
        process.communicate()
    times = list(simulator.stats.arrivals)
    busiest = max(bisect.bisect_left(times, t + 1.0) - i for i, t in enumerate(times))
    assert busiest <= 4


def test_the_command_to_go_on_with_names_the_settings_that_the_date_was_begun_with(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source, config = job.sellers(simulator.catalogue.seller_ids(10)), job.folder / "mine.toml"
    config.write_text("[journal]\ncommit_ms = 7\n")
    job.run(source, "--crawl-date", "2026-11-20", "--budget", "1", "--config", str(config), code=3)
    report = job.run(source)
    (note,) = (note for note in report["notes"] if "2026-11-20 is unfinished" in note)
    assert f"--config {config}" in note
    assert "--budget 2 " in note, "the budget of 1 is spent"
    assert "--crawl-date 2026-11-20" in note


def test_a_finished_date_whose_journal_was_pruned_is_not_paid_for_again(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(10))
    unfinished = ("--crawl-date", "2026-11-20", "--budget", "1")
    job.run(source)
    job.run(source, *unfinished, code=3)
    old = time.time() - 40 * 86_400
    for path in (job.data / "state" / "journal").iterdir():
        os.utime(path, (old, old))
    job.run(source, "--crawl-date", "2026-11-24")
    left = {path.name[:10] for path in (job.data / "state" / "journal").iterdir()}
    assert left == {"2026-11-20", "2026-11-24"}
    sent, rows = simulator.stats.requests, job.ids()
    done = job.run(source, code=2)
    assert "--fresh" in done["stderr"]
    assert (simulator.stats.requests, job.ids()) == (sent, rows)
