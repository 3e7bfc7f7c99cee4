"""Crawls by real worker processes: the single process's rows, whatever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from aiohttp import web
from conftest import DATE, SMALL, Night, stand_in
from process_tree import workers_of

from crawler.simulator.server import KEY, Simulator, SimulatorOptions
from crawler.store.layout import Layout

PROCESSES = ("--executor", "processes", "--processes", "2")


@pytest.fixture(scope="module")
def shop() -> Iterator[Simulator]:
    with stand_in(SimulatorOptions(catalogue=SMALL, latency=0.02)) as simulator:
        yield simulator


@pytest.fixture
def night(tmp_path: Path, shop: Simulator) -> Night:
    return Night(tmp_path, shop.url)


IDS = [str(7_000_000_000_000_000_001 + 37 * number) for number in range(60)]


def rows(night: Night) -> list[tuple[object, ...]]:
    """All that does not depend on when a page came, and by which run."""
    changing = {"crawled_at", "run_id", "request_id"}
    return sorted(tuple(str(v) for k, v in row.items() if k not in changing) for row in night.videos())


def test_processes_publish_the_rows_of_one_process(night: Night, tmp_path: Path, shop: Simulator) -> None:
    report = night.run(night.sellers(IDS), *PROCESSES, "--budget", "2000")
    (tmp_path / "one").mkdir()
    alone = Night(tmp_path / "one", shop.url)
    expected = alone.run(alone.sellers(IDS))
    assert rows(night) == rows(alone)
    assert report["requests"]["sent"] == report["credits"]["spent_for_date"] == expected["requests"]["sent"]
    assert report["stops"] == expected["stops"]
    assert {s: row["status"] for s, row in night.seller_rows().items()} == dict.fromkeys(IDS, "complete")
    assert not [*Layout(night.data).journals.glob("*.attempts")], "neither logs nor the probe"


def test_a_budget_that_is_spent_is_a_three_and_a_run_alone_goes_on(night: Night) -> None:
    source = night.sellers(IDS)
    job = night.start(source, *PROCESSES, "--budget", "70")
    out, err = job.communicate(timeout=90)
    assert job.returncode == 3, err
    # The run says so, and not each of its workers.
    assert err.count("the crawl stops before its end") == 1
    report = orjson.loads(out)
    assert report["requests"]["sent"] == report["credits"]["spent_for_date"] == 70
    rest = night.run(source)
    assert rest["sellers"]["complete"] == len(IDS)
    assert rest["credits"]["spent_for_date"] == rest["requests"]["sent"] + 70


@pytest.mark.long
def test_a_budget_is_spent_by_freshest_over_several_choices(night: Night) -> None:
    source = night.sellers(IDS)
    night.run(source, "--crawl-date", "2026-11-22", "--strategy", "freshest")
    before = len(night.videos())
    report = night.run(source, *PROCESSES, "--strategy", "freshest", "--budget", "60")
    assert report["requests"]["sent"] == report["credits"]["spent_for_date"]
    assert 50 <= report["requests"]["sent"] <= 60
    assert report["sellers"]["complete"] == len(IDS)
    assert len(night.videos()) >= 2 * before - 20


@pytest.mark.long
def test_killed_workers_and_a_killed_driver_cost_what_was_under_way(night: Night, shop: Simulator) -> None:
    source, before = night.sellers(IDS), shop.stats.requests
    job = night.start(source, *PROCESSES, "--qps", "60")
    _wait_for(lambda: shop.stats.requests > before + 30)
    os.kill(workers_of(job.pid)[0], signal.SIGKILL)
    _wait_for(lambda: shop.stats.requests > before + 90)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    report = night.run(source, "--qps", "60")
    assert report["sellers"]["complete"] == len(IDS)
    assert any("workers" in note for note in report["notes"])
    wanted = sum(row["pages"] for row in night.seller_rows().values())
    assert wanted <= shop.stats.requests - before <= wanted + 40
    assert report["credits"]["spent_for_date"] >= shop.stats.requests - before


def test_what_a_killed_worker_may_have_sent_is_in_report_ledger_and_status(
    night: Night, shop: Simulator
) -> None:
    source, before = night.sellers(IDS[:20]), shop.stats.requests
    job = night.start(source, *PROCESSES, "--qps", "30", "--budget", "500", "--patience", "60")
    _wait_for(lambda: shop.stats.requests > before + 20)
    os.kill(workers_of(job.pid)[0], signal.SIGKILL)
    out, err = job.communicate(timeout=90)
    assert job.returncode == 0, err
    report, status = orjson.loads(out), orjson.loads(night.call("status", "--json").stdout)
    requests, spent = report["requests"], report["credits"]["spent"]
    assert requests["sent"] == sum(requests["by_status"].values()) <= shop.stats.requests - before <= spent
    assert spent == requests["sent"] + requests["unaccounted"]
    assert spent == report["credits"]["spent_for_date"] == status["nights"][0]["credits"]
    assert any(f"{requests['unaccounted']} credits that it held" in note for note in report["notes"])
    assert requests["unaccounted"] > 0


@pytest.mark.long
def test_an_interruption_of_the_whole_group_stops_cleanly(night: Night, shop: Simulator) -> None:
    source, before = night.sellers(IDS), shop.stats.requests
    job = night.start(source, *PROCESSES, "--qps", "40")
    _wait_for(lambda: shop.stats.requests > before + 20)
    for pid in [*workers_of(job.pid), job.pid]:
        os.kill(pid, signal.SIGINT)
    out, err = job.communicate(timeout=60)
    assert job.returncode == 130, err
    assert "Traceback" not in err
    sent = shop.stats.requests - before
    assert f"{sent} credits" in err or f'"sent":{sent}' in out.replace(" ", "")
    night.run(source)
    assert shop.stats.requests - before == sum(row["credits"] for row in night.seller_rows().values())


@pytest.mark.parametrize(
    ("listed", "gone", "code"),
    [
        (6, 3, 4),
        *(pytest.param(*each, marks=pytest.mark.long) for each in ((4, 4, 4), (6, 6, 9), (24, 12, 4))),
    ],
)
def test_sellers_that_are_not_there_end_as_in_one_process(
    night: Night,
    tmp_path: Path,
    shop: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    listed: int,
    gone: int,
    code: int,
) -> None:
    """Each worker gets half of the list: where half of it is gone, that is all that one of them sees."""
    videos = Simulator._videos

    async def without_gone(self: Simulator, request: web.BaseRequest) -> web.StreamResponse:
        return (
            web.Response(status=404)
            if request.query["seller_id"] in IDS[:gone]
            else await videos(self, request)
        )

    monkeypatch.setattr(Simulator, "_videos", without_gone)
    (tmp_path / "one").mkdir()
    alone, found = Night(tmp_path / "one", shop.url), []
    for each, options in ((alone, ()), (night, PROCESSES)):
        report = each.run(each.sellers(IDS[:listed]), *options, code=code)
        # Which seller was answered last depends on chance.
        texts = [text.partition("; the last answer")[0] for text in (report["message"], *report["notes"])]
        notes = [text for text in texts if "attempts" not in text]
        state = orjson.loads(each.call("status", "--json").stdout)
        day = [state["unfinished"], *(date["refused"] for date in state["dates"])]
        said = [report[key] for key in ("sellers", "stops", "failures", "exit_code", "status")]
        found.append([*said, report["errors"]["by_kind"] if listed < 20 else None, notes, day])
    assert found[1] == found[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--executor", "dask"), "--executor dask needs the address of a scheduler"),
        (("--scheduler", "tcp://127.0.0.1:1"), "nothing else takes one"),
        (("--executor", "processes", "--top", "5"), "needs --executor local"),
        (("--executor", "processes", "--strategy", "best-first"), "needs --executor local"),
    ],
)
def test_what_workers_cannot_do_is_refused(night: Night, options: tuple[str, ...], words: str) -> None:
    job = night.start(night.sellers(IDS[:1]), *options)
    _, err = job.communicate(timeout=60)
    assert job.returncode == 2
    assert words in err


def test_a_worker_without_a_key_ends_the_run_before_anything_is_sent(
    night: Night, shop: Simulator, tmp_path: Path
) -> None:
    """Each worker reads the key on its own host: here from a file that the run removes before they look."""
    key, sent = tmp_path / "key", shop.stats.requests
    os.mkfifo(key)
    config = tmp_path / "crawler.toml"
    config.write_text(f'[api]\nkey_file = "{key}"\n')
    environ = {name: value for name, value in night.environ().items() if name != "KEYAPI_API_KEY"}
    words = [sys.executable, "-m", "crawler", "run", str(night.sellers(IDS[:1])), "--config", str(config)]
    job = subprocess.Popen(
        [*words, "--crawl-date", DATE, *PROCESSES], env=environ, stderr=subprocess.PIPE, text=True
    )
    key.write_text(KEY)
    key.unlink()
    _, err = job.communicate(timeout=60)
    assert job.returncode == 2, err
    assert "a worker cannot be used" in err
    assert KEY not in err
    assert shop.stats.requests == sent


def test_a_worker_process_logs_nothing_of_dasks() -> None:
    """One whose scheduler was gone first printed a traceback into the log of a good night."""
    code = (
        "import logging, distributed.worker\n"
        "from crawler.cluster.worker_start import dask_setup\n"
        "dask_setup(None)\n"
        "logging.getLogger('distributed.worker').error('a heartbeat failed')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_a_scheduler_that_is_not_there_is_a_two(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRAWLER_DASK_WAIT_S", "1")
    source = night.sellers(IDS[:1])
    called = night.call(
        "run",
        str(source),
        "--crawl-date",
        DATE,
        "--executor",
        "dask",
        "--scheduler",
        "tcp://127.0.0.1:9",
        CRAWLER_DASK_WAIT_S="1",
    )
    assert called.returncode == 2, called.stderr
    assert "does not answer" in called.stderr
    assert "Traceback" not in called.stderr


def _wait_for(holds: object) -> None:
    deadline = time.monotonic() + 60
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)
