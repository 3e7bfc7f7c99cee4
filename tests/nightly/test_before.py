"""A night that was missed or died: the next run says so once, and goes on with it where it is to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import SMALL, Night
from launcher import LAUNCHER, Process

from crawler.nightly.before import what_went_wrong
from crawler.nightly.catching_up import date_to_catch_up
from crawler.nightly.dates import DateRule
from crawler.nightly.shell import program, quoted
from crawler.options import RunSettings
from crawler.settings.load import load
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import DateRecord, RunRecord
from crawler.store.lock import hold_lock

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]


def run_of(day: int, *, ended: bool = True, name: str = "") -> RunRecord:
    end, code = ("2026-11-30T00:00:00Z", 0) if ended else (None, None)
    run_id, crawl_date = name or f"of {day}", f"2026-11-{day:02}"
    return RunRecord(run_id, crawl_date, f"{crawl_date}T01:00:00Z", 1, end, code)


def said(*runs: RunRecord, tonight: int = 23, every: int = 1) -> Sequence[str]:
    """What is said where these runs were made, the earliest first."""
    rule = DateRule(datetime(2026, 11, tonight, 2, tzinfo=UTC), 36)
    run = RunSettings(data=Path("/data"), every=every)
    return what_went_wrong(runs[::-1], [], date(2026, 11, tonight), run, rule, [])


@pytest.mark.parametrize(
    ("runs", "missed"),
    [
        ([], ""),
        ([run_of(22)], ""),
        ([run_of(21)], "nothing ran on 1 crawl date before this one: 2026-11-22 ("),
        (
            [run_of(15), run_of(19)],
            "nothing ran on 3 crawl dates before this one: 2026-11-20 to 2026-11-22 (",
        ),
        # said by the run of that night already
        ([run_of(19), run_of(23)], ""),
        ([run_of(19), run_of(25)], ""),
        ([run_of(19, name="a check-check"), run_of(22)], ""),
    ],
)
def test_missed_dates_are_said_by_the_first_night_that_ends_after_them(
    runs: list[RunRecord], missed: str
) -> None:
    texts = said(*runs)
    assert len(texts) == bool(missed)
    assert all(text.startswith(missed) for text in texts)


def test_what_a_run_that_died_could_not_say_is_said_by_the_next() -> None:
    dead = (run_of(17), run_of(20, ended=False), run_of(22, ended=False))
    died, missed = said(*dead)
    assert died.startswith(
        "2 runs died before this one, the latest: run of 22 of crawl date 2026-11-22, begun at"
    )
    assert "3 crawl dates before this one: 2026-11-18 to 2026-11-19, 2026-11-21 (" in missed
    assert said(*dead, run_of(23), tonight=24) == []
    # a run of tonight's date died, and nothing else
    (died,) = said(run_of(22), run_of(23, ended=False))
    assert died.startswith("run of 23 of crawl date 2026-11-23, begun at")


def test_how_often_a_night_is_wanted_counts() -> None:
    assert said(run_of(17), every=7) == []
    (missed,) = said(run_of(9), every=7)
    assert "2026-11-16 (a run is wanted every 7 days, by run.every)" in missed


def test_what_a_run_that_died_had_paid_for_can_be_published_by_a_command_once_its_date_is_closed() -> None:
    dead = run_of(20, ended=False)
    now = datetime(2026, 11, 23, 2, tzinfo=UTC)
    rule, run = DateRule(now, 36), RunSettings(data=Path("/data"))
    for began, is_closed in ((datetime(2026, 11, 20, 1, tzinfo=UTC), True), (now, False)):
        day = DateRecord(date(2026, 11, 20), began, dead, None)
        died = what_went_wrong([dead], [day], now.date(), run, rule, ["--config", "/c"])[0]
        closing = ": publish it by: crawler close 2026-11-20 --config /c --data /data"
        said_so = died.replace(quoted(program()), "crawler")
        assert said_so.endswith(f"what it had paid for is kept{closing if is_closed else ''}")


TODAY = datetime.now(UTC).date()
YESTERDAY, BEFORE = TODAY - timedelta(days=1), TODAY - timedelta(days=2)


def tonight(job: Night, *words: str, code: int = 0, **environ: str) -> dict[str, Any]:
    """The report of a run as cron starts it; what it says of the nights before is in its log once."""
    done = job.call("run", str(job.folder / "sellers.csv"), "--json", "--qps", "1000", *words, **environ)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    report: dict[str, Any] = orjson.loads(done.stdout)
    for note in report["notes"]:
        times = done.stderr.count(note)
        assert times == (0 if "was gone on with first" in note else 1), done.stderr
    return report


def begin(job: Night, day: date, *words: str, **environ: str) -> Process:
    """Start a run, and wait until it has pages."""
    source = str(job.folder / "sellers.csv")
    words = ("run", source, "--crawl-date", day.isoformat(), *words)
    run = LAUNCHER.start(list(words), {**job.environ(), **environ}, job.folder)
    await_rows(job, day)
    return run


def await_rows(job: Night, day: date) -> None:
    ends = time.monotonic() + 30
    while True:
        done = job.call("status", "--json")
        progress = orjson.loads(done.stdout)["progress"] if done.returncode == 0 else None
        if progress and progress["crawl_date"] == day.isoformat() and progress.get("rows"):
            return
        assert time.monotonic() < ends, done.stdout + done.stderr
        time.sleep(0.05)


def killed(job: Night, day: date, *words: str) -> None:
    run = begin(job, day, *words)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()


def runs_of(job: Night, day: date) -> list[RunRecord]:
    with Ledger(job.data, only_read=True) as ledger:
        return [run for run in ledger.runs() if run.crawl_date == day.isoformat()]


def test_a_missed_night_and_one_that_died_are_said_once(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    job.sellers(simulator.catalogue.seller_ids(10))
    killed(job, BEFORE, "--qps", "5")
    died, missed, unfinished = tonight(job)["notes"]
    assert died.startswith(f"run {runs_of(job, BEFORE)[0].run_id} of crawl date {BEFORE}, begun at")
    assert missed.startswith(f"nothing ran on 1 crawl date before this one: {YESTERDAY} (")
    assert unfinished.startswith(f"crawl date {BEFORE} is unfinished (killed)")
    assert tonight(job)["notes"] == [unfinished]
    assert len(runs_of(job, BEFORE)) == 1


def test_the_night_that_died_is_gone_on_with_first_under_its_own_options(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(12)
    job.sellers(ids)
    killed(job, YESTERDAY, "--qps", "5", "--max-pages", "2", "--budget", "15")
    report = tonight(job, "--budget", "1000", CRAWLER_RUN_CATCH_UP="resume")
    died, caught_up = report["notes"][:2]
    assert " died: " in died
    later, _ = runs_of(job, YESTERDAY)
    path = job.data / "runs" / later.run_id / "report.json"
    assert caught_up.startswith(
        f"crawl date {YESTERDAY} was gone on with first (run.catch_up): exit code 3, partial: sellers "
    )
    assert f"; {later.reserved} credits (15 of 15 for the date)" in caught_up
    assert caught_up.endswith(f"; its report: {path}")
    earlier = orjson.loads(path.read_bytes())
    assert (earlier["exit_code"], earlier["credits"]["budget"], earlier["credits"]["spent_for_date"]) == (
        3,
        15,
        15,
    )
    assert (report["crawl_date"], report["exit_code"], report["sellers"]["complete"]) == (
        TODAY.isoformat(),
        0,
        12,
    )
    assert simulator.stats.requests <= 15 + report["requests"]["sent"]
    # once tonight's date has begun, and for a budget that is spent, nothing is caught up
    tonight(job, CRAWLER_RUN_CATCH_UP="resume")
    assert len(runs_of(job, YESTERDAY)) == 2


def test_tonight_comes_whatever_becomes_of_the_earlier_date(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(10)
    job.sellers(ids).rename(job.folder / "earlier.csv")
    source = str(job.folder / "earlier.csv")
    done = job.call("run", source, "--crawl-date", YESTERDAY.isoformat(), "--qps", "1000")
    assert done.returncode == 0
    with Ledger(job.data) as ledger:
        ledger.begin("of yesterday", YESTERDAY, datetime.now(UTC).isoformat())
    (job.folder / "earlier.csv").unlink()
    job.sellers(ids)
    report = tonight(job, CRAWLER_RUN_CATCH_UP="resume")
    assert report["sellers"]["complete"] == 10
    (note,) = (note for note in report["notes"] if "could not be gone on with" in note)
    assert note.startswith(f"crawl date {YESTERDAY} could not be gone on with: ")
    assert "earlier.csv" in note


def test_a_signal_while_an_earlier_date_is_caught_up_stops_both(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    job.sellers(simulator.catalogue.seller_ids(30))
    killed(job, YESTERDAY, "--qps", "5")
    words = ["run", str(job.folder / "sellers.csv")]
    run = LAUNCHER.start(words, {**job.environ(), "CRAWLER_RUN_CATCH_UP": "resume"}, job.folder)
    await_rows(job, YESTERDAY)
    os.kill(run.pid, signal.SIGTERM)
    err = run.communicate(timeout=30)[1]
    assert run.returncode == 143
    assert "interrupted by SIGTERM" in err
    later, _ = runs_of(job, YESTERDAY)
    assert later.exit_code == 143
    assert runs_of(job, TODAY) == []


def test_a_date_whose_last_two_runs_died_is_left(tmp_path: Path) -> None:
    loaded = load({}, None, {"CRAWLER_DATA": str(tmp_path), "CRAWLER_RUN_CATCH_UP": "resume"})
    now = datetime.now(UTC)
    for number, is_caught_up in enumerate((True, False)):
        with Ledger(tmp_path) as ledger:
            ledger.begin(f"{number}", YESTERDAY, now.isoformat())
        found = date_to_catch_up(loaded, TODAY, now)
        assert (found is not None) == is_caught_up
    with hold_lock(tmp_path, "another"):
        assert date_to_catch_up(loaded, TODAY, now) is None


def test_only_what_cron_starts_catches_up_and_no_date_that_is_late(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(5))
    killed(job, YESTERDAY, "--qps", "2")
    tonight(job, "--crawl-date", BEFORE.isoformat(), CRAWLER_RUN_CATCH_UP="resume")
    tonight(job, CRAWLER_RUN_CATCH_UP="resume", CRAWLER_RUN_LATE_AFTER="0")
    assert len(runs_of(job, YESTERDAY)) == 1
    assert source.exists()
