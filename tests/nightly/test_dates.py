"""Crawl dates that are unfinished, closed, late or not begun yet, and what `crawler status` says of them."""

from __future__ import annotations

import re
import shlex
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from conftest import DATE, SMALL, Night, as_printed

from crawler.commands.status import status_command
from crawler.models.api import COUNT_COLUMNS
from crawler.models.errors import OutputError
from crawler.rules.dates import latest_date
from crawler.settings.load import load
from crawler.simulator.faults import parse_faults
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.ledger import Ledger, _update_run
from crawler.store.ledger_records import Outcome

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
DAY = timedelta(days=1)
OUTCOMES = [
    ("", ("--budget", "4"), 3),
    ("status=400@2", ("--log-format", "json"), 4),
    ("status=401:1", (), 5),
    ("status=402:1", (), 6),
    ("status=500:1", ("--patience", "0.2"), 9),
]


def call(job: Night, *words: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
    done = job.call(*words, **environ)
    assert done.returncode == code, f"exit {done.returncode}, not {code}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def pasted(job: Night, line: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command that a line ends with."""
    words = shlex.split(line.rpartition("by: ")[2])
    begin = as_printed()
    assert words[: len(begin)] == begin, line
    return call(job, *words[len(begin) :], code=code)


def status(job: Night, *words: str) -> dict[str, Any]:
    shown: dict[str, Any] = orjson.loads(call(job, "status", "--json", *words).stdout)
    return shown


def age(job: Night, crawl_date: str, hours: float) -> None:
    """Let the runs of a crawl date have begun earlier."""
    began = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="milliseconds")
    with Ledger(job.data) as ledger:
        for run in ledger.runs():
            if run.crawl_date == crawl_date:
                _update_run(ledger._db, run.run_id, "started_at = ?", began)


def test_all_unfinished_dates_make_one_line_and_none_under_quiet(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(1))
    job.run(source, "--crawl-date", "2026-11-20", "--budget", "0", code=3)
    with Ledger(job.data) as ledger:
        for day in (18, 19):
            ledger.begin(f"of {day}", date(2026, 11, day), datetime.now(UTC).isoformat())
    done = call(job, "run", str(source), "--crawl-date", DATE, "--qps", "1000")
    (line,) = (line for line in done.stderr.splitlines() if "unfinished" in line)
    for part in (
        "3 crawl dates",
        "2026-11-18",
        "crawl date 2026-11-20 is unfinished (credit budget spent)",
        "crawler close 2026-11-20",
    ):
        assert part in line
    assert "2026-11-19" not in line
    quiet = call(job, "run", str(source), "--crawl-date", DATE, "--quiet", "--json")
    assert quiet.stderr == ""
    note, late = orjson.loads(quiet.stdout)["notes"]
    assert note in line
    assert late.startswith(f"crawl date {DATE} is late: its day was over when its first run began (UTC); ")
    sent = simulator.stats.requests
    pasted(job, line, 3)  # the budget of 0 is raised by a credit for each seller that is left
    assert simulator.stats.requests == sent + 1


@pytest.mark.long
def test_an_old_date_is_closed_by_itself_and_goes_on_by_late_alone(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(10)
    source = job.sellers(ids)
    job.run(source, "--budget", "3", code=3)
    age(job, DATE, 35.9)
    job.run(source, "--budget", "4", code=3)
    age(job, DATE, 36.1)
    sent = simulator.stats.requests
    for options in ((), ("--fresh",)):
        err = job.run(source, *options, code=2)["stderr"]
        assert "more than 36 h ago" in err
        assert "nothing was sent" in err
        assert ("--fresh" in err.rpartition("by: ")[2]) == ("--fresh" in options)
    err = call(job, "run", "--resume", code=2).stderr
    assert "--late" in err
    assert simulator.stats.requests == sent
    later = job.run(source, "--crawl-date", "2026-11-24", "--budget", "1", code=3)
    assert "unfinished" not in str(later["notes"])
    shown = status(job)
    assert shown["unfinished"] == ["2026-11-24"]
    (closed,) = (day for day in shown["dates"] if day["state"] == "closed")
    assert closed["crawl_date"] == DATE
    err = job.run(source, code=2)["stderr"]
    pasted(job, err)
    assert len(job.ids()) >= sum(simulator.catalogue.size(i) for i in ids)


@pytest.mark.long
def test_late_after_is_a_setting_and_resume_takes_late(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(5))
    job.run(source, "--budget", "1", code=3)
    (job.folder / "config").mkdir()
    config = job.folder / "config" / "crawler.toml"
    for value in ("0", '"0 h"', "0.000001"):
        config.write_text(f"[run]\nlate_after = {value}\n")
        assert "--late" in job.run(source, code=2)["stderr"]
    config.write_text("[run]\nlate_after = -1\n")
    assert "run.late_after" in job.run(source, code=2)["stderr"]
    config.write_text("")
    call(job, "run", "--resume", "--budget", "2", code=2, CRAWLER_RUN_LATE_AFTER="0")
    call(job, "run", "--resume", "--budget", "2", "--late", code=3, CRAWLER_RUN_LATE_AFTER="0")


@pytest.mark.parametrize("way", ["flag", "environment", "file"])
def test_a_date_that_nobody_on_earth_has_reached_is_refused(night: Begin, way: str) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(2))
    future = (latest_date(datetime.now(UTC)) + 2 * DAY).isoformat()
    (job.folder / "config").mkdir()
    config = job.folder / "config" / "crawler.toml"
    config.write_text(f"[run]\ncrawl_date = {future}\n" if way == "file" else "")
    words = ["--crawl-date", future] if way == "flag" else []
    environ = {"CRAWLER_CRAWL_DATE": future} if way == "environment" else {}
    for command in ("run", "plan", "check"):
        done = call(job, command, str(source), *words, code=2, **environ)
        assert "later than today anywhere on earth" in done.stdout + done.stderr
    assert simulator.stats.requests == 0
    assert not (job.data / "state").exists()


@dataclass
class Shops:
    """An API of one row a seller, whose `sick` sellers are answered by the status that is noted for them."""

    sick: dict[str, int]
    requests: int = 0
    url: str = ""


@contextmanager
def shops(sick: dict[str, int]) -> Iterator[Shops]:
    api = Shops(sick)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.requests += 1
            seller = parse_qs(urlsplit(self.path).query)["seller_id"][0]
            code = api.sick.get(seller, 200)
            row = {"seller_id": seller, "video_id": f"v{seller}", "region": "MY", "create_time": "1760000000"}
            rows = [row | dict.fromkeys(COUNT_COLUMNS, 7)] if code == 200 else None
            body = orjson.dumps({"code": 0 if code == 200 else code, "message": "m", "data": rows})
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            api.url = f"http://127.0.0.1:{server.server_port}"
            yield api
        finally:
            server.shutdown()
            thread.join()


def ill(folder: Path, api: Shops) -> tuple[Night, Path]:
    """A data folder, and a list of eight sellers; pages are asked for again without a wait."""
    job = Night(folder, api.url)
    (folder / "config").mkdir()
    (folder / "config" / "crawler.toml").write_text("[run]\nbackoff = 0.01\n")
    return job, job.sellers([str(n) for n in range(101, 109)])


def test_failed_sellers_are_known_to_status_to_resume_and_to_the_next_night(tmp_path: Path) -> None:
    with shops({"103": 500, "105": 400}) as api:
        job, source = ill(tmp_path, api)
        report = job.run(source, code=4)
        assert report["sellers"]["failed"] == 2
        shown = status(job)
        assert shown["unfinished"] == [DATE]
        (run,) = shown["runs"]
        figures = ("rows", "sellers", "complete", "failed", "refused", "exit_code", "verdict", "state")
        assert [run[name] for name in figures] == [6, 8, 6, 2, 1, 4, "some sellers failed", "finished"]
        assert 0 <= run["minutes"] < 1
        text = call(job, "status").stdout
        assert re.search(r"some sellers failed +6 +6/8 +2 +\d+ +0\.\d ", text)
        assert f"unfinished: {DATE}\n" in text
        night = call(job, "run", str(source), "--crawl-date", "2026-11-24", code=4).stderr
        (line,) = (line for line in night.splitlines() if f"{DATE} is unfinished" in line)
        assert "sellers: 1 failed, 1 refused for good" in line
        api.sick.pop("103")
        call(job, "close", "2026-11-24")
        resumed = call(job, "run", "--resume", "--json", code=4)
        report = orjson.loads(resumed.stdout)
        assert (report["crawl_date"], report["requests"]["sent"]) == (DATE, 1)


def test_sellers_refused_for_good_are_gone_on_with_by_retry_failed(tmp_path: Path) -> None:
    with shops({"105": 400}) as api:
        job, source = ill(tmp_path, api)
        job.run(source, code=4)
        shown = status(job)
        assert shown["unfinished"] == []
        (day,) = shown["dates"]
        assert (day["state"], day["failed"], day["refused"]) == ("finished", 1, 1)
        assert "sellers: 1 refused for good" in call(job, "status").stdout
        assert "unfinished" not in str(job.run(source, "--crawl-date", "2026-11-24", code=4)["notes"])
        call(job, "close", "2026-11-24")
        err = call(job, "run", "--resume", code=2).stderr
        assert "--retry-failed" in err
        api.sick.clear()
        sent = api.requests
        pasted(job, call(job, "status").stdout.strip())
        assert api.requests == sent + 1
        assert len(job.ids()) == 8 + 7


def test_a_running_run_is_not_taken_for_a_killed_one(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, latency=0.05))
    source = job.sellers(simulator.catalogue.seller_ids(30))
    process = job.start(source, "--qps", "20", "--quiet")
    try:
        ledger = job.data / "state" / "ledger.sqlite"
        while not ledger.exists() or not (shown := status(job))["runs"]:
            time.sleep(0.02)
        (run,) = shown["runs"]
        assert (run["state"], shown["running"]) == (
            "running",
            {"run_id": run["run_id"], "pid": process.pid},
        )
        assert shown["unfinished"] == []
        text = call(job, "status").stdout
        assert f"running: run {run['run_id']} (process {process.pid})" in text
        assert "unfinished: nothing" in text
        call(job, "close", DATE, code=7)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    shown = status(job)
    assert (shown["runs"][0]["state"], shown["running"], shown["unfinished"]) == (
        "killed",
        None,
        [DATE],
    )
    assert "killed" in call(job, "status").stdout


def test_status_limits_the_runs_and_refuses_what_is_no_data_folder(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    for command in ("status", "close"):
        words = [command, "2026-11-20"] if command == "close" else [command, "--json"]
        for folder in (job.data, job.folder):
            done = call(job, *words, "--data", str(folder), code=2)
            assert str(folder) in done.stderr
            assert done.stdout == ""
    assert not job.data.exists()
    source = job.sellers(simulator.catalogue.seller_ids(1))
    runs = [job.run(source)["run_id"] for _ in range(3)]
    assert [run["run_id"] for run in status(job, "--limit", "2")["runs"]] == runs[:0:-1]
    text = call(job, "status", "--limit", "2").stdout
    assert runs[2] in text
    assert runs[0] not in text
    call(job, "status", "--limit", "0", code=2)


def test_status_of_a_ledger_without_outcomes_changes_nothing(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    job.run(job.sellers(simulator.catalogue.seller_ids(3)), "--budget", "1", code=3)
    path = job.data / "state" / "ledger.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for table in ("outcome", "closed"):
            db.execute(f"DROP TABLE {table}")
        for table in ("run", "lease"):
            db.execute(f"ALTER TABLE {table} DROP COLUMN checksum")
        db.execute("PRAGMA user_version = 2")
    shown = status(job)
    assert (shown["runs"][0]["rows"], shown["unfinished"]) == (None, [DATE])
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'closed'").fetchone() == (0,)
    call(job, "close", DATE)
    assert status(job)["unfinished"] == []


def test_close_ends_a_date_as_it_is(night: Begin) -> None:
    """What a killed run had paid for is published; nothing is sent, and no key is needed."""
    job, simulator = night(SimulatorOptions(SMALL, latency=0.02))
    ids = simulator.catalogue.seller_ids(30)
    source = job.sellers(ids)
    process = job.start(source, "--qps", "50")
    while simulator.stats.requests < 20:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    sent = simulator.stats.requests
    assert not (job.data / "videos").exists() or not job.ids()
    for word, why in (
        ("2026-11-22", "nothing to close"),
        ("2026-11-31", "no such day"),
        ("0001-01-01", "from 2000-01-01 on"),
        ("soon", "2026-11-23"),
    ):
        assert why in call(job, "close", word, code=2).stderr
    done = call(job, "close", DATE, KEYAPI_API_KEY="")
    assert f"crawl date {DATE} is closed" in done.stdout
    rows = job.ids()
    assert 0 < len(rows) < sum(simulator.catalogue.size(i) for i in ids)
    states = {row["status"] for row in job.seller_rows().values()}
    assert states <= {"complete", "partial"}
    files = {path: path.stat().st_mtime_ns for path in job.data.glob("videos/**/*.parquet")}
    assert f"crawl date {DATE} is closed" in call(job, "close", DATE).stdout
    assert {path: path.stat().st_mtime_ns for path in job.data.glob("videos/**/*.parquet")} == files
    assert status(job)["unfinished"] == []
    for options in ((), ("--fresh",)):
        assert "closed by `crawler close`" in job.run(source, *options, code=2)["stderr"]
    call(job, "run", "--resume", code=2)
    notes = job.run(source, "--crawl-date", "2026-11-24", "--budget", "1", code=3)["notes"]
    assert not [note for note in notes if DATE in note]
    assert simulator.stats.requests == sent + 1
    job.run(source, "--late")
    assert len(job.ids()) > len(rows)


def test_close_keeps_pending_sellers_and_a_whole_snapshot_before_fresh(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(10)
    source = job.sellers(ids)
    job.run(source, "--budget", "4", code=3)
    before = job.seller_rows()
    call(job, "close", DATE)
    assert job.seller_rows() == before
    assert {row["status"] for row in before.values()} > {"pending"}
    job.run(source, "--late")
    rows = job.ids()
    job.run(source, "--late", "--fresh", "--budget", str(simulator.stats.requests + 2), code=3)
    done = call(job, "close", DATE)
    assert "previous snapshot" in done.stderr
    assert job.ids() == rows


@pytest.mark.parametrize(("faults", "options", "code"), OUTCOMES)
def test_whatever_is_not_exit_0_says_why_on_standard_error(
    night: Begin, faults: str, options: tuple[str, ...], code: int
) -> None:
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults(faults)))
    source = job.sellers(simulator.catalogue.seller_ids(10))
    words = ("--qps", "1000", "--crawl-date", DATE, "--quiet", "--json", *options)
    done = call(job, "run", str(source), *words, code=code)
    assert orjson.loads(done.stdout)["exit_code"] == code
    line = done.stderr.splitlines()[-1]
    line = orjson.loads(line)["message"] if "json" in options else line
    assert f"exit code {code}, " in line
    assert re.search(r"go on with it by: \S+ (-m crawler )?run ", line)
    assert ("the first" in line) == (code == 4)


def test_damage_of_what_the_ledger_says_of_dates_is_no_fault_of_the_program(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.begin("r", date(2026, 11, 23), "2026-11-23T01:00:00.000Z")
        ledger.finish("r", "2026-11-23T01:01:00.000Z", 4, Outcome(7, 3, 2, 1, 0))
        ledger.close(date(2026, 11, 23), "2026-11-24T01:00:00Z")
        ledger._db.execute("UPDATE outcome SET failed = x'ff', rows = -1")
        (day,) = ledger.dates()
        assert (day.latest.failed, day.latest.rows, day.latest.complete) == (None, None, 2)
        ledger._db.execute("UPDATE closed SET closed_at = CAST(x'ff' AS TEXT)")
    with pytest.raises(OutputError, match=r"ledger\.sqlite"):
        status_command(load({"run.data": str(tmp_path)}, None, {}), as_json=False, limit=20)
