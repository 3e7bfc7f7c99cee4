"""Copies as Delta tables: each night is there once, as it was published, whatever was cut off."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from conftest import DATE, SMALL, Night, stand_in
from deltalake import DeltaTable

from crawler.copies.delta_tables import DeltaTables
from crawler.copies.parts import Part, published_parts
from crawler.copies.places import Place
from crawler.models.errors import InputError
from crawler.settings import values
from crawler.settings.load import load
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store import failpoints

KINDS = ("videos", "sellers", "changes")
BEFORE = "2026-11-22"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with stand_in(SimulatorOptions(SMALL)) as simulator:
        yield simulator


@pytest.fixture
def job(simulator: Simulator, tmp_path: Path) -> Night:
    """A folder whose settings name another for tables."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "crawler.toml").write_text('[output]\ndelta = "tables"\n')
    return Night(tmp_path, simulator.url)


def table(job: Night, kind: str) -> DeltaTable:
    return DeltaTable(str(job.folder / "tables" / kind))


def rows_of(found: pa.Table) -> list[dict[str, Any]]:
    """Rows in an order of their own, without what nobody has filled."""
    rows = [{name: value for name, value in row.items() if value is not None} for row in found.to_pylist()]
    return sorted(rows, key=lambda row: str(sorted(row.items())))


def published(job: Night, kind: str) -> list[dict[str, Any]]:
    day = pa.schema([("crawl_date", pa.date32())])
    partitioning = ds.partitioning(day, flavor="hive") if kind in KINDS else None
    return rows_of(ds.dataset(job.data / kind, format="parquet", partitioning=partitioning).to_table())


def test_tables_have_what_is_published_and_a_night_is_replaced(job: Night, simulator: Simulator) -> None:
    source = job.sellers(simulator.catalogue.seller_ids(3))
    job.run(source, "--crawl-date", BEFORE)
    copied = job.run(source)["copies"]
    assert [(place["copied"], place["error"]) for place in copied] == [([DATE], None)]
    for kind in (*KINDS, "nights"):
        assert rows_of(table(job, kind).to_pyarrow_table()) == published(job, kind), kind
    versions = {kind: table(job, kind).version() for kind in KINDS}
    again = job.run(source, "--fresh")["run_id"]
    for kind in KINDS:
        found = table(job, kind)
        assert found.version() == versions[kind] + 1, "one commit a table"
        assert found.history(1)[0]["crawler.run_id"] == again
        assert rows_of(found.to_pyarrow_table()) == published(job, kind)
    assert not list(job.data.rglob("_delta_log"))
    (job.data / "state" / "copies.json").unlink()
    assert job.call("upload").returncode == 0
    assert {kind: table(job, kind).version() for kind in KINDS} == {k: v + 1 for k, v in versions.items()}


@pytest.mark.long
def test_nights_that_are_there_are_not_sent_again_however_many(job: Night, simulator: Simulator) -> None:
    """Of a table's commits only the last few are looked at: older nights are known by their partitions."""
    source = job.sellers(simulator.catalogue.seller_ids(2))
    for day in range(10, 17):
        copied = job.run(source, "--crawl-date", f"2026-11-{day}")["copies"]
        assert [place["copied"] for place in copied] == [[f"2026-11-{day}"]]
    assert {kind: table(job, kind).version() for kind in KINDS} == dict.fromkeys(KINDS, 6)
    assert job.call("upload").returncode == 0
    assert {kind: table(job, kind).version() for kind in KINDS} == dict.fromkeys(KINDS, 6)
    shutil.rmtree(job.folder / "tables" / "changes")
    assert job.call("upload").returncode == 0
    assert rows_of(table(job, "changes").to_pyarrow_table()) == published(job, "changes")


def test_what_was_cut_off_goes_on_where_it_was(
    job: Night, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off between two tables, the videos are the last; sending it again commits only what lacks."""
    (job.folder / "config" / "crawler.toml").unlink()
    job.run(job.sellers(simulator.catalogue.seller_ids(2)))
    (part,) = [part for part in published_parts(job.data)[0] if part.crawl_date]
    tables = DeltaTables(Place("delta", str(job.folder / "tables")))

    def cut_off(step: str) -> None:
        raise KeyboardInterrupt(step)

    monkeypatch.setattr(failpoints, "on_reach", cut_off)
    with pytest.raises(KeyboardInterrupt):
        tables.send(job.data, part)
    monkeypatch.undo()
    assert [path.name for path in (job.folder / "tables").iterdir()] == ["sellers"]
    assert tables.send(job.data, part) is not None
    assert {kind: table(job, kind).version() for kind in KINDS} == dict.fromkeys(KINDS, 0)
    assert tables.send(job.data, part) is None
    withdrawn = Part(part.name, tuple(file for file in part.files if file.kind != "changes"))
    assert tables.send(job.data, withdrawn) == 0
    assert [table(job, kind).count() > 0 for kind in KINDS] == [True, True, False]
    assert tables.tidy(0) == 0, "a week is given to who reads an earlier version"


def test_tables_need_an_extra_and_a_folder_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def faults(delta: str) -> str:
        with pytest.raises(InputError) as caught:
            load({}, None, {"CRAWLER_OUTPUT_DELTA": delta, "CRAWLER_DATA": "data"})
        return str(caught.value)

    assert "lies in the data folder" in faults("data/videos")
    assert "is wanted" in faults("ftp://host/x")
    assert load({}, None, {"CRAWLER_OUTPUT_DELTA": "s3://bucket/x"}).settings.output.delta == "s3://bucket/x"
    monkeypatch.setattr(values, "find_spec", lambda _name: None)
    assert "pip install 'shop-video-crawler[delta]'" in faults("tables")
