"""What stands for sellers that are not read, as a run finds it and as a plan does."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from snapshot_files import DAY, FIRST_DATE, START, Seller, Video, publish

from crawler.history.bases import IntactVideos, KnownSnapshot, bases
from crawler.history.reader import SnapshotFiles, UnreadableError, published_dates
from crawler.options import RunSettings, Settings
from crawler.planning.freshest_plan import tonight
from crawler.store.layout import SELLERS, VIDEOS, Layout
from crawler.store.records import Base

TONIGHT = FIRST_DATE + timedelta(2)
LISTED = pa.array(["s"], pa.string())


def seller(night: int, videos: int, status: str = "complete") -> Seller:
    at = START + night * DAY
    return Seller("s", [Video(f"v{number}", 1, at) for number in range(videos)], at, status)


def ages(data: Path) -> list[int]:
    found = tonight(Settings(run=RunSettings(data=data)), LISTED, TONIGHT)
    return [stretch.age for stretch in found.listed.stretches if stretch.is_known]


def known(data: Path) -> dict[str, Base]:
    """What stands for each seller tonight."""
    snapshots = (
        KnownSnapshot(
            day,
            SnapshotFiles.published(data, SELLERS, day),
            partial(IntactVideos, SnapshotFiles.published(data, VIDEOS, day)),
        )
        for day in published_dates(data)
    )
    return dict(bases(snapshots, LISTED, TONIGHT, 7, "", unexpected).items())


def unexpected(day: date, error: UnreadableError) -> None:
    raise AssertionError(f"{day}: {error}")


def sellers_file(data: Path, day: date) -> Path:
    (path,) = Layout(data).snapshot(SELLERS, day).glob("*.parquet")
    return path


def test_a_plan_takes_the_older_night_of_a_seller_that_was_cut_off_since(tmp_path: Path) -> None:
    publish(tmp_path, FIRST_DATE, [seller(0, 5)])
    publish(tmp_path, FIRST_DATE + timedelta(1), [replace(seller(1, 2), status="partial")])
    assert ages(tmp_path) == [2]


@pytest.mark.parametrize(("first", "second", "taken"), [(25, 12, 0), (12, 25, 1), (25, 25, 1)])
def test_of_nights_that_all_cut_a_seller_off_the_one_with_most_videos_counts(
    tmp_path: Path, first: int, second: int, taken: int
) -> None:
    for night, videos in enumerate((first, second)):
        publish(tmp_path, FIRST_DATE + timedelta(night), [replace(seller(night, videos), status="partial")])
    (base,) = known(tmp_path).values()
    assert (base.source, base.videos) == (FIRST_DATE + timedelta(taken), 25)
    assert base.last_read == [None]


def test_rows_of_a_list_that_shrank_to_one_stretch_leave(tmp_path: Path) -> None:
    """It was read from its first page to its end, but as one stretch of several: rows stay for a while."""
    read, old = seller(1, 3), FIRST_DATE - timedelta(7)
    videos = [replace(video, carried_from=old if n else None) for n, video in enumerate(read.videos)]
    day = FIRST_DATE + timedelta(1)
    publish(tmp_path, day, [replace(read, videos=videos, carried=2, stretches=f'["{day}"]')])
    base = known(tmp_path)["s"]
    assert (base.videos, base.last_read, base.since) == (1, [day], TONIGHT - timedelta(7))


@pytest.mark.parametrize("videos", [3, 85])
def test_rows_that_carry_forward_took_stay_until_their_pages_are_read(tmp_path: Path, videos: int) -> None:
    """How old their pages are is not known, and they may be older than tonight's --max-age."""
    read, old = seller(1, videos), FIRST_DATE - timedelta(20)
    rows = [replace(video, carried_from=old if n else None) for n, video in enumerate(read.videos)]
    publish(tmp_path, FIRST_DATE + timedelta(1), [replace(read, videos=rows, carried=videos - 1)])
    base = known(tmp_path)["s"]
    assert (base.videos, base.since) == (videos, None)


def test_a_seller_that_failed_anew_is_as_whole_as_what_is_kept_of_it(tmp_path: Path) -> None:
    publish(tmp_path, FIRST_DATE, [replace(seller(0, 25), status="failed", kept_status="complete")])
    assert known(tmp_path)["s"].last_read == [FIRST_DATE]


def test_a_snapshot_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    publish(tmp_path, FIRST_DATE, [seller(0, 5)])
    publish(tmp_path, FIRST_DATE + timedelta(1), [seller(1, 5)])
    assert ages(tmp_path) == [1]
    sellers_file(tmp_path, FIRST_DATE + timedelta(1)).write_bytes(b"rubbish")
    found = tonight(Settings(run=RunSettings(data=tmp_path)), LISTED, TONIGHT)
    assert [stretch.age for stretch in found.listed.stretches] == [2]
    assert "2024-10-05" in str(found.warnings[0])


def test_only_nights_that_something_stands_on_are_verified(tmp_path: Path) -> None:
    """A new seller is looked for in all of them, and to verify a night is to read it whole."""
    publish(tmp_path, FIRST_DATE, [seller(0, 5)])
    publish(tmp_path, FIRST_DATE + timedelta(1), [seller(1, 5)])
    verified: list[date] = []

    def snapshot(day: date) -> KnownSnapshot:
        def verify() -> IntactVideos:
            verified.append(day)
            return IntactVideos(SnapshotFiles.published(tmp_path, VIDEOS, day))

        return KnownSnapshot(day, SnapshotFiles.published(tmp_path, SELLERS, day), verify)

    listed = pa.array(["new", "s"], pa.string())
    snapshots = map(snapshot, published_dates(tmp_path))
    assert [*bases(snapshots, listed, TONIGHT, 7, "", unexpected).ids.to_pylist()] == ["s"]
    assert verified == [FIRST_DATE + timedelta(1)]
