"""Simulated nights of outages: good nights, then one of wrong answers, cut off in many ways, then a well API.

The real run, judge, journal and publishing work on a virtual clock against the stand-in's catalogue and its
outages, with the default settings. Checked after each run: no wrong answer is published, what is published
stays until it is replaced by the truth, no budget is passed, no healthy night is held back; and in the end
a run publishes the truth. `tests/nights.py` plays them among its own.

    python tests/outage_nights.py [--outages 100] [--healthy 100] [--first 0] [--jobs 2] [--replay SEED]

`--healthy` plays so many projects of 20 healthy nights each, and counts verdicts.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import os
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.dataset as ds
from steps import STEPS
from virtual_process import (
    BrokenPromiseError,
    Crash,
    CrashingLoop,
    Evening,
    SlowExecutor,
    WirelessApi,
    expect,
)

from crawler.api.answers import read_answer
from crawler.models.api import PAGE_SIZE
from crawler.models.keys import ApiKey
from crawler.models.page import Page
from crawler.nightly import showing
from crawler.nightly.night import Night as Asked
from crawler.nightly.process import Signals
from crawler.nightly.run import run_night
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.ports import Departure
from crawler.report.run_report import RunReport
from crawler.sellers.listing import SellerList
from crawler.settings.load import load
from crawler.simulator.catalogue import Catalogue, CatalogueOptions
from crawler.simulator.outages import OUTAGES, served_rows
from crawler.simulator.outages import Page as Wanted
from crawler.store import failpoints
from crawler.store.ledger import Ledger

FIRST = date(2026, 11, 1)
BY_CANARIES = ("empty", "half-empty", "foreign", "rejected")
"""Outages that first pages show, so that a run may be cut off at any moment of them."""
CHANCE = 10
"""Wrong answers that a run may publish beside right ones: so few may be true. The next asks them again."""
MOVED = 4
"""Good nights before a stale one: three that moved, and the one that the first of these is compared with."""
WELL_RUNS = 6
HEALTHY_NIGHTS = 20
# No page is drawn of these nights: it would take longer than most of them.
showing._write_page = lambda *_: None


class Api(WirelessApi):
    """The stand-in's pages without a wire."""

    def __init__(self, project: Project, outage: str | None) -> None:
        self._project, self._outage = project, outage

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        """See the engine's port."""
        project = self._project
        while not await departure.leave(lambda: True):
            await asyncio.sleep(0.001)
        project.sent += 1
        project.all_sent += 1
        await asyncio.sleep(0.05 + 0.1 * project.rng.random())
        wanted = Wanted(seller_id, page_num, PAGE_SIZE, 1, 1)
        body = orjson.dumps({"code": 0, "data": served_rows(project.catalogue, wanted, self._outage)})
        departure.label = "200"
        return read_answer(200, None, body, seller_id, page_num, int(project.now().timestamp() * 1000))


@dataclass
class Cut:
    """What ends a run early."""

    step: tuple[str, int] | None = None
    signal_at: float | None = None
    credits: int | None = None


@dataclass
class Project(Evening):
    """A seller list from night to night, on a clock of its own; `sent` counts requests of the date."""

    seed: int
    folder: Path
    count: int
    rng: Random = field(init=False)
    catalogue: Catalogue = field(init=False)
    day: date = FIRST
    clock: float = 0.0
    runs: int = 0
    sent: int = 0
    loop: CrashingLoop | None = None
    crash: bool = False
    all_sent: int = 0
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = Random(f"outage {self.seed}")
        self.options = CatalogueOptions(seed=self.seed, largest=35)
        self.catalogue = Catalogue(self.options, self.day)
        self.ids = self.catalogue.seller_ids(self.count)

    def next_day(self) -> None:
        """Go on to the next night."""
        self.day += timedelta(days=1)
        self.catalogue = Catalogue(self.options, self.day)
        self.clock = self.sent = 0

    def run(
        self,
        outage: str | None = None,
        cut: Cut | None = None,
        *,
        fresh: bool = False,
        some: int | None = None,
    ) -> RunReport | None:
        """One run of the date; None where it crashed."""
        cut, self.crash, signals = cut or Cut(), False, Signals()
        self.runs += 1
        sellers = self.ids if some is None else self.ids[:some]
        listed = SellerList("sellers.csv", pa.array(sellers, pa.string()), 0, 0)
        budget = None if cut.credits is None else self.sent + cut.credits
        failpoints.on_reach = self._reach(cut)
        report = None
        before = self.sent
        try:
            asked = Asked(
                self.settings(budget, fresh=fresh),
                (ApiKey("k"),),
                listed,
                "sellers.csv",
                self.day,
                signals,
                self.world(outage, cut, signals),
            )
            report = run_night(asked)
        except Crash:
            self.crash = True
        finally:
            failpoints.on_reach = None
            self.end_run(60.0)
        code = "crash" if report is None else f"exit {report.exit_code} {report.plausibility['verdict']}"
        self.said.append(
            f"{self.day} {outage} {cut} fresh={fresh}: {code}, {self.sent - before} sent; "
            + " | ".join(
                (report.plausibility["reasons"] + report.notes)[:6] if report and report.exit_code else []
            )[:900]
        )
        expect(budget is None or self.sent <= max(budget, before), f"{self.sent} requests, budget {budget}")
        with Ledger(self.folder) as ledger:
            expect(ledger.spent_for(self.day) >= self.sent, "the ledger says less than was sent")
        return report

    def settings(self, budget: int | None, *, fresh: bool = False) -> Settings:
        """The defaults, but for pace and place."""
        values = {"run.data": str(self.folder), "run.qps": 40.0, "run.fresh": fresh, "credits.budget": budget}
        values |= {"api.url": "https://right.test", "log.quiet": True, "log.no_progress": True}
        given = {name: value for name, value in values.items() if value is not None}
        return load(given, Path(os.devnull), {}).settings

    def _reach(self, cut: Cut) -> Any:
        seen = Counter[str]()

        def reach(step: str) -> None:
            seen[step] += 1
            if self.crash or (cut.step is not None and (step, seen[step]) == cut.step):
                self.crash = True
                raise Crash

        return reach

    def world(self, outage: str | None, cut: Cut, signals: Signals) -> World:
        return World(
            now=self.now,
            token=lambda: f"{self.runs:04}",
            rng=self.rng,
            run=lambda main: self.drive(main, None, cut.signal_at, signals.receive),
            executor=lambda _name: SlowExecutor(lambda: self.rng.random() * 0.01),
            api=lambda _settings, _key: Api(self, outage),
            free_bytes=lambda _folder: 1 << 40,
            uptime=lambda: None,
        )

    def digest(self) -> str:
        """Equal for two projects that went the same way."""
        return blake2b("\n".join(self.said).encode(), digest_size=8).hexdigest()

    def published(self) -> dict[str, dict[str, int]] | None:
        """By seller that the date's snapshot has as complete: views by video. None without a snapshot."""
        parts = [self.folder / kind / f"crawl_date={self.day}" for kind in ("sellers", "videos")]
        if not all(part.is_dir() for part in parts):
            return None
        sellers = ds.dataset(parts[0], format="parquet").to_table(columns=["seller_id", "status"]).to_pylist()
        found: dict[str, dict[str, int]] = {s["seller_id"]: {} for s in sellers if s["status"] == "complete"}
        columns = ["seller_id", "video_id", "total_views_cnt"]
        for row in ds.dataset(parts[1], format="parquet").to_table(columns=columns).to_pylist():
            if row["seller_id"] in found:
                found[row["seller_id"]][row["video_id"]] = row["total_views_cnt"]
        return found

    def wrong(self) -> list[str]:
        """The sellers that are published as complete and are not as the API has them tonight."""
        return [s for s, videos in (self.published() or {}).items() if videos != self.truth(s)]

    def truth(self, seller_id: str) -> dict[str, int]:
        """Views by video."""
        return {v["video_id"]: v["total_views_cnt"] for v in self.catalogue.videos(seller_id)}

    def files(self) -> list[str]:
        """The published files of earlier dates."""
        return sorted(
            str(path)
            for kind in ("videos", "changes")
            for path in (self.folder / kind).rglob("*.parquet")
            if f"crawl_date={self.day}" not in str(path)
        )


def play_outage(seed: int, folder: Path) -> Project:
    """Play a project's good nights, an outage, and a well API; raises `BrokenPromiseError`."""
    rng = Random(f"plan {seed}")
    # Fewer sellers, or no night before, prove less: the judge then only says that a night is odd.
    kind = rng.choice(sorted(OUTAGES))
    project = Project(seed, folder, rng.choice((90, 120, 150)))
    try:
        _play(project, rng, kind)
    except Exception:
        if os.environ.get("TELL_NIGHTS"):
            print(*project.said, sep="\n")
        raise
    return project


def _play(project: Project, rng: Random, kind: str) -> None:
    for _ in range(MOVED if kind == "stale" else rng.choice((1, 2))):
        healthy_night(project)
        project.next_day()
    good = project.files()
    # Stillness is judged between readings 20 hours apart: no run of the same day can see a stale API.
    # What only the judge can see is odd at most where most of the night was read before.
    ways = {"not", "some", "cut", "fresh"} - ({"fresh"} if kind == "stale" else set())
    begun = rng.choice(sorted(ways if kind in BY_CANARIES else ways - {"cut"}))
    if begun == "cut":
        project.run(cut=_any_cut(rng))
    elif begun != "not":
        healthy_night(project, project.count // 3 if begun == "some" else None)
    tonight = project.published()
    for number in range(rng.choice((1, 2))):
        report = project.run(kind, _cut_of_outage(rng, kind), fresh=begun == "fresh" and number == 0)
        _check_outage(project, good, tonight)
        # A region may have few sellers, which chance explains.
        if kind not in BY_CANARIES and kind != "region":
            expect(report is not None and report.exit_code == 10, "an outage was believed")
    later = [rng.choice((None, None, kind)) for _ in range(rng.choice((0, 1, 2)))]
    for outage in later:
        project.run(outage, _any_cut(rng) if outage is None else _cut_of_outage(rng, kind))
        _check_outage(project, good, None)
    # What is left of a night after right answers may be too little to tell; of one wrong answer nobody can.
    is_little = kind == "region" or begun == "cut" or later == [None, kind]
    _expect_truth(project, CHANCE if is_little else 1)
    expect(project.files() == good, "snapshots of other dates have changed")
    project.next_day()
    healthy_night(project)


def healthy_night(project: Project, some: int | None = None) -> None:
    """A night that nothing is wrong with."""
    report = project.run(some=some)
    expect(report is not None and report.exit_code == 0, f"a healthy night: {report and report.message}")
    expect(report is not None and report.plausibility["verdict"] == "plausible", "a false alarm")


def _cut_of_outage(rng: Random, kind: str) -> Cut:
    """What only the judge can see must be read whole: of a few sellers chance explains everything."""
    return _any_cut(rng) if kind in BY_CANARIES else Cut()


def _any_cut(rng: Random) -> Cut:
    chosen = rng.choice(("nothing", "step", "commit", "signal", "budget"))
    if chosen == "step":
        return Cut(step=(rng.choice(STEPS), 1))
    if chosen == "commit":
        return Cut(step=("commit.durable", rng.choice((1, 2, 3, 4, 6, 10, 20, 40))))
    if chosen == "signal":
        return Cut(signal_at=rng.choice((0.5, 1.0, 1.5, 2.5, 5.0)))
    if chosen == "budget":
        return Cut(credits=rng.choice((1, 5, 12, 20, 40, 41, 60, 120)))
    return Cut()


def _check_outage(project: Project, good: list[str], tonight: dict[str, Any] | None) -> None:
    """Nothing wrong is published, and what was there is there still."""
    expect(project.files() == good, "snapshots of other dates have changed")
    wrong = project.wrong()
    expect(len(wrong) <= CHANCE, f"{len(wrong)} sellers are published wrong: {wrong[:3]}")
    now = project.published()
    if tonight is not None:
        expect(now is not None and tonight.keys() <= now.keys(), "sellers are gone from the date's snapshot")


def _expect_truth(project: Project, may_be_wrong: int) -> None:
    """A well API: some run publishes the truth, and none holds for ever."""
    for _ in range(WELL_RUNS):
        report = project.run()
        if report is not None and report.exit_code == 0:
            break
    else:
        raise BrokenPromiseError(f"not published after {WELL_RUNS} runs of a well API")
    wrong = project.wrong()
    expect(len(wrong) <= may_be_wrong, f"{len(wrong)} sellers are published wrong in the end: {wrong[:3]}")
    expect((project.published() or {}).keys() == {*project.ids}, "sellers are missing")
    spent = project.sent
    again = project.run()
    expect(again is not None and again.exit_code == 0 and project.sent == spent, "a finished date goes on")


def play_healthy(seed: int) -> tuple[int, Counter[str]]:
    """Play a project of healthy nights: verdicts, and stops."""
    folder, found = Path(tempfile.mkdtemp(prefix="healthy-", dir=_base())), Counter[str]()
    project = Project(seed, folder, Random(f"size {seed}").choice((60, 90, 120)))
    try:
        for _ in range(HEALTHY_NIGHTS):
            report = project.run()
            verdict = "crash" if report is None else f"{report.plausibility['verdict']} {report.exit_code}"
            found[verdict] += 1
            if report is not None and report.plausibility["reasons"]:
                found.update(f"seed {seed}, {project.day}: {each}" for each in report.plausibility["reasons"])
            project.next_day()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return seed, found


def _base() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def play_safely(seed: int) -> tuple[int, str | None, int]:
    """Play an outage in a folder of its own; returns what broke, and how many runs it took."""
    folder = Path(tempfile.mkdtemp(prefix="outage-", dir=_base()))
    try:
        return seed, None, play_outage(seed, folder).runs
    except Exception as error:  # noqa: BLE001 - what broke is printed with its seed
        return seed, f"{type(error).__name__}: {error}", 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def quiet_down() -> None:
    """Warnings of outages are expected."""
    logging.disable(logging.CRITICAL)


def main() -> int:
    """Play projects; exit code 1 where one broke a promise, or a healthy night was not plausible."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("outages", 0), ("healthy", 0), ("first", 0), ("jobs", os.cpu_count() or 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--replay", type=int)
    options = parser.parse_args()
    if options.replay is not None:
        quiet_down()
        os.environ["TELL_NIGHTS"] = "1"
        print(play_safely(options.replay))
        return 0
    began, found, broken, runs = time.monotonic(), Counter[str](), 0, 0
    with multiprocessing.get_context("spawn").Pool(options.jobs, quiet_down, maxtasksperchild=20) as pool:
        outages = range(options.first, options.first + options.outages)
        for seed, what, of_seed in pool.imap_unordered(play_safely, outages):
            runs += of_seed
            if what is not None:
                broken += 1
                print(f"seed {seed} broke a promise: {what}", flush=True)
        healthy = range(options.first, options.first + options.healthy)
        for _, verdicts in pool.imap_unordered(play_healthy, healthy):
            found += verdicts
    for what, count in found.most_common():
        print(f"{count} nights: {what}")
    nights, wall = options.healthy * HEALTHY_NIGHTS, time.monotonic() - began
    print(f"{options.outages} outages of {runs} runs, {broken} broken; {nights} healthy nights; {wall:.0f} s")
    return int(broken > 0 or any(not what.startswith("plausible 0") for what in found))


if __name__ == "__main__":
    raise SystemExit(main())
