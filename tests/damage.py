"""The damage campaign: files under `state/` of runs that were cut off are damaged, and the run goes on.

    python tests/damage.py [--trials 200] [--seed 1] [--jobs 2]

Each trial flips a bit of one file, zeroes a block, cuts the file off or removes it, and runs the crawler
again. It must end with the whole truth published, or stop with exit code 8 or 2 and a way out; the trial then
follows that way, which must end with the whole truth. The ledger must never say less than was sent, but
for what was in flight where it was destroyed itself.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from conftest import DATE, SMALL, Night, stand_in
from launcher import LAUNCHER

from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.ledger import Ledger

SELLERS = 16
BLOCK = 4096
WORKERS = 2
HARMS = ("bit", "bit", "bit", "bit", "zeros", "cut", "gone")
STARTS = ("budget", "killed", "killed without a segment", "finished")


@dataclass
class Campaign:
    """Trials on copies of the same four data folders, one stand-in of the API for all of them."""

    folder: Path
    simulator: Simulator
    sent: dict[str, int] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    def prepare(self) -> None:
        """Make the data folders that are to be damaged."""
        self.ids = self.simulator.catalogue.seller_ids(SELLERS)
        for start in STARTS:
            night = self._night(start)
            night.folder.mkdir(parents=True)
            source = night.sellers(self.ids)
            before = self.simulator.stats.requests
            if start == "finished":
                night.run(source)
            if start in {"budget", "killed"}:
                night.run(source, "--budget", "30", code=3)
            if start.startswith("killed"):
                self._kill(night, source)
            self.sent[start] = self.simulator.stats.requests - before

    def _night(self, name: str) -> Night:
        return Night(self.folder / name.replace(" ", "-"), self.simulator.url)

    def _kill(self, night: Night, source: Path) -> None:
        words = ["run", str(source), "--crawl-date", DATE, "--qps", "100", "--workers", str(WORKERS)]
        done = LAUNCHER.start(words, night.environ(), night.folder, at="commit.durable:12")
        _, error = done.communicate()
        assert done.returncode == -signal.SIGKILL, error

    def trial(self, number: int, rng: Random) -> None:
        """Damage, run, compare; raises `AssertionError`."""
        start, harm = rng.choice(STARTS), rng.choice(HARMS)
        night = self._night(f"trial {number}")
        shutil.copytree(self._night(start).folder, night.folder, symlinks=True)
        try:
            self._damage_and_run(night, start, harm, rng)
        finally:
            shutil.rmtree(night.folder)

    def _damage_and_run(self, night: Night, start: str, harm: str, rng: Random) -> None:
        state = night.data / "state"
        files = sorted(path for path in state.rglob("*") if path.is_file() and path.stat().st_size)
        file = rng.choice([path for path in files if path.name != "lock"])
        what = f"{harm} of {file.relative_to(state)} ({start})"
        damage(file, harm, rng)
        source = night.folder / "sellers.csv"
        before = self.simulator.stats.requests
        code, error = self._run(night, source)
        code_at_first = code
        end = f"{harm}: exit {code}"
        if code in {2, 8}:
            code, error = self._follow(night, source, error)
            end += ", then the way out"
        assert code == 0, f"{what}: exit {code}: {error}"
        self.check(night, what)
        spent = self.sent[start] + self.simulator.stats.requests - before
        if not (harm == "gone" and "ledger" in file.name):
            with Ledger(night.data) as ledger:
                counted = sum(run.reserved for run in ledger.runs())
                # A journal does not know what was in flight at a kill: a ledger that was destroyed did.
                unknown = WORKERS if "ledger" in file.name and code_at_first == 8 else 0
                assert counted >= spent - unknown, f"{what}: the ledger says {counted}, {spent} were sent"
        self.seen[end] += 1

    def _run(self, night: Night, source: Path, *options: str) -> tuple[int, str]:
        job = night.start(source, *options)
        _, error = job.communicate(timeout=90)
        assert "Traceback" not in error, error
        assert job.returncode != 1, error
        return job.returncode, error

    def _follow(self, night: Night, source: Path, error: str) -> tuple[int, str]:
        """Do what the message says."""
        command = re.search(r"\((mkdir .*/)\)", error)
        if command is not None:
            subprocess.run(command[1], shell=True, check=True, cwd=night.folder)
            return self._run(night, source)
        assert "--fresh" in error, error
        return self._run(night, source, "--fresh")

    def check(self, night: Night, what: str) -> None:
        """Compare what is published with the catalogue, row for row."""
        found = {(row["seller_id"], row["video_id"]): row for row in night.videos()}
        for seller_id in self.ids:
            for truth in self.simulator.catalogue.videos(seller_id):
                row = found.pop((seller_id, truth["video_id"]), None)
                assert row is not None, f"{what}: {seller_id} lacks {truth['video_id']}"
                for name in ("total_views_cnt", "video_desc", "region", "total_video_sale_gmv_amt"):
                    assert row[name] == truth[name], f"{what}: {name} {row[name]!r}, not {truth[name]!r}"
        assert not found, f"{what}: {len(found)} rows that the catalogue does not have"
        sellers = night.seller_rows()
        assert sorted(sellers) == sorted(self.ids), what
        assert {row["status"] for row in sellers.values()} == {"complete"}, what


def damage(file: Path, harm: str, rng: Random) -> None:
    """Do one kind of harm to a file."""
    content = bytearray(file.read_bytes())
    if harm == "gone":
        file.unlink()
        return
    if harm == "bit":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif harm == "zeros":
        begin = rng.randrange(0, len(content), BLOCK)
        content[begin : begin + BLOCK] = bytes(min(BLOCK, len(content) - begin))
    else:
        del content[rng.randrange(len(content)) :]
    file.write_bytes(content)


def campaign(trials: int, seed: int, jobs: int, first: int = 0) -> int:
    """Run so many trials; returns the exit code."""
    broken = 0
    seen = Counter[str]()

    def part(numbers: range) -> list[str]:
        failures = []
        with tempfile.TemporaryDirectory() as folder, stand_in(SimulatorOptions(SMALL)) as simulator:
            own = Campaign(Path(folder), simulator)
            own.prepare()
            for number in numbers:
                try:
                    own.trial(number, Random(f"{seed} {number}"))
                except Exception as error:  # noqa: BLE001 - each trial is reported
                    failures.append(f"trial {number} of seed {seed}: {error!r}")
                    print(failures[-1], flush=True)
            seen.update(own.seen)
        return failures

    with ThreadPoolExecutor(jobs) as pool:
        parts = [range(first + job, first + trials, jobs) for job in range(jobs)]
        broken = sum(map(len, pool.map(part, parts)))
    for end, count in sorted(seen.items()):
        print(f"{count:5} {end}")
    print(f"{broken} of {trials} trials broken")
    return 1 if broken else 0


def main() -> int:
    """Be the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    return campaign(options.trials, options.seed, options.jobs, options.first)


if __name__ == "__main__":
    raise SystemExit(main())
