"""The operator's command: one that fails, hangs, reads nothing or floods costs a sentence."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crawler.notify.posting import DeliveryError
from crawler.notify.program import run_program

ENVIRON = {"PATH": os.environ["PATH"]}
LARGE = b"x" * 5_000_000


def alive(group: int) -> list[str]:
    """The processes of a group, but for those that only wait for being reaped."""
    listed = subprocess.run(["ps", "-eo", "pgid,stat,args"], capture_output=True, text=True, check=True)
    rows = (line.split(None, 2) for line in listed.stdout.splitlines())
    return [row[2] for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


async def test_it_gets_the_report_on_standard_input_and_this_environment_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    await run_program(["sh", "-c", f"env > {out}; cat >> {out}"], LARGE, {**ENVIRON, "A": "b"}, 10)
    lines = out.read_bytes().split(b"\n")
    assert lines[-1] == LARGE
    names = {line.partition(b"=")[0].decode() for line in lines[:-1]}
    assert names - {"PWD", "SHLVL", "_"} == {"PATH", "A"}


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["sh", "-c", "echo one >&2; echo 'two \x1b[31m' >&2; exit 7"], r"^it ended with 7: two \[31m$"),
        (["sh", "-c", "kill -9 $$"], "^it ended with -9$"),
        (["/no/such/program"], "^it cannot be started: No such file or directory$"),
        (["/"], "^it cannot be started: Permission denied$"),
    ],
)
async def test_one_that_fails(words: list[str], fault: str) -> None:
    with pytest.raises(DeliveryError, match=fault):
        await run_program(words, LARGE, ENVIRON, 10)


@pytest.mark.parametrize(
    "script",
    [
        "exit 0",
        "exec <&-; exit 0",
        "head -c 30000000 /dev/zero; head -c 30000000 /dev/zero >&2",
        "sleep 60 & exit 0",
    ],
    ids=["ignores stdin", "closes stdin", "floods", "leaves a child behind"],
)
async def test_one_that_is_rude_and_succeeds(script: str) -> None:
    began = time.monotonic()
    await run_program(["sh", "-c", script], LARGE, ENVIRON, 10)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("script", ["sleep 60", "trap '' TERM; sleep 60 & wait; sleep 60"])
async def test_one_that_hangs_is_ended_with_what_it_started(tmp_path: Path, script: str) -> None:
    pid = tmp_path / "pid"
    began = time.monotonic()
    with pytest.raises(DeliveryError, match=r"did not end within 0.5 s, and was ended"):
        await run_program(["sh", "-c", f"echo $$ > {pid}; {script}"], b"", ENVIRON, 0.5)
    assert time.monotonic() - began < 4
    await asyncio.sleep(0.1)
    assert alive(int(pid.read_text())) == []


async def test_one_that_hangs_ends_where_telling_is_given_up(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = f"import os, signal, time; signal.signal({int(signal.SIGTERM)}, signal.SIG_IGN); "
    code += f"open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    job = asyncio.create_task(run_program([sys.executable, "-c", code], b"", ENVIRON, 30))
    while not (pid.exists() and pid.read_text()):
        await asyncio.sleep(0.02)
    job.cancel()
    await asyncio.sleep(0.05)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    await asyncio.sleep(0.2)
    assert alive(int(pid.read_text())) == []
