"""CPU a request and requests a second: the whole crawler beside the shortest honest script.

`throughput.py [FOLDER]`. Each round runs both, one after the other, on the same pages; what a run of a single
seller costs is subtracted from each, so that starting up counts on neither side. Ratios are of one round; the
folder gets them as JSON and as a picture.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from pages import Served, served
from place import new_folder
from spread import keep, spread

HERE = Path(__file__).parent
REQUESTS = 20_000
ROUNDS = 9
WORKERS = 64
CRAWLER_WORKERS = 160
"""A worker also waits until its page is on disk, so more of them keep as many requests under way."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process cost: seconds of CPU and of the clock, most memory held, requests."""

    cpu: float
    wall: float
    peak_mib: float
    requests: int


@dataclass(frozen=True, slots=True)
class Rate:
    """One side of a round: microseconds of CPU a request, requests a second, most memory held."""

    cpu_us: float
    requests_per_second: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Round:
    """Both sides, one after the other."""

    baseline: Rate
    crawler: Rate

    @property
    def cpu(self) -> float:
        """The crawler's CPU a request, as a multiple of the baseline's."""
        return self.crawler.cpu_us / self.baseline.cpu_us

    @property
    def speed(self) -> float:
        """The crawler's requests a second, as a multiple of the baseline's."""
        return self.crawler.requests_per_second / self.baseline.requests_per_second


Way = Callable[[Served, Path, Path], Cost]


def measured(command: list[str], settings: dict[str, str], requests: Callable[[bytes], int]) -> Cost:
    """Run a process to its end; `requests` reads their number from what it printed."""
    with tempfile.TemporaryFile() as out:
        began = time.monotonic()
        with subprocess.Popen(command, env={**os.environ, **settings}, stdout=out) as process:
            _, status, used = os.wait4(process.pid, 0)
            wall = time.monotonic() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{command} ended with {process.returncode}")
        out.seek(0)
        sent = requests(out.read())
    return Cost(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024, sent)


def environ(pages: Served) -> dict[str, str]:
    """The environment that names the server to the crawler."""
    return {"KEYAPI_API_KEY": pages.key, "CRAWLER_API_URL": pages.url}


def baseline_command(pages: Served, sellers: Path, folder: Path) -> list[str]:
    """The shortest honest script, writing to `all.parquet`."""
    command = [sys.executable, str(HERE / "baseline.py"), pages.url, pages.key, str(sellers)]
    return [*command, str(folder / "all.parquet")]


def crawler_command(_pages: Served, sellers: Path, folder: Path) -> list[str]:
    """The command that is run every night, with no ceiling that is felt."""
    flags = ["--qps", "10000", "--workers", str(CRAWLER_WORKERS), "--data", str(folder), "--quiet", "--json"]
    return [sys.executable, "-m", "crawler", "run", str(sellers), *flags]


def baseline(pages: Served, sellers: Path, folder: Path) -> Cost:
    """The shortest honest script."""
    command = baseline_command(pages, sellers, folder)
    return measured(command, {}, lambda out: orjson.loads(out)["requests"])


def crawler(pages: Served, sellers: Path, folder: Path) -> Cost:
    """The whole crawler."""
    command = crawler_command(pages, sellers, folder)
    return measured(command, environ(pages), lambda out: orjson.loads(out)["requests"]["sent"])


def rate(way: Way, pages: Served, folder: Path) -> Rate:
    """A run over all sellers, less what a run of one costs."""
    costs = []
    for number, sellers in enumerate((pages.sellers[:1], pages.sellers)):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            source = Path(place, f"{number}.txt")
            source.write_text("\n".join(sellers))
            costs.append(way(pages, source, Path(place)))
    one, full = costs
    if full.requests != pages.requests:
        raise SystemExit(f"{full.requests} requests instead of {pages.requests}")
    sent = full.requests - one.requests
    return Rate((full.cpu - one.cpu) / sent * 1e6, sent / (full.wall - one.wall), full.peak_mib)


def table(rounds: list[Round]) -> Iterator[str]:
    """Both sides and their ratios."""
    rows: tuple[tuple[str, str, Callable[[Round], float]], ...] = (
        ("CPU a request, us: baseline", ".0f", lambda r: r.baseline.cpu_us),
        ("CPU a request, us: crawler", ".0f", lambda r: r.crawler.cpu_us),
        ("CPU a request: crawler / baseline", ".2f", lambda r: r.cpu),
        ("requests/s: baseline", ".0f", lambda r: r.baseline.requests_per_second),
        ("requests/s: crawler", ".0f", lambda r: r.crawler.requests_per_second),
        ("requests/s: crawler / baseline", ".2f", lambda r: r.speed),
        ("memory at most, MiB: baseline", ".0f", lambda r: r.baseline.peak_mib),
        ("memory at most, MiB: crawler", ".0f", lambda r: r.crawler.peak_mib),
    )
    yield f"| {'':<34} | {'min':>6} | {'median':>6} | {'max':>6} |"
    yield f"|{'-' * 36}|{'-' * 7}:|{'-' * 7}:|{'-' * 7}:|"
    for name, form, value in rows:
        cells = " | ".join(f"{number:>6{form}}" for number in spread([value(r) for r in rounds]).values())
        yield f"| {name:<34} | {cells} |"


def picture(rounds: list[Round]) -> str:
    """Every round's two ratios as dots on a line, with the goals, as an SVG."""
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 200" font-family="sans-serif">']
    lanes: tuple[tuple[str, list[float], float, str], ...] = (
        ("CPU a request, crawler / baseline (goal: at most 1.1)", [r.cpu for r in rounds], 1.1, "#c0392b"),
        ("requests/s, crawler / baseline (goal: at least 0.9)", [r.speed for r in rounds], 0.9, "#2980b9"),
    )
    most = max(1.5, *(value for _, values, *_ in lanes for value in values)) * 1.05
    for number, (name, values, goal, colour) in enumerate(lanes):
        y = 60 + 80 * number
        parts.append(f'<text x="40" y="{y - 24}" font-size="13">{name}</text>')
        parts.append(f'<line x1="40" x2="600" y1="{y}" y2="{y}" stroke="#999"/>')
        x = 40 + 560 * goal / most
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 14}" y2="{y + 14}" stroke="#222"/>')
        parts += [
            f'<circle cx="{40 + 560 * value / most:.1f}" cy="{y}" r="4" fill="{colour}" fill-opacity="0.6"/>'
            for value in values
        ]
        median = statistics.median(values)
        parts.append(f'<text x="40" y="{y + 26}" font-size="12">0</text>')
        parts.append(f'<text x="520" y="{y + 26}" font-size="12">median {median:.2f}</text>')
    return "\n".join([*parts, "</svg>\n"])


def machine() -> str:
    """What this was measured on."""
    return f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}"


def result(rounds: list[Round], pages: Served) -> dict[str, object]:
    """What the folder gets."""
    return {
        "server": pages.by,
        "requests": pages.requests,
        "workers": {"baseline": WORKERS, "crawler": CRAWLER_WORKERS},
        "machine": machine(),
        "cpu_ratio": spread([r.cpu for r in rounds]),
        "speed_ratio": spread([r.speed for r in rounds]),
        "rounds": [asdict(r) for r in rounds],
    }


def main() -> None:
    """All rounds, interleaved."""
    with new_folder() as place, served(Path(place), REQUESTS) as pages:
        print(f"{pages.requests} requests a run, served by {pages.by}; {ROUNDS} rounds", flush=True)
        rounds = [
            Round(rate(baseline, pages, Path(place)), rate(crawler, pages, Path(place)))
            for _ in range(ROUNDS)
        ]
    print("\n".join(table(rounds)))
    keep("throughput", result(rounds, pages))
    if len(sys.argv) > 1:
        Path(sys.argv[1], "throughput.svg").write_text(picture(rounds))


if __name__ == "__main__":
    main()
