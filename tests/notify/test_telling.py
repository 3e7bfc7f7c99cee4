"""Nights through the command line: who is told what, when, and that telling harms no run."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result
from conftest import DATE, SMALL, Night
from receivers import Receiver, by_path, drips, floods, hangs, in_turn, receiver, says

from crawler.cli import cli
from crawler.notify.messages import ping_address
from crawler.simulator.server import KEY, Simulator, SimulatorOptions
from crawler.store.ledger import Ledger

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
TOKEN = "c0ffee00-secret"


@pytest.fixture
def good() -> Iterator[Receiver]:
    with receiver(says(200)) as one:
        yield one


def tell(job: Night, **settings: Any) -> Path:
    """A settings file that tells; small time-outs unless a test needs others."""
    values = {"timeout": 4.0, **settings}
    path = job.folder / "notify.toml"
    lines = [f"{name} = {orjson.dumps(value).decode()}" for name, value in values.items()]
    path.write_text("[notify]\n" + "\n".join(lines) + "\n")
    return path


def everything_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_good_night_is_told_by_each_channel_once(night: Begin, good: Receiver) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    out = job.folder / "told"
    command = ["sh", "-c", f"cat > {out}.json; env > {out}.env"]
    source = job.sellers(simulator.catalogue.seller_ids(3))
    address = f"{good.address}/{TOKEN}"
    config = tell(job, ping_url=f"{address}?a=b", webhook_url=f"{address}/hook", command=command)
    report = job.run(source, "--config", str(config))

    assert sorted(good.paths()) == [f"/{TOKEN}", f"/{TOKEN}/hook", f"/{TOKEN}/start"]
    start, *others = good.requests
    assert start.path.startswith(f"/{TOKEN}/start?a=b&rid=")
    assert start.body == b""
    end = next(one for one in others if "/hook" not in one.path)
    hook = next(one for one in others if "/hook" in one.path)
    assert end.path.partition("?")[2] == start.path.partition("?")[2]
    assert end.headers["content-type"] == "text/plain; charset=utf-8"
    lines = end.body.decode().splitlines()
    assert lines[0] == f"crawl date {DATE}: complete, exit code 0"
    assert f"rows: {report['rows']['written']}" in lines
    assert f"run {report['run_id']}, {report['started_at']} to {report['finished_at']}" in lines
    written = (job.data / "runs" / report["run_id"] / "report.json").read_bytes()
    assert hook.body == written == Path(f"{out}.json").read_bytes()
    assert hook.headers["content-type"] == "application/json"

    environ = dict(line.split("=", 1) for line in Path(f"{out}.env").read_text().splitlines())
    assert set(environ) - {"PWD", "SHLVL", "_"} <= {"PATH", "HOME", "LANG"} | {
        f"CRAWLER_RESULT_{name}"
        for name in ("EXIT_CODE", "OK", "VERDICT", "STATUS", "CRAWL_DATE", "RUN_ID", "REPORT", "RID")
    }
    assert environ["CRAWLER_RESULT_EXIT_CODE"] == "0"
    assert Path(environ["CRAWLER_RESULT_REPORT"]).samefile(
        job.data / "runs" / report["run_id"] / "report.json"
    )
    assert TOKEN.encode() not in everything_below(job.data)


def test_a_webhook_may_be_told_only_of_what_needs_attention(night: Begin, good: Receiver) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(3))
    hooked = {"webhook_url": f"{good.address}/hook", "ping_url": good.address, "webhook_on": "attention"}
    config = str(tell(job, **hooked))
    assert not job.run(source, "--config", config)["is_warning"]
    assert "/hook" not in good.paths()
    with Ledger(job.data) as ledger:
        ledger.begin("dead", date.fromisoformat(DATE), datetime.now(UTC).isoformat())
    assert job.run(source, "--config", config)["is_warning"]
    assert good.paths().count("/hook") == 1
    job.run(source, "--config", config, "--budget", "1", "--crawl-date", "2026-11-24", code=3)
    assert good.paths().count("/hook") == 1
    job.run(job.folder / "none.csv", "--config", config, code=2)
    assert good.paths().count("/hook") == 2


def test_a_run_with_nothing_to_do_is_told_too(night: Begin, good: Receiver) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(2))
    job.run(source)
    job.run(source, "--config", str(tell(job, ping_url=good.address)))
    assert good.paths() == ["/start", "/"] or good.paths() == ["/start", ""]


def test_a_spent_budget_is_a_success_unless_it_is_not(night: Begin, good: Receiver) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(4))
    job.run(source, "--budget", "1", "--config", str(tell(job, ping_url=f"{good.address}/c")), code=3)
    job.run(source, "--budget", "2", "--config", str(tell(job, ping_url=f"{good.address}/c", ok=[0])), code=3)
    assert good.paths() == ["/c/start", "/c", "/c/start", "/c/3"]
    last = good.requests[-1].body.decode()
    assert "go on with it by: " in last
    assert KEY not in last


@pytest.mark.parametrize(
    ("spoil", "code", "says_why"),
    [
        ("list", 2, "sellers.csv"),
        ("no list", 2, "Missing argument 'SELLERS'"),
        ("key", 2, "no API key"),
        ("setting", 2, "run.qps"),
        ("lock", 7, "other"),
        ("future", 2, "2999-01-01"),
    ],
)
def test_a_run_that_does_not_begin_pings_a_failure(
    night: Begin, good: Receiver, spoil: str, code: int, says_why: str
) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(2))
    environ = {
        "CRAWLER_NOTIFY_PING_URL": f"{good.address}/c",
        "CRAWLER_NOTIFY_WEBHOOK_URL": f"{good.address}/hook",
    }
    words = ["run", str(source)]
    if spoil == "list":
        source.unlink()
    elif spoil == "no list":
        words = ["run"]
    elif spoil == "key":
        environ["KEYAPI_API_KEY"] = ""
    elif spoil == "setting":
        words += ["--qps", "many"]
    elif spoil == "future":
        words += ["--crawl-date", "2999-01-01"]
    if spoil == "lock":
        from crawler.store.lock import hold_lock  # noqa: PLC0415

        with hold_lock(job.data, "other"):
            ended = job.call(*words, **environ)
    else:
        ended = job.call(*words, **environ)
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    assert [path for path in good.paths() if path not in {"/c/start", "/hook"}] == [f"/c/{code}"]
    last = next(one for one in good.requests if one.path.startswith(f"/c/{code}"))
    assert says_why in last.body.decode()
    hook = orjson.loads(next(one for one in good.requests if one.path == "/hook").body)
    assert hook.keys() == {"exit_code", "message", "crawl_date", "status"}
    assert (hook["exit_code"], says_why in hook["message"]) == (code, True)


def test_a_fault_of_the_program_is_told(
    night: Begin, good: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In this process, since no input makes the program itself wrong."""
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(2))
    for name, value in {**job.environ(), "CRAWLER_NOTIFY_PING_URL": f"{good.address}/c"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("crawler.commands.run.run_night", lambda _night: dict[str, Any]()[f"Bearer {KEY}"])
    ended = CliRunner().invoke(cli, ["run", str(source)])
    assert isinstance(ended.exception, KeyError)
    assert good.paths() == ["/c/start", "/c/1"]
    told = good.requests[-1].body.decode()
    assert "a fault of the program: KeyError" in told
    assert KEY not in told


@pytest.mark.parametrize(
    "answer", [hangs, drips, says(500), says(404), floods, says(302, b"", "Location: http://other.example/")]
)
def test_no_receiver_harms_a_run(night: Begin, answer: Any) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(3))
    with receiver(answer) as bad:
        config = tell(
            job, ping_url=f"{bad.address}/{TOKEN}", webhook_url=f"{bad.address}/{TOKEN}", timeout=1.5
        )
        began = time.monotonic()
        process = job.start(source, "--config", str(config))
        out, err = process.communicate(50)
        assert time.monotonic() - began < 30
    assert process.returncode == 0
    assert orjson.loads(out)["status"] == "complete"
    assert TOKEN not in out + err
    assert TOKEN.encode() not in everything_below(job.data)
    lines = [line for line in err.splitlines() if "WARNING" in line]
    assert len(lines) <= 2
    if answer is not floods:
        assert len(lines) == 2, err
        assert all(bad.address.removeprefix("http://") in line for line in lines)


def test_a_start_that_is_not_received_stands_in_the_report(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL, latency=0.4))
    source = job.sellers(simulator.catalogue.seller_ids(3))
    with receiver(by_path(start=says(410), other=says(200))) as one:
        report = job.run(source, "--config", str(tell(job, ping_url=f"{one.address}/{TOKEN}")))
    (note,) = [note for note in report["notes"] if "ping" in note]
    host = one.address.removeprefix("http://")
    assert note.startswith(f"the ping to {host} was not received: it answers 410 (1 attempt); ")


def test_the_start_does_not_delay_the_first_request(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(2))
    with receiver(hangs) as bad:
        process = job.start(source, "--config", str(tell(job, ping_url=bad.address, timeout=8)))
        until = time.monotonic() + 5
        while not simulator.stats.requests and time.monotonic() < until:
            time.sleep(0.02)
        assert simulator.stats.requests
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(30)


def test_what_fails_once_is_told_all_the_same(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(2))
    with receiver(in_turn(says(500), says(200), says(503), says(200))) as one:
        job.run(source, "--config", str(tell(job, ping_url=f"{one.address}/c", timeout=8)))
    assert one.paths() == ["/c/start", "/c/start", "/c", "/c"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_telling_ends_it_soon_and_changes_no_exit_code(night: Begin, number: int) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(2))
    command = ["sh", "-c", "trap '' TERM; sleep 60"]
    with receiver(hangs) as bad:
        config = tell(job, webhook_url=bad.address, command=command, timeout=60.0)
        process = job.start(source, "--config", str(config))
        while not bad.requests:
            time.sleep(0.02)
        began = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(20)
        assert time.monotonic() - began < 4
    assert process.returncode == 0, err
    assert orjson.loads(out)["exit_code"] == 0
    assert "not all was told" in err


def test_an_interrupted_run_is_told_as_such(night: Begin, good: Receiver) -> None:
    job, simulator = night(SimulatorOptions(SMALL, latency=0.2))
    source = job.sellers(simulator.catalogue.seller_ids(20))
    process = job.start(source, "--qps", "5", "--config", str(tell(job, ping_url=f"{good.address}/c")))
    while not simulator.stats.requests:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(20)
    assert process.returncode == 143
    assert good.paths() == ["/c/start", "/c/143"]


def test_a_run_that_is_killed_shows_by_the_missing_ping(night: Begin, good: Receiver) -> None:
    job, simulator = night(SimulatorOptions(SMALL, latency=0.2))
    source = job.sellers(simulator.catalogue.seller_ids(20))
    process = job.start(source, "--qps", "5", "--config", str(tell(job, ping_url=f"{good.address}/c")))
    while not simulator.stats.requests:
        time.sleep(0.02)
    process.kill()
    process.communicate(20)
    assert good.paths() == ["/c/start"]


def test_hostile_texts_of_the_api_stay_text(night: Begin, good: Receiver) -> None:
    """A refusal in the API's words reaches the chat inside a string, and calls nobody."""
    job, _ = night(SimulatorOptions(SMALL))
    hostile = '"}],"channel":"#x <!channel> @everyone {verdict}\n\x1b[31m'
    with receiver(says(400, orjson.dumps({"code": 400, "message": hostile}))) as api:
        source = job.sellers(["7490000000000000001"])
        template = '{"text": "{line} | {head}", "list": ["{credits.spent}", "{no.such}", "{failures}"]}'
        config = tell(job, webhook_url=good.address, template=template)
        ended = job.call("run", str(source), "--config", str(config), CRAWLER_API_URL=api.address)
    assert ended.returncode == 4, ended.stderr
    (hook,) = good.requests
    told = orjson.loads(hook.body)
    assert told.keys() == {"text", "list"}
    assert told["list"][:2] == ["1", "-"]
    assert told["text"].startswith("crawl date ")
    for mark in ("<!channel>", "@everyone"):
        assert mark.encode() not in hook.body
    assert "@\u200beveryone" in told["list"][2]


def test_a_template_that_cannot_be_used_costs_a_warning_and_no_message(night: Begin, good: Receiver) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(1))
    broken = job.folder / "template.json"
    broken.write_text('{"text": ')
    config = tell(job, webhook_url=good.address, template=str(broken))
    process = job.start(source, "--config", str(config))
    out, err = process.communicate()
    assert process.returncode == 0
    assert orjson.loads(good.requests[-1].body) == orjson.loads(out)
    assert "notify.template cannot be used" in err
    checked = job.call("check", "--config", str(config))
    assert checked.returncode == 2
    assert "notify.template" in checked.stderr
    broken.write_text('{"text": "{verdict}"}')
    job.run(source, "--config", str(config))
    assert orjson.loads(good.requests[-1].body) == {"text": "complete"}


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (["sh", "-c", "exit 9"], "ended with 9"),
        (["sh", "-c", "exec <&-; head -c 10000000 /dev/zero; exit 1"], "ended with 1"),
        (["/no/such"], "cannot be started"),
        (["sleep", "60"], "did not end within 1 s"),
    ],
)
def test_a_command_that_fails_costs_a_warning(night: Begin, command: list[str], fault: str) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(1))
    process = job.start(source, "--config", str(tell(job, command=command, timeout=1.0)))
    _, err = process.communicate()
    assert process.returncode == 0
    (line,) = [line for line in err.splitlines() if "WARNING" in line]
    assert fault in line


def test_neither_the_key_nor_a_proxy_s_password_is_told(night: Begin, good: Receiver) -> None:
    job, _ = night(SimulatorOptions(SMALL))
    hostile = f"your key {KEY} and hunter2hunter2"
    with receiver(says(400, orjson.dumps({"code": 400, "message": hostile}))) as api:
        source = job.sellers(["7490000000000000001"])
        out = job.folder / "told"
        config = tell(
            job,
            ping_url=f"{good.address}/c",
            webhook_url=f"{good.address}/hook",
            command=["sh", "-c", f"env > {out}; cat >> {out}"],
        )
        proxy = "http://me:hunter2hunter2@127.0.0.1:9"
        ended = job.call(
            "run", str(source), "--config", str(config), CRAWLER_API_URL=api.address, https_proxy=proxy
        )
    assert ended.returncode == 4
    told = b"".join(request.body for request in good.requests) + out.read_bytes()
    assert b"your key ***" in told
    assert KEY.encode() not in told
    assert b"hunter2" not in told


def test_plan_check_and_demo_tell_nobody(night: Begin, good: Receiver) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(2))
    environ = {"CRAWLER_NOTIFY_PING_URL": good.address, "CRAWLER_NOTIFY_WEBHOOK_URL": good.address}
    assert job.call("plan", str(source), **environ).returncode == 0
    assert job.call("check", str(source), **environ).returncode == 0
    demo = job.call("demo", "--data", str(job.folder / "demo"), "--sellers", "2", **environ)
    assert demo.returncode == 0, demo.stderr
    assert job.call("status", **environ).returncode in {0, 2}
    assert good.requests == []


def test_check_shows_no_secret(night: Begin) -> None:
    job, _ = night(SimulatorOptions(SMALL))
    words = ["cat", "-s", TOKEN]
    config = tell(job, ping_url=f"https://u:{TOKEN}@hc.example:8000/{TOKEN}?x={TOKEN}", command=words)
    checked = job.call("check", "--config", str(config))
    assert checked.returncode == 0, checked.stderr
    assert TOKEN not in checked.stdout + checked.stderr
    assert "hc.example:8000 …" in checked.stdout
    for bad in (
        f"ftp://hc.example/{TOKEN}",
        f"https://hc.example/{TOKEN}#x",
        f"https://hc.example/{TOKEN} x",
    ):
        refused = job.call("check", CRAWLER_NOTIFY_PING_URL=bad)
        assert refused.returncode == 2
        assert TOKEN not in refused.stdout + refused.stderr
    assert job.call("check", CRAWLER_RESULT_RUN_ID="x", CRAWLER_RESULT_OK="0").stderr == ""


def test_check_finds_what_could_tell_nobody(night: Begin) -> None:
    """Else the first night on which somebody is to be told says so, in a log that nobody reads."""
    job, _ = night(SimulatorOptions(SMALL))
    metrics = {"CRAWLER_METRICS_TEXTFILE": str(job.folder / "none" / "crawler.prom")}
    checked = job.call("check", CRAWLER_NOTIFY_COMMAND='["no-such mailer", "-s"]', **metrics)
    assert checked.returncode == 2
    assert "notify.command cannot be started: there is no program no-such mailer" in checked.stdout
    assert f"metrics.textfile: {job.folder / 'none'} cannot be written: No such file" in checked.stdout
    (job.folder / "none").mkdir()
    assert job.call("check", CRAWLER_NOTIFY_COMMAND="cat -s", **metrics).returncode == 0
    assert not list((job.folder / "none").iterdir())


def test_the_address_of_a_ping() -> None:
    assert ping_address("https://h/ping/", "/start", "R") == "https://h/ping/start?rid=R"
    assert ping_address("https://h", "", "R") == "https://h?rid=R"
    assert ping_address("https://h/a%2Fb?create=1", "/2", "R") == "https://h/a%2Fb/2?create=1&rid=R"


def test_a_full_disk_does_not_keep_it_from_being_told(night: Begin, good: Receiver) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(2))
    config = tell(job, ping_url=f"{good.address}/c", command=["sh", "-c", "cat > /dev/null"])
    config.write_text(config.read_text() + "\n[journal]\nreserve_mib = 1000000000\n")
    job.run(source, "--config", str(config), code=8)
    assert good.paths()[-1] == "/c/8"


def begun(monkeypatch: pytest.MonkeyPatch, job: Night, source: Path, *words: str, **environ: str) -> Result:
    """A run in this process, whose parts can be made to fail."""
    for name, value in {**job.environ(), **environ}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(job.folder)
    monkeypatch.setattr(logging.root, "handlers", [])
    return CliRunner().invoke(cli, ["run", str(source), "--crawl-date", DATE, *words], standalone_mode=False)


def test_a_machine_without_a_thread_to_spare_still_crawls(
    night: Begin, good: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(2))
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name in {"notify", "metrics"}:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    path = str(job.folder / "crawler.prom")
    tell_of = {"CRAWLER_NOTIFY_PING_URL": good.address, "CRAWLER_METRICS_TEXTFILE": path}
    ended = begun(monkeypatch, job, source, **tell_of)
    assert ended.return_value == 0, ended.output
    assert "nobody can be told of this run: can't start new thread" in ended.stderr
    assert "metrics are not written: can't start new thread" in ended.stderr
    assert good.requests == []


def test_a_fault_of_telling_is_no_fault_of_the_run(
    night: Begin, good: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(2))
    monkeypatch.setattr("crawler.notify.messages.as_head", lambda _report: dict[str, str]()["no"])
    ended = begun(monkeypatch, job, source, CRAWLER_NOTIFY_PING_URL=good.address)
    assert ended.return_value == 0, ended.output
    assert "nobody was told of this run: KeyError" in ended.stderr
