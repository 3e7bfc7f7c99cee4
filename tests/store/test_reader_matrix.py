"""What the tests' own tools find in nights of videos, compared with the truth: a small `make readers`."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))
import readers  # type: ignore[import-not-found]  # a folder of scripts
import reading  # type: ignore[import-not-found]  # as well

from crawler.store.layout import VIDEOS

DAY = readers.FIRST
TYPES = {
    "DuckDB": ("DATE", "DATE", "TIMESTAMP WITH TIME ZONE"),
    "Polars": ("Date", "Date", "Datetime(time_unit='ms', time_zone='UTC')"),
    "pandas": ("category", "object", "datetime64[ms, UTC]"),
    "pyarrow": ("string", "date32[day]", "timestamp[ms, tz=UTC]"),
}
NULL_OF_A_FOLDER = {"Polars", "pyarrow"}


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Nights as one file each, in region folders, and with the pages of all but the first being zeros."""
    folder = tmp_path_factory.mktemp("nights")
    truths = {
        "month": readers.write_nights(folder / "month", 3, sellers=40),
        "region": readers.write_nights(folder / "region", 3, sellers=40, by_region=True),
    }
    readers.blank_other_nights(folder / "month" / VIDEOS, folder / "alone" / VIDEOS, DAY)
    return folder, truths


@pytest.mark.parametrize("tool", TYPES)
def test_a_tool_finds_the_truth_and_reads_a_night_alone(
    tool: str, nights: tuple[Path, dict[str, Any]]
) -> None:
    folder, truths = nights
    month, alone, region = (folder / name / VIDEOS for name in ("month", "alone", "region"))
    found = reading.found_by(tool, month, None, alone, region, DAY)
    assert readers.faults_of(found, truths, DAY) == []
    assert found["crawl_date"] == found["snapshot_date"] == truths["month"].nights[DAY]
    assert found["crawl_date_alone"]
    assert found["snapshot_date_alone"]
    kinds = found["types"]
    assert (kinds["crawl_date"], kinds["snapshot_date"], kinds["create_time"]) == TYPES[tool]
    is_null = found["region"] == truths["region"].summary
    assert is_null or tool not in NULL_OF_A_FOLDER
    assert is_null or tool != "DuckDB" or found["version"] < "1.5"


def test_a_difference_is_named() -> None:
    truths = {"month": readers.Truth(rows=1, nights={DAY: 5}), "year": readers.Truth()}
    found = {"month": {"summary": [0, 0, 0, 0, 1, 0]}, "crawl_date": 4, "snapshot_date": 5}
    assert len(readers.faults_of(found, truths, date(*DAY.timetuple()[:3]))) == 2
