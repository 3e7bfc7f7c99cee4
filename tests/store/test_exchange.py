"""Readers in a loop beside a date that is published over and over: never half a snapshot, never two."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.dataset as ds
import pytest
from test_readers import page, published, row

SELLERS, SECONDS = 30, 6


def by_duckdb(videos: Path) -> list[Any]:
    with duckdb.connect() as connection:
        files = f"read_parquet('{videos}/**/*.parquet', hive_partitioning = true)"
        found = connection.sql(f"SELECT total_views_cnt FROM {files}")
        assert found is not None
        return [views for (views,) in found.fetchall()]


def by_arrow(videos: Path) -> list[Any]:
    rows = ds.dataset(videos, format="parquet", partitioning="hive").to_table(columns=["total_views_cnt"])
    return rows["total_views_cnt"].to_pylist()


def by_polars(videos: Path) -> list[Any]:
    return pl.scan_parquet(str(videos)).select("total_views_cnt").collect()["total_views_cnt"].to_list()


@contextmanager
def reading(videos: Path, found: dict[str, Counter[Any]]) -> Iterator[None]:
    """Read in a loop by each reader; `found` counts what it found: rows by the run that they are of."""
    over = threading.Event()

    def loop(read: Callable[[Path], list[Any]]) -> None:
        seen = found.setdefault(read.__name__, Counter())
        while not over.is_set():
            try:
                rows = Counter(read(videos))
            except (OSError, duckdb.IOException, pl.exceptions.ComputeError):
                continue
            seen["reads"] += 1
            if [*rows.values()] != [SELLERS * 10]:
                seen[str(rows)] += 1

    threads = [threading.Thread(target=loop, args=(read,)) for read in (by_duckdb, by_arrow, by_polars)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.long
@pytest.mark.parametrize("by_region", [False, True], ids=["a file a night", "region folders"])
def test_a_reader_in_a_loop_sees_one_snapshot_or_the_next(tmp_path: Path, *, by_region: bool) -> None:
    def publish(number: int) -> None:
        pages = [
            page(str(s), 1, [row(str(v), total_views_cnt=number, region=f"R{v % 4}") for v in range(10)])
            for s in range(SELLERS)
        ]
        published(tmp_path, pages, f"run{number}", by_region=by_region)

    publish(0)
    found: dict[str, Counter[Any]] = {}
    number, end = 0, time.monotonic() + SECONDS
    with reading(tmp_path / "videos", found):
        while time.monotonic() < end:
            number += 1
            publish(number)
    assert number > 1
    assert {reader: [*seen] for reader, seen in found.items()} == {reader: ["reads"] for reader in found}
    assert len(found) == 3
