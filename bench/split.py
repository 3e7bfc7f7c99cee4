"""Two processes with half of the list each, beside one with all of it: requests a second.

`split.py [FOLDER]`. As in `throughput.py` a run of a single seller, here in as many processes, is subtracted.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from pages import Served, served
from place import new_folder
from spread import in_words, keep, spread
from throughput import REQUESTS, Cost, crawler, machine, rate

ROUNDS = 3


def halves(pages: Served, sellers: Path, folder: Path) -> Cost:
    """Two crawlers at once, each with its own list and data; a single seller goes to both."""
    ids = sellers.read_text().split()
    parts = [folder / "even", folder / "odd"]
    for part, own in zip(parts, (ids[::2], ids[1::2] or ids), strict=True):
        part.mkdir()
        (part / "sellers.txt").write_text("\n".join(own))
    with ThreadPoolExecutor(len(parts)) as pool:
        costs = list(pool.map(lambda part: crawler(pages, part / "sellers.txt", part / "data"), parts))
    return Cost(
        sum(cost.cpu for cost in costs),
        max(cost.wall for cost in costs),
        sum(cost.peak_mib for cost in costs),
        sum(cost.requests for cost in costs),
    )


def main() -> None:
    """All rounds, interleaved."""
    load = os.getloadavg()
    with new_folder() as place, served(Path(place), REQUESTS) as pages:
        rounds = [
            (rate(crawler, pages, Path(place)), rate(halves, pages, Path(place))) for _ in range(ROUNDS)
        ]
    speed = [two.requests_per_second / one.requests_per_second for one, two in rounds]
    cpu = [two.cpu_us / one.cpu_us for one, two in rounds]
    print(f"one process {in_words([one.requests_per_second for one, _ in rounds], ',.0f')} requests/s")
    print(
        f"two, each with half of the list {in_words([two.requests_per_second for _, two in rounds], ',.0f')}"
    )
    print(f"    two / one: {in_words(speed)} requests/s, {in_words(cpu)} CPU a request")
    rounds_kept = [{"one": asdict(one), "two": asdict(two)} for one, two in rounds]
    about = {"server": pages.by, "requests": pages.requests, "machine": machine(), "load_before": load}
    keep("split", {**about, "speed_ratio": spread(speed), "cpu_ratio": spread(cpu), "rounds": rounds_kept})


if __name__ == "__main__":
    main()
