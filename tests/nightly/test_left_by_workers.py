"""What workers of a killed run left in their logs is published, whatever opens the date next."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from conftest import DATE, SMALL, Night
from launcher import LAUNCHER

from crawler.models.page import Page
from crawler.models.seller import Ending, SellerStatus, StopReason
from crawler.nightly.left_by_workers import LEASE
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.attempt_log import AttemptLog
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles, Layout
from crawler.store.record_frames import encode
from crawler.store.records import Record

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
_PAGES = """SELECT seller_id, page_num, row_count, fingerprint, received_at, request_id, run_id, credits,
    total, least, edge, rejected FROM page ORDER BY seq"""


def journal_of(night: Night) -> Path:
    return next(Layout(night.data).journals.glob(f"{DATE}.*.sqlite"))


def killed_driver(night: Night, source: Path, lease_s: float | None) -> int:
    """Leave what a killed driver leaves that had absorbed nothing of two attempts; returns their pages."""
    words = ["run", str(source), "--crawl-date", DATE, "--qps", "1000"]
    assert (
        LAUNCHER.start(words, night.environ(), night.folder, at="segment.begin:1").wait() == -signal.SIGKILL
    )
    with Journal(journal_of(night)) as journal:
        bodies = {(page.seller_id, page.page_num): page.body for page in journal.waiting()}
        records = []
        for (
            seller_id,
            number,
            count,
            print_,
            received,
            request,
            run,
            cost,
            *values,
        ) in journal.connection.execute(_PAGES):
            total, last, last_hash, rejected = values
            page = Page(seller_id, number, bodies[seller_id, number], count, print_, received, request)
            page.total, page.last_value = total, last
            page.stored_last_id_hash, page.rejected = last_hash, rejected
            records.append(Record(seller_id, run, cost, page, None))
        for seller_id, status, reason, run in journal.connection.execute(
            "SELECT seller_id, status, stop_reason, run_id FROM seller"
        ):
            ending = Ending(SellerStatus(status), StopReason(reason))
            records.append(Record(seller_id, run, 0, None, ending))
        for table in ("page", "body", "seller", "seam"):
            journal.connection.execute(f"DELETE FROM {table}")
        if lease_s is not None:
            journal.note(**{LEASE: str(lease_s)})
    half = len(bodies) // 2
    for fence, some in ((1, records[:half]), (2, records[half:])):
        log = AttemptLog(JournalFiles(journal_of(night)).attempt_log(fence))
        for record in some:
            log.append(encode([record]))
        log.close()
    return len(bodies)


def test_a_run_takes_in_what_workers_left_and_asks_for_none_of_it(night: Begin) -> None:
    here, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(6)
    source = here.sellers(ids)
    pages = killed_driver(here, source, 0.1)
    sent = simulator.stats.requests
    report = here.run(source)
    assert simulator.stats.requests == sent
    assert len(here.ids()) == sum(map(simulator.catalogue.size, ids))
    assert report["sellers"]["complete"] == len(ids)
    notes = " ".join(report["notes"])
    assert f"2 workers of an earlier run of {DATE} left {pages} pages" in notes
    assert "counted again" not in notes
    files = JournalFiles(journal_of(here))
    assert not files.attempt_logs()
    with Journal(files.journal, only_read=True) as journal:
        assert journal.meta(LEASE) is None
    assert "workers" not in " ".join(here.run(source)["notes"])


def test_status_and_verify_say_what_waits_and_what_takes_it_in(night: Begin) -> None:
    here, simulator = night(SimulatorOptions(SMALL))
    source = here.sellers(simulator.catalogue.seller_ids(4))
    pages = killed_driver(here, source, 0.1)
    (line,) = orjson.loads(here.call("status", "--json").stdout)["dates"]
    assert line["worker_logs"] == 2
    assert "2 logs of workers wait to be taken in" in here.call("status").stdout
    done = here.call("verify")
    assert done.returncode == 0, done.stdout
    assert f"{pages} pages in 2 logs of workers wait for {DATE}" in done.stderr
    assert line["go_on"].split(" run ")[1] in done.stderr
    here.run(source)
    assert orjson.loads(here.call("status", "--json").stdout)["dates"] == []
    assert "logs of workers" not in here.call("verify").stderr


@pytest.mark.parametrize("place", [0, 4, 30], ids=["length", "checksum", "content"])
def test_verify_tells_damaged_logs_from_those_that_a_kill_cut_off(night: Begin, place: int) -> None:
    here, simulator = night(SimulatorOptions(SMALL))
    pages = killed_driver(here, here.sellers(simulator.catalogue.seller_ids(4)), 0.1)
    log = JournalFiles(journal_of(here)).attempt_logs()[1]
    whole = log.read_bytes()
    log.write_bytes(whole[:-1])
    done = here.call("verify")
    assert done.returncode == 0, done.stdout
    assert f"{pages - 1} pages in 2 logs" in done.stderr
    log.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
    done = here.call("verify")
    assert done.returncode == 8
    assert (
        f"damaged   {log.relative_to(here.data)}: from byte 0 on {len(whole)} bytes have changed"
        in done.stdout
    )


def test_closing_a_date_publishes_what_workers_left(night: Begin) -> None:
    here, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(4)
    killed_driver(here, here.sellers(ids), 0.1)
    done = here.call("close", DATE)
    assert done.returncode == 0, done.stderr
    assert "2 workers of an earlier run" in done.stdout + done.stderr
    assert len(here.ids()) == sum(map(simulator.catalogue.size, ids))


@pytest.mark.parametrize("lease_s", [600.0, None], ids=["a mark", "logs alone"])
def test_a_signal_ends_the_wait_and_what_was_left_stays(night: Begin, lease_s: float | None) -> None:
    here, simulator = night(SimulatorOptions(SMALL))
    source = here.sellers(simulator.catalogue.seller_ids(4))
    killed_driver(here, source, lease_s)
    sent = simulator.stats.requests
    job = here.start(source)
    while b"nothing is sent for" not in os.pread(job._err.fileno(), 1 << 16, 0):
        assert job.poll() is None
        time.sleep(0.01)
    job.send_signal(signal.SIGTERM)
    _, err = job.communicate()
    assert job.returncode == 143, err
    assert simulator.stats.requests == sent
    assert len(JournalFiles(journal_of(here)).attempt_logs()) == 2
