"""Each example of README and docs runs as it stands, page by page, as a reader would paste it into a shell.

The stand-in is the API. Each page's examples run in a folder of their own: a copy of one that has nights
already; the tutorial's is empty.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import click
import pytest
from as_forked import LAUNCHER_FD
from conftest import stand_in
from launcher import LAUNCHER, PAGES
from page_examples import CHECKED, RUN, SHOWN, Block, as_pattern, blocks_of, script_of, tokens_of

from crawler.cli import cli
from crawler.settings.load import load
from crawler.simulator.catalogue import CatalogueOptions
from crawler.simulator.server import KEY, Simulator, SimulatorOptions

ROOT = Path(__file__).parents[2]
PATHS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCKS = {path: list(blocks_of(path.read_text())) for path in PATHS}
RUNNABLE = [path for path, blocks in BLOCKS.items() if any(block.is_run for block in blocks)]
CATALOGUE = CatalogueOptions(largest=40)
GOOD, HELD, UNFINISHED = "2026-11-23", "2026-11-24", "2026-11-25"
CLEAN = {name: text for name, text in os.environ.items() if not name.startswith(("CRAWLER_", "KEYAPI_"))}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with stand_in(SimulatorOptions(CATALOGUE, date.fromisoformat(GOOD))) as served:
        yield served


@pytest.fixture(scope="module")
def nights(simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good night, one that is held back, and one whose budget is spent."""
    folder = tmp_path_factory.mktemp("nights")
    call(folder, simulator.url, "init")
    (folder / "sellers.csv").write_text("\n".join(["seller_id", *simulator.catalogue.seller_ids(8), ""]))
    (folder / "key").write_text(KEY)
    call(folder, simulator.url, "run", "sellers.csv", "--crawl-date", GOOD)
    with stand_in(SimulatorOptions(CATALOGUE, date.fromisoformat(HELD), outage="empty")) as wrong:
        call(folder, wrong.url, "run", "sellers.csv", "--crawl-date", HELD, code=10)
    call(folder, simulator.url, "run", "sellers.csv", "--crawl-date", UNFINISHED, "--budget", "2", code=3)
    return folder


def call(folder: Path, url: str, *words: str, code: int = 0) -> None:
    done = LAUNCHER.run(list(words), {**CLEAN, "CRAWLER_API_URL": url, "CRAWLER_QPS": "1000"}, folder)
    assert done.returncode == code, done.stderr


def shell(script: str, folder: Path, **environ: str) -> tuple[int, str]:
    """Run a script in a folder that is home as well; the exit code, and all that was printed."""
    commands = folder.parent / f"{folder.name}.bin"
    commands.mkdir()
    start = shlex.join([sys.executable, "-IS", str(ROOT / "tests" / "as_forked.py")])
    (commands / "crawler").write_text(f'#!/bin/sh\nexec {start} "$@"\n')
    (commands / "crawler").chmod(0o755)
    control = LAUNCHER._connect().fileno()
    path = os.pathsep.join((str(commands), str(Path(sys.executable).parent), CLEAN["PATH"]))
    given = {**CLEAN, "PATH": path, "HOME": str(folder), LAUNCHER_FD: str(control), **environ}
    words = ["bash", "-xc", f"trap 'kill $(jobs -p) 2>/dev/null || :' EXIT\n{script}"]
    printed = folder.parent / f"{folder.name}.printed"
    with printed.open("w") as sink:
        process = subprocess.Popen(
            words, cwd=folder, env=given, pass_fds=[control], stdout=sink, stderr=sink, start_new_session=True
        )
        try:
            code = process.wait(240)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
    return code, printed.read_text(errors="replace")


def not_printed(blocks: list[Block], printed: str) -> list[str]:
    """What the consoles of a page show, and nothing printed."""
    lines = [line.strip() for line in printed.splitlines()]
    shown = [line for block in blocks if block.is_run for line in block.printed]
    return [line for line in shown if not any(map(as_pattern(line).fullmatch, lines))]


@pytest.mark.parametrize("path", [path for path in RUNNABLE if path != TUTORIAL], ids=lambda path: path.name)
def test_a_pages_examples_run_beside_nights_that_are_there(
    path: Path, nights: Path, simulator: Simulator, tmp_path: Path
) -> None:
    folder = shutil.copytree(nights, tmp_path / "shop")
    code, printed = shell(script_of(BLOCKS[path]), folder, CRAWLER_API_URL=simulator.url, CRAWLER_QPS="1000")
    assert code == 0, printed[-5000:]
    assert not_printed(BLOCKS[path], printed) == []


def test_the_tutorial_leads_from_an_empty_folder_to_a_chart(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    script = script_of(BLOCKS[TUTORIAL]).replace("crawler simulate", f"crawler simulate --port {port}")
    home = tmp_path / "home"
    home.mkdir()
    code, printed = shell(script.replace("8800", port), home, **{PAGES: "1"})
    assert code == 0, printed[-5000:]
    assert not_printed(BLOCKS[TUTORIAL], printed) == []
    assert (home / "shop" / "gains.svg").read_text().count("<rect") > 10


def test_an_example_that_fails_and_a_line_that_is_not_printed_are_named(tmp_path: Path) -> None:
    page = (
        "```console\n$ echo one; echo two 7\none\ntwo …\nthree\n```\n"
        "<!-- not run: harmful -->\n```sh\nexit 7\n```\n"
        "```python\nprint('four')\n```\n```sh\nfalse\necho five\n```\n"
    )
    blocks = list(blocks_of(page))
    (tmp_path / "in").mkdir()
    code, printed = shell(script_of(blocks), tmp_path / "in")
    assert code == 1
    assert "four" in printed.splitlines()
    assert "five" not in printed.splitlines()
    assert [line for line in printed.splitlines() if "examples from" in line][-1].endswith("line 14 on")
    assert not_printed(blocks, printed) == ["three"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_what_is_not_run_can_be_read(path: Path, tmp_path: Path) -> None:
    for block in BLOCKS[path]:
        where = f"{path.name}, line {block.line}"
        assert block.language in (*RUN, *CHECKED, *SHOWN), (
            f"{where}: a block is an example ({', '.join((*RUN, *CHECKED))}) or something to look at "
            f"({', '.join(SHOWN)}); this one says {block.language!r}"
        )
        if block.language in ("sh", "console"):
            subprocess.run(["bash", "-nc", block.script], check=True)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "toml":
            tomllib.loads(block.text)
            (tmp_path / "settings.toml").write_text(block.text)
            assert load({}, tmp_path / "settings.toml", {}).settings, where


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_commands_within_lines_are_ones_that_the_program_takes(path: Path) -> None:
    spans = [token.content for token in tokens_of(path.read_text()) if token.type == "code_inline"]
    assert [fault for span in spans if span.startswith("crawler ") and (fault := fault_of(span))] == []


def fault_of(command: str) -> str:
    """Why the program would not take a command; empty where it would."""
    _, name, *words = shlex.split(command, comments=True)
    known = cli.commands.get(name)
    if known is None:
        return "" if name.startswith(("…", "-", "COMMAND")) else f"`{command}`: no such command"
    try:
        # A command keeps the flags for help of the first context that it has.
        context = click.Context(known, parent=click.Context(cli, **cli.context_settings))
        known.make_parser(context).parse_args([*words, "…"])
    except click.UsageError as error:
        return f"`{command}`: {error.format_message()}"
    return ""


def test_a_command_that_the_program_does_not_take_is_named() -> None:
    assert fault_of("crawler run sellers.csv --max-pages 3") == ""
    assert "--max-page" in fault_of("crawler run --max-page 3")
    assert "no such command" in fault_of("crawler walk")
