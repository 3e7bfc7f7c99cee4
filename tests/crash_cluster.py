"""The crash campaign of a cluster: workers, scheduler and driver are killed or stopped, and nothing is lost.

    python tests/crash_cluster.py [--kills 100] [--seed 1]

Each trial begins a real Dask scheduler and workers, and kills or stops some of their processes at random
moments while a crawl runs there, in turns with pages by files and over connections. The crawl is begun again
until it is complete. Then rows are compared with the catalogue, credits with the stand-in's own count, pages
paid twice with what was under way, and the arrivals at the stand-in with the ceiling.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from random import Random

from conftest import DATE, Night, stand_in
from process_tree import workers_of

from crawler.simulator.catalogue import CatalogueOptions
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.ledger import Ledger

QPS = 60
LEASE_S = 3.0
WORKERS = 3
KILLS_A_TRIAL = 5
UNDER_WAY = 64
"""Pages that one kill may have under way: in flight, or not durable yet."""
KINDS = ("worker", "worker", "host", "scheduler", "driver", "driver", "all", "stopped", "stopped")
BIN = Path(sys.executable).parent


def free_port() -> int:
    """A port that stays free while nobody listens there: none that a connection is given by itself."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


@dataclass
class Cluster:
    """A scheduler and workers as processes; they get further `words`, and some only the workers do."""

    folder: Path
    protocol: str = "tcp"
    words: Sequence[str] = ()
    of_worker: Sequence[str] = ()
    port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"{self.protocol}://127.0.0.1:{self.port}"

    def begin(self) -> None:
        """Start what is not there."""
        where = ("--host", f"{self.protocol}://127.0.0.1", "--port", str(self.port), "--no-dashboard")
        self._start("scheduler", "scheduler", *where, *self.words)
        for number in range(WORKERS):
            name = f"host-{number}"
            folder = str(self.folder / name)
            words = ("worker", self.address, "--nthreads", "1", "--no-dashboard", "--local-directory", folder)
            self._start(name, *words, *self.words, *self.of_worker)

    def _start(self, name: str, *words: str) -> None:
        process = self.processes.get(name)
        if process is not None and process.poll() is None:
            return
        environ = {**os.environ, "KEYAPI_API_KEY": "sk_live_simulator"}
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [str(BIN / "dask"), *words]
            self.processes[name] = subprocess.Popen(
                command, env=environ, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """Kill a process with all below it."""
        with suppress(ProcessLookupError):
            os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()

    def workers(self) -> list[int]:
        """The processes that run tasks: each is below its nanny."""
        found = []
        for name, process in self.processes.items():
            if name.startswith("host"):
                found += workers_of(process.pid)
        return found

    def end(self) -> None:
        """Kill all of it."""
        for name in self.processes:
            self.kill(name)


@dataclass
class Trial:
    """One crawl date under so many kills."""

    number: int
    rng: Random
    kills: int
    killed: Counter[str] = field(default_factory=Counter)
    repaid: int = 0
    _is_gone: bool = False

    def go(self) -> None:
        """Kill, begin again, compare; raises `AssertionError`."""
        options = SimulatorOptions(CatalogueOptions(seed=self.number, largest=200), latency=0.05, jitter=0.1)
        with tempfile.TemporaryDirectory() as folder, stand_in(options) as simulator, ExitStack() as stack:
            night = Night(Path(folder), simulator.url)
            ids = simulator.catalogue.seller_ids(40)
            source = night.sellers(ids)
            cluster = Cluster(Path(folder))
            stack.callback(cluster.end)
            pages = self.rng.choice(("auto", "driver"))
            fewest = sum(simulator.catalogue.size(i) // 10 + 1 for i in ids)
            budget = self.rng.choice((None, fewest * 3))
            for number in range(20):
                if self._is_gone:
                    cluster.end()
                    self._is_gone = False
                cluster.begin()
                job = self._begin(night, source, cluster, pages, budget)
                is_last = sum(self.killed.values()) >= self.kills or number == 19
                if self._finish(job, cluster, simulator, is_last=is_last) == 0:
                    break
            self._check(night, simulator, ids, budget)

    def _begin(
        self, night: Night, source: Path, cluster: Cluster, pages: str, budget: int | None
    ) -> subprocess.Popen[str]:
        limits = [] if budget is None else ["--budget", str(budget)]
        command = [
            sys.executable,
            "-m",
            "crawler",
            "run",
            str(source),
            "--crawl-date",
            DATE,
            "--qps",
            str(QPS),
        ]
        command += ["--executor", "dask", "--scheduler", cluster.address, "--quiet", *limits]
        environ = {
            **night.environ(),
            "CRAWLER_DASK_LEASE_S": str(LEASE_S),
            "CRAWLER_DASK_PAGES": pages,
            "CRAWLER_DASK_WAIT_S": "30",
        }
        return subprocess.Popen(
            command, env=environ, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def _finish(
        self, job: subprocess.Popen[str], cluster: Cluster, simulator: Simulator, *, is_last: bool
    ) -> int:
        """Let a run go on to its end, under a kill or some; returns its exit code."""
        while not is_last and job.poll() is None and sum(self.killed.values()) < self.kills:
            self._wait_for_requests(job, simulator, self.rng.randint(5, 60))
            if job.poll() is None:
                self._kill(job, cluster)
        _, err = job.communicate(timeout=150)
        # Without a scheduler to begin with nothing is sent.
        expected = {0, 8, -signal.SIGKILL} | ({2} if self._is_gone else set())
        assert job.returncode in expected, f"exit {job.returncode}: {err}"
        assert "Traceback" not in err, err
        return job.returncode

    def _wait_for_requests(self, job: subprocess.Popen[str], simulator: Simulator, more: int) -> None:
        before, deadline = simulator.stats.requests, time.monotonic() + 60
        while simulator.stats.requests < before + more and job.poll() is None:
            assert time.monotonic() < deadline, "no request for a minute"
            time.sleep(0.01)

    def _kill(self, job: subprocess.Popen[str], cluster: Cluster) -> None:
        kind, workers = self.rng.choice(KINDS), cluster.workers()
        self.killed[kind] += 1
        if kind in {"worker", "stopped"} and workers:
            victim = self.rng.choice(workers)
            with suppress(ProcessLookupError):
                if kind == "worker":
                    os.kill(victim, signal.SIGKILL)
                else:
                    os.kill(victim, signal.SIGSTOP)
                    time.sleep(LEASE_S + 2)
                    os.kill(victim, signal.SIGCONT)
        elif kind == "host":
            cluster.kill(f"host-{self.rng.randrange(WORKERS)}")
        elif kind == "scheduler":
            # Its workers end by themselves, sooner or later: a new scheduler gets new ones.
            cluster.kill("scheduler")
            self._is_gone = True
        elif kind == "driver":
            os.killpg(job.pid, signal.SIGKILL)
        elif kind == "all":
            os.killpg(job.pid, signal.SIGKILL)
            cluster.end()

    def _check(self, night: Night, simulator: Simulator, ids: list[str], budget: int | None) -> None:
        stats = simulator.stats
        truth = {(i, row["video_id"]): row for i in ids for row in simulator.catalogue.videos(i)}
        rows = {(row["seller_id"], row["video_id"]): row for row in night.videos()}
        assert rows.keys() == truth.keys(), f"{len(rows)} rows of {len(truth)}"
        assert all(truth[key]["total_views_cnt"] == row["total_views_cnt"] for key, row in rows.items())
        statuses = Counter(row["status"] for row in night.seller_rows().values())
        assert statuses == {"complete": len(ids)}, statuses
        with Ledger(night.data, only_read=True) as ledger:
            spent = ledger.spent_for(date.fromisoformat(DATE))
        assert spent >= stats.credits, f"the ledger has {spent}, the stand-in {stats.credits}"
        assert budget is None or stats.credits <= budget
        self.repaid = sum(count - 1 for count in stats.pages.values())
        kills = sum(self.killed.values())
        assert self.repaid <= kills * UNDER_WAY, f"{self.repaid} pages paid again after {kills} kills"
        arrivals = stats.arrivals
        for first, beyond in zip(arrivals, arrivals[QPS:], strict=False):
            assert beyond - first > 0.98, f"{QPS + 1} requests in {beyond - first:.3f} s"


def main() -> int:
    """Run the campaign; the exit code is 1 where a trial broke."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    killed, repaid, broken, trials = Counter[str](), 0, 0, 0
    while sum(killed.values()) < options.kills:
        trials += 1
        left = options.kills - sum(killed.values())
        trial = Trial(
            options.seed * 1000 + trials, Random(options.seed * 1000 + trials), min(KILLS_A_TRIAL, left)
        )
        try:
            trial.go()
        except AssertionError as error:
            broken += 1
            print(f"trial {trial.number} broke after {dict(trial.killed)}: {error}", flush=True)
        killed += trial.killed
        repaid += trial.repaid
        print(
            f"{sum(killed.values())} kills in {trials} trials: {dict(killed)}; {repaid} pages paid twice",
            flush=True,
        )
        if not trial.killed:
            break
    print(f"{sum(killed.values())} kills, {trials} trials, {repaid} pages paid twice, {broken} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
