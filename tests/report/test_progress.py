"""What a person sees while a run goes on, as a terminal emulator shows it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from subprocess import DEVNULL, Popen

import pyte
import pytest
from conftest import DATE, SMALL, Night

from crawler.models.latency import Latencies
from crawler.ports import CrawlFigures
from crawler.report.progress import Progress
from crawler.simulator.server import Simulator, SimulatorOptions

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
LINES = 12
SHOWN = re.compile(
    r"(?P<ended>\d+)/(?P<total>\d+) .*?(?P<spent>\d+)(?P<budget> of \d+)? credits +"
    r"(?P<rate>[\d.]+)/s +(-|\d+):[-\d:]+ +left"
)


def screens_of(command: list[str], columns: int, environ: dict[str, str]) -> list[list[str]]:
    """Run a command on a terminal of that width; returns every screen that it showed."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    environ = {k: v for k, v in environ.items() if k not in {"COLUMNS", "LINES", "NO_COLOR"}}
    job = Popen(
        command, stdin=DEVNULL, stdout=DEVNULL, stderr=slave, env={**environ, "TERM": "xterm-256color"}
    )
    os.close(slave)
    screen = pyte.Screen(columns, LINES)
    stream = pyte.ByteStream(screen)
    screens = []
    with suppress(OSError):  # the terminal's other end is closed
        while data := os.read(master, 65_536):
            stream.feed(data)
            screens.append([line.rstrip() for line in screen.display])
    os.close(master)
    assert job.wait(30) == 0
    return screens


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_one_line_holds_sellers_credits_pace_and_time_left(night: Begin, columns: int) -> None:
    job, simulator = night(SimulatorOptions(SMALL, latency=0.02))
    source = job.sellers(simulator.catalogue.seller_ids(12))
    command = [sys.executable, "-m", "crawler", "run", str(source), "--crawl-date", DATE]
    command += ["--qps", "60", "--budget", "100000"]
    screens = screens_of(command, columns, job.environ())
    live = [found for screen in screens for line in screen if (found := SHOWN.search(line))]
    assert live, screens[-1]
    assert {found["total"] for found in live} == {"12"}
    assert {found["budget"] for found in live} == {" of 100000" if columns >= 80 else None}
    assert max(int(found["ended"]) for found in live) > 0
    assert max(int(found["spent"]) for found in live) > 0
    assert any(":" in found[0].rpartition("/s")[2] for found in live)
    # What is logged beside it stays whole, and the display leaves nothing behind.
    last = "".join(line.ljust(columns) for line in screens[-1])
    assert " INFO complete: sellers 12 complete; " in " ".join(last.split())
    assert not any(SHOWN.search(line) for line in screens[-1])


MILLIONS = CrawlFigures(
    total=5_000_000,
    ended=1_234_567,
    budget=12_000_000,
    spent_before=10_000_000,
    by_status={},
    latencies=Latencies(),
    count_sent=lambda: 1_234_567,
    pages=12_345_678,
    rows=123_456_789,
)


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_the_figures_of_millions_fit(
    columns: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    screen = pyte.Screen(columns, LINES)
    with Progress(MILLIONS, live=True) as progress:
        progress._began -= 3600
        progress.tick()
        progress._live.refresh()
        pyte.Stream(screen).feed(capfd.readouterr().err.replace("\n", "\r\n"))
    (line,) = (line for line in screen.display if line.strip())
    found = SHOWN.search(line)
    assert found, line
    assert found.group("ended", "total", "spent") == ("1234567", "5000000", "11234567")


def test_a_run_in_a_file_shows_no_display(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(3))
    process = job.start(source)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "\x1b" not in printed
