"""Nights of workers that were killed amid: whatever a person does to the date next takes in what was left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import DATE, Night, stand_in
from process_tree import Seen, processes_below

from crawler.nightly.left_by_workers import LEASE
from crawler.simulator.catalogue import CatalogueOptions
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles, Layout

PROCESSES = ("--executor", "processes", "--processes", "2", "--qps", "60")
LEASE_S = 2.0


class KeepingNight(Night):
    def environ(self) -> dict[str, str]:
        more = {"CRAWLER_OUTPUT_KEEP_RAW": "true", "CRAWLER_DASK_LEASE_S": str(LEASE_S)}
        return {**super().environ(), **more}


@pytest.fixture(scope="module")
def shop() -> Iterator[Simulator]:
    with stand_in(SimulatorOptions(CatalogueOptions(seed=7, largest=60), latency=0.02)) as simulator:
        yield simulator


@pytest.fixture
def night(tmp_path: Path, shop: Simulator) -> KeepingNight:
    return KeepingNight(tmp_path, shop.url)


def journal_of(night: Night, generation: int = 1) -> Path:
    return Layout(night.data).journals / f"{DATE}.{generation}.sqlite"


def kill_amid(night: Night, shop: Simulator, source: Path, *options: str) -> list[Seen]:
    """Begin a night of workers and kill its driver once pages are in their logs; returns its processes."""
    logs = JournalFiles(journal_of(night)).attempt_logs
    job, sent = night.start(source, *PROCESSES, *options), shop.stats.requests
    deadline = time.monotonic() + 60
    while shop.stats.requests < sent + 30 or not any(path.stat().st_size for path in logs().values()):
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    below = processes_below(job.pid)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    return below


def pages_in(path: Path) -> int:
    with Journal(path, only_read=True) as journal:
        (count,) = journal.connection.execute("SELECT COUNT(*) FROM page").fetchone()
    return int(count)


def test_every_process_of_a_killed_night_ends_by_itself(night: KeepingNight, shop: Simulator) -> None:
    below = kill_amid(night, shop, night.sellers(shop.catalogue.seller_ids(60)))
    assert len(below) >= 2
    deadline = time.monotonic() + LEASE_S + 3
    while (left := [each for each in below if each.lives]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def by_close(night: Night, _source: Path) -> str:
    return said(night, "close", DATE)


def by_rebuild(night: Night, _source: Path) -> str:
    return said(night, "rebuild", "--crawl-date", DATE)


def by_fresh(night: Night, source: Path) -> str:
    return " ".join(night.run(source, "--fresh")["notes"])


def by_fresh_in_another_order(night: Night, source: Path) -> str:
    """It begins a new journal, and first publishes what the old one has."""
    return " ".join(night.run(source, "--fresh", "--order", "asc")["notes"])


def said(night: Night, *words: str) -> str:
    done = night.call(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "go_on",
    [
        by_close,
        *(
            pytest.param(each, marks=pytest.mark.long)
            for each in (by_rebuild, by_fresh, by_fresh_in_another_order)
        ),
    ],
)
def test_what_workers_of_a_killed_night_left_is_taken_in(
    night: KeepingNight, shop: Simulator, go_on: Callable[[Night, Path], str]
) -> None:
    source = night.sellers(shop.catalogue.seller_ids(60))
    # A rebuild needs something that is published.
    night.run(source, "--budget", "20", code=3)
    before, options = pages_in(journal_of(night)), () if go_on is not by_fresh else ("--fresh",)
    kill_amid(night, shop, source, *options)
    words = go_on(night, source)
    assert f"of an earlier run of {DATE} left " in words
    assert not JournalFiles(journal_of(night)).attempts.exists(), "neither logs nor the probe"
    assert pages_in(journal_of(night)) >= before + 30 - 2
    with Journal(journal_of(night), only_read=True) as journal:
        assert journal.meta(LEASE) is None
        if go_on is by_close or go_on is by_rebuild:
            assert len(night.videos()) == sum(count for _, count in rows_of(journal))


def rows_of(journal: Journal) -> list[tuple[str, int]]:
    rows = journal.connection.execute("SELECT seller_id, SUM(row_count) FROM page GROUP BY seller_id")
    return [(seller, count) for seller, count in rows]


def by_accept(night: Night, _source: Path) -> str:
    return said(night, "publish", "--crawl-date", DATE, "--accept")


def by_fresh_of_another_order(night: Night, source: Path) -> str:
    """What is held back is not published before the new journal begins; its workers are waited for."""
    return " ".join(night.run(source, "--fresh", "--order", "asc", code=10)["notes"])


@pytest.mark.parametrize(
    "go_on", [by_fresh_of_another_order, pytest.param(by_accept, marks=pytest.mark.long)]
)
def test_what_workers_of_a_killed_run_left_of_a_held_night_is_taken_in(
    tmp_path: Path, go_on: Callable[[Night, Path], str]
) -> None:
    catalogue = CatalogueOptions(seed=7, largest=60)
    with stand_in(SimulatorOptions(catalogue, outage="zeros", latency=0.02)) as shop:
        night = KeepingNight(tmp_path, shop.url)
        source = night.sellers(shop.catalogue.seller_ids(60))
        with stand_in(SimulatorOptions(catalogue)) as good:
            KeepingNight(tmp_path, good.url).run(source, "--crawl-date", "2026-11-22")
        night.run(source, code=10)
        kill_amid(night, shop, source)
        assert f"of an earlier run of {DATE} left " in go_on(night, source)
        assert not JournalFiles(journal_of(night)).attempts.exists()
        with Journal(journal_of(night), only_read=True) as journal:
            assert journal.meta(LEASE) is None
