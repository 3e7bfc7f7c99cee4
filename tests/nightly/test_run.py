"""The nightly job as a user runs it: a real process, a real server on loopback, real files."""

from __future__ import annotations

import math
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from unittest.mock import Mock

import orjson
import pyarrow.dataset as ds
import pytest
from conftest import DATE, SMALL, Night, as_printed
from page_examples import blocks_of

from crawler.cli import cli
from crawler.nightly import tally
from crawler.nightly.process import Signals
from crawler.simulator.faults import parse_faults
from crawler.simulator.server import KEY, Simulator, SimulatorOptions
from crawler.store.journal import Journal
from crawler.store.layout import Layout

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]


def expected(simulator: Simulator, ids: list[str]) -> list[tuple[str, str]]:
    return sorted((s, row["video_id"]) for s in ids for row in simulator.catalogue.videos(s))


def fewest(simulator: Simulator, ids: list[str]) -> int:
    return sum(simulator.catalogue.size(s) // 10 + 1 for s in ids)


def test_rows_equal_the_catalogue_with_the_fewest_requests(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(150)
    report = job.run(job.sellers([*ids, *ids[:20]]))
    assert job.ids() == expected(simulator, ids)
    assert report["requests"]["sent"] == simulator.stats.requests == fewest(simulator, ids)
    assert report["sellers"]["complete"] == 150
    assert report["sellers"]["repeated_in_list"] == 20
    rows = report["rows"]
    assert rows["received"] == rows["written"] == len(job.ids())
    assert {row["status"] for row in job.seller_rows().values()} == {"complete"}


def test_second_run_of_a_date_sends_nothing_and_leaves_the_snapshot(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(20))
    job.run(source)
    sent, files = simulator.stats.requests, sorted(job.data.glob("videos/**/*.parquet"))
    report = job.run(source)
    assert simulator.stats.requests == sent
    assert report["requests"]["sent"] == 0
    assert sorted(job.data.glob("videos/**/*.parquet")) == files


def test_a_run_with_nothing_to_do_counts_no_seller_again(
    night: Begin, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """It has what was counted when the date was published, unless the journal has moved on since."""
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults("status=400@5")))
    source = job.sellers(simulator.catalogue.seller_ids(20))
    first = job.run(source, code=4)
    same = ("sellers", "stops", "failures", "certain_above", "drift", "rows", "published")
    counting = Mock(wraps=tally.count)
    monkeypatch.setattr(tally, "count", counting)
    for name, value in job.environ().items():
        monkeypatch.setenv(name, value)
    for counts in (0, 1):
        words = ["run", str(source), "--crawl-date", DATE, "--json"]
        assert cli.main(words, standalone_mode=False) == 4
        again = orjson.loads(capfdbinary.readouterr().out)
        assert [again[name] for name in same] == [first[name] for name in same]
        assert counting.call_count == counts
        with Journal(Layout(job.data).journal(date.fromisoformat(DATE), 1)) as journal:
            journal.note(published_counts=f"another mark\n{orjson.dumps({}).decode()}")


def test_stop_empty_reads_one_page_more(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(30)
    job.run(job.sellers(ids), "--stop", "empty")
    assert simulator.stats.requests == sum(math.ceil(simulator.catalogue.size(s) / 10) + 1 for s in ids)


@pytest.mark.parametrize("strategy", ["depth-first", pytest.param("breadth-first", marks=pytest.mark.long)])
def test_budget_is_never_overrun_and_a_later_run_goes_on(night: Begin, strategy: str) -> None:
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults("status=500:0.1"), latency=0.002))
    ids = simulator.catalogue.seller_ids(60)
    source = job.sellers(ids)
    options = ("--strategy", strategy)
    report = job.run(source, "--budget", "100", *options, code=3)
    assert 97 <= simulator.stats.requests == report["credits"]["spent_for_date"] <= 100
    assert job.ids()
    assert "budget" in report["stops"]
    job.run(source, "--budget", "100", *options, code=3)
    assert simulator.stats.requests <= 100
    final = job.run(source, *options)
    assert final["credits"]["spent_for_date"] == simulator.stats.requests
    assert job.ids() == expected(simulator, ids)


def test_kill_nine_pays_again_only_for_what_was_in_flight(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, latency=0.01))
    ids = simulator.catalogue.seller_ids(200)
    source = job.sellers(ids)
    for _ in range(4):
        process = job.start(source, "--workers", "8", "--budget", "5000", "--qps", "400")
        before = simulator.stats.requests
        while simulator.stats.requests < before + 40:
            time.sleep(0.02)
        process.kill()
        process.communicate()
    report = job.run(source, "--workers", "8", "--budget", "5000")
    assert job.ids() == expected(simulator, ids)
    assert simulator.stats.requests <= fewest(simulator, ids) + 4 * 8
    assert report["credits"]["spent_for_date"] >= simulator.stats.requests


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 143)]
)
def test_signals_stop_cleanly_and_publish(night: Begin, number: signal.Signals, code: int) -> None:
    job, simulator = night(SimulatorOptions(SMALL, latency=0.05))
    ids = simulator.catalogue.seller_ids(100)
    source = job.sellers(ids)
    process = job.start(source, "--qps", "100")
    while simulator.stats.requests < 60:
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert job.ids()
    report = job.run(source)
    assert simulator.stats.requests == fewest(simulator, ids)
    assert report["credits"]["spent_for_date"] == simulator.stats.requests
    assert job.ids() == expected(simulator, ids)


def test_a_terminal_that_closes_stops_the_run_cleanly(night: Begin) -> None:
    """A run whose terminal is closed publishes what was paid for, though it can print nothing any more."""
    job, simulator = night(SimulatorOptions(SMALL, latency=0.05))
    source = job.sellers(simulator.catalogue.seller_ids(100))
    pid, master = pty.fork()
    if not pid:
        options = ("--crawl-date", DATE, "--qps", "100", "--json")
        os.execve(
            sys.executable,
            [sys.executable, "-m", "crawler", "run", str(source), *options],
            job.environ(),
        )
    reader = threading.Thread(target=_read_until_closed, args=(master, simulator))
    reader.start()
    reader.join(60)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 143
    (report,) = job.data.glob("runs/*/report.json")
    assert orjson.loads(report.read_bytes())["stops"]["interrupted"]
    assert job.ids()


def _read_until_closed(master: int, simulator: Simulator) -> None:
    while simulator.stats.requests < 60:
        os.read(master, 4096)
    os.close(master)


def test_a_second_hangup_is_no_second_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many a closing terminal sends, SIGHUP stops cleanly; ignored by nohup, it stays so."""
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail(f"left with {code}"))
    signals = Signals()
    with signals.handled():
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
    assert signals.received == signal.SIGHUP
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.handled():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, earlier)


def test_quota_and_key_stop_the_run_and_publish(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, quota=40))
    ids = simulator.catalogue.seller_ids(60)
    report = job.run(job.sellers(ids), "--workers", "4", code=6)
    assert report["status"] == "partial"
    assert job.ids()
    assert "quota" in report["stops"]


def test_refused_key(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, key="another"))
    report = job.run(job.sellers(simulator.catalogue.seller_ids(60)), "--workers", "4", code=5)
    assert simulator.stats.requests <= 4
    assert report["requests"]["by_status"]["401"] == report["requests"]["sent"]


def test_transient_faults_lose_nothing(night: Begin) -> None:
    faults = "status=500:.02,status=429:.02,reset:.02,cut:.02,malformed:.02,html:.02,code=500:.02,object:.02"
    odd = ",control:.1,surrogate:.1,odd:.1"
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults(faults + odd)))
    ids = simulator.catalogue.seller_ids(40)
    (job.folder / "fast.toml").write_text(
        "[run]\nbackoff = 0.01\nattempts = 10\n[api]\nretry_after_cap = 1\n"
    )
    report = job.run(job.sellers(ids), "--config", str(job.folder / "fast.toml"))
    assert job.ids() == expected(simulator, ids)
    assert report["requests"]["sent"] == simulator.stats.requests
    assert report["requests"]["retried"] > 0


def test_a_400_fails_its_seller_alone(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults("status=400:0.05")))
    ids = simulator.catalogue.seller_ids(60)
    source = job.sellers(ids)
    report = job.run(source, code=4)
    assert report["sellers"]["failed"] == len(report["failures"]) > 0
    assert report["sellers"]["complete"] + report["sellers"]["failed"] == 60
    sent = simulator.stats.requests
    assert job.run(source, code=4)["requests"]["sent"] == 0
    assert simulator.stats.requests == sent
    job.run(source, "--retry-failed", code=4 if report["sellers"]["failed"] > 40 else 0)


def test_api_down_ends_with_nine_after_patience(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        job.url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    began = time.monotonic()
    report = job.run(job.sellers(simulator.catalogue.seller_ids(30)), "--patience", "4", code=9)
    assert time.monotonic() - began >= 4
    assert report["credits"]["spent"] == 0


def test_lists_that_move_while_they_are_read_make_a_note_and_no_mail(night: Begin) -> None:
    """They do so every night: cron would mail each of them."""
    job, simulator = night(SimulatorOptions(SMALL, drift=2))
    process = job.start(job.sellers(simulator.catalogue.seller_ids(12)), "--quiet")
    out, err = process.communicate(timeout=90)
    report = orjson.loads(out)
    assert report["drift"]["gaps"] > 0
    assert any("changed while they were read" in note for note in report["notes"])
    assert not report["is_warning"], report["notes"]
    assert err == ""


@pytest.mark.usefixtures("pages")
def test_the_cause_of_an_outage_is_in_message_report_and_page_however_few_sellers_there_are(
    night: Begin,
) -> None:
    job, simulator = night(SimulatorOptions(SMALL, faults=parse_faults("html:1")))
    process = job.start(job.sellers(simulator.catalogue.seller_ids(4)), "--patience", "0", "--quiet")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 9
    report = orjson.loads(out)
    sent, last = report["requests"]["sent"], report["errors"]["last"]
    assert sent >= 5
    assert report["errors"]["by_kind"] == {"HTML": sent}
    assert last["kind"] == "HTML"
    assert last["reason"] == f"seller {last['seller']}, page {last['page']}: malformed answer: HTML"
    (page,) = job.data.glob("runs/*/report.html")
    for text in (err, report["message"], page.read_text()):
        assert last["reason"] in text
        assert KEY not in text
    assert f"{sent} x HTML" in report["message"]
    assert report["sellers"]["pending"] == 4
    assert not report["published"]
    assert not list((job.data / "videos").iterdir())


def test_a_wrong_path_ends_the_run_and_fails_nobody(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(60)
    source, url = job.sellers(ids), job.url
    job.url = f"{url}/v9"
    report = job.run(source, "--workers", "1", code=9)
    assert report["requests"]["by_status"] == report["errors"]["by_kind"] == {"404": 25}
    assert f"is --api-url right? requests went to {url}/v9" in report["message"]
    assert report["sellers"]["pending"] == 60
    assert not report["published"]
    few = job.folder / "few.csv"
    few.write_text("\n".join(["seller_id", *ids[:4]]))
    report = job.run(few, code=4)
    assert report["sellers"]["failed"] == 4
    assert any("is --api-url right?" in note for note in report["notes"])
    job.url = url
    report = job.run(source)
    assert report["sellers"]["complete"] == 60


def test_one_run_at_a_time(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, latency=0.2))
    source = job.sellers(simulator.catalogue.seller_ids(60))
    first = job.start(source, "--qps", "20")
    while not simulator.stats.requests:
        time.sleep(0.02)
    second = job.run(source, code=7)
    assert str(first.pid) in second["stderr"]
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=20)


def test_fresh_leaves_the_previous_snapshot_published_until_it_is_whole(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(40)
    source = job.sellers(ids)
    job.run(source)
    before = job.ids()
    report = job.run(source, "--fresh", "--budget", str(simulator.stats.requests + 20), code=3)
    assert not report["published"]
    assert report["notes"]
    assert job.ids() == before
    job.run(source)
    assert job.ids() == expected(simulator, ids)
    assert simulator.stats.requests == 2 * fewest(simulator, ids)


def test_a_changed_sort_is_refused_with_the_way_out(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(5))
    job.run(source)
    assert "--fresh" in job.run(source, "--sort", "gmv", code=2)["stderr"]


@pytest.mark.long
def test_max_pages_is_a_zero_with_partial_sellers_and_can_go_on(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(60)
    source = job.sellers(ids)
    report = job.run(source, "--max-pages", "2")
    assert report["sellers"]["partial"] > 0
    assert report["stops"]["max_pages"] == report["sellers"]["partial"]
    job.run(source)
    assert job.ids() == expected(simulator, ids)
    assert simulator.stats.requests == fewest(simulator, ids)


def test_a_changed_list_crawls_the_new_and_keeps_the_dropped(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(30)
    job.run(job.sellers(ids[:20]))
    report = job.run(job.sellers(ids[10:]))
    assert report["sellers"]["total"] == 20
    assert job.ids() == expected(simulator, ids)
    assert simulator.stats.requests == fewest(simulator, ids)


@pytest.mark.long
def test_resume_goes_on_with_the_latest_unfinished_date(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(30)
    source = job.sellers(ids)
    job.run(source, "--budget", "20", code=3)
    process = job.start(source, "--resume")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2, err
    done = job.call("run", "--resume", "--qps", "500", "--budget", "500")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert job.ids() == expected(simulator, ids)


def test_resume_remembers_the_column_of_its_list(night: Begin) -> None:
    """`--resume` without a list reads the date's own list by the column it was read by, however often."""
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(5)
    source = job.folder / "shops.csv"
    source.write_text("shop,rank\n" + "".join(f"{i},{n}\n" for n, i in enumerate(ids)))
    job.run(source, "--column", "shop", "--budget", "1", code=3)
    for budget, code in (("2", 3), ("1000", 0)):
        done = job.call("run", "--resume", "--budget", budget)
        assert done.returncode == code, done.stderr
    assert job.ids() == expected(simulator, ids)


def test_names_that_are_no_text_work(night: Begin) -> None:
    """A list and a settings file may have any name, and the printed command goes on with their date."""
    job, simulator = night(SimulatorOptions(SMALL))
    ids = simulator.catalogue.seller_ids(3)
    odd = os.fsdecode(b"it's \xff\xe9")
    source, config = job.folder / f"{odd}.csv", job.folder / f"{odd}.toml"
    job.sellers(ids).rename(source)
    config.write_text("[log]\nformat = 'json'\n")
    options = ("--config", str(config), "--budget", "1")
    job.run(source, *options, code=3)
    later = job.run(source, *options, "--crawl-date", "2026-11-24", code=3)
    (noted,) = [note.rpartition("go on with it by: ")[2] for note in later["notes"] if DATE in note]
    command = noted.removeprefix(f"{' '.join(as_printed())} ")
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True
    ).stdout.split(b"\0")
    assert words[:2] == [b"run", os.fsencode(source)]
    assert os.fsencode(config) in words
    assert job.call("run", "--resume", "--budget", "99").returncode == 0
    assert {row[0] for row in job.ids()} >= {i for i in ids if simulator.catalogue.size(i)}


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_an_output_that_cannot_be_written_is_an_eight(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    job.data.mkdir()
    job.data.chmod(0o500)
    job.run(job.sellers(simulator.catalogue.seller_ids(5)), code=8)
    assert simulator.stats.requests == 0


def test_no_room_is_an_eight_and_nothing_is_sent(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    (job.folder / "c.toml").write_text("[journal]\nreserve_mib = 999999999\n")
    source = job.sellers(simulator.catalogue.seller_ids(5))
    job.run(source, "--config", str(job.folder / "c.toml"), code=8)
    assert simulator.stats.requests == 0
    assert not list(job.data.glob("videos/**/*.parquet"))


def test_the_key_is_written_nowhere(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    job.run(job.sellers(simulator.catalogue.seller_ids(10)))
    files = [path for path in Path(job.data).rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_layout(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    report = job.run(job.sellers(simulator.catalogue.seller_ids(10)))
    assert (job.data / "runs" / report["run_id"] / "report.json").is_file()
    assert not list((job.data / "state" / "staging").glob("*"))
    for path in (job.data / "videos").rglob("*"):
        assert path.is_dir() or path.suffix == ".parquet"
        assert not path.is_file() or path.parent.name == f"crawl_date={DATE}"


def test_the_demo_prints_what_the_readme_says_and_suggests_what_runs(tmp_path: Path) -> None:
    """As a stranger starts it: the whole command in a process of its own, whatever else is installed."""
    folder = tmp_path / "a stranger's"
    folder.mkdir()
    command = [sys.executable, "-m", "crawler", "demo", "--qps", "1000"]
    job = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert job.returncode == 0, job.stderr
    assert "fault" not in job.stderr
    printed = {without_what_varies(line.strip()) for line in (job.stdout + job.stderr).splitlines()}
    plan = ["plan", "data/demo/sellers.csv", "--data", "data/demo", "--budget", "100"]
    command = [sys.executable, "-m", "crawler", *plan]
    planned = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert planned.returncode == 0, planned.stderr
    (readme,) = (
        block
        for block in blocks_of((Path(__file__).parents[2] / "README.md").read_text())
        if block.language == "console"
    )
    assert len(readme.printed) > 8
    printed |= {without_what_varies(line.strip()) for line in planned.stdout.splitlines()}
    assert {without_what_varies(line) for line in readme.printed} <= printed
    suggested = [line.strip() for line in job.stdout.partition("Go on with:")[2].splitlines() if line.strip()]
    assert len(suggested) >= 3
    assert days_between_observations(folder / "data" / "demo") == [1.0]
    for line in suggested:
        shown_rows = subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True, check=False)
        assert shown_rows.returncode == 0, shown_rows.stderr
        assert "video_id" in shown_rows.stdout


def days_between_observations(data: Path) -> list[float]:
    """In days, to a tenth: the last night's changes since the one before it."""
    rows = ds.dataset(max((data / "changes").iterdir())).to_table()
    return sorted({round(row["days"], 1) for row in rows.to_pylist() if row["kind"] == "changed"})


def without_what_varies(line: str) -> str:
    """A line that is printed without its time, date, run and rate."""
    line = re.sub(r"^\S+ INFO ", "INFO ", line)
    return re.sub(r"20\d\d-\d\d-\d\d|run \S+|\d+ requests/s", "*", line)


def test_times_are_read_though_pandas_is_kept_out() -> None:
    program = """
import sys
from crawler import cli
cli._open_standard_streams = lambda: None
cli._run = lambda: 0
try:
    cli.main()
except SystemExit:
    import pyarrow as pa
    print(pa.array([0], pa.timestamp("ms", "UTC")).to_pylist()[0].year, "pandas" in sys.modules)
"""
    job = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert job.stdout.split() == ["1970", "False"], job.stderr
