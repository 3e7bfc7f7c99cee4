"""What is published is what the table of columns says, and files of different versions are one table."""

from __future__ import annotations

import orjson
import pyarrow.parquet as pq
import pytest
from conftest import SMALL, Night, stand_in

from crawler.models.dataset import DATASETS, SCHEMA_VERSION, Dataset
from crawler.simulator.faults import parse_faults
from crawler.simulator.server import SimulatorOptions
from crawler.store.schema import COLUMNS
from crawler.store.schema import SCHEMA_VERSION as VERSION_KEY


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
