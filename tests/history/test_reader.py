"""The one reader of published files: what it reads, what it refuses, and that it holds little of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crawler.history.reader import (
    BATCH_ROWS,
    SnapshotFiles,
    UnreadableError,
    columns_of,
    published_dates,
    reading,
)
from crawler.store.layout import SELLERS, VIDEOS, Layout
from crawler.store.schema import SELLER_SCHEMA, SORTING, VIDEO_SCHEMA

DAY = date(2026, 11, 8)
VIEWS = columns_of(VIDEO_SCHEMA, "seller_id", "video_id", "total_views_cnt")


def videos(data: Path, rows: list[tuple[str, str, int]], region: str = "MY", day: date = DAY) -> Path:
    """A file of a snapshot, with so many views of each seller's videos."""
    path = Layout(data).snapshot(VIDEOS, day) / f"region={region}" / "run.parquet"
    path.parent.mkdir(parents=True)
    columns = dict(zip(VIEWS.names, zip(*rows, strict=True), strict=True))
    filled = {f.name: pa.array(columns.get(f.name, [None] * len(rows)), f.type) for f in VIDEO_SCHEMA}
    pq.write_table(pa.table(filled, schema=VIDEO_SCHEMA), path, row_group_size=4)
    return path


def sellers(
    data: Path, names: tuple[str, ...] = ("seller_id", "pages"), run: str = "run", sort: str = ""
) -> Path:
    path = Layout(data).snapshot(SELLERS, DAY) / f"{run}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = columns_of(SELLER_SCHEMA, *names).empty_table()
    pq.write_table(table.replace_schema_metadata({SORTING: sort} if sort else None), path)
    return path


def files_of(data: Path, kind: str = VIDEOS, day: date = DAY) -> SnapshotFiles:
    return SnapshotFiles.published(data, kind, day)


def test_rows_of_sellers_are_not_read_ahead_of_whoever_takes_them(tmp_path: Path) -> None:
    path, count = tmp_path / "run.parquet", 70_000
    texts = pa.array([os.urandom(16).hex() for _ in range(count)])
    columns = [texts if name == "video_id" else pa.repeat("a", count) for name in ("seller_id", "video_id")]
    rows = pa.table(dict(zip(("seller_id", "video_id"), columns, strict=True)))
    with pq.ParquetWriter(path, rows.schema) as file:
        for _ in range(15):
            file.write_table(rows)
    size, before = path.stat().st_size, pa.total_allocated_bytes()
    pieces = SnapshotFiles((path,)).rows_of(pa.array(["a"]), columns_of(VIDEO_SCHEMA, *rows.column_names))
    next(pieces)
    time.sleep(0.3)
    held = pa.total_allocated_bytes() - before
    assert held < size / 2


def test_dates_are_those_with_files_newest_first(tmp_path: Path) -> None:
    assert published_dates(tmp_path) == []
    sellers(tmp_path)
    for name in ("crawl_date=2026-11-09", "crawl_date=soon"):
        (tmp_path / SELLERS / name).mkdir()
    later = Layout(tmp_path).snapshot(SELLERS, date(2026, 11, 10))
    later.mkdir()
    (later / "run.parquet").touch()
    assert published_dates(tmp_path) == [date(2026, 11, 10), DAY]


def test_a_snapshot_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    files = files_of(tmp_path)
    assert (files.paths, files.row_count, files.sorting) == ((), 0, "")
    assert files.table(VIEWS).num_rows == 0
    assert list(files.rows_of(pa.array(["1"]))) == []


def test_columns_that_may_be_missing_are_null_and_others_are_an_error(tmp_path: Path) -> None:
    path = sellers(tmp_path)
    table = pq.ParquetFile(path).read()
    pq.write_table(
        pa.concat_tables([table, pa.table({"seller_id": ["1"], "pages": [2]}, schema=table.schema)]), path
    )
    wanted = columns_of(SELLER_SCHEMA, "pages", "credits", "seller_id")
    read = files_of(tmp_path, SELLERS).table(wanted, frozenset({"credits"}))
    assert read.schema.equals(wanted)
    assert read.to_pylist() == [{"pages": 2, "credits": None, "seller_id": "1"}]
    with pytest.raises(UnreadableError, match=f"{path}: it has no column credits"):
        files_of(tmp_path, SELLERS).table(wanted)


def test_the_sorting_is_known_where_all_files_have_the_same(tmp_path: Path) -> None:
    sellers(tmp_path, sort="views desc")
    assert files_of(tmp_path, SELLERS).sorting == "views desc"
    sellers(tmp_path, run="other", sort="gmv desc")
    assert files_of(tmp_path, SELLERS).sorting == ""


def test_rows_of_some_sellers_come_from_all_regions_and_no_others_do(tmp_path: Path) -> None:
    rows = [(str(seller), f"{seller}-{n}", n) for seller in range(1, 9) for n in range(3)]
    videos(tmp_path, rows[:12])
    videos(tmp_path, rows[12:], "SG")
    found = pa.concat_tables(files_of(tmp_path).rows_of(pa.array(["8", "2", "77"]), VIEWS))
    assert found.schema.names == VIEWS.names
    assert {tuple(row.values()) for row in found.to_pylist()} == {row for row in rows if row[0] in {"2", "8"}}
    assert list(files_of(tmp_path).rows_of(pa.array([], pa.string()))) == []


def test_no_more_than_a_batch_is_handed_over_at_once(tmp_path: Path) -> None:
    videos(tmp_path, [("1", str(n), n) for n in range(100)])
    assert max(map(len, files_of(tmp_path).batches(VIEWS, size=3))) == 3
    assert all(len(rows) <= BATCH_ROWS for rows in files_of(tmp_path).rows_of(pa.array(["1"])))


def _as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "harm",
    [Path.unlink, _as_pipe, lambda path: path.write_bytes(b""), lambda path: os.truncate(path, 90)],
    ids=["gone", "pipe", "empty", "cut"],
)
def test_there_is_one_error_for_what_cannot_be_read(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    good = videos(tmp_path, [("1", "a", 1)])
    bad = videos(tmp_path, [("1", "b", 2)], "SG")
    files = files_of(tmp_path)
    harm(bad)
    reads: list[Callable[[SnapshotFiles], object]] = [
        lambda files: files.row_count,
        lambda files: files.sorting,
        lambda files: files.table(VIEWS),
        lambda files: list(files.rows_of(pa.array(["1"]))),
    ]
    for read in reads:
        with pytest.raises(UnreadableError, match=str(bad)):
            read(files)
    assert [file.paths for file in files.each()] == [(good,), (bad,)]
    assert next(files.each()).row_count == 1


def test_other_faults_than_of_reading_are_not_taken_for_damage() -> None:
    with pytest.raises(UnreadableError, match="a file: odd"), reading("a file"):
        raise ValueError("odd")
    with pytest.raises(RuntimeError), reading("a file"):
        raise RuntimeError


def _range_by_range(data: Path, day: date, ids: list[str]) -> Iterator[dict[tuple[str, str], int]]:
    """Two sellers at a time: what a comparison of snapshots holds of each of them."""
    for start in range(0, len(ids), 2):
        found: dict[tuple[str, str], Any] = {}
        for rows in files_of(data, day=day).rows_of(pa.array(ids[start : start + 2]), VIEWS):
            found |= {(row["seller_id"], row["video_id"]): row["total_views_cnt"] for row in rows.to_pylist()}
        yield found


def test_two_snapshots_are_compared_range_after_range(tmp_path: Path) -> None:
    ids = [str(n) for n in range(1, 8)]
    before = {(seller, f"{seller}-{n}"): n for seller in ids for n in range(3)}
    after = {key: views + 1 for key, views in before.items() if key != ("4", "4-1")} | {("7", "new"): 5}
    for day, rows in ((DAY, before), (date(2026, 11, 9), after)):
        videos(tmp_path, [(*key, views) for key, views in rows.items()], day=day)
    gained: dict[tuple[str, str], int] = {}
    ends: set[tuple[str, str]] = set()
    pairs = zip(*(_range_by_range(tmp_path, day, ids) for day in (DAY, date(2026, 11, 9))), strict=True)
    for older, newer in pairs:
        assert len({seller for seller, _ in (*older, *newer)}) <= 2
        gained |= {key: newer[key] - older[key] for key in older.keys() & newer.keys()}
        ends |= older.keys() ^ newer.keys()
    assert set(gained.values()) == {1}
    assert ends == {("4", "4-1"), ("7", "new")}
