"""What moved is published with each snapshot, and a reader never sees the changes of another one."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow.parquet as pq
import pytest
from conftest import DATE, SMALL, Night, stand_in
from launcher import LAUNCHER

from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store import failpoints

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
BEFORE = str(date.fromisoformat(DATE) - timedelta(days=1))
STEPS = [step for step in failpoints.STEPS if step.startswith("publish.") and step != "publish.begin"]


def two_nights(folder: Path) -> tuple[Night, Path]:
    """The night before, published."""
    with stand_in(SimulatorOptions(SMALL, day=100)) as simulator:
        job = Night(folder, simulator.url)
        source = job.sellers(simulator.catalogue.seller_ids(8))
        job.run(source, "--crawl-date", BEFORE)
    return job, source


def rows_of(job: Night, kind: str, day: str) -> list[dict[str, Any]]:
    (path,) = (job.data / kind / f"crawl_date={day}").glob("*.parquet")
    return pq.ParquetFile(path).read().to_pylist()


def test_the_gains_of_a_night_are_what_its_snapshots_differ_by(tmp_path: Path) -> None:
    job, source = two_nights(tmp_path)
    with stand_in(SimulatorOptions(SMALL, day=101)) as simulator:
        job = Night(tmp_path, simulator.url)
        job.run(source)
    assert {row["kind"] for row in rows_of(job, "changes", BEFORE)} == {"discovered"}
    views: dict[str, dict[tuple[str, str], int]] = {BEFORE: {}, DATE: {}}
    for row in job.videos():
        views[str(row["crawl_date"])][row["seller_id"], row["video_id"]] = row["total_views_cnt"]
    changes = rows_of(job, "changes", DATE)
    found = {(row["seller_id"], row["video_id"]): row["total_views_cnt_gain"] for row in changes}
    for video in views[DATE].keys() & views[BEFORE].keys():
        assert found.get(video, 0) == views[DATE][video] - views[BEFORE][video]
    gone = {(row["seller_id"], row["video_id"]) for row in changes if row["kind"] == "gone"}
    assert gone == views[BEFORE].keys() - views[DATE].keys()
    gains = sum(row["total_views_cnt_gain"] or 0 for row in changes)
    assert sum(row["views_gain"] or 0 for row in rows_of(job, "sellers", DATE)) == gains > 0
    (snapshot,) = {path.stem for path in (job.data / "sellers" / f"crawl_date={DATE}").iterdir()}
    (path,) = (job.data / "changes" / f"crawl_date={DATE}").iterdir()
    metadata = pq.ParquetFile(path).metadata.metadata or {}
    assert metadata[b"crawler.run"].decode() == snapshot == path.stem


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_leaves_no_changes_of_another_snapshot(tmp_path: Path, step: str) -> None:
    job, source = two_nights(tmp_path)
    with stand_in(SimulatorOptions(SMALL, day=101)) as simulator:
        job = Night(tmp_path, simulator.url)
        job.run(source)
        words = ["run", str(source), "--crawl-date", DATE, "--fresh", "--qps", "1000", "--quiet"]
        killed = LAUNCHER.start(words, job.environ(), job.folder, at=f"{step}:1")
        killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL
        runs = {
            kind: {path.stem for path in (job.data / kind / f"crawl_date={DATE}").rglob("*.parquet")}
            for kind in ("videos", "sellers", "changes")
        }
        assert runs["changes"] in (set(), runs["videos"])
        assert runs["changes"] in (set(), runs["sellers"])
        job.run(source)
        assert rows_of(job, "changes", DATE)


def test_duckdb_polars_and_pandas_read_changes_beside_videos(tmp_path: Path) -> None:
    job, source = two_nights(tmp_path)
    with stand_in(SimulatorOptions(SMALL, day=101)) as simulator:
        job = Night(tmp_path, simulator.url)
        job.run(source)
    expected = len(rows_of(job, "changes", BEFORE)) + len(rows_of(job, "changes", DATE))
    query = f"""SELECT count(*) FROM read_parquet('{job.data}/changes/*/*.parquet', hive_partitioning=true) c
        LEFT JOIN read_parquet('{job.data}/videos/*/*/*.parquet', hive_partitioning=true) v
        USING (crawl_date, seller_id, video_id)"""
    assert duckdb.connect().execute(query).fetchall() == [(expected,)]
    assert pl.scan_parquet(job.data / "changes").select(pl.len()).collect().item() == expected
    assert len(pd.read_parquet(job.data / "changes")) == expected
