"""Log lines: every one is an event of the table, for programs as for people, and a night has few of them."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import orjson
import pytest
from conftest import SMALL, Night

from crawler import events
from crawler.events import EVENTS, INFO, WARNING
from crawler.models.latency import Latencies
from crawler.models.seller import Ending, SellerStatus, StopReason
from crawler.options import LogSettings
from crawler.ports import CrawlFigures
from crawler.report.log_lines import hide, set_up_logging
from crawler.report.progress import Progress
from crawler.report.run_report import RunReport
from crawler.simulator.faults import parse_faults
from crawler.simulator.server import KEY, Simulator, SimulatorOptions

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
Lines = Callable[[], list[dict[str, Any]]]
HEAD = ["time", "level", "event"]
HOSTILE = 'a \x1b[2J\x7f\n{"event": "x"}\r\x85\u2028\u202e\udc80 \u8bf7'


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])


def logged(capsys: pytest.CaptureFixture[str]) -> Lines:
    """Log as JSON from now on; returns what gives the lines since."""
    set_up_logging(LogSettings(format="json"))
    return lambda: events_of(capsys.readouterr().err)


def events_of(err: str) -> list[dict[str, Any]]:
    """The lines of a log; each must be an event with its fields."""
    found: list[dict[str, Any]] = [orjson.loads(line) for line in err.splitlines()]
    for line in found:
        event = EVENTS[line["event"]]
        assert [*line] == [*HEAD, *event.typed, "message"]
        assert line["level"] == event.level
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])
    return found


def test_each_event_of_the_table_can_be_told() -> None:
    assert len(EVENTS) == sum(isinstance(each, events.LogEvent) for each in vars(events).values())
    for name, event in EVENTS.items():
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", name)
        assert event.does or event.level != WARNING or not event.does.endswith("."), name
        assert not {*event.typed} & {*HEAD, "message"}, name
        sentence = event(**dict.fromkeys(event.given, 7))
        assert "{" not in sentence
        assert sentence.fields == dict.fromkeys(event.typed, 7)


def test_each_warning_says_what_the_program_does() -> None:
    assert [name for name, event in EVENTS.items() if event.level == WARNING and not event.does] == []


def test_hostile_texts_stay_one_line_and_hold_no_key(capsys: pytest.CaptureFixture[str]) -> None:
    failed = events.LIBRARY_WARNED(library=[KEY], text=f"{HOSTILE} Bearer {KEY}")
    for form in ("json", "text"):
        set_up_logging(LogSettings(format=form))
        hide(KEY)
        failed.log()
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert line.isascii() == (form == "json")
        assert line[:-1].isprintable()
        assert KEY not in line
        assert "Bearer ***" in line
        if form == "json":
            (found,) = events_of(line)
            assert found["text"] == HOSTILE.replace("\udc80", "\\udc80") + " Bearer ***"
            assert found["library"] == ["***"]


def test_values_keep_their_types(capsys: pytest.CaptureFixture[str]) -> None:
    lines = logged(capsys)
    events.RUN_STOPPING(verdict=ValueError("why"), exit_code=9).log()
    events.NIGHTS_MISSED(dates=2, dates_words="dates", gaps=["a", "b"], every=1, every_words="daily").log()
    events.API_ANSWERS(down_s=1.25).log()
    stopping, missed, answers = lines()
    assert (stopping["verdict"], stopping["exit_code"]) == ("why", 9)
    assert (missed["dates"], missed["gaps"]) == (2, ["a", "b"])
    assert missed["message"].startswith(
        "nothing ran on 2 crawl dates before this one: a, b (a run is wanted daily"
    )
    assert answers["down_s"] == 1.25


def test_what_a_library_says_is_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    lines = logged(capsys)
    error = ValueError("of theirs")
    logging.getLogger("asyncio").error("Task exception\nwas %s", "never retrieved", exc_info=error)
    (line,) = lines()
    assert (line["library"], line["level"]) == ("asyncio", "warning")
    assert line["text"] == "Task exception was never retrieved ValueError('of theirs')"


def test_further_lines_of_an_event_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    lines = logged(capsys)
    for number in range(300):
        events.API_ANSWERS(down_s=number).log()
        events.CATCH_UP_STARTED(crawl_date="2026-11-23").log()
    events.NOTHING_TO_DO(crawl_date="2026-11-23").log()
    RunReport("R", "2026-11-23", "", rows={"written": 1}).as_event().log()
    *found, left_out, last = lines()
    assert len(found) == 10 + 10 + 1
    assert left_out["lines"] == {"api.answers": 290, "catch_up.started": 290}
    assert "290 x api.answers, 290 x catch_up.started; the report" in left_out["message"]
    assert (last["event"], last["exit_code"]) == ("run.incomplete", 1)
    # the next run of this process writes its own
    events.API_ANSWERS(down_s=1.0).log()
    assert len(lines()) == 1


def test_a_day_long_night_logs_its_progress_in_less_than_100_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = logged(capsys)
    figures = CrawlFigures(100_000, 0, None, 0, Counter(), Latencies(), lambda: figures.ended)
    clock = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    with Progress(figures, live=False) as shown:
        for minute in range(1, 24 * 60 + 1):
            figures.count_end("1", Ending(SellerStatus.COMPLETE, StopReason.SHORT_PAGE))
            clock = 60.0 * minute
            shown.tick()
    found = lines()
    assert {line["event"] for line in found} == {"run.progress"}
    assert 30 < len(found) < 90
    assert [line["ended"] for line in found[:10]] == [*range(1, 11)]
    assert max(after["ended"] / before["ended"] for before, after in pairwise(found[9:])) < 1.2
    assert found[0]["left_s"] == 60 * 99_999


def test_a_night_of_many_sellers_is_quiet(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(80))
    done = job.call("run", str(source), "--qps", "5000", "--max-pages", "1", "--log-format", "json")
    assert done.returncode == 0, done.stderr
    first, last = events_of(done.stderr)
    assert (first["event"], first["sellers"], first["qps"]) == ("run.started", 80, 5000.0)
    assert (last["event"], last["exit_code"], last["credits"]) == ("run.complete", 0, 80)
    assert last["sellers"]["total"] == 80
    assert last["run"] == first["run"]


def test_a_night_on_which_many_sellers_fail_does_not_flood_its_log(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults("status=400:0.5,status=429@9")))
    source = job.sellers(simulator.catalogue.seller_ids(40))
    done = job.call("run", str(source), "--qps", "5000", "--max-pages", "1", "--log-format", "json")
    found = events_of(done.stderr)
    said = Counter(line["event"] for line in found)
    assert said["seller.failed"] == 10
    assert len(found) < 20
    (left_out,) = (line["lines"] for line in found if line["event"] == "log.shortened")
    last = found[-1]
    assert (last["event"], last["exit_code"]) == ("run.incomplete", 4)
    assert left_out["seller.failed"] + 10 == last["sellers"]["failed"] > 10
    failed = next(line for line in found if line["event"] == "seller.failed")
    assert (failed["page"], failed["kind"], failed["is_final"]) == (1, "400", True)
    assert f"seller {failed['seller']}, page 1: 400" in failed["reason"]
    (slower,) = (line for line in found if line["event"] == "rate.lowered")
    assert (slower["status"], slower["wait_s"]) == (429, 1.0)


def test_an_outage_is_told_from_its_begin_to_its_end(night: Begin) -> None:
    faults = ",".join(f"status=500@{number}" for number in range(4, 12))
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults(faults)))
    source = job.sellers(simulator.catalogue.seller_ids(12))
    done = job.call("run", str(source), "--qps", "1000", "--max-pages", "1", "--log-format", "json")
    assert done.returncode == 0, done.stderr
    found = {line["event"]: line for line in events_of(done.stderr)}
    assert [*found] == ["run.started", "api.down", "api.answers", "run.complete"]
    assert (found["api.down"]["kind"], found["api.down"]["patience_s"]) == ("500", 900.0)
    assert found["api.down"]["seller"] in source.read_text()
    assert 0 < found["api.answers"]["down_s"] < 60


@pytest.mark.parametrize(
    ("faults", "options", "code", "event"),
    [
        ("status=401:1", (), 5, "run.incomplete"),
        ("", ("--budget", "4"), 3, "run.incomplete"),
        ("", ("--crawl-date", "2999-01-01"), 2, "command.failed"),
        ("", ("--qps", "0"), 2, "command.failed"),
    ],
)
def test_whatever_ends_a_run_is_its_last_line(
    night: Begin, faults: str, options: tuple[str, ...], code: int, event: str
) -> None:
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults(faults)))
    source = job.sellers(simulator.catalogue.seller_ids(3))
    words = ["run", str(source), "--qps", "1000", "--log-format", "json", *options]
    done = job.call(*words, CRAWLER_HOMELY="of another program")
    assert done.returncode == code, done.stderr
    assert KEY not in done.stderr
    found = events_of(done.stderr)
    assert (found[-1]["event"], found[-1]["exit_code"]) == (event, code)
    if event == "run.incomplete":
        assert found[0]["event"] == "setting.unknown"
        assert found[0]["variable"] == "CRAWLER_HOMELY"
        stopping = next(line for line in found if line["event"] == "run.stopping")
        assert (stopping["level"], stopping["exit_code"]) == (INFO, code)
