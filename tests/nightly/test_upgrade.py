"""Region folders are given up: every row stays, whatever is killed when, and nothing foreign is lost."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from evenings import ask_for_region_folders, crawl, ids_of, on, rows_of, values
from steps import UPGRADE_STEPS

from crawler.history import ordered_rows, upgrading
from crawler.nightly.upgrading import upgrade
from crawler.nightly.world import World
from crawler.options import OutputSettings, RunSettings, Settings
from crawler.store import failpoints, video_file
from crawler.store.digests import damage_of_published
from crawler.store.layout import has_region_folders

ALL = ("--carry-forward",)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nights with region folders, the second one partly carried; not to be changed."""
    folder = tmp_path_factory.mktemp("nights")
    settings = ask_for_region_folders(folder)
    crawl(folder, ids_of(25), 0)
    crawl(folder, ids_of(25), 1, *ALL)
    settings.unlink()
    return folder


@pytest.fixture
def folder(nights: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(nights, tmp_path / "copy"))


def upgraded(folder: Path) -> upgrading.Upgraded:
    return upgrade(Settings(run=RunSettings(data=folder / "data")), World())


def contents(folder: Path) -> list[dict[tuple[str, str], Any]]:
    return [
        values([{**row, "region": as_value(row["region"])} for row in rows_of(folder, day)]) for day in (0, 1)
    ]


def as_value(region: str | None) -> str | None:
    none = "region=__HIVE_DEFAULT_PARTITION__"
    return None if region in (None, none) else str(region).removeprefix("region=")


def test_every_row_stays_and_the_next_night_reads_them(folder: Path) -> None:
    before = contents(folder)
    done = upgraded(folder)
    assert contents(folder) == before
    assert done == upgrading.Upgraded(2, sum(map(len, before)))
    for day in (0, 1):
        (path,) = (folder / "data" / "videos" / f"crawl_date={on(day)}").rglob("*.parquet")
        assert path.parent.name.startswith("crawl_date=")
        assert {row["snapshot_date"] for row in rows_of(folder, day)} == {date.fromisoformat(on(day))}
        assert damage_of_published(folder / "data", date.fromisoformat(on(day))) is None
    again = upgraded(folder)
    assert again == upgrading.Upgraded(0, 0)
    # A later run of the last date finds its snapshot whole, and the next one carries from it.
    crawl(folder, ids_of(25), 1, *ALL)
    report = crawl(folder, ids_of(25), 2, *ALL)
    assert report["carry_forward"]["carried"] > 0
    assert not [note for note in report["notes"] if "region folders" in note]


def test_a_run_keeps_region_folders_and_says_so(folder: Path) -> None:
    report = crawl(folder, ids_of(25), 2)
    assert any("crawler upgrade" in note for note in report["notes"])
    assert has_region_folders(folder / "data")
    regions = {as_value(row["region"]) for row in rows_of(folder, 2)}
    assert len(regions) > 2
    files = f"read_parquet('{folder}/data/videos/**/*.parquet', hive_partitioning=true)"
    counted = duckdb.sql(f"SELECT count(DISTINCT crawl_date) FROM {files}")
    assert counted is not None
    assert counted.fetchall() == [(3,)]


def test_a_folder_of_whole_nights_takes_no_region_folders(
    tmp_path: Path,
) -> None:
    crawl(tmp_path, ids_of(3), 0)
    assert has_region_folders(tmp_path / "data") is False
    ask_for_region_folders(tmp_path)
    report = crawl(tmp_path, ids_of(3), 1, code=2)
    assert "the nights under" in report["stderr"]


class Killed(BaseException):
    """What stands for a kill."""


@pytest.mark.parametrize("step", UPGRADE_STEPS)
def test_a_kill_at_any_step_leaves_the_old_nights_or_the_new_ones(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = contents(folder)

    def die(reached: str) -> None:
        if reached == step:
            raise Killed

    monkeypatch.setattr(failpoints, "on_reach", die)
    with pytest.raises(Killed):
        upgraded(folder)
    monkeypatch.undo()
    assert has_region_folders(folder / "data") is (step != "upgrade.exchanged")
    for day in (0, 1):
        assert damage_of_published(folder / "data", date.fromisoformat(on(day))) is None
    assert contents(folder) == before
    report = crawl(folder, ids_of(25), 2, *ALL)
    assert report["carry_forward"]["carried"] > 0
    upgraded(folder)
    assert contents(folder) == before
    assert has_region_folders(folder / "data") is False


def test_damage_and_strangers_are_refused_and_nothing_is_changed(folder: Path) -> None:
    videos = folder / "data" / "videos"
    stranger = videos / "README.txt"
    stranger.write_text("mine")
    before = sorted(videos.rglob("*"))
    with pytest.raises(Exception, match=r"README.txt is no file of a night"):
        upgraded(folder)
    stranger.unlink()
    path = next(path for path in before if path.suffix == ".parquet")
    content = path.read_bytes()
    path.write_bytes(content[:-9] + b"x" + content[-8:])
    with pytest.raises(Exception, match=r"damaged.*nothing was changed"):
        upgraded(folder)
    path.write_bytes(content)
    assert sorted(videos.rglob("*")) == [each for each in before if each != stranger]
    upgraded(folder)


def test_a_file_that_came_out_wrong_is_not_published(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_file, "regions_of", lambda folders: pa.array(["XX"] * len(folders)))
    with pytest.raises(Exception, match="has other rows than the old ones"):
        upgraded(folder)
    assert has_region_folders(folder / "data")


def test_large_sellers_are_read_in_pieces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered_rows, "_PART_ROWS", 40)
    before = contents(folder)
    upgraded(folder)
    assert contents(folder) == before
    (path,) = (folder / "data" / "videos" / f"crawl_date={on(0)}").rglob("*.parquet")
    places = [(row["seller_id"], row["position"]) for row in pq.ParquetFile(path).read().to_pylist()]
    assert places == sorted(places)


def test_settings_that_ask_for_region_folders_keep_them(folder: Path) -> None:
    settings = Settings(
        run=RunSettings(data=folder / "data"), output=OutputSettings(partition_by=("crawl_date", "region"))
    )
    with pytest.raises(Exception, match="leave it out, then upgrade"):
        upgrade(settings, World())
