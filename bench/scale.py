"""Several processes beside one: requests a second and CPU a request, and how many messages a driver answers.

`scale.py [FOLDER]`. Each round runs one process, one worker and two workers on the same pages, one after the
other; what a run of a single seller costs is subtracted from each. The server has the same CPUs: what it
takes of them is missing in requests a second, and not in CPU a request.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import orjson
from pages import Served, served
from place import new_folder
from spread import in_words, keep, spread
from throughput import Cost, Rate, crawler_command, environ, machine, measured, rate

from crawler.cluster.attempts import Terms
from crawler.cluster.coordinator import Coordinator
from crawler.cluster.messages import Begin, Figures, Renew, Reserve, as_plain
from crawler.engine.stop import Stop
from crawler.models.seller import SellerProgress
from crawler.rules.budget import lease_size
from crawler.rules.shards import Shard
from crawler.rules.shares import Shares
from crawler.store.ledger import Ledger
from crawler.store.records import Record

REQUESTS = 60_000
WORKERS = "1024"
"""Requests in flight: so many that no side waits for its disk."""
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SIDES = ("one process", "1 worker", "2 workers")
ATTEMPTS = 100
MESSAGES = 4_000


def by(flags: Sequence[str], pages: Served, sellers: Path, folder: Path) -> Cost:
    """The nightly command with further flags."""
    command = [*crawler_command(pages, sellers, folder), "--workers", WORKERS, *flags]
    return measured(command, environ(pages), lambda out: orjson.loads(out)["requests"]["sent"])


class Books:
    """The real ledger; fences from a counter."""

    def __init__(self, folder: Path) -> None:
        self._ledger = Ledger(folder)
        self._day = date(2026, 11, 23)
        self._ledger.begin("run", self._day, datetime.now(UTC).isoformat())
        self._fence = 0

    async def next_fence(self) -> int:
        """See the coordinator's port."""
        self._fence += 1
        return self._fence

    async def reserve(self, _key: int, in_use: int) -> int:
        """See the coordinator's port."""
        size = partial(lease_size, 10_000, in_use)
        return await asyncio.to_thread(self._ledger.reserve, "run", self._day, None, size)

    async def keep(self, _frame: bytes) -> Sequence[Record]:
        """See the coordinator's port."""
        return ()

    async def absorb(self, _fence: int, _up_to: int | None) -> Sequence[Record]:
        """See the coordinator's port."""
        return ()


async def messages_a_second(folder: Path) -> tuple[float, float]:
    """Renewals and leases of credits that a driver answers in a second, of a hundred attempts."""
    terms = Terms("1", "run", 600.0, 1, lambda _fence: "")
    coordinator = Coordinator(terms, Books(folder), Shares(20_000), Stop(), time.monotonic)
    for number in range(ATTEMPTS):
        coordinator.add(Shard(number, {str(number): SellerProgress(str(number))}))
        await coordinator.handle(as_plain(Begin(shard=number, worker=str(number), version="1")))
    figures, found = as_plain(Figures(by_status={"200": 9}, latencies=[0] * 10)), []
    renewals = [
        as_plain(Renew(fence=f, applied=0, wants=200, charged=[9], durable=0, figures=figures, logs=()))
        for f in range(1, ATTEMPTS + 1)
    ]
    began = time.perf_counter()
    for number in range(MESSAGES):
        await coordinator.handle(renewals[number % ATTEMPTS])
    found.append(MESSAGES / (time.perf_counter() - began))
    began = time.perf_counter()
    for number in range(MESSAGES // 4):
        lease = Reserve(fence=1 + number % ATTEMPTS, number=number + 1, key=0, in_use=200)
        await coordinator.handle(as_plain(lease))
    found.append(MESSAGES // 4 / (time.perf_counter() - began))
    return found[0], found[1]


def main() -> None:
    """All rounds, and the driver alone."""
    with new_folder() as name, served(Path(name), REQUESTS) as pages:
        executor = ("--executor", "processes", "--processes")
        ways = (partial(by, ()), partial(by, (*executor, "1")), partial(by, (*executor, "2")))
        rounds: list[list[Rate]] = []
        for number in range(ROUNDS):
            rounds.append([rate(way, pages, Path(name)) for way in ways])
            print(f"round {number + 1} of {ROUNDS}", flush=True)
        server = pages.by
    for place, side in enumerate(SIDES):
        cpu = [r[place].cpu_us for r in rounds]
        ratios = [r[place].requests_per_second / r[0].requests_per_second for r in rounds]
        speed = in_words([r[place].requests_per_second for r in rounds], ".0f")
        of_one = in_words(ratios)
        print(f"{side}: {speed} requests/s, {of_one} times one process; {in_words(cpu, '.0f')} us of CPU")
    with tempfile.TemporaryDirectory() as folder:
        renewals, leases = asyncio.run(messages_a_second(Path(folder)))
    print(f"a driver answers {renewals:.0f} renewals a second, or {leases:.0f} leases of credits on disk")
    sides = {side: [asdict(r[place]) for r in rounds] for place, side in enumerate(SIDES)}
    two = spread([r[2].requests_per_second / r[0].requests_per_second for r in rounds])
    result = {"server": server, "machine": machine(), "rounds": sides, "speed_of_two": two}
    keep("scale", {**result, "renewals_per_second": renewals, "leases_per_second": leases})


if __name__ == "__main__":
    main()
