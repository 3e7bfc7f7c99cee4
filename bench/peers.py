"""What a user might pick instead: wall time and CPU beside the shortest honest script, and what a kill costs.

`peers.py [FOLDER]`. Each round runs everybody on the same pages, one after another, and compares every row;
ratios are to the script of the same round, start-up included. Then each is killed with `kill -9` once the
server was asked for half of the pages, and the same command is run again; and so a few times.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pages import Served, served
from place import new_folder
from spread import keep, spread
from throughput import HERE, Cost, baseline_command, crawler_command, environ, machine, measured

REQUESTS = 5000
ROUNDS = 3
KILLS = 3
SETTLED = 0.2
"""Seconds without a further request after which the server has counted all of a process that is gone."""

FORMS = {"requests_a_page": ".3f", "rows": ".1%", "twice": ".0f"}

Rows = set[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Peer:
    """A command over a list and a folder, and how what it left in the folder is read."""

    name: str
    command: Callable[[Served, Path, Path], list[str]]
    tables: Callable[[Path], Iterator[pa.Table]]


@dataclass(frozen=True, slots=True)
class Killed:
    """Killed halfway and run again: requests a page in all, and the exit code of the second run.

    `rows`: the share of all that is there; `twice`: how many of them are there twice.
    """

    requests_a_page: float
    exit_code: int
    rows: float
    twice: int


def dlt_command(_pages: Served, sellers: Path, folder: Path) -> list[str]:
    """The REST API source of dlt."""
    return [sys.executable, str(HERE / "peer_dlt.py"), str(sellers), str(folder)]


def scrapy_command(sellers: Path, feed: Path, options: dict[str, Any], settings: dict[str, str]) -> list[str]:
    """The spider, writing to a feed with such options."""
    feeds = orjson.dumps({str(feed): {"format": "parquet", **options}}).decode()
    options = {"LOG_LEVEL": "WARNING", "FEEDS": feeds, **settings}
    command = ["scrapy", "runspider", str(HERE / "peer_scrapy.py"), "-a", f"sellers={sellers}"]
    flags = [part for name, value in options.items() for part in ("-s", f"{name}={value}")]
    return [sys.executable, "-m", *command, *flags]


def scrapy_plain(_pages: Served, sellers: Path, folder: Path) -> list[str]:
    """One feed of one file."""
    return scrapy_command(sellers, folder / "all.parquet", {"overwrite": True}, {})


def scrapy_cache(_pages: Served, sellers: Path, folder: Path) -> list[str]:
    """The same with a cache of every answer."""
    cache = {"HTTPCACHE_ENABLED": "1", "HTTPCACHE_DIR": str(folder / "cache")}
    return scrapy_command(sellers, folder / "all.parquet", {"overwrite": True}, cache)


def scrapy_job(_pages: Served, sellers: Path, folder: Path) -> list[str]:
    """A job that can be taken up, its feed in files of 1,000 rows, so that a kill spoils only the last."""
    feed = folder / "%(batch_time)s-%(batch_id)d.parquet"
    return scrapy_command(sellers, feed, {"batch_item_count": 1000}, {"JOBDIR": str(folder / "job")})


def files(pattern: str) -> Callable[[Path], Iterator[pa.Table]]:
    """Reads all Parquet files of a pattern, without those that a kill cut off."""

    def tables(folder: Path) -> Iterator[pa.Table]:
        for path in folder.glob(pattern):
            try:
                yield pq.ParquetFile(path).read()
            except pa.ArrowInvalid:
                continue

    return tables


def snapshot(folder: Path) -> Iterator[pa.Table]:
    """The crawler's dataset, `create_time` as the API has it."""
    table = ds.dataset(folder / "videos", partitioning=ds.partitioning(flavor="hive")).to_table()
    seconds = pc.divide(table["create_time"].cast(pa.int64()), 1000).cast(pa.string())
    yield table.set_column(table.column_names.index("create_time"), "create_time", seconds)


BASELINE = Peer("bare script", baseline_command, files("all.parquet"))
PEERS = (
    Peer("crawler", crawler_command, snapshot),
    Peer("dlt, REST API source", dlt_command, files("lake/shop/videos/*.parquet")),
    Peer("Scrapy", scrapy_plain, files("all.parquet")),
    Peer("Scrapy, HTTP cache", scrapy_cache, files("all.parquet")),
    Peer("Scrapy, JOBDIR", scrapy_job, files("*.parquet")),
)


def asked(pages: Served) -> int:
    """The server's count, once it no longer grows."""
    count = -1
    while count != (count := pages.asked()):
        time.sleep(SETTLED)
    return count


def settings(pages: Served) -> dict[str, str]:
    """The environment of everybody."""
    return {**environ(pages), "RUNTIME__DLTHUB_TELEMETRY": "false"}


class Bench:
    """A server, its list, and the rows of the script that all are compared with."""

    def __init__(self, pages: Served, folder: Path) -> None:
        self.pages = pages
        self._folder = folder
        self._sellers = folder / "sellers.txt"
        self._sellers.write_text("\n".join(pages.sellers))
        self._names: list[str] = []
        self._truth: Rows = set()

    def run(self, peer: Peer) -> Cost:
        """A whole run, with every row compared."""
        with tempfile.TemporaryDirectory(dir=self._folder) as place:
            folder, before = Path(place), asked(self.pages)
            command = peer.command(self.pages, self._sellers, folder)
            cost = measured(command, settings(self.pages), lambda _: asked(self.pages) - before)
            if peer is BASELINE:
                (table,) = peer.tables(folder)
                self._names = table.column_names
                self._truth = self._rows(table)
            if (cost.requests, *self._compared(peer, folder)) != (self.pages.requests, 1.0, 0):
                raise SystemExit(f"{peer.name}: {cost.requests} requests, or other rows")
        return cost

    def kill(self, peer: Peer) -> Killed:
        """A run that is killed halfway, and another one."""
        with tempfile.TemporaryDirectory(dir=self._folder) as place:
            folder, before = Path(place), asked(self.pages)
            command = peer.command(self.pages, self._sellers, folder)
            process = self._start(command)
            while self.pages.asked() - before < self.pages.requests // 2:
                if process.poll() is not None:
                    raise SystemExit(f"{peer.name} ended before it was killed")
                time.sleep(0.001)
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            code = self._start(command).wait()
            paid = (asked(self.pages) - before) / self.pages.requests
            return Killed(paid, code, *self._compared(peer, folder))

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = {**os.environ, **settings(self.pages)}
        return subprocess.Popen(command, env=environment, start_new_session=True, **quiet)

    def _rows(self, table: pa.Table) -> Rows:
        return set(zip(*(table[name].to_pylist() for name in self._names), strict=True))

    def _compared(self, peer: Peer, folder: Path) -> tuple[float, int]:
        """The share of the rows that are there, and how many are twice; one that nobody sent is an error."""
        found, count = Rows(), 0
        for table in peer.tables(folder):
            found |= self._rows(table)
            count += table.num_rows
        if found - self._truth:
            raise SystemExit(f"{peer.name}: {len(found - self._truth)} rows are wrong")
        return len(found) / len(self._truth), count - len(found)


def ratios(rounds: list[dict[str, Cost]], name: str, value: Callable[[Cost], float]) -> dict[str, float]:
    """A peer's cost as multiples of the script's of the same round."""
    return spread([value(costs[name]) / value(costs[BASELINE.name]) for costs in rounds])


def medians_of(rounds: list[dict[str, Cost]], kills: list[dict[str, Killed]]) -> dict[str, dict[str, Any]]:
    """What is kept of each."""
    return {
        name: {
            "wall_ratio": ratios(rounds, name, lambda cost: cost.wall),
            "cpu_ratio": ratios(rounds, name, lambda cost: cost.cpu),
            "wall_s": spread([costs[name].wall for costs in rounds]),
            "cpu_s": spread([costs[name].cpu for costs in rounds]),
            "killed": [asdict(killed[name]) for killed in kills],
        }
        for name in rounds[0]
    }


def table(result: dict[str, dict[str, Any]]) -> Iterator[str]:
    """The result as Markdown."""
    yield "| | wall time | CPU | after a kill: requests a page | rows there | rows twice | exit |"
    yield "|---|---|---|---|---|---|---|"
    for name, found in result.items():
        killed = {key: [kill[key] for kill in found["killed"]] for key in found["killed"][0]}
        cells = [
            *(within(found[key], ".2f") for key in ("wall_ratio", "cpu_ratio")),
            *(within(spread(killed[key]), form) for key, form in FORMS.items()),
            ", ".join(map(str, sorted(set(killed["exit_code"])))),
        ]
        yield f"| {' | '.join([name, *cells])} |"


def within(found: dict[str, float], form: str) -> str:
    """The middle, and the least and most where they read otherwise."""
    least, middle, most = (f"{found[key]:{form}}" for key in ("min", "median", "max"))
    return middle if least == most else f"{middle} ({least} to {most})"


def main() -> None:
    """All rounds, interleaved, then the kills."""
    load, everybody = os.getloadavg(), (BASELINE, *PEERS)
    with new_folder() as place, served(Path(place), REQUESTS, counted=True) as pages:
        print(f"{pages.requests} requests a run, served by {pages.by}; {ROUNDS} rounds", flush=True)
        bench = Bench(pages, Path(place))
        rounds = [{peer.name: bench.run(peer) for peer in everybody} for _ in range(ROUNDS)]
        kills = [{peer.name: bench.kill(peer) for peer in everybody} for _ in range(KILLS)]
    result = medians_of(rounds, kills)
    print("\n".join(table(result)))
    used = {name: version(name) for name in ("dlt", "Scrapy")}
    about = {"server": pages.by, "requests": pages.requests, "machine": machine(), "versions": used}
    keep("peers", {**about, "rounds": ROUNDS, "load_before": load, "peers": result})


if __name__ == "__main__":
    main()
