"""How long a short night takes as a whole, starting up and publishing included, beside the shortest script.

`whole_nights.py [FOLDER]`. Each round runs both, one after the other, on the same static pages. The crawler's
night follows one of the day before, so that it is compared with something.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pages import Served, served
from place import new_folder
from spread import in_words, keep, spread
from throughput import Cost, baseline, crawler_command, environ, machine, measured

SIZES = (5_100, 20_600)
"""Requests of a night, about."""

ROUNDS = int(os.environ.get("ROUNDS", "7"))
DAYS = "2026-11-22", "2026-11-23"


def crawler(pages: Served, sellers: Path, folder: Path, day: str) -> Cost:
    """The command that is run every night, for a crawl date."""
    command = [*crawler_command(pages, sellers, folder), "--crawl-date", day]
    return measured(command, environ(pages), lambda out: pages.requests if out else 0)


def round_of(pages: Served, sellers: Path, place: Path, before: Path) -> tuple[Cost, Cost]:
    """Both sides, one after the other."""
    night = place / "night"
    shutil.rmtree(night, ignore_errors=True)
    shutil.copytree(before, night)
    return baseline(pages, sellers, place), crawler(pages, sellers, night, DAYS[1])


def rounds_of(place: Path, size: int) -> tuple[Served, list[tuple[Cost, Cost]]]:
    """All rounds of nights of one size."""
    with served(place, size) as pages:
        sellers, before = place / "sellers.txt", place / "before"
        sellers.write_text("\n".join(pages.sellers))
        crawler(pages, sellers, before, DAYS[0])
        return pages, [round_of(pages, sellers, place, before) for _ in range(ROUNDS)]


def main() -> None:
    """All sizes."""
    found = []
    for size in SIZES:
        with new_folder() as name:
            pages, rounds = rounds_of(Path(name), size)
        wall, cpu = ([getattr(c, at) / getattr(b, at) for b, c in rounds] for at in ("wall", "cpu"))
        of = f"{len(pages.sellers):,} sellers, {pages.requests:,} requests"
        print(f"{of}: {in_words(wall)} of the time, {in_words(cpu)} of the CPU", flush=True)
        seconds = {
            side: {at: spread([getattr(pair[place], at) for pair in rounds]) for at in ("wall", "cpu")}
            for place, side in enumerate(("baseline", "crawler"))
        }
        ratios = {"time_ratio": spread(wall), "cpu_ratio": spread(cpu)}
        found.append({"sellers": len(pages.sellers), "requests": pages.requests, **ratios, **seconds})
    keep("whole_nights", {"server": pages.by, "machine": machine(), "nights": found})


if __name__ == "__main__":
    main()
