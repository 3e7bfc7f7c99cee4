"""Deterministic simulation of whole nights: one seed decides everything that happens, and replays it.

The real run, engine, journal and ledger work on a virtual clock against a seeded API, with faults,
stalls, bugs, signals, full disks and crashes at any step, until the date is finished; every promise of the
contract that a night can break is checked after each run.

    python tests/nights.py --seeds 1000 [--first 0] [--jobs 2] [--replay SEED]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from errno import ENOSPC
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from outage_nights import play_outage
from seeds import Played, own_folder, play_all, quiet_down
from steps import STEPS
from virtual_process import BrokenPromiseError, Crash, CrashingLoop, SlowExecutor, WirelessApi, expect

from crawler.api.columns import read_batch
from crawler.history.carried import PinnedRows
from crawler.models.api import COUNT_COLUMNS
from crawler.models.errors import (
    CrawlerError,
    KeyRefusedError,
    OutputError,
    QuotaUsedUpError,
    RefusedError,
    ThrottledError,
    UnavailableError,
)
from crawler.models.keys import ApiKey
from crawler.models.page import Page
from crawler.nightly.night import Night as Asked
from crawler.nightly.process import Signals
from crawler.nightly.run import run_night
from crawler.nightly.world import World
from crawler.options import OPTIONS, Settings
from crawler.ports import Departure
from crawler.report.run_report import RunReport
from crawler.rules.outage import DOWN_SELLERS
from crawler.rules.recovery import HARD_ATTEMPTS
from crawler.rules.sizing import PRIOR_BUSY_S, PoolSize
from crawler.sellers.listing import SellerList
from crawler.settings.load import load
from crawler.store import failpoints
from crawler.store.journal import Journal
from crawler.store.layout import Layout
from crawler.store.ledger import Ledger
from crawler.store.lock import Uptime
from crawler.store.publishing import publish
from crawler.store.segments import SegmentWriter
from crawler.store.snapshot import RowCounts, SnapshotPlan

DATE = date(2026, 11, 23)
MOST_RUNS = 12
SIZES = (0, 1, 9, 10, 11, 20, 25, 40, 57, 130, 251, 604)
MOST_PROBES = 25
KEYS_EVERY = 4
"""Of so many seeds one has several keys."""
OUTAGE_EVERY = 40
"""Of so many seeds one plays an outage of a hundred sellers between good nights (`outage_nights.py`)."""


TELL = bool(os.environ.get("TELL_NIGHTS"))
"""Whether each run is printed, for a replay."""


@dataclass
class Weather:
    """What one run meets; shares are of requests, times in virtual seconds.

    `keys_hit` are the numbers of the keys that `quota` and `refuse_key_after` are about.
    """

    status: int = 500
    failing: float = 0.0
    throttling: float = 0.0
    retry_after: float | None = None
    lost: float = 0.0
    null: float = 0.0
    latency: float = 0.05
    jitter: float = 0.0
    down_from: float = 1e18
    down_for: float = 0.0
    quota: int | None = None
    refuse_key_after: int | None = None
    signal_at: float | None = None
    crash_at_step: int | None = None
    crash_at_point: tuple[str, int] | None = None
    disk_full_after: int | None = None
    disk_low_at: float | None = None
    stall_at: float | None = None
    stall_for: float = 0.0
    clock_jump: float = 0.0
    disk_delay: float = 0.002
    wrong_path: bool = False
    bug_at_request: int | None = None
    bug_at_commit: int | None = None
    keys_hit: frozenset[int] = frozenset({0})

    @property
    def is_fair(self) -> bool:
        """Whether every request is answered, but for sellers that never are."""
        return self.failing + self.lost + self.throttling + self.down_for + self.wrong_path == 0


class UnforeseenError(Exception):
    """What nobody foresaw."""


@dataclass
class Request:
    """One request as the API saw it; `at` counts over all runs."""

    run: int
    at: float
    seller_id: str
    page_num: int
    failed: bool = True
    throttled: bool = False
    refused: bool = False
    down: bool = False
    key: int = 0
    key_refused: bool = False


@dataclass
class Night:
    """A crawl date from its first run to its last, and what the API saw of it.

    `sick` sellers have a page from which on every one is answered by a 500. On a deep night there are a few
    deep sellers, read ahead. `keys` are the tables of several keys; none: there is one without a name.
    """

    seed: int
    folder: Path
    rng: Random = field(init=False)
    is_deep: bool = field(init=False)
    sizes: dict[str, int] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    repeating: set[str] = field(default_factory=set)
    sick: dict[str, int] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    published: dict[tuple[str, str], int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    renewed: set[str] = field(default_factory=set)
    doubted: set[str] = field(default_factory=set)
    keys: list[dict[str, Any]] = field(default_factory=list)
    is_clock_wrong: bool = False
    false_ends: bool = False
    clean: bool = True
    clock: float = 0.0
    run_number: int = 0

    def __post_init__(self) -> None:
        self.rng = Random(self.seed)
        self.is_deep = self.rng.random() < 0.05
        count = self.rng.choice((1, 2, 5, 8, 13) if not self.is_deep else (1, 2, 4, 6))
        sick = self.rng.choice((0, 0, 0, 0.2, 0.5))
        for n in range(count):
            seller = str(7_000_000_000 + self.seed % 1000 * 1000 + n)
            self.sizes[seller] = self.rng.choice(SIZES if not self.is_deep else (1203, 2504))
            if self.rng.random() < 0.05:
                self.bad.add(seller)
            if self.rng.random() < 0.05:
                self.repeating.add(seller)
            if self.rng.random() < sick:
                self.sick[seller] = self.rng.choice((1, 1, 3, 12))

    def write_history(self, folder: Path) -> None:
        """What the night before knew of the sellers: near the truth, or far from it."""
        near = [
            (s, max(0, round(n * self.rng.choice((1, 1, 0.9, 0.5, 1.3, 2))))) for s, n in self.sizes.items()
        ]
        known = [(s, n) for s, n in near if self.rng.random() < 0.6]
        self.known = {s: n // 10 for s, n in known}
        columns = {
            "seller_id": [s for s, _ in known],
            "status": ["complete"] * len(known),
            "stop_reason": ["short_page"] * len(known),
            **{name: [n // 10 + 1 for _, n in known] for name in ("pages", "credits")},
            "videos": [n for _, n in known],
        }
        path = folder / "sellers" / f"crawl_date={DATE - timedelta(days=1)}"
        path.mkdir(parents=True)
        pq.write_table(pa.table(columns), path / "before.parquet")

    def rows(self, seller_id: str, page_num: int) -> list[dict[str, Any]]:
        """A page of the catalogue; a repeating seller gives its last full page for ever."""
        size = self.sizes[seller_id]
        if seller_id in self.repeating and size >= 10:
            page_num = min(page_num, size // 10)
        first = (page_num - 1) * 10
        return [
            {
                "video_id": f"{seller_id}{k:05}",
                "region": "MY" if k % 2 else "SG",
                "create_time": "1760000000",
                **dict.fromkeys(COUNT_COLUMNS, self.views(seller_id, k)),
            }
            for k in range(first, min(first + 10, size))
        ]

    @staticmethod
    def views(seller_id: str, rank: int) -> int:
        """Falls with the rank, and not alike for all sellers."""
        return int(seller_id) * 7919 % 1000 * 10 // (rank + 1) + 1

    def truth(self, listed: list[str]) -> set[tuple[str, str]]:
        """Every video of the listed sellers that the API can give."""
        found = set()
        for seller in listed:
            size = self.sizes[seller]
            whole = size // 10 * 10 if seller in self.repeating and size >= 10 else size
            if seller not in self.bad:
                found |= {(seller, f"{seller}{k:05}") for k in range(whole)}
        return found

    def digest(self) -> str:
        """Equal for two nights that went the same way."""
        requests = repr([(r.run, r.at, r.seller_id, r.page_num, r.failed) for r in self.requests])
        return blake2b(requests.encode(), digest_size=8).hexdigest()


class FakeApi(WirelessApi):
    """The seeded API: the engine's port, with the weather of one run."""

    def __init__(self, night: Night, weather: Weather, rng: Random, timeout: float) -> None:
        self._night, self._weather, self._rng, self._timeout = night, weather, rng, timeout
        self._answered = 0
        self._nulls: Counter[tuple[str, int]] = Counter()

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        """See the engine's port."""
        weather, rng, loop = self._weather, self._rng, asyncio.get_running_loop()
        await asyncio.sleep(rng.random() * 0.01)
        while not await departure.leave(lambda: rng.random() > 0.02):
            await asyncio.sleep(0.001)
        request = Request(self._night.run_number, self._night.clock + loop.time(), seller_id, page_num)
        request.key = departure.key
        self._night.requests.append(request)
        latency = weather.latency + weather.jitter * rng.random()
        if weather.down_from <= loop.time() < weather.down_from + weather.down_for:
            latency = rng.choice((0.01, 1e9))
            request.down = True
            await self._fail(departure, latency, "connection")
        if rng.random() < weather.lost:
            await self._fail(departure, 1e9, "timeout")
        await asyncio.sleep(latency)
        return self._answer(request, departure, loop.time())

    async def _fail(self, departure: Departure, latency: float, label: str) -> None:
        await asyncio.sleep(min(latency, self._timeout))
        departure.label = label
        raise UnavailableError(label)

    def _answer(self, request: Request, departure: Departure, now: float) -> Page:
        weather, rng = self._weather, self._rng
        self._answered += 1
        if self._answered == weather.bug_at_request:
            raise UnforeseenError
        is_hit = departure.key in weather.keys_hit
        if is_hit and weather.refuse_key_after is not None and self._answered > weather.refuse_key_after:
            departure.label, request.key_refused = "401", True
            raise KeyRefusedError("401")
        if is_hit and weather.quota is not None and self._answered > weather.quota:
            departure.label, request.key_refused = "402", True
            raise QuotaUsedUpError("402")
        if rng.random() < weather.throttling:
            request.throttled = True
            departure.label = "429"
            raise ThrottledError("429", weather.retry_after)
        if rng.random() < weather.failing:
            departure.label = str(weather.status)
            raise UnavailableError("500")
        if request.page_num >= self._night.sick.get(request.seller_id, request.page_num + 1):
            departure.label = "500"
            raise UnavailableError("500")
        gone = weather.wrong_path or self._night.seed % 2 == 1
        if weather.wrong_path or request.seller_id in self._night.bad:
            departure.label = "404" if gone else "400"
            request.refused = True
            raise RefusedError(departure.label, departure.label, of_address=gone)
        return self._page(request, departure, now)

    def _page(self, request: Request, departure: Departure, now: float) -> Page:
        departure.label = "200"
        request.failed = False
        rows: list[Any] | None = self._night.rows(request.seller_id, request.page_num)
        if rows == [] and self._rng.random() < 0.5:
            rows = None
        if rows and self._rng.random() < self._weather.null:
            rows = None
            self._nulls[request.seller_id, request.page_num] += 1
            if request.page_num == 1:
                # A canary without videos may be asked again, where its run was cut off.
                self._night.doubted.add(request.seller_id)
            # Null twice after a full page ends its seller, and what follows is rightly missing.
            self._night.false_ends |= self._nulls[request.seller_id, request.page_num] > 1
        body = orjson.dumps({"code": 0, "data": rows})
        ids = [row["video_id"] for row in rows or []]
        fingerprint = int.from_bytes(blake2b(repr(ids).encode(), digest_size=7).digest())
        count = None if rows is None else len(rows)
        values = [float(row["total_views_cnt"]) for row in rows or []]
        received = int((self._night.clock + now) * 1000)
        return Page(
            request.seller_id,
            request.page_num,
            body,
            count,
            fingerprint,
            received,
            "r",
            sum(values),
            values[-1] if values else None,
            ids,
            values,
        )


def weather_of(rng: Random, number: int, *, deep: bool) -> Weather:
    """The later the run, the fewer things happen, so that every night ends."""
    w = Weather(latency=rng.choice((0.01, 0.05, 0.5, 3.0)), jitter=rng.choice((0.0, 0.1, 1.0)))
    w.disk_delay = rng.choice((0.0, 0.002, 0.2))
    if number >= MOST_RUNS - 4:
        return w
    if deep:
        _outage(w, rng)
        return w
    for happens in rng.sample(EVENTS, k=rng.choice((0, 1, 1, 2, 3))):
        happens(w, rng)
    return w


def _crash_point(w: Weather, rng: Random) -> None:
    w.crash_at_point = (rng.choice(STEPS), rng.choice((1, 1, 2, 3, 7)))


def _setter(**choices: tuple[Any, ...]) -> Callable[[Weather, Random], None]:
    def apply(w: Weather, rng: Random) -> None:
        for name, values in choices.items():
            setattr(w, name, rng.choice(values))

    return apply


_outage = _setter(down_from=(1000.0, 1002.0, 1008.0), down_for=(2.0, 60.0, 400.0, 5000.0))

EVENTS: list[Callable[[Weather, Random], None]] = [
    _crash_point,
    _setter(crash_at_step=(3, 10, 40, 120, 400, 900, 2000)),
    _setter(crash_at_step=(5, 20, 60, 150, 300, 700, 1500)),
    _setter(failing=(0.05, 0.3, 1.0), status=(500, 502, 503)),
    _setter(throttling=(0.02, 0.2, 0.6), retry_after=(None, 0.5, 3.0, 30.0)),
    _setter(lost=(0.02, 0.2)),
    _setter(null=(0.05, 0.3)),
    _outage,
    _setter(quota=(0, 1, 5, 12)),
    _setter(refuse_key_after=(0, 4)),
    _setter(signal_at=(0.0, 1000.1, 1001.0, 1004.0)),
    _setter(disk_full_after=(0, 1, 4)),
    _setter(disk_low_at=(1000.5, 1003.0)),
    _setter(stall_at=(1000.5, 1002.0), stall_for=(1.5, 20.0, 3600.0)),
    _setter(wrong_path=(True,)),
    _setter(clock_jump=(-7200.0, 86_400.0)),
    _setter(bug_at_request=(1, 5, 30)),
    _setter(bug_at_commit=(1, 2, 5)),
]


@dataclass
class Runner:
    """Runs one run of a night in its weather, and checks what it promised."""

    night: Night
    settings: Settings
    listed: list[str]
    weather: Weather
    rng: Random
    whole: bool
    signals: Signals = field(default_factory=Signals)
    steps: Counter[str] = field(default_factory=Counter)
    commits: int = 0
    loop: CrashingLoop | None = None
    report: RunReport | None = None
    error: CrawlerError | None = None
    crashed: bool = False
    faulty: bool = False

    def go(self) -> None:
        """One run, to its end or its crash."""
        night = self.night
        listed = SellerList("sellers.csv", pa.array(self.listed, pa.string()), 0, 0)
        failpoints.on_reach = self._reach
        try:
            keys = keys_of(self.settings)
            asked = Asked(self.settings, keys, listed, "sellers.csv", DATE, self.signals, self._world())
            self.report = run_night(asked)
        except Crash:
            self.crashed = True
        except CrawlerError as error:
            self.error = error
        except ExceptionGroup as faults:
            if not all(isinstance(error, UnforeseenError) for error in leaves(faults)):
                raise
            self.faulty = True
        finally:
            failpoints.on_reach = None
            if self.loop is not None:
                night.clock += self.loop.time() - 1000.0
            night.clock += night.rng.choice((0.05, 0.3, 5.0))

    def _world(self) -> World:
        return World(
            now=self._now,
            token=lambda: f"{self.night.run_number:04}",
            rng=self.rng,
            run=self._drive,
            executor=lambda _name: SlowExecutor(lambda: self.rng.random() * self.weather.disk_delay),
            api=lambda settings, _key: FakeApi(self.night, self.weather, self.rng, settings.api.timeout),
            free_bytes=self._free,
            staging=lambda journal, keeps_raw: SegmentWriter(
                journal, read_batch, segment_pages=4 if self.whole else 10**9, keeps_raw=keeps_raw
            ),
            publish=self._publish,
            uptime=lambda: Uptime("virtual", self._passed),
        )

    @property
    def _passed(self) -> float:
        return self.night.clock + (self.loop.time() - 1000.0 if self.loop is not None else 0.0)

    def _now(self) -> datetime:
        jump = self.weather.clock_jump if self.loop is not None else 0.0
        return datetime(2026, 11, 23, tzinfo=UTC) + timedelta(seconds=self._passed + jump)

    def _free(self, _folder: Path) -> int:
        low = self.weather.disk_low_at
        return 0 if low is not None and self.loop is not None and self.loop.time() >= low else 1 << 40

    def _drive(self, main: Coroutine[Any, Any, None]) -> None:
        self.loop = loop = CrashingLoop(self.weather.crash_at_step)
        asyncio.set_event_loop(loop)
        if self.weather.signal_at is not None:
            loop.call_at(self.weather.signal_at, self.signals.receive, 15)
        if self.weather.stall_at is not None:
            loop.call_at(self.weather.stall_at, loop.stall, self.weather.stall_for)
        try:
            loop.run_until_complete(main)
        finally:
            asyncio.set_event_loop(None)
        loop.close()

    def _reach(self, step: str) -> None:
        self.steps[step] += 1
        if (step, self.steps[step]) == self.weather.crash_at_point:
            raise Crash
        if step == "commit.written":
            self.commits += 1
            if self.weather.disk_full_after is not None and self.commits > self.weather.disk_full_after:
                raise OSError(ENOSPC, "no room")
            if self.commits == self.weather.bug_at_commit:
                raise UnforeseenError

    def _publish(self, staging: SegmentWriter, plan: SnapshotPlan) -> RowCounts:
        if self.whole or staging.journal.segments() or staging.journal.previous.has_renewed:
            staging.flush()
            rows = PinnedRows(staging.journal, plan.data, plan.crawl_date)
            counts = publish(staging.journal, plan, rows, wait=lambda _seconds: None)
            self.night.published = _read_snapshot(plan.data)
            return counts
        return self._publish_in_memory(staging.journal, plan)

    def _publish_in_memory(self, journal: Journal, plan: SnapshotPlan) -> RowCounts:
        """The publisher's decisions without its files, which would take most of a night's time."""
        failpoints.reached("publish.begin")
        kept: dict[tuple[str, str], int] = {}
        counts = RowCounts()
        for page in journal.waiting():
            rows = orjson.loads(page.body)["data"] or []
            counts.received += len(rows)
            kept.update({(page.seller_id, row["video_id"]): row["total_views_cnt"] for row in rows})
        failpoints.reached("publish.synced")
        for kind in ("changes", "sellers", "videos"):
            live = plan.data / kind / f"crawl_date={plan.crawl_date}"
            shutil.rmtree(live, ignore_errors=True)
            live.mkdir(parents=True)
        (live / f"{plan.run_id}.parquet").touch()
        self.night.published = kept
        failpoints.reached("publish.videos")
        counts.written = len(kept)
        counts.duplicate = counts.received - len(kept)
        rows = {"received": counts.received, "duplicate": counts.duplicate, "rejected": 0}
        journal.note(
            published_mark=journal.mark(),
            published_rows=orjson.dumps({**rows, "written": len(kept)}).decode(),
        )
        failpoints.reached("publish.noted")
        return counts


def _read_snapshot(data: Path) -> dict[tuple[str, str], int]:
    folder = data / "videos" / f"crawl_date={DATE}"
    columns = ["seller_id", "video_id", "total_views_cnt"]
    rows = ds.dataset(folder, format="parquet").to_table(columns=columns).to_pylist()
    found = {(row["seller_id"], row["video_id"]): row["total_views_cnt"] for row in rows}
    expect(len(found) == len(rows), "a video is in the snapshot twice")
    return found


def leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    """The exceptions of a group and of all groups in it."""
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from leaves(error)
        else:
            yield error


DEEP: dict[str, Any] = {
    "qps": 40.0,
    "strategy": "depth-first",
    "top": None,
    "min_value": None,
    "workers": "auto",
    "lookahead_pages": 10,
}


def play(seed: int, folder: Path) -> Night:
    """Play one night to its end; raises `BrokenPromiseError` with what it broke."""
    night = Night(seed, folder)
    rng = night.rng
    whole = seed % 16 == 0
    budget = rng.choice((None, None, None, 1, 7, 30, 100))
    monthly = rng.choice((None, None, None, 5, 40, 120))
    qps = rng.choice((0.5, 2.0, 5.0, 7.5, 40.0))
    listed = list(night.sizes)
    fixed = {
        "qps": qps,
        "stop": rng.choice(("short", "short", "empty")),
        "strategy": rng.choice(("depth-first", "breadth-first", "best-first")),
        "top": rng.choice((None, None, None, 1, 4, 30)),
        "min_value": rng.choice((None, None, None, 100.0)),
        "probe": rng.choice((0.0, 0.0, 0.3)),
        "lookahead": rng.choice(("off", "history", "gallop")),
        "lookahead_pages": rng.choice((2, 4, 10)),
        "repair_drift": rng.random() < 0.3,
        "workers": rng.choice(("auto", "auto", 1, 3)),
        "timeout": rng.choice((5.0, 30.0)),
        "patience": rng.choice((0.0, 30.0, 900.0)),
    }
    if night.is_deep:
        budget = monthly = None
        fixed.update(DEEP, lookahead=rng.choice(("history", "gallop")))
    # Of its own, so that all other nights stay as they were.
    of_keys = Random(seed + 1)
    if seed % KEYS_EVERY == 1 and not night.is_deep:
        night.keys = several_keys(of_keys)
    night.write_history(folder)
    for number in range(MOST_RUNS):
        night.run_number = number
        # The last run has the whole list, and may find nothing left to do.
        fresh = number > 0 and rng.random() < 0.15 and number < MOST_RUNS - 1
        if rng.random() < 0.2:
            fixed["top"] = rng.choice((None, 1, 4, 30))
        weather = weather_of(rng, number, deep=night.is_deep)
        weather.keys_hit = some_of(night.keys, of_keys)
        url = "https://wrong.test" if weather.wrong_path else "https://right.test"
        settings = settings_of(folder, fixed, (budget, monthly), url, night.keys, fresh=fresh)
        night.is_clock_wrong |= weather.clock_jump != 0
        shorter = rng.random() >= 0.9 and number < MOST_RUNS - 1
        some = rng.sample(listed, k=max(1, len(listed) - 1)) if shorter else listed
        if fresh:
            some = rng.sample(listed, k=rng.randint(1, len(listed)))
            night.renewed |= set(some)
        runner = Runner(night, settings, some, weather, rng, whole)
        before = Before.look(night, folder, fresh=fresh)
        runner.go()
        night.clean &= runner.report is not None and runner.report.exit_code != 8
        if TELL:
            print_run(runner, before)
        check(runner, before)
        if runner.report is not None and some == listed and is_over(runner, runner.report):
            return night
        if number > 6:
            night.keys = [{n: v for n, v in key.items() if "budget" not in n} for key in night.keys]
        if number > 2:
            more = rng.choice((0, 10, 100))
            budget = None if budget is None or number > 6 else budget + more
            monthly = None if monthly is None or number > 6 else monthly + more
    raise BrokenPromiseError(f"not finished after {MOST_RUNS} runs, the last of them in fair weather")


def is_over(runner: Runner, report: RunReport) -> bool:
    """Whether the date is finished, or nobody is left but sellers who are never answered."""
    if report.exit_code == 9 and runner.weather.is_fair:
        sick = runner.night.sick.keys()
        # So many in a row are an outage by the contract, and without patience nobody else is asked.
        is_blamed = not runner.settings.run.patience and len(sick & unended(runner)) >= DOWN_SELLERS
        return is_blamed or unended(runner) <= sick
    return report.exit_code in {0, 4}


def unended(runner: Runner) -> set[str]:
    """Listed sellers that have not ended."""
    data = runner.settings.run.data
    with Journal(Layout(data).latest_journal(DATE)) as journal:
        return set(runner.listed) - {seller for ids in journal.sellers.ended() for seller in ids.to_pylist()}


def print_run(runner: Runner, before: Before) -> None:
    """Say what a run met and how it ended."""
    usual = Weather()
    met = {k: v for k, v in asdict(runner.weather).items() if v != getattr(usual, k)}
    report = runner.report
    ended = f"exit {report.exit_code} {report.sellers} {report.notes}" if report else repr(runner.error)
    run = runner.settings.run
    print(
        f"run {runner.night.run_number} of {len(runner.listed)} sellers, fresh {run.fresh}, {met}\n"
        f"  {'crash' if runner.crashed else ended}; {len(runner.night.requests) - before.requests} requests, "
        f"{len(runner.night.published)} rows published"
    )


def several_keys(rng: Random) -> list[dict[str, Any]]:
    """Some keys with limits of their own."""
    tables = []
    for name in ("first", "second", "third")[: rng.choice((1, 2, 2, 3))]:
        limits = {
            "qps": rng.choice((0.5, 2.0, 5.0, 7.5, 40.0)),
            "daily_budget": rng.choice((None, None, None, 3, 40)),
            "monthly_budget": rng.choice((None, None, None, 9, 60)),
        }
        given = {word: value for word, value in limits.items() if value is not None}
        tables.append({"name": name, "variable": name.upper(), **given})
    return tables


def some_of(keys: list[dict[str, Any]], rng: Random) -> frozenset[int]:
    """The numbers of some of the keys, of one at least; where there is one without a name, its."""
    return frozenset(rng.sample(range(len(keys)), rng.randint(1, len(keys)))) if keys else frozenset({0})


def keys_of(settings: Settings) -> tuple[ApiKey, ...]:
    """The keys that a run is given."""
    return tuple(ApiKey(key.name, key) for key in settings.api.keys or ()) or (ApiKey("k"),)


def settings_of(
    folder: Path,
    fixed: dict[str, Any],
    budgets: tuple[int | None, int | None],
    url: str,
    keys: list[dict[str, Any]],
    *,
    fresh: bool,
) -> Settings:
    """Settings of one run."""
    values = {f"run.{name}": value for name, value in fixed.items() if name != "timeout"}
    values |= {"api.timeout": fixed["timeout"], "api.url": url, "run.data": str(folder), "run.fresh": fresh}
    values |= {"credits.budget": budgets[0], "credits.monthly_budget": budgets[1], "api.keys": keys or None}
    values |= {"log.quiet": True, "log.no_progress": True}
    # Nights of a few sellers, of which some repeat a page for ever, are no usual ones.
    values |= {name: 1.0 for name in OPTIONS if re.fullmatch(r"plausibility\.\w+_ceiling", name)}
    given = {name: value for name, value in values.items() if value is not None}
    return load(given, Path(os.devnull), {}).settings


@dataclass
class Before:
    """What was known when a run began."""

    spent: int
    pages: set[tuple[str, int]]
    complete: set[str]
    published: dict[tuple[str, str], int]
    requests: int
    by_key: dict[str, int]

    @classmethod
    def look(cls, night: Night, folder: Path, *, fresh: bool) -> Before:
        """Read journal and ledger as the run will find them."""
        spent, pages, complete, by_key = 0, set[tuple[str, int]](), set[str](), dict[str, int]()
        generation = Layout(folder).latest_generation(DATE)
        if (folder / "state" / "ledger.sqlite").exists():
            with Ledger(folder) as ledger:
                spent = ledger.spent_for(DATE)
                by_key = {name: ledger.spent_since(date.min, None, name) for name in ledger.key_names()}
        if generation:
            with Journal(Layout(folder).journal(DATE, generation)) as journal:
                journal.previous.replace()
                # What `--fresh` has not ended yet it goes on with, and all else it crawls anew.
                known = [s for s in journal.reader.summaries() if not fresh or s.is_renewing]
                complete = {s.seller_id for s in known if s.status == "complete"}
                going_on = {s.seller_id for s in known}
                pages = {page for page in pages_of(journal) if page[0] in going_on}
        return cls(spent, pages, complete, dict(night.published), len(night.requests), by_key)


def pages_of(journal: Journal) -> set[tuple[str, int]]:
    """Seller and number of every page that is journaled."""
    return set(journal.connection.execute("SELECT seller_id, page_num FROM page").fetchall())


def check(runner: Runner, before: Before) -> None:
    """Every promise that a run can break."""
    night, settings = runner.night, runner.settings
    sent = night.requests[before.requests :]
    with Ledger(settings.run.data) as ledger:
        spent = ledger.spent_for(DATE)
        by_key = {key["name"]: ledger.spent_since(date.min, None, key["name"]) for key in night.keys}
    expect(spent >= len(night.requests), f"ledger {spent}, but {len(night.requests)} were sent")
    check_keys(runner, by_key, before)
    for budget in (settings.credits.budget, settings.credits.monthly_budget):
        expect(
            budget is None or len(night.requests) <= max(budget, before.spent),
            f"{len(night.requests)} requests under a budget of {budget}",
        )
    check_pace(night, settings.run.qps)
    asked = Counter((r.seller_id, r.page_num) for r in sent if not (r.throttled or r.key_refused))
    expect(max(asked.values(), default=0) <= 11, f"a page was asked for too often: {asked.most_common(1)}")
    asked_once = [r for r in sent if r.seller_id not in night.doubted]
    twice = {(r.seller_id, r.page_num) for r in asked_once} & before.pages
    expect(not twice, f"paid again for {sorted(twice)[:3]}")
    late = {r.seller_id for r in asked_once} & before.complete
    expect(not late, f"asked for after their end: {sorted(late)}")
    check_outage(runner, sent)
    check_paging(runner, sent)
    check_durability(night, settings.run.data, sent, ahead=settings.run.lookahead != "off")
    lost = before.published.keys() - night.published.keys()
    if lost:
        with Journal(Layout(settings.run.data).journal(DATE, 1)) as journal:
            kept = {s.seller_id for s in journal.reader.summaries() if s.previous is not None}
        lost = {key for key in lost if key[0] in kept or key[0] not in night.renewed}
    expect(not lost, f"rows gone from the snapshot: {sorted(lost)[:3]}")
    if runner.report is not None:
        check_report(runner, runner.report, sent, spent, before)
    elif runner.faulty:
        expect(spent - before.spent == len(sent), f"ledger +{spent - before.spent}, sent {len(sent)}")
    else:
        expect(runner.crashed or isinstance(runner.error, OutputError), f"refused: {runner.error}")


def check_pace(night: Night, qps: float) -> None:
    """No sliding second with more than `qps` requests, over all runs; below 1, none nearer than 1/qps."""
    check_spacing([request.at for request in night.requests], qps)


def check_spacing(times: list[float], qps: float) -> None:
    """See `check_pace`."""
    count, window = max(1, int(qps)), max(1.0, 1.0 / qps)
    for early, late in zip(times, times[count:], strict=False):
        expect(late - early >= window, f"{count + 1} requests within {late - early:.3f} s at {qps} QPS")


def check_keys(runner: Runner, by_key: dict[str, int], before: Before) -> None:
    """Each key keeps to its own ceiling and budgets, over all runs, and the ledger says no less of it."""
    night = runner.night
    for number, key in enumerate(runner.settings.api.keys or ()):
        times = [request.at for request in night.requests if request.key == number]
        check_spacing(times, key.qps)
        known, earlier = by_key[key.name], before.by_key.get(key.name, 0)
        expect(known >= len(times), f"ledger {known} of {key.name}, but {len(times)} were sent")
        month = key.monthly_budget
        expect(month is None or len(times) <= max(month, earlier), f"{len(times)} by {key.name}, not {month}")
        day, is_one_day = key.daily_budget, night.clock < 82_000 and not night.is_clock_wrong
        too_many = day is not None and is_one_day and len(times) > max(day, earlier)
        expect(not too_many, f"{len(times)} by {key.name} on a day, not {day}")


def check_outage(runner: Runner, sent: list[Request]) -> None:
    """An outage costs what the workers had in hand, a few attempts of whoever failed, and the probes."""
    run, weather = runner.settings.run, runner.weather
    hold = max(PRIOR_BUSY_S, weather.latency + weather.jitter + weather.disk_delay + 0.2)
    workers = PoolSize(run.qps, None if run.workers == "auto" else run.workers)
    workers.measured(hold)
    asked = [request for request in sent if request.down]
    most = workers.target + HARD_ATTEMPTS * min(len(runner.listed), DOWN_SELLERS) + MOST_PROBES
    expect(len(asked) <= most, f"{len(asked)} requests while the API was down, {most} would do")


def check_blame(runner: Runner, report: RunReport) -> None:
    """Where all others are answered, none but sick and refused sellers fail, and they do not end the run."""
    soundly = runner.weather.is_fair and runner.settings.run.patience > 0
    if not soundly or report.exit_code not in {0, 4, 9}:
        return
    night, data = runner.night, runner.settings.run.data
    with Journal(Layout(data).latest_journal(DATE)) as journal:
        failed = {s.seller_id for s in journal.reader.summaries() if s.status == "failed"}
    failed &= set(runner.listed)
    expect(failed <= night.bad | night.sick.keys(), f"failed without fault: {sorted(failed)}")
    if report.exit_code == 9:
        left = unended(runner)
        expect(left <= night.sick.keys(), f"exit 9, and others would answer: {sorted(left)}")


def check_wrong_path(runner: Runner) -> None:
    """No seller has failed for good by a wrong path."""
    data = runner.settings.run.data
    query = "SELECT seller_id FROM seller WHERE status = 'failed' AND NOT retriable"
    with Journal(Layout(data).latest_journal(DATE)) as journal:
        failed = {row[0] for row in journal.connection.execute(query)}
    expect(failed <= runner.night.bad, f"failed for good by a wrong path: {sorted(failed)}")


def check_paging(runner: Runner, sent: list[Request]) -> None:
    """After a page that ends its seller no later one is asked for in the same run, but for the look-ahead."""
    last_good: dict[str, int] = defaultdict(int)
    for request in sent:
        if not request.failed:
            rows = runner.night.rows(request.seller_id, request.page_num)
            run = runner.settings.run
            whole = len(rows) == 10 or ((run.stop == "empty" or run.probe) and rows)
            if not whole and run.lookahead == "off":
                last_good[request.seller_id] = request.page_num
        ended = last_good.get(request.seller_id)
        expect(
            ended is None or request.page_num <= ended,
            f"seller {request.seller_id}: page {request.page_num} after its last, {ended}",
        )
    if runner.settings.run.lookahead != "off":
        check_lookahead(runner, sent)


def check_lookahead(runner: Runner, sent: list[Request]) -> None:
    """Pages past a seller's end are few: one with a history, the logarithm of its pages without."""
    night, run = runner.night, runner.settings.run
    beyond: dict[str, set[int]] = defaultdict(set)
    for request in sent:
        # The rule's own last page, and one more where a short one is probed or is not the end.
        if request.page_num > night.sizes[request.seller_id] // 10 + 2:
            beyond[request.seller_id].add(request.page_num)
    for seller, pages in beyond.items():
        depth = night.sizes[seller] // 10 + 1
        most = 1 + (seller in night.repeating)
        if run.lookahead == "gallop":
            most += depth.bit_length()
        expect(len(pages) <= most, f"seller {seller} of {depth} pages: {sorted(pages)} are past its end")
        shallow = depth < run.lookahead_pages and night.known.get(seller, 0) < run.lookahead_pages
        expect(not shallow, f"seller {seller} of {depth} pages was read ahead: {sorted(pages)}")


def check_durability(night: Night, data: Path, sent: list[Request], *, ahead: bool) -> None:
    """No seller moved on to a page while the one before it was not in the journal."""
    with Journal(Layout(data).latest_journal(DATE)) as journal:
        if night.clean:
            reported = {s.seller_id: s.credits for s in journal.reader.summaries()}
            paid = Counter(request.seller_id for request in night.requests)
            expect(
                all(reported[s] == paid[s] for s in reported),
                f"credits of sellers: reported {reported}, paid {paid}",
            )
        kept = defaultdict(set)
        for seller, number in pages_of(journal):
            kept[seller].add(number)
    for request in sent:
        seller, number = request.seller_id, request.page_num
        if not ahead:
            expect(
                number <= max(kept[seller], default=0) + 1,
                f"seller {seller} went on from page {number - 1} unkept",
            )
            expect(
                number <= night.sizes[seller] // 10 + 2, f"seller {seller}: page {number} is beyond its end"
            )


def check_report(runner: Runner, report: RunReport, sent: list[Request], spent: int, before: Before) -> None:
    """The report says what the API saw, and the exit code what happened."""
    night, weather, code = runner.night, runner.weather, report.exit_code
    expect(report.requests.sent == len(sent), f"reported {report.requests.sent}, sent {len(sent)}")
    expect(sum(report.requests.by_status.values()) == len(sent), "by_status does not sum up")
    sellers = report.sellers
    counted = sum(sellers[status] for status in ("complete", "partial", "failed", "pending"))
    expect(counted == sellers["total"] == len(runner.listed), f"sellers do not sum up: {sellers}")
    expect(code != 10, f"a false alarm: {report.message}")
    if code != 8:
        expect(spent - before.spent == len(sent), f"ledger +{spent - before.spent}, sent {len(sent)}")
    check_keys_reported(report, sent)
    if code == 3 and not report.message.startswith("no key is left"):
        limits = runner.settings.credits
        left = min(b - spent for b in (limits.budget, limits.monthly_budget) if b is not None)
        expect(left <= 0, f"exit 3 with {left} credits left")
    run = runner.settings.run
    if code == 0 and not report.published:
        # Sellers of the list that the crawl was begun with were dropped before they ended.
        expect(len(runner.listed) < len(night.sizes), "exit 0, and nothing is published")
    elif code == 0 and (run.top is not None or run.min_value is not None):
        expect(sellers["failed"] == sellers["pending"] == 0, f"exit 0 with {sellers}")
        if not night.false_ends:
            check_best(runner)
    elif code == 0:
        expect(sellers["complete"] == len(runner.listed), f"exit 0 with {sellers}")
        if not night.false_ends:
            missing = night.truth(runner.listed) - night.published.keys()
            expect(not missing, f"exit 0, and {len(missing)} rows are missing: {sorted(missing)[:3]}")
    check_certain(runner, report)
    check_blame(runner, report)
    if weather.wrong_path:
        check_wrong_path(runner)
    allowed = {
        3: (runner.settings.credits.budget, runner.settings.credits.monthly_budget) != (None, None)
        or has_budget(runner),
        4: bool(night.bad or night.sick)
        or weather.wrong_path
        or weather.failing + weather.lost > 0
        or weather.down_for > 0,
        5: weather.refuse_key_after is not None,
        6: weather.quota is not None or (weather.refuse_key_after is not None and has_budget(runner)),
        8: weather.disk_full_after is not None or weather.disk_low_at is not None,
        9: not weather.is_fair or len(night.sick) >= DOWN_SELLERS or not has_answer(sent),
        143: weather.signal_at is not None,
    }
    expect(allowed.get(code, code == 0), f"exit {code} in this weather: {report.message}")


def has_budget(runner: Runner) -> bool:
    """Whether any of several keys has a budget of its own."""
    return any((k.daily_budget, k.monthly_budget) != (None, None) for k in runner.settings.api.keys or ())


def check_keys_reported(report: RunReport, sent: list[Request]) -> None:
    """The report counts by key what the API saw; no run ends for its keys while one of them is left."""
    used = Counter(request.key for request in sent)
    known = [use.sent for use in report.keys]
    expect(known == [used[n] for n in range(len(known))], f"reported by key {known}, sent {used}")
    ended_by_keys = report.exit_code in {5, 6} or report.message.startswith("no key is left")
    left = [use.name for use in report.keys if use.retired is None]
    expect(not (ended_by_keys and left), f"exit {report.exit_code}, and {left} are left")
    refused = {request.key for request in sent if request.key_refused}
    retired = {n for n, use in enumerate(report.keys) if use.retired in {"refused", "used_up"}}
    expect(not report.keys or retired == refused, f"retired {retired}, refused {refused}")
    told = [note for note in report.notes if "does not use it any more" in note]
    expect(len(told) == sum(use.retired is not None for use in report.keys), f"told {told}")


def has_answer(sent: list[Request]) -> bool:
    """Whether any request of a run was answered, be it by a 400."""
    return any(request.refused or not request.failed for request in sent)


def check_best(runner: Runner) -> None:
    """The K best videos, and those of at least the value asked for, are all there."""
    night, run = runner.night, runner.settings.run
    values = [night.views(s, int(v[-5:])) for s, v in night.truth(runner.listed)]
    values.sort(reverse=True)
    found = sorted((v for (s, _), v in night.published.items() if s in runner.listed), reverse=True)
    wanted = values[: run.top]
    if run.min_value is not None:
        wanted = [value for value in wanted if value >= run.min_value]
    expect(found[: len(wanted)] == wanted, f"the best are {wanted[:9]}, found {found[:9]}")


def check_certain(runner: Runner, report: RunReport) -> None:
    """What the report calls certain is all there."""
    night, above = runner.night, report.certain_above
    if above is not None and report.published and not night.false_ends:
        truth = {key for key in night.truth(runner.listed) if night.views(key[0], int(key[1][-5:])) > above}
        missing = truth - night.published.keys()
        expect(not missing, f"above {above} {len(missing)} videos are missing")


def play_safely(seed: int) -> Played:
    """Play a seed in a folder of its own."""
    try:
        with own_folder("night-") as folder:
            if seed % OUTAGE_EVERY == OUTAGE_EVERY // 2:
                project = play_outage(seed, folder)
                return seed, None, project.digest(), project.runs, project.all_sent
            night = play(seed, folder)
    except Exception as error:  # noqa: BLE001 - whatever broke is reported with its seed
        return seed, f"{type(error).__name__}: {error}", "", 0, 0
    return seed, None, night.digest(), night.run_number + 1, len(night.requests)


def main() -> int:
    """Play many seeds; exit code 1 where one broke a promise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", type=int)
    options = parser.parse_args()
    if options.replay is not None:
        quiet_down()
        print(play_safely(options.replay))
        return 0
    seeds = range(options.first, options.first + options.seeds)
    return play_all(play_safely, seeds, options.jobs, "nights", 250, chunk=5)


if __name__ == "__main__":
    raise SystemExit(main())
