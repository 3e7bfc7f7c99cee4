"""What is published is what the table of columns says, and files of different versions are one table."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import duckdb
import orjson
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from conftest import DATE, SMALL, Night, stand_in

from crawler.history.reader import SnapshotFiles
from crawler.models.dataset import DATASETS, SCHEMA_VERSION, Dataset
from crawler.simulator.faults import parse_faults
from crawler.simulator.outages import read_outage
from crawler.simulator.server import SimulatorOptions
from crawler.store.layout import VIDEOS, Layout, parquet_files
from crawler.store.schema import COLUMNS, VIDEO_SCHEMA
from crawler.store.schema import SCHEMA_VERSION as VERSION_KEY

DAY = date.fromisoformat(DATE)
BEFORE = DAY - timedelta(days=1)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    with stand_in(SimulatorOptions(SMALL, faults=parse_faults("odd:0.1"))) as simulator:
        job = Night(tmp_path_factory.mktemp("dataset"), simulator.url)
        (job.folder / "keep.toml").write_text("[output]\nkeep_raw = true\n")
        source = job.sellers(simulator.catalogue.seller_ids(8))
        job.run(source, "--config", "keep.toml", "--budget", "12", code=3)
    return job


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)
def test_each_file_has_the_columns_of_the_table_and_says_what_they_are(
    night: Night, dataset: Dataset
) -> None:
    (path,) = (night.data / dataset.name).rglob("*.parquet")
    file = pq.ParquetFile(path)
    metadata = file.metadata.metadata or {}
    assert int(metadata[VERSION_KEY.encode()]) == SCHEMA_VERSION
    said = orjson.loads(metadata[COLUMNS.encode()])
    assert tuple(said) == tuple(file.schema_arrow.names) == dataset.names
    rows = file.read()
    assert len(rows)
    for number, column in enumerate(dataset.columns, 1):
        field = file.schema_arrow.field(column.name)
        assert (field.metadata or {})[b"PARQUET:field_id"] == str(number).encode()
        assert said[column.name]["description"] == column.meaning
        if column.is_required:
            assert not rows[column.name].null_count, column.name
    keys = [rows[key].to_pylist() for key in dataset.keys]
    assert len(set(zip(*keys, strict=True))) == len(rows)


def test_old_and_new_files_are_one_table(night: Night, tmp_path: Path) -> None:
    (path,) = parquet_files(Layout(night.data).snapshot(VIDEOS, DAY))
    new = pq.ParquetFile(path).read()
    old = new.drop_columns(["late"])
    files = Layout(tmp_path)
    for day, rows in ((DAY, new), (BEFORE, old)):
        files.snapshot(VIDEOS, day).mkdir(parents=True)
        pq.write_table(rows, files.snapshot(VIDEOS, day) / "run.parquet")
    expected = (2 * len(new), len(new))
    query = f"FROM read_parquet('{tmp_path}/videos/*/*.parquet', union_by_name = true)"
    assert duckdb.connect().execute(f"SELECT count(*), count(late) {query}").fetchall() == [expected]
    read = ds.dataset(
        tmp_path / "videos", schema=new.schema, format="parquet", partitioning="hive"
    ).to_table()
    assert (len(read), len(read["late"].drop_null())) == expected
    newest = [*reversed(parquet_files(tmp_path))]
    scanned = pl.scan_parquet(newest, missing_columns="insert", extra_columns="ignore")
    assert scanned.select(pl.len(), pl.col("late").count().alias("late")).collect().row(0) == expected
    ours = [SnapshotFiles.published(tmp_path, VIDEOS, day).table(VIDEO_SCHEMA) for day in (BEFORE, DAY)]
    assert [table["late"].null_count for table in ours] == [len(new), 0]
    assert ours[0].drop_columns(["late"]).equals(ours[1].drop_columns(["late"]))


def test_the_report_names_what_the_api_has_changed(tmp_path: Path) -> None:
    with stand_in(SimulatorOptions(SMALL, day=100)) as simulator:
        source = Night(tmp_path, simulator.url).sellers(simulator.catalogue.seller_ids(8))
        report = Night(tmp_path, simulator.url).run(source, "--crawl-date", str(BEFORE))
    assert report["fields"] == {"unknown": [], "missing": [], "misfits": {}}
    faults = parse_faults("odd:0.2,bigint:0.2")
    with stand_in(SimulatorOptions(SMALL, day=101, faults=faults)) as simulator:
        job = Night(tmp_path, simulator.url)
        report = job.run(source)
    rows = [row for row in job.videos() if "total_digg_cnt" in (row["extra"] or "")]
    assert report["fields"]["unknown"] == ["brand_new_field"]
    assert report["fields"]["misfits"] == {"total_digg_cnt": len(rows)}
    reasons = " ".join(report["plausibility"]["reasons"])
    assert "fields never seen before: brand_new_field" in reasons
    assert f"total_digg_cnt in {len(rows):,}. They are in extra." in reasons
    with stand_in(SimulatorOptions(SMALL, day=102, outage=read_outage("renamed"))) as simulator:
        job = Night(tmp_path, simulator.url)
        report = job.run(source, "--crawl-date", str(BEFORE + timedelta(days=2)), code=10)
    assert report["fields"] == {"unknown": ["total_play_cnt"], "missing": ["total_views_cnt"], "misfits": {}}
