"""What moved is published with each snapshot, and a reader never sees the changes of another one."""

from __future__ import annotations

import shlex
import shutil
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
from crawler.store.digests import damage_of_published, digests_of, keep_digests
from crawler.store.schema import SELLER_SCHEMA

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
BEFORE, AFTER = (str(date.fromisoformat(DATE) + timedelta(days=days)) for days in (-1, 1))
STEPS = [f"publish.{step}" for step in ("synced", "announced", "withdrawn", "videos", "sellers", "changes")]
"""The crash campaign has the others."""


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


@pytest.mark.parametrize(
    "step", [*STEPS[2:4], *(pytest.param(step, marks=pytest.mark.long) for step in (*STEPS[:2], *STEPS[4:]))]
)
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
        LEFT JOIN read_parquet('{job.data}/videos/**/*.parquet', hive_partitioning=true) v
        USING (crawl_date, seller_id, video_id)"""
    assert duckdb.connect().execute(query).fetchall() == [(expected,)]
    assert pl.scan_parquet(job.data / "changes").select(pl.len()).collect().item() == expected
    assert len(pd.read_parquet(job.data / "changes")) == expected


def test_an_earlier_night_that_is_caught_up_marks_what_rests_on_it_until_it_is_made_anew(
    tmp_path: Path,
) -> None:
    with stand_in(SimulatorOptions(SMALL, day=100)) as simulator:
        job = Night(tmp_path, simulator.url)
        source = job.sellers(simulator.catalogue.seller_ids(8))
        job.run(source, "--crawl-date", BEFORE, "--budget", "12", code=3)
    with stand_in(SimulatorOptions(SMALL, day=101)) as simulator:
        assert "--rebuild" not in str(Night(tmp_path, simulator.url).run(source)["notes"])
    before = rows_of(job, "changes", DATE)
    with stand_in(SimulatorOptions(SMALL, day=100)) as simulator:
        report = Night(tmp_path, simulator.url).run(source, "--crawl-date", BEFORE)
    (note,) = (note for note in report["notes"] if "out of date" in note)
    assert DATE in note
    assert "changes --rebuild" in note
    with stand_in(SimulatorOptions(SMALL, day=102)) as simulator:
        later = Night(tmp_path, simulator.url).run(source, "--crawl-date", AFTER)
    assert "out of date" not in str(later["notes"]), "it was said when it came about"
    words = shlex.split(note.partition("anew by: ")[2])
    done = job.call(*words[words.index("changes") :])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"changes of {DATE} made anew: ")
    assert done.stdout.count("\n") == 1
    assert len(before) == len(rows_of(job, "changes", DATE))
    assert job.call("changes", "--rebuild").stdout == "no changes had to be made anew\n"
    with stand_in(SimulatorOptions(SMALL, day=101)) as simulator:
        report = Night(tmp_path, simulator.url).run(source)
    assert "out of date" not in str(report["notes"])
    assert report["credits"]["spent"] == 0


def test_changes_of_one_night_are_made_anew(tmp_path: Path) -> None:
    job, _ = two_nights(tmp_path)
    done = job.call("changes", "--rebuild", "--crawl-date", BEFORE)
    assert (done.returncode, done.stdout.partition(":")[0]) == (0, f"changes of {BEFORE} made anew")
    assert job.call("changes", "--rebuild", "--crawl-date", DATE).returncode == 2
    (path,) = (job.data / "sellers" / f"crawl_date={BEFORE}").iterdir()
    path.rename(path.with_name("other.parquet"))
    done = job.call("changes", "--rebuild")
    assert done.returncode == 8
    assert "different runs" in done.stderr


@pytest.mark.long
def test_damaged_changes_cost_a_note_and_are_made_anew(tmp_path: Path) -> None:
    job, source = two_nights(tmp_path)
    whole = rows_of(job, "changes", BEFORE)

    def damage() -> None:
        (path,) = (job.data / "changes" / f"crawl_date={BEFORE}").iterdir()
        path.write_bytes(path.read_bytes()[:-7])

    def crawl(*options: str) -> dict[str, Any]:
        with stand_in(SimulatorOptions(SMALL, day=100)) as simulator:
            return Night(tmp_path, simulator.url).run(source, "--crawl-date", BEFORE, *options)

    damage()
    report = crawl()
    assert report["credits"]["spent"] == 0
    assert any("changes/" in note and "is damaged" in note for note in report["notes"])
    assert rows_of(job, "changes", BEFORE) == whole
    damage()
    assert job.call("changes", "--rebuild").returncode == 0
    assert rows_of(job, "changes", BEFORE) == whole
    # What a crawl of the date takes over are its videos/ and sellers/.
    damage()
    shutil.rmtree(job.data / "state" / "journal")
    crawl("--fresh")
    assert len(rows_of(job, "changes", BEFORE)) == len(whole)


@pytest.mark.parametrize(
    "step",
    [
        "rewrite.synced",
        *(pytest.param(step, marks=pytest.mark.long) for step in ("rewrite.digests", "rewrite.sellers")),
    ],
)
def test_the_first_publication_gives_older_sellers_files_all_columns(tmp_path: Path, step: str) -> None:
    job, source = two_nights(tmp_path)
    day = date.fromisoformat(BEFORE)
    (path,) = (job.data / "sellers" / f"crawl_date={BEFORE}").iterdir()
    old = pq.ParquetFile(path).read().select(SELLER_SCHEMA.names)
    pq.write_table(old, path)
    shutil.rmtree(job.data / "changes" / f"crawl_date={BEFORE}")
    keep_digests(job.data, day, path.stem, digests_of(job.data, day))
    with stand_in(SimulatorOptions(SMALL, day=101)) as simulator:
        job = Night(tmp_path, simulator.url)
        words = ["run", str(source), "--crawl-date", DATE, "--qps", "1000", "--quiet"]
        killed = LAUNCHER.start(words, job.environ(), job.folder, at=f"{step}:1")
        killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL
        assert damage_of_published(job.data, day) is None
        job.run(source)
    assert damage_of_published(job.data, day) is None
    paths = sorted((job.data / "sellers").rglob("*.parquet"))
    assert len({tuple(pq.read_schema(each).names) for each in paths}) == 1
    assert pq.ParquetFile(path).read().select(SELLER_SCHEMA.names).to_pylist() == old.to_pylist()
