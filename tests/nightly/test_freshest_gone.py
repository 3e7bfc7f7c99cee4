"""Videos that leave sellers read in stretches by `--strategy freshest`: each is gone in `changes/`, once."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from test_freshest_nights import BEGIN, Nights

from crawler.history.gains import GainHistory
from crawler.models.api import Value

LAST = 4
OPTIONS = ("--max-age", "2")
KINDS = ("since", "until", "kind", "region", "create_time")
Key = tuple[str, str]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nights with seven tenths of their cost, and with their answers."""
    nights = Nights(tmp_path_factory.mktemp("gone"))
    settings = nights.folder / "config" / "crawler.toml"
    settings.parent.mkdir()
    settings.write_text("[output]\nkeep_raw = true\n")
    budget = nights.run(0)["charged"] * 7 // 10
    for number in range(1, LAST + 1):
        nights.run(number, "--budget", str(budget), *OPTIONS)
    return nights.folder


@pytest.fixture
def nights(published: Path, tmp_path: Path) -> Nights:
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    return Nights(tmp_path)


def gone(nights: Nights, number: int) -> dict[Key, dict[str, Any]]:
    rows = [row for row in nights.rows("changes", number) if row["kind"] == "gone"]
    found = {(row["seller_id"], row["video_id"]): row for row in rows}
    assert len(found) == len(rows)
    return found


def lost(nights: Nights, number: int) -> dict[Key, dict[str, Any]]:
    """The rows of the night before that a night has no more."""
    before, now = nights.videos(number - 1), nights.videos(number)
    return {key: before[key] for key in before.keys() - now.keys()}


def test_what_a_night_lost_is_gone_in_its_changes(nights: Nights) -> None:
    of_stretches = 0
    for number in range(1, LAST + 1):
        missing, told, sellers = lost(nights, number), gone(nights, number), nights.sellers(number)
        assert missing.keys() == told.keys()
        for key, row in missing.items():
            known = [told[key][name] for name in ("since", "region", "create_time")]
            assert known == [row["crawled_at"], row["region"], row["create_time"]]
            assert told[key]["until"] > told[key]["since"]
            of_stretches += sellers[key[0]]["stretches"] is not None
        assert sum(row["gone"] or 0 for row in sellers.values()) == len(told)
        done = nights.job.call("changes", "--crawl-date", nights.day(number), "--json")
        assert orjson.loads(done.stdout)["totals"]["gone"]["videos"] == len(told)
    assert of_stretches


@pytest.mark.parametrize("words", [("changes", "--rebuild"), ("rebuild",)])
def test_changes_made_anew_are_the_same(nights: Nights, words: tuple[str, ...]) -> None:
    before = nights.rows("changes", LAST)
    if words == ("rebuild",):
        for path in (nights.job.data / "state" / "journal").glob(f"{nights.day(LAST)}*.sqlite*"):
            path.unlink()
    else:
        shutil.rmtree(nights.job.data / "changes" / f"crawl_date={nights.day(LAST)}")
    done = nights.job.call(*words, "--crawl-date", nights.day(LAST))
    assert done.returncode == 0, done.stderr
    assert nights.rows("changes", LAST) == before
    assert lost(nights, LAST).keys() == gone(nights, LAST).keys()


def test_a_held_night_that_is_accepted_has_what_it_lost(nights: Nights) -> None:
    number = LAST + 1
    nights.run(number, "--budget", "90", *OPTIONS, outage="zeros", code=10)
    done = nights.job.call("publish", "--crawl-date", nights.day(number), "--accept")
    assert done.returncode == 0, done.stderr
    missing, sellers = lost(nights, number), nights.sellers(number)
    assert missing.keys() == gone(nights, number).keys()
    assert any(sellers[key[0]]["stretches"] is not None for key in missing)


@pytest.mark.parametrize("value", [Value.VIEWS, pytest.param(Value.ROWS, marks=pytest.mark.long)])
def test_what_left_is_learnt_as_no_loss(nights: Nights, value: Value) -> None:
    """Learnt is the same as if no video were gone."""
    ids = pa.array(sorted(nights.sellers(0)), pa.string())
    days = [BEGIN + timedelta(number) for number in range(LAST + 1)]
    known = [*GainHistory(nights.job.data, value, ids).readings(days)]
    for path in (nights.job.data / "changes").rglob("*.parquet"):
        rows = pq.ParquetFile(path).read()
        pq.write_table(rows.filter(pc.field("kind") != "gone"), path)
    assert [*GainHistory(nights.job.data, value, ids).readings(days)] == known
    assert known
    assert all(reading.gain >= 0 for reading in known) or value is Value.VIEWS
