from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import view_history
from hypothesis import settings
from launcher import LAUNCHER, PAGES, Process

from crawler.simulator.catalogue import CatalogueOptions
from crawler.simulator.server import KEY, Simulator, SimulatorOptions

DATE = "2026-11-23"
SMALL = CatalogueOptions(seed=7, largest=120)

# How long an example takes says more of what else the machine does.
settings.register_profile("suite", deadline=None, max_examples=int(os.environ.get("EXAMPLES", "30")))
settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """What was imported and collected stays: collecting garbage need not go through it for each test."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _hangups_are_not_ignored() -> Iterator[None]:
    """Let the programs under test get SIGHUP as usual, though `nohup` has it ignored here."""
    handler = signal.getsignal(signal.SIGHUP)
    if handler is signal.SIG_IGN:
        # A handler, unlike SIG_IGN, is not inherited by what is started.
        signal.signal(signal.SIGHUP, lambda _number, _frame: None)
    yield
    signal.signal(signal.SIGHUP, handler)


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> view_history.History:
    """The nights that tests of views look at; not to be changed. Their folder's name is hard on SQL."""
    return view_history.play(tmp_path_factory.mktemp("a shop's [nights]") / "data")


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have runs draw report.html, as they do for users."""
    monkeypatch.setenv(PAGES, "1")


def as_printed() -> list[str]:
    """The words by which a command that is printed starts the program that `python -m crawler` started."""
    script = str(Path(sys.executable).with_name("crawler"))
    return ["crawler"] if shutil.which("crawler") == script else [sys.executable, "-m", "crawler"]


@contextmanager
def stand_in(options: SimulatorOptions) -> Iterator[Simulator]:
    """Serve the stand-in from a thread of its own."""
    ready = threading.Event()
    served: list[Any] = []

    async def serve() -> None:
        async with Simulator(options) as simulator:
            stopped = asyncio.Event()
            served[:] = [simulator, asyncio.get_running_loop(), stopped]
            ready.set()
            await stopped.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield served[0]
    finally:
        served[1].call_soon_threadsafe(served[2].set)
        thread.join()


@dataclass
class Night:
    """A data folder and the command line over it, as cron would call it."""

    folder: Path
    url: str

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def sellers(self, ids: list[str]) -> Path:
        path = self.folder / "sellers.csv"
        path.write_text("seller_id\n" + "".join(f"{i}\n" for i in ids))
        return path

    def environ(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("CRAWLER_", "KEYAPI_"))}
        return {**clean, "KEYAPI_API_KEY": KEY, "CRAWLER_API_URL": self.url, "CRAWLER_DATA": str(self.data)}

    def start(self, source: Path, *options: str) -> Process:
        words = ["run", str(source), "--crawl-date", DATE, "--json", *options]
        if not any(option.startswith("--qps") for option in options):
            words += ["--qps", "1000"]
        return LAUNCHER.start(words, self.environ(), self.folder)

    def call(self, *words: str, given: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """Any command, to its end."""
        return LAUNCHER.run(list(words), {**self.environ(), **environ}, self.folder, given)

    def run(self, source: Path, *options: str, code: int = 0) -> dict[str, Any]:
        job = self.start(source, *options)
        out, err = job.communicate(timeout=90)
        assert job.returncode == code, f"exit {job.returncode}, not {code}\n{err}"
        assert "Traceback" not in err
        assert KEY not in out + err
        return orjson.loads(out) if out else {"stderr": err}

    def videos(self) -> list[dict[str, Any]]:
        partitioning = ds.partitioning(flavor="hive")
        rows: list[dict[str, Any]] = (
            ds.dataset(self.data / "videos", format="parquet", partitioning=partitioning)
            .to_table()
            .to_pylist()
        )
        return rows

    def seller_rows(self) -> dict[str, dict[str, Any]]:
        (path,) = (self.data / "sellers" / f"crawl_date={DATE}").glob("*.parquet")
        return {row["seller_id"]: row for row in pq.ParquetFile(path).read().to_pylist()}

    def ids(self) -> list[tuple[str, str]]:
        return sorted((row["seller_id"], row["video_id"]) for row in self.videos())


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Callable[[SimulatorOptions], tuple[Night, Simulator]]]:
    with ExitStack() as stack:

        def begin(options: SimulatorOptions) -> tuple[Night, Simulator]:
            simulator = stack.enter_context(stand_in(options))
            return Night(tmp_path, simulator.url), simulator

        yield begin
