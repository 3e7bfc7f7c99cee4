"""The crash campaign: the real process is killed again and again, and must lose and overpay nothing.

    python tests/crash.py [--kills 200] [--seed 1] [--jobs 2]

Each trial kills runs of one crawl date (`kill -9`, at a random moment or at a named step between two
writes), resumes, and compares the last snapshot with the catalogue row for row, and the credits with
the stand-in's own count. A reader goes through the dataset all the while. Every named step is hit.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import duckdb
from conftest import DATE, Night, stand_in
from launcher import LAUNCHER
from steps import STEPS

from crawler.simulator.catalogue import CatalogueOptions
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.ledger import Ledger

WORKERS = 8
KILLS_A_TRIAL = 5
BEFORE = "2026-11-22"


_OFTEN = {"commit.begin", "commit.written"}


@dataclass
class Trial:
    """One crawl date that is killed at each of `kills`, a step or None for a random moment."""

    number: int
    kills: list[str | None]
    rng: Random
    usual: tuple[str, ...] = ()
    killed: Counter[str] = field(default_factory=Counter)
    repaid: int = 0
    reads: int = 0

    def go(self) -> None:
        """Kill, resume, compare; raises `AssertionError`."""
        options = SimulatorOptions(CatalogueOptions(seed=self.number, largest=150), latency=0.01, jitter=0.02)
        with tempfile.TemporaryDirectory() as folder, stand_in(options) as simulator:
            night = Night(Path(folder), simulator.url)
            ids = simulator.catalogue.seller_ids(25)
            source = night.sellers(ids)
            fewest = sum(simulator.catalogue.size(i) // 10 + 1 for i in ids)
            self._choose(night, source)
            simulator.stats.pages.clear()
            before, simulator.stats.requests = simulator.stats.requests, 0
            budget = self.rng.choice((None, fewest // 2, fewest * 3))
            with watched(night.data) as reader:
                for step in self.kills:
                    if not self._kill(night, source, step, budget):
                        # Nothing was left to do on the way to this step: crawl some sellers anew.
                        self._count_repaid(simulator)
                        budget = None
                        some = source.with_name("some.csv")
                        anew = self.rng.sample(ids, k=self.rng.randint(len(ids) // 2, len(ids)))
                        some.write_text("\n".join(["seller_id", *anew]))
                        self._kill(night, some, step, budget, "--fresh")
                    self._check_credits(night, simulator, budget, before)
                    self._check_runs(night)
                report = self._finish(night, source)
                self.reads += reader.reads
            assert self._check_runs(night), "nothing is in changes/"
            self._check_rows(night, simulator, ids)
            self._count_repaid(simulator)
            limit = WORKERS * sum(self.killed.values())
            assert self.repaid <= limit, f"{self.repaid} pages paid twice, {limit} were in flight"
            assert report["exit_code"] == 0

    def _choose(self, night: Night, source: Path) -> None:
        """Look ahead this way or that; in every second trial, carry rows from the night before."""
        self.usual = ("--lookahead", self.rng.choice(("off", "history", "gallop")))
        if self.number % 2 == 0 or "pins.built" in self.kills:
            night.run(source, "--crawl-date", BEFORE)
            self.usual += ("--carry-forward", "--audit", "0.3")

    def _count_repaid(self, simulator: Simulator) -> None:
        pages = simulator.stats.pages
        self.repaid += sum(pages.values()) - len(pages)
        pages.clear()

    def _kill(self, night: Night, source: Path, step: str | None, budget: int | None, *options: str) -> bool:
        """Run until killed; False where the run ended by itself."""
        limits = [] if budget is None else ["--budget", str(budget)]
        usual = ["--qps", "200", "--workers", str(WORKERS), "--crawl-date", DATE, "--quiet", *limits]
        usual += self.usual
        # The first time always comes, however many pages a commit has.
        times = self.rng.choice((1, 1, 2, 4)) if step in self.killed and step in _OFTEN else 1
        words = ["run", str(source), *usual, *options]
        job = LAUNCHER.start(
            words, night.environ(), night.folder, at="" if step is None else f"{step}:{times}"
        )
        if step is None:
            time.sleep(0.4 + self.rng.random() * 2.0)
            job.send_signal(signal.SIGKILL)
        _, err = job.communicate(timeout=60)
        assert "Traceback" not in err, err
        if job.returncode == -signal.SIGKILL:
            self.killed[step or "random"] += 1
            return True
        assert job.returncode in {0, 3}, f"exit {job.returncode}: {err}"
        return False

    def _check_credits(self, night: Night, simulator: Simulator, budget: int | None, before: int) -> None:
        sent = simulator.stats.requests
        if (night.data / "state" / "ledger.sqlite").exists():
            with Ledger(night.data) as ledger:
                counted = sum(run.reserved for run in ledger.runs())
            assert counted >= sent + before, f"the ledger says {counted}, {sent + before} were sent"
        assert budget is None or sent <= budget, f"{sent} requests under a budget of {budget}"

    def _check_runs(self, night: Night) -> bool:
        """Whether the date has changes: if so, they must be of the run whose snapshot is published."""
        runs = {
            kind: {path.stem for path in (night.data / kind / f"crawl_date={DATE}").rglob("*.parquet")}
            for kind in ("videos", "sellers", "changes")
        }
        if runs["changes"]:
            assert runs["videos"] == runs["sellers"] == runs["changes"], f"changes of another run: {runs}"
        return bool(runs["changes"])

    def _finish(self, night: Night, source: Path) -> dict[str, Any]:
        report = night.run(source, "--qps", "200", "--workers", str(WORKERS), *self.usual)
        assert not list((night.data / "state" / "staging").glob("*"))
        return report

    def _check_rows(self, night: Night, simulator: Simulator, ids: list[str]) -> None:
        rows = (row for row in night.videos() if str(row["crawl_date"]) == DATE)
        found = {(row["seller_id"], row["video_id"]): row for row in rows}
        for seller_id in ids:
            for truth in simulator.catalogue.videos(seller_id):
                row = found.pop((seller_id, truth["video_id"]))
                for name in ("total_views_cnt", "video_desc", "region", "total_video_sale_gmv_amt"):
                    assert row[name] == truth[name], f"{seller_id}: {name} {row[name]!r}, not {truth[name]!r}"
        assert not found, f"{len(found)} rows that the catalogue does not have"


class Reader(threading.Thread):
    """Reads the dataset in a loop; a snapshot's files all have its run's name, and never change."""

    def __init__(self, data: Path) -> None:
        super().__init__()
        self._glob = f"{data}/videos/crawl_date={DATE}/*.parquet"
        self.stopped = threading.Event()
        self.seen: dict[str, int] = {}
        self.reads = 0
        self.broken = ""

    def run(self) -> None:
        connection = duckdb.connect()
        query = f"""SELECT parse_filename(filename) AS name, count(*)
            FROM read_parquet('{self._glob}', filename=true) GROUP BY name"""
        while not self.stopped.wait(0.005) and not self.broken:
            try:
                found = connection.execute(query).fetchall()
            except duckdb.Error:
                # Nothing is published yet, or the dataset was exchanged between listing and opening.
                continue
            self.reads += 1
            rows = sum(count for _, count in found)
            if len(found) > 1:
                self.broken = f"two snapshots at once: {found}"
            elif found and self.seen.setdefault(found[0][0], rows) != rows:
                self.broken = f"{found[0][0]} had {self.seen[found[0][0]]} rows, then {rows}"


@contextmanager
def watched(data: Path) -> Iterator[Reader]:
    """Read the dataset while the block runs."""
    reader = Reader(data)
    reader.start()
    try:
        yield reader
    finally:
        reader.stopped.set()
        reader.join()
    assert not reader.broken, reader.broken


def campaign(kills: int, seed: int, jobs: int) -> int:
    """Run trials until enough kills were planned, each named step at least once."""
    rng = Random(seed)
    planned: list[str | None] = [*STEPS]
    planned += [rng.choice((None, rng.choice(STEPS))) for _ in range(kills - len(planned))]
    rng.shuffle(planned)
    parts = [planned[i : i + KILLS_A_TRIAL] for i in range(0, len(planned), KILLS_A_TRIAL)]
    # A date's journal pins a snapshot once.
    parts = [sorted(part, key=lambda step: step != "pins.built") for part in parts]
    trials = [Trial(n, part, Random(f"{seed} {n}")) for n, part in enumerate(parts, 1)]
    broken = 0
    with ThreadPoolExecutor(jobs) as pool:
        for trial, future in [(trial, pool.submit(trial.go)) for trial in trials]:
            error = future.exception()
            if error is not None:
                broken += 1
                print(f"trial {trial.number} of seed {seed}, kills {trial.kills}: {error!r}", flush=True)
    killed = sum((trial.killed for trial in trials), Counter())
    missed = set(STEPS) - killed.keys()
    print(
        f"{killed.total()} kills ({killed['random']} at random moments), steps never hit: {sorted(missed)}; "
        f"{sum(t.repaid for t in trials)} pages paid twice; {sum(t.reads for t in trials)} reads; "
        f"{broken} of {len(trials)} trials broken"
    )
    # A reader that reads nothing has seen nothing wrong.
    is_read = any(trial.reads for trial in trials)
    return 1 if broken or missed or not is_read else 0


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    return campaign(options.kills, options.seed, options.jobs)


if __name__ == "__main__":
    raise SystemExit(main())
