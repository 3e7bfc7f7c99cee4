"""Nights of real runs against the stand-in: how near the plan comes, what carry-forward saves and risks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from place import new_folder

from crawler.models.api import COUNT_COLUMNS
from crawler.simulator.catalogue import Catalogue, CatalogueOptions
from crawler.simulator.server import SimulatorOptions

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from conftest import Night, stand_in

FIRST = date(2026, 11, 1)
SELLERS = 250
CARRY = ("--carry-forward",)
_KNOWN = 250
_NIGHTS = 9
"""The last one reads again what was carried for a week."""


class QuietHead(Catalogue):
    """The videos seen most stand still, the others gain views; as ever sellers gain videos.

    Deep sellers' first pages hold only such videos: carrying them is wrong.
    """

    def _figures(self, base: int, bits: int) -> tuple[int, int, int]:
        views = 3_276_800 // ((bits >> 8 & 0xFFFF) + 1)
        if views < _KNOWN:
            return super()._figures(base, bits)
        sales = views * (bits >> 24 & 0xFF) // 20_000
        return views, sales, sales * ((bits >> 32 & 0xFFF) + 99)


@dataclass
class Truth:
    """A snapshot against the catalogue: of the sellers that were `carried` so many are `wrong`.

    Rows of theirs: `carried` ones in all, with counts that have `changed`, `gone`, `missed`.
    """

    sellers: int = 0
    wrong: int = 0
    rows: int = 0
    changed: int = 0
    missed: int = 0
    gone: int = 0

    def add(self, other: Truth) -> None:
        """Add another night's."""
        for name in (f.name for f in fields(self)):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class Evening:
    """What the plan said, what the run reported, and the truth."""

    plan: dict[str, Any]
    report: dict[str, Any]
    served: int
    full: int
    truth: Truth = field(default_factory=Truth)


def nights(kind: type[Catalogue], options: CatalogueOptions, count: int, *flags: str) -> Iterator[Evening]:
    """Plan and run so many nights in a new folder."""
    with new_folder() as name:
        folder = Path(name)
        for number in range(count):
            catalogue = kind(options, number)
            yield _evening(folder, catalogue, options, FIRST + timedelta(number), flags)


def _evening(
    folder: Path, catalogue: Catalogue, options: CatalogueOptions, day: date, flags: tuple[str, ...]
) -> Evening:
    ids = catalogue.seller_ids(SELLERS)
    with stand_in(SimulatorOptions(options)) as simulator:
        simulator.catalogue = catalogue
        job = Night(folder, simulator.url)
        source = job.sellers(ids)
        plan = _plan(job, source, day, flags)
        report = job.run(source, "--crawl-date", day.isoformat(), "--qps", "2000", *flags)
        served = simulator.stats.requests
    full = sum(catalogue.size(seller) // 10 + 1 for seller in ids)
    return Evening(plan, report, served, full, _truth(job.data, day, catalogue))


def _plan(job: Night, source: Path, day: date, flags: tuple[str, ...]) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "crawler",
        "plan",
        str(source),
        "--crawl-date",
        day.isoformat(),
        "--json",
    ]
    shown = subprocess.run(
        [*command, *flags], env=job.environ(), cwd=job.folder, check=True, stdout=subprocess.PIPE
    )
    plan: dict[str, Any] = json.loads(shown.stdout)
    return plan


def _truth(data: Path, day: date, catalogue: Catalogue) -> Truth:
    sellers = ds.dataset(data / "sellers" / f"crawl_date={day}").to_table(["seller_id", "stop_reason"])
    carried = [row["seller_id"] for row in sellers.to_pylist() if row["stop_reason"] == "carried"]
    videos = ds.dataset(data / "videos" / f"crawl_date={day}").to_table(
        ["seller_id", "video_id", "carried_from", *COUNT_COLUMNS],
        filter=ds.field("seller_id").isin(pa.array(carried, pa.string())),
    )
    by_seller: dict[str, list[dict[str, Any]]] = {seller: [] for seller in carried}
    for row in videos.to_pylist():
        by_seller[row["seller_id"]].append(row)
    truth = Truth()
    for seller, rows in by_seller.items():
        truth.add(_truth_of(rows, {row["video_id"]: row for row in catalogue.videos(seller)}))
    return truth


def _truth_of(rows: list[dict[str, Any]], now: dict[str, dict[str, Any]]) -> Truth:
    there = [row for row in rows if row["video_id"] in now]
    changed = sum(any(row[name] != now[row["video_id"]][name] for name in COUNT_COLUMNS) for row in there)
    missed, gone = len(now) - len(there), len(rows) - len(there)
    carried = sum(row["carried_from"] is not None for row in rows)
    return Truth(1, int(changed + missed + gone > 0), carried, changed, missed, gone)


def print_plans(title: str, evenings: list[Evening]) -> None:
    """One line a night: what was planned, and what it cost."""
    print(f"\n{title}: the plan against the stand-in's own count of requests")
    print("| night | low | expected | high | true | error |\n|---|---|---|---|---|---|")
    for number, evening in enumerate(evenings):
        low, expected, high = (evening.plan["credits"][name] for name in ("low", "expected", "high"))
        error = "" if expected is None else f"{expected / evening.served - 1:+.1%}"
        figures = ["not known" if value is None else f"{value:,}" for value in (expected, high)]
        print(f"| {number + 1} | {low:,} | {figures[0]} | {figures[1]} | {evening.served:,} | {error} |")


def tell_savings(name: str, evenings: list[Evening]) -> None:
    """One line for all nights after the first: credits, and how often the audit and the truth say wrong."""
    later = evenings[1:]
    full, spent = sum(e.full for e in later), sum(e.served for e in later)
    totals = {
        key: sum(e.report["carry_forward"][key] for e in later) for key in later[0].report["carry_forward"]
    }
    truth = Truth()
    for evening in later:
        truth.add(evening.truth)
    written = sum(e.report["rows"]["written"] for e in later)
    stale = truth.changed + truth.missed + truth.gone
    print(
        f"| {name} | {full:,} | {spent:,} | {1 - spent / full:.1%} | {totals['carried']:,} "
        f"| {truth.rows:,} of {written:,} | {stale:,} | {_share(truth.wrong, truth.sellers)} "
        f"| {_share(totals['wrong'], totals['audited'])} |"
    )


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}" + (f" ({part / whole:.1%})" if whole else "")


def main() -> None:
    """Fourteen nights that are planned without and with carrying; then shares that stand still."""

    def played(kind: type[Catalogue], still: float, count: int, *flags: str) -> list[Evening]:
        return list(nights(kind, CatalogueOptions(seed=4, largest=500, still=still), count, *flags))

    # A run is mostly waiting: for its process to start, and for the ceiling to be sure of the one before.
    with ThreadPoolExecutor(3) as pool:
        plain = pool.submit(played, Catalogue, 0.0, 14)
        carried = pool.submit(played, Catalogue, 0.6, 14, *CARRY)
        series = {
            "0": pool.submit(played, Catalogue, 0.0, _NIGHTS, *CARRY),
            "0.3": pool.submit(played, Catalogue, 0.3, _NIGHTS, *CARRY),
            "0.6": carried,
            "0.9": pool.submit(played, Catalogue, 0.9, _NIGHTS, *CARRY),
            "0.6, and of the others the heads": pool.submit(played, QuietHead, 0.6, _NIGHTS, *CARRY),
        }
        print_plans("0 stand still, nothing is carried", plain.result())
        print_plans("0.6 stand still, --carry-forward", carried.result())
        print(f"\n--carry-forward, {_NIGHTS - 1} nights after the first one, --max-age 7, --audit 0.05:")
        print(
            "| stand still | credits for all | spent | saved | sellers carried | rows carried "
            "| rows wrong or missing | carried sellers that are wrong | audited ones that are |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for name, evenings in series.items():
            tell_savings(name, evenings.result()[:_NIGHTS])


if __name__ == "__main__":
    main()
