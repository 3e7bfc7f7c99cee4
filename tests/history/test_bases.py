"""What stands for sellers that are not read, as a run finds it and as a plan does."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
from snapshot_files import DAY, FIRST_DATE, START, Seller, Video, publish

from crawler.options import RunSettings, Settings
from crawler.planning.freshest_plan import tonight
from crawler.store.layout import SELLERS, Layout

TONIGHT = FIRST_DATE + timedelta(2)
LISTED = pa.array(["s"], pa.string())


def seller(night: int, videos: int, status: str = "complete") -> Seller:
    at = START + night * DAY
    return Seller("s", [Video(f"v{number}", 1, at) for number in range(videos)], at, status)


def ages(data: Path) -> list[int]:
    found = tonight(Settings(run=RunSettings(data=data)), LISTED, TONIGHT)
    return [stretch.age for stretch in found.listed.stretches if stretch.is_known]


def sellers_file(data: Path, day: date) -> Path:
    (path,) = Layout(data).snapshot(SELLERS, day).glob("*.parquet")
    return path


def test_a_plan_takes_the_older_night_of_a_seller_that_was_cut_off_since(tmp_path: Path) -> None:
    publish(tmp_path, FIRST_DATE, [seller(0, 5)])
    publish(tmp_path, FIRST_DATE + timedelta(1), [replace(seller(1, 2), status="partial")])
    assert ages(tmp_path) == [2]


def test_a_snapshot_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    publish(tmp_path, FIRST_DATE, [seller(0, 5)])
    publish(tmp_path, FIRST_DATE + timedelta(1), [seller(1, 5)])
    assert ages(tmp_path) == [1]
    sellers_file(tmp_path, FIRST_DATE + timedelta(1)).write_bytes(b"rubbish")
    found = tonight(Settings(run=RunSettings(data=tmp_path)), LISTED, TONIGHT)
    assert [stretch.age for stretch in found.listed.stretches] == [2]
    assert "2024-10-05" in str(found.warnings[0])
