"""Nights of a catalogue in which most sellers are unchanged from day to day, for tests of carrying."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from conftest import SMALL, Night, stand_in

from crawler.simulator.catalogue import Catalogue
from crawler.simulator.server import Simulator, SimulatorOptions

STILL = replace(SMALL, still=0.6)
ALL = ("--carry-forward", "--audit", "0")


def on(day: int) -> str:
    return f"2026-11-{20 + day}"


@contextmanager
def evening(folder: Path, day: int, still: float = 0.6) -> Iterator[tuple[Night, Simulator]]:
    options = SimulatorOptions(replace(SMALL, still=still), day=day)
    with stand_in(options) as simulator:
        yield Night(folder, simulator.url), simulator


def crawl(folder: Path, ids: list[str], day: int, *options: str, code: int = 0) -> dict[str, Any]:
    """Crawl one day of the catalogue; `served` in the report is the stand-in's own count of requests."""
    folder.mkdir(exist_ok=True)
    with evening(folder, day) as (job, simulator):
        report = job.run(job.sellers(ids), "--crawl-date", on(day), *options, code=code)
        return {**report, "served": simulator.stats.requests}


def ask_for_region_folders(folder: Path) -> Path:
    """Write settings by which further nights have region folders; returns the file of them."""
    path = folder / "config" / "crawler.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('[output]\npartition_by = ["crawl_date", "region"]\n')
    return path


def rows_of(folder: Path, day: int) -> list[dict[str, Any]]:
    paths = sorted((folder / "data" / "videos" / f"crawl_date={on(day)}").rglob("*.parquet"))
    return [
        {"region": path.parent.name, **row}
        for path in paths
        for row in pq.ParquetFile(path).read().to_pylist()
    ]


def sellers_of(folder: Path, day: int) -> dict[str, dict[str, Any]]:
    (path,) = (folder / "data" / "sellers" / f"crawl_date={on(day)}").glob("*.parquet")
    return {row["seller_id"]: row for row in pq.ParquetFile(path).read().to_pylist()}


def values(rows: list[dict[str, Any]]) -> dict[tuple[str, str], Any]:
    own = ("crawled_at", "run_id", "request_id", "carried_from", "snapshot_date", "late")
    return {(r["seller_id"], r["video_id"]): {k: v for k, v in r.items() if k not in own} for r in rows}


def truth(ids: list[str], day: int) -> set[tuple[str, str]]:
    return {(s, v["video_id"]) for s in ids for v in Catalogue(STILL, day).videos(s)}


def ids_of(count: int) -> list[str]:
    return Catalogue(STILL).seller_ids(count)
