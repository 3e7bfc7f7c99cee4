"""`crawler status`: the nights, the dates that were missed, and a run that is followed while it goes on."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyte
import pytest
from conftest import DATE, SMALL, Night
from launcher import LAUNCHER

from crawler.commands.status import status_command
from crawler.settings.load import load
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.layout import Layout
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import Outcome
from crawler.store.lock import hold_lock

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def add_run(
    ledger: Ledger, day: date, *, name: str = "", code: int | None = 0, spent: int = 30, minutes: int = 4
) -> None:
    """A past run, which began at one in the morning; without a code it was killed."""
    run_id, began = name or f"run-{day}", datetime(day.year, day.month, day.day, 1, tzinfo=UTC)
    ledger.begin(run_id, day, began.isoformat())
    ledger.reserve(run_id, day, None, lambda _left: spent)
    if code is not None:
        end = began + timedelta(minutes=minutes)
        ledger.finish(run_id, end.isoformat(), code, Outcome(100, 10, 9, 1, 0))


def shown(capsys: pytest.CaptureFixture[str], data: Path, **environ: str) -> dict[str, Any]:
    loaded = load({}, None, {"CRAWLER_DATA": str(data), **environ})
    assert status_command(loaded, as_json=True, limit=20, now=NOW) == 0
    figures: dict[str, Any] = orjson.loads(capsys.readouterr().out)
    return figures


def printed(capsys: pytest.CaptureFixture[str], data: Path, *, limit: int = 20, **environ: str) -> list[str]:
    loaded = load({}, None, {"CRAWLER_DATA": str(data), **environ})
    assert status_command(loaded, as_json=False, limit=limit, now=NOW) == 0
    return capsys.readouterr().out.splitlines()


def test_nights_are_a_line_each_with_what_all_their_runs_took(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger(tmp_path) as ledger:
        add_run(ledger, date(2026, 11, 21), name="a", code=130, spent=10, minutes=3)
        add_run(ledger, date(2026, 11, 21), name="b", code=4, spent=20, minutes=5)
        add_run(ledger, date(2026, 11, 22), name="c", code=None, spent=7)
        add_run(ledger, date(2026, 11, 20), name="d-check", spent=1)
    figures = shown(capsys, tmp_path)
    killed, night = figures["nights"]
    assert night == {
        "crawl_date": "2026-11-21",
        "verdict": "some sellers failed",
        "state": "finished",
        "exit_code": 4,
        "rows": 100,
        "sellers": 10,
        "complete": 9,
        "failed": 1,
        "credits": 30,
        "minutes": 8.0,
        "runs": 2,
        "latest_run": "b",
        "plausibility": None,
        "is_late": False,
    }
    assert (killed["verdict"], killed["state"], killed["rows"], killed["minutes"]) == (
        "killed",
        "killed",
        None,
        None,
    )
    assert (figures["nights_in_all"], figures["progress"], figures["gaps"]) == (2, None, [])
    head, *lines = printed(capsys, tmp_path)
    assert " ".join(head.split()) == "crawl date verdict rows sellers failed credits minutes latest run"
    assert " ".join(lines[1].split()) == "2026-11-21 some sellers failed 100 9/10 1 30 8.0 b"
    assert printed(capsys, tmp_path, limit=1)[2] == "1 earlier nights are not shown (--limit 2 does)"


def test_a_night_says_whether_it_can_be_believed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = {
        "odd": '{"verdict": "odd"}',
        "usual": '{"verdict": "plausible"}',
        "held": '{"verdict": "implausible"}',
        "cut": '{"verdict": "implausible"}',
        "unjudged": "{}",
        "broken": '{"ver',
        "other": "[]",
        "foreign": '{"verdict": 7}',
    }
    codes = {"held": 10, "cut": 130}
    with Ledger(tmp_path) as ledger:
        for number, (name, content) in enumerate(facts.items()):
            add_run(ledger, date(2026, 11, 1 + number), name=name, code=codes.get(name, 0))
            ledger._db.execute("UPDATE outcome SET facts = ? WHERE run_id = ?", (content, name))
    nights = {night["latest_run"]: night for night in shown(capsys, tmp_path)["nights"]}
    assert {name: night["verdict"] for name, night in nights.items()} == {
        "odd": "complete, odd",
        "usual": "complete",
        "held": "implausible, held back",
        "cut": "interrupted, implausible",
        "unjudged": "complete",
        "broken": "complete",
        "other": "complete",
        "foreign": "complete",
    }
    assert (nights["odd"]["plausibility"], nights["broken"]["plausibility"]) == ("odd", None)


def test_dates_on_which_nothing_ran_are_named_among_the_nights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Ledger(tmp_path) as ledger:
        for number in (10, 12, 13, 18):
            add_run(ledger, date(2026, 11, number))
    assert shown(capsys, tmp_path)["gaps"] == [
        {"first": "2026-11-11", "last": "2026-11-11", "dates": 1},
        {"first": "2026-11-14", "last": "2026-11-17", "dates": 4},
        {"first": "2026-11-19", "last": "2026-11-22", "dates": 4},
    ]
    lines = printed(capsys, tmp_path)
    assert [line.partition("  ")[0] for line in lines[1:8]] == [
        "2026-11-19 to 2026-11-22",
        "2026-11-18",
        "2026-11-14 to 2026-11-17",
        "2026-11-13",
        "2026-11-12",
        "2026-11-11",
        "2026-11-10",
    ]
    assert lines[1].endswith("nothing ran on 4 dates")
    assert "gaps: 9 wanted dates without a run, last 2026-11-22 (run.every: daily)" in lines
    # A date of which the night is not shown is counted all the same.
    assert printed(capsys, tmp_path, limit=1)[1:3] == [lines[1], lines[2]]
    every = {"CRAWLER_RUN_EVERY": "4d"}
    assert [gap["first"] for gap in shown(capsys, tmp_path, **every)["gaps"]] == ["2026-11-22"]
    later = {"CRAWLER_RUN_TIMEZONE": "Pacific/Kiritimati"}
    assert shown(capsys, tmp_path, **later)["gaps"][-1]["last"] == "2026-11-23"


def test_what_a_run_does_is_in_a_file_as_long_as_it_lives(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, latency=0.05))
    source = job.sellers(simulator.catalogue.seller_ids(30))
    run = job.start(source, "--qps", "20")
    figures = until(lambda: status_of(job)["progress"], lambda found: bool(found and found.get("rows")))
    assert figures["crawl_date"] == DATE
    assert figures["phase"] == "crawling"
    assert figures["sellers"]["total"] == 30
    assert figures["credits"]["budget"] is None
    path = Layout(job.data).progress
    assert path.stat().st_mode & 0o777 == 0o600
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    assert path.exists()
    figures = status_of(job)
    assert (figures["progress"], figures["nights"][0]["verdict"]) == (None, "killed")
    with hold_lock(job.data, "another"):
        assert status_of(job)["progress"] is None
    job.run(source)
    assert not path.exists()


@pytest.mark.usefixtures("pages")
def test_watching_follows_a_run_to_its_end_and_says_how_it_ended(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(20))
    run = job.start(source, "--qps", "10")
    until(lambda: status_of(job), lambda found: bool(found["running"]))
    done = job.call("status", "--watch")
    report = orjson.loads(run.communicate()[0])
    assert (done.returncode, done.stderr) == (0, "")
    first, *_, last = done.stdout.splitlines()
    assert first.startswith((f"crawl date {DATE}: ", f"run {report['run_id']} "))
    assert last.startswith(
        f"run {report['run_id']}, crawl date {DATE}: complete, exit code 0; 20 of 20 sellers"
    )
    assert last.endswith("report.html")
    done = job.call("status", "--watch")
    assert done.stdout == f"no run is on; the last one: {last}\n"
    ended = orjson.loads(job.call("status", "--watch", "--json").stdout)["ended"]
    assert (ended["run_id"], ended["verdict"]) == (report["run_id"], "complete")


def test_watching_says_that_a_run_was_killed(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    run = job.start(job.sellers(simulator.catalogue.seller_ids(20)), "--qps", "5")
    until(lambda: status_of(job), lambda found: bool((found["progress"] or {}).get("rows")))
    watching = LAUNCHER.start(["status", "--watch", "--json"], job.environ(), job.folder)
    time.sleep(0.7)
    os.kill(run.pid, signal.SIGKILL)
    lines = [orjson.loads(line) for line in watching.communicate(timeout=20)[0].splitlines()]
    run.communicate()
    assert lines[0]["progress"]["sellers"]["total"] == 20
    assert (lines[-1]["running"], lines[-1]["ended"]["verdict"]) == (None, "killed")


def test_watching_writes_over_its_line_on_a_terminal(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    run = job.start(job.sellers(simulator.catalogue.seller_ids(20)), "--qps", "10")
    until(lambda: status_of(job), lambda found: bool((found["progress"] or {}).get("rows")))
    screen = pyte.Screen(60, 10)
    stream, seen = pyte.ByteStream(screen), set()
    pid, terminal = pty.fork()
    if not pid:
        os.execve(
            sys.executable,
            [sys.executable, "-m", "crawler", "status", "--watch"],
            {**job.environ(), "COLUMNS": "60"},
        )
    while select.select([terminal], [], [], 30)[0]:
        try:
            stream.feed(os.read(terminal, 4096))
        except OSError:
            break
        seen.add((screen.display[0].rstrip(), screen.display[1].strip()))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    run.communicate()
    shown = {first for first, second in seen if first.startswith("crawl date") and not second}
    assert len(shown) > 1
    assert "complete, exit code 0" in "".join(screen.display)
    assert screen.display[0].startswith("run ")


def test_watching_a_folder_without_runs_and_with_max_age(night: Begin) -> None:
    job, _ = night(SimulatorOptions(SMALL))
    assert job.call("status", "--watch").returncode == 2
    assert job.call("status", "--watch", "--max-age", "1h").returncode == 2
    with Ledger(job.data):
        pass
    assert job.call("status", "--watch").stdout == "no run is on; the last one: none\n"


def status_of(job: Night) -> dict[str, Any]:
    done = job.call("status", "--json")
    if done.returncode:
        return {"running": None, "progress": None}
    figures: dict[str, Any] = orjson.loads(done.stdout)
    return figures


def until(look: Callable[[], Any], is_there: Callable[[Any], bool]) -> Any:
    ends = time.monotonic() + 30
    while not is_there(found := look()):
        assert time.monotonic() < ends, found
        time.sleep(0.05)
    return found
