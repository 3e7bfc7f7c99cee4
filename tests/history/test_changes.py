"""What moved from snapshot to snapshot: each kind of change, and that gains add up over any nights."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snapshot_files import DAY, FIRST_DATE, HOUR, START, Seller, Video, publish

from crawler.history import compared_parts as module
from crawler.history.changes import Comparison, compare
from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.models.api import COUNT_COLUMNS
from crawler.models.dataset import SELLER_SUMS
from crawler.store.layout import SELLERS, VIDEOS, Layout
from crawler.store.schema import CHANGES_SCHEMA, RESTS_ON, RUN, SUMMED_SELLER_SCHEMA

WINDOW, LAG = timedelta(days=90), timedelta(hours=48)
Row = dict[str, Any]


@dataclass(frozen=True)
class Result:
    rows: list[Row]
    sellers: dict[str, Row]
    comparison: Comparison

    def of(self, video_id: str) -> Row:
        (row,) = (row for row in self.rows if row["video_id"] == video_id)
        return row

    @property
    def kinds(self) -> dict[str, str]:
        return {row["video_id"]: row["kind"] for row in self.rows}


class Nights:
    """A data folder whose nights are numbered from 0; a night is read at its midnight unless it says else."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def publish(self, night: int, *sellers: Seller, run_id: str = "") -> None:
        publish(self.data, day_of(night), sellers, run_id or f"run{night}")

    def compare(self, night: int, window: timedelta = WINDOW) -> Result:
        day = day_of(night)
        videos, sellers = (SnapshotFiles.published(self.data, kind, day) for kind in (VIDEOS, SELLERS))
        files = self.data / "changes.parquet", self.data / "sellers.parquet"
        found = compare(self.data, day, videos, sellers, *files, f"run{night}", window, LAG)
        changes, summed = map(pq.ParquetFile, files)
        assert changes.schema_arrow.remove_metadata() == CHANGES_SCHEMA
        assert summed.schema_arrow.remove_metadata() == SUMMED_SELLER_SCHEMA
        rows = [{**row, **in_milliseconds(row)} for row in changes.read().to_pylist()]
        assert [key(row) for row in rows] == sorted(map(key, rows))
        by_seller = {row["seller_id"]: row for row in summed.read().to_pylist()}
        return Result(rows, by_seller, found)


def key(row: Row) -> tuple[str, str]:
    return row["seller_id"], row["video_id"]


def in_milliseconds(row: Row) -> Row:
    names = ("create_time", "since", "until")
    return {n: None if row[n] is None else round(row[n].timestamp() * 1000) for n in names}


def day_of(night: int) -> date:
    return FIRST_DATE + timedelta(days=night)


def at(night: float, minutes: int = 0) -> int:
    return START + round(night * DAY) + minutes * 60_000


def video(name: str, views: int | None, night: float, minutes: int = 0, **others: Any) -> Video:
    return Video(name, views, at(night, minutes), **others)


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


def whole(night: float, *videos: Video, seller: str = "s") -> Seller:
    return Seller(seller, videos, at(night))


def test_a_video_created_since_the_last_whole_reading_is_published(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 5, 0)))
    young, old = at(-2, 1), at(-2)
    nights.publish(
        1, whole(1, video("a", 5, 1), video("b", 7, 1, created=young), video("c", 9, 1, created=old))
    )
    result = nights.compare(1)
    assert result.kinds == {"b": "published", "c": "discovered"}
    row = result.of("b")
    assert (row["since"], row["until"], row["total_views_cnt"], row["total_views_cnt_gain"]) == (
        None,
        at(1),
        7,
        7,
    )
    assert row["days"] == pytest.approx((at(1) - young) / DAY)
    assert (row["region"], row["create_time"]) == ("MY", young)


def test_a_video_that_is_old_or_whose_seller_was_never_read_whole_is_discovered(nights: Nights) -> None:
    nights.publish(0, replace(whole(0, video("a", 5, 0)), status="partial"))
    nights.publish(1, whole(1, video("b", 7, 1, created=at(0.5)), video("c", 7, 1, created=None)))
    result = nights.compare(1)
    assert result.kinds == {"a": "gone", "b": "discovered", "c": "discovered"}
    row = result.of("b")
    assert (row["since"], row["days"], row["total_views_cnt"]) == (None, None, 7)
    assert all(row[f"{name}_gain"] is None for name in COUNT_COLUMNS)


def test_a_video_that_was_last_seen_before_the_window_is_discovered(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 5, 0)))
    nights.publish(30, whole(30, video("a", 6, 30)))
    assert nights.compare(30, timedelta(days=30)).kinds == {"a": "changed"}
    assert nights.compare(30, timedelta(days=29)).kinds == {"a": "discovered"}
    nights.publish(30, whole(30, video("b", 6, 30)))
    assert nights.compare(30, timedelta(days=29)).kinds == {"b": "discovered"}


def in_stretches(night: float, days: Sequence[int | None], *videos: Video) -> Seller:
    """A seller of which some rows are carried, each stretch last read on one of these nights."""
    text = orjson.dumps([None if day is None else day_of(day) for day in days]).decode()
    carried = sum(video.carried_from is not None for video in videos)
    return Seller("s", videos, at(night), carried=carried, stretches=text)


def test_rows_of_stretches_are_compared_and_the_others_are_not(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 5, 0), video("b", 5, 0), video("c", 5, 0)))
    carried = replace(video("b", 5, 0), carried_from=day_of(0))
    nights.publish(1, in_stretches(1, [1, 0], video("a", 8, 1), carried))
    result = nights.compare(1)
    assert result.kinds == {"a": "changed"}, "what a stretch lacks is not gone"
    assert (result.sellers["s"]["views"], result.sellers["s"]["views_gain"]) == (13, 3)


def test_a_seller_read_in_stretches_alone_has_a_baseline(nights: Nights) -> None:
    """By then every page was read: a younger video is new, and one that no page shows again is gone."""
    nights.publish(0, whole(0, video("a", 5, 0), video("b", 5, 0)))
    for night in range(1, 4):
        read, left = ("a", "b") if night % 2 else ("b", "a")
        carried = replace(video(left, 4 + night, night - 1), carried_from=day_of(night - 1))
        days = [night, night - 1]
        nights.publish(night, in_stretches(night, days, video(read, 5 + night, night), carried))
    window = timedelta(days=3)
    new = video("n", 4, 4, created=at(3.5))
    nights.publish(4, in_stretches(4, [4, 3], new, replace(video("a", 8, 3), carried_from=day_of(3))))
    assert nights.compare(4, window).kinds == {"n": "published"}
    nights.publish(4, whole(4, video("a", 9, 4), new))
    assert nights.compare(4, window).kinds == {"a": "changed", "n": "published", "b": "gone"}


def test_a_seller_some_of_whose_pages_were_never_read_has_no_baseline(nights: Nights) -> None:
    nights.publish(0, in_stretches(0, [0, None], video("a", 5, 0)))
    nights.publish(1, whole(1, video("b", 7, 1, created=at(0.5))))
    assert nights.compare(1).kinds == {"a": "gone", "b": "discovered"}


def carried(row: Video, night: int) -> Video:
    return replace(row, carried_from=day_of(night))


def unread(seller: Seller) -> Seller:
    """A seller of which nothing was read that night."""
    return replace(seller, at=None)


SEEN = video("b", 5, 0, 90, region="TH", created=at(-9))
"""A video that no page shows any more after the first night."""


def outlive(nights: Nights, last: int, *others: Seller) -> None:
    """Publish nights up to one that still carries `SEEN`, though each stretch was read again by the third."""
    nights.publish(0, whole(0, video("a", 5, 0), video("c", 5, 0), SEEN), *others)
    for night in range(1, last + 1):
        new, old = ("a", "c") if night % 2 else ("c", "a")
        rows = [video(new, 5, night), carried(video(old, 5, night - 1), night - 1), carried(SEEN, 0)]
        nights.publish(night, in_stretches(night, [night, night - 1], *rows))


def left(night: int) -> Seller:
    """The seller when `SEEN` has left it."""
    rows = [carried(video("a", 5, night - 1), night - 1), video("c", 5, night)]
    return in_stretches(night, [night - 1, night], *rows)


@pytest.mark.parametrize("max_rows", [65_536, 1])
def test_a_row_that_leaves_a_seller_read_in_stretches_is_gone_once(
    nights: Nights, max_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", max_rows)
    outlive(nights, 3)
    nights.publish(4, left(4))
    nights.publish(5, left(5))
    nights.publish(6, whole(6, video("a", 5, 6), video("c", 5, 6)))
    assert [nights.compare(night).kinds for night in range(1, 4)] == [{}, {}, {}]
    result = nights.compare(4)
    assert result.kinds == {"b": "gone"}
    assert result.comparison.counts["gone"] == result.sellers["s"]["gone"] == 1
    row = result.of("b")
    known = (row["region"], row["create_time"], row["since"], row["until"])
    assert known == ("TH", at(-9), at(0, 90), at(4))
    assert row["days"] == pytest.approx(4 - 90 / 1440)
    assert all(row[name] is None and row[f"{name}_gain"] is None for name in COUNT_COLUMNS)
    assert result.comparison.rests_on[day_of(3)] == "run3"
    assert nights.compare(5).rows == nights.compare(6).rows == []


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_row_that_left_and_comes_back_has_returned(nights: Nights, *, is_whole: bool) -> None:
    outlive(nights, 3)
    nights.publish(4, left(4))
    rows = [video("b", 5, 5), *left(5).videos]
    nights.publish(5, whole(5, *rows[::2], video("a", 5, 5)) if is_whole else in_stretches(5, [4, 5], *rows))
    result = nights.compare(5)
    assert result.kinds == {"b": "returned"}
    assert (result.of("b")["since"], result.of("b")["total_views_cnt_gain"]) == (at(0, 90), 0)


def test_a_row_that_was_read_shortly_before_its_seller_s_oldest_stretch_returns_as_well(
    nights: Nights,
) -> None:
    """By the clock it may have been seen when the next crawl date had begun elsewhere on earth."""
    late = video("b", 5, 0, 23 * 60)
    nights.publish(0, whole(0, video("a", 5, 0), late))
    nights.publish(1, in_stretches(1, [1, 1], video("a", 5, 1), carried(late, 0)))
    nights.publish(2, in_stretches(2, [1, 2], carried(video("a", 5, 1), 1), video("c", 5, 2)))
    assert nights.compare(2).kinds["b"] == "gone"
    nights.publish(3, in_stretches(3, [3, 2], video("a", 5, 3), video("b", 5, 3)))
    assert nights.compare(3).kinds == {"b": "returned"}
    nights.publish(3, whole(3, video("a", 5, 3), video("c", 5, 3)))
    assert nights.compare(3).kinds == {}


def test_a_row_that_stayed_and_is_seen_again_has_not_returned(nights: Nights) -> None:
    outlive(nights, 3)
    for views, kinds in ((5, {}), (6, {"b": "changed"}), (4, {"b": "corrected"})):
        rows = [video("a", 5, 4), video("b", views, 4), carried(video("c", 5, 2), 2)]
        nights.publish(4, in_stretches(4, [4, 2], *rows))
        assert nights.compare(4).kinds == kinds


def test_a_row_leaves_a_seller_that_nobody_read_as_well(nights: Nights) -> None:
    other = whole(0, video("z", 5, 0), seller="a")
    outlive(nights, 3, other)
    gone = unread(in_stretches(4, [3, 2], carried(video("a", 5, 3), 3), carried(video("c", 5, 2), 2)))
    nights.publish(4, gone, replace(other, videos=[video("z", 7, 4)], at=at(4)))
    result = nights.compare(4)
    assert result.kinds == {"b": "gone", "z": "changed"}
    assert (result.of("b")["since"], result.of("b")["until"]) == (at(0, 90), at(4))
    assert [result.sellers["s"][name] for name in ("gone", "views", "views_gain", "changed")] == [
        1,
        10,
        None,
        None,
    ]
    nights.publish(4, gone)
    assert nights.compare(4).kinds == {"b": "gone"}, "nothing was read of anybody"
    nights.publish(5, unread(in_stretches(5, [3, 2], *gone.videos)))
    nights.publish(6, whole(6, video("a", 5, 6), video("c", 5, 6)))
    assert nights.compare(5).rows == nights.compare(6).rows == []


def test_a_whole_reading_shows_which_carried_rows_are_gone(nights: Nights) -> None:
    outlive(nights, 3)
    nights.publish(4, whole(4, video("a", 5, 4)))
    result = nights.compare(4)
    assert result.kinds == {"b": "gone", "c": "gone"}
    assert (result.of("b")["since"], result.of("c")["since"]) == (at(0, 90), at(2))


def test_what_another_strategy_cut_off_has_not_left(nights: Nights) -> None:
    outlive(nights, 3)
    nights.publish(4, cut_off(whole(4, video("a", 5, 4), video("n", 5, 4, created=at(3.9)))))
    assert nights.compare(4).kinds == {"n": "published"}
    rows = [video("a", 5, 5), carried(video("c", 5, 2), 2)]
    nights.publish(5, in_stretches(5, [5, 2], *rows, carried(SEEN, 0)))
    assert nights.compare(5).kinds == {}, "it stands on the night before"
    nights.publish(5, in_stretches(5, [5, 2], *rows))
    assert nights.compare(5).kinds == {"b": "gone"}
    nights.publish(5, whole(5, video("a", 5, 5)))
    assert nights.compare(5).kinds == {"b": "gone", "c": "gone", "n": "gone"}


def test_a_video_with_other_counters_has_changed(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 5, 0), video("b", 5, 0), video("c", None, 0), video("d", None, 0)))
    nights.publish(1, whole(1, video("a", 8, 1, 30), video("b", 5, 1), video("c", 2, 1), video("d", None, 1)))
    result = nights.compare(1)
    assert result.kinds == {"a": "changed", "c": "changed"}
    row = result.of("a")
    assert (row["since"], row["until"]) == (at(0), at(1, 30))
    assert row["days"] == pytest.approx(1 + 30 / 1440)
    assert [row[f"{name}_gain"] for name in COUNT_COLUMNS] == [3] * 6
    assert result.of("c")["total_views_cnt_gain"] is None


def test_a_video_whose_counter_fell_is_corrected(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 5, 0)))
    nights.publish(1, whole(1, video("a", 3, 1)))
    result = nights.compare(1)
    assert result.kinds == {"a": "corrected"}
    assert result.of("a")["total_video_sale_gmv_amt_gain"] == -2


def test_a_video_that_a_whole_seller_no_longer_has_is_gone_once(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 5, 0, region="TH", created=at(-9)), video("b", 1, 0)))
    nights.publish(1, whole(1, video("b", 1, 1)))
    nights.publish(2, whole(2, video("b", 1, 2)))
    result = nights.compare(1)
    assert result.kinds == {"a": "gone"}
    row = result.of("a")
    assert (row["region"], row["create_time"], row["since"], row["until"], row["days"]) == (
        "TH",
        at(-9),
        at(0),
        at(1),
        1.0,
    )
    assert all(row[name] is None and row[f"{name}_gain"] is None for name in COUNT_COLUMNS)
    assert nights.compare(2).rows == []


def test_a_seller_that_has_no_videos_any_more_loses_all(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 5, 0)))
    nights.publish(1, whole(1))
    result = nights.compare(1)
    assert result.kinds == {"a": "gone"}
    assert (result.sellers["s"]["views"], result.sellers["s"]["gone"]) == (0, 1)


@pytest.mark.parametrize("views", [5, 9, 3])
def test_a_video_that_was_gone_has_returned(nights: Nights, views: int) -> None:
    nights.publish(0, whole(0, video("a", 5, 0)))
    nights.publish(1, whole(1))
    nights.publish(2, whole(2, video("a", views, 2)))
    nights.publish(3, whole(3, video("a", views, 3)))
    result = nights.compare(2)
    assert result.kinds == {"a": "returned"}
    row = result.of("a")
    assert (row["since"], row["days"], row["total_views_cnt_gain"]) == (at(0), 2.0, views - 5)
    assert nights.compare(3).rows == []


def cut_off(seller: Seller) -> Seller:
    return replace(seller, status="partial")


def failed(seller: Seller) -> Seller:
    return replace(seller, status="failed")


def with_a_gap(seller: Seller) -> Seller:
    return replace(seller, drift=1)


def kept_cut_off(seller: Seller) -> Seller:
    return replace(seller, status="failed", kept_status="partial")


@pytest.mark.parametrize("reading", [cut_off, failed, with_a_gap, kept_cut_off])
def test_what_an_incomplete_reading_lacks_is_not_gone(
    nights: Nights, reading: Callable[[Seller], Seller]
) -> None:
    nights.publish(0, whole(0, video("a", 5, 0), video("b", 5, 0)))
    nights.publish(1, reading(whole(1, video("b", 6, 1))))
    nights.publish(2, whole(2, video("a", 7, 2), video("b", 6, 2)))
    assert nights.compare(1).kinds == {"b": "changed"}
    result = nights.compare(2)
    assert result.kinds == {"a": "changed"}
    assert (result.of("a")["since"], result.of("a")["total_views_cnt_gain"]) == (at(0), 2)


def test_a_video_last_seen_by_an_incomplete_reading_is_gone_as_well(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 5, 0)))
    nights.publish(1, cut_off(whole(1, video("b", 5, 1, created=at(0)))))
    nights.publish(2, whole(2))
    result = nights.compare(2)
    assert result.kinds == {"a": "gone", "b": "gone"}
    assert result.of("b")["since"] == at(1)
    assert result.comparison.rests_on == {day_of(0): "run0", day_of(1): "run1"}


def test_a_seller_whose_rows_were_kept_is_as_whole_as_these_are(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 5, 0)))
    nights.publish(1, replace(whole(1), status="failed", kept_status="complete"))
    assert nights.compare(1).kinds == {"a": "gone"}


def test_of_a_seller_that_was_not_asked_or_failed_nothing_is_known(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 5, 0)), whole(0, video("b", 5, 0), seller="t"))
    nights.publish(1, Seller("t", status="pending"), Seller("s", status="failed"))
    result = nights.compare(1)
    assert result.rows == []
    assert [result.sellers[name]["views"] for name in "st"] == [None, None]
    assert [result.sellers[name]["views_gain"] for name in "st"] == [None, None]
    assert [result.sellers[name]["gone"] for name in "st"] == [None, None]


def test_of_a_seller_that_was_carried_nothing_is_known(nights: Nights) -> None:
    carried = video("a", 5, 0, carried_from=day_of(0))
    nights.publish(0, whole(0, video("a", 5, 0), video("b", 1, 0)))
    nights.publish(1, replace(whole(1, carried, video("b", 1, 1)), carried=1))
    nights.publish(2, whole(2, video("a", 6, 2)))
    result = nights.compare(1)
    assert result.rows == []
    assert (result.sellers["s"]["views"], result.sellers["s"]["views_gain"]) == (6, None)
    result = nights.compare(2)
    assert result.kinds == {"a": "changed", "b": "gone"}
    assert (result.of("a")["since"], result.of("b")["since"]) == (at(0), at(1))


def test_a_date_that_was_read_late_is_no_yardstick_for_what_was_read_before(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 5, 0)))
    nights.publish(1, whole(3, video("a", 9, 3)))
    nights.publish(2, whole(2, video("a", 7, 2)))
    assert nights.compare(2).of("a")["total_views_cnt_gain"] == 2
    assert nights.compare(1).of("a")["since"] == at(2)
    assert nights.compare(1).comparison.rests_on == {day_of(2): "run2"}
    assert nights.compare(0).kinds == {"a": "discovered"}


def test_readings_that_overlap_are_compared_row_by_row(nights: Nights) -> None:
    """A date that was cut off, and gone on with after the next one was read."""
    nights.publish(0, whole(0, video("a", 1, 0), video("b", 1, 0)))
    nights.publish(1, Seller("s", (video("a", 2, 1), video("b", 4, 3))))
    nights.publish(2, Seller("s", (video("a", 3, 2), video("b", 3, 2))))
    first, second = nights.compare(1), nights.compare(2)
    assert {row["video_id"]: row["since"] for row in first.rows} == {"a": at(0), "b": at(2)}
    assert {row["video_id"]: row["since"] for row in second.rows} == {"a": at(1), "b": at(0)}
    assert sum(row["total_views_cnt_gain"] for row in (*first.rows, *second.rows)) == 2 + 3


def test_the_newest_observation_counts_though_its_reading_ended_first(nights: Nights) -> None:
    nights.publish(0, Seller("s", (video("a", 1, 0), video("b", 4, 4))))
    nights.publish(1, Seller("s", (video("a", 2, 2), video("b", 3, 3))))
    nights.publish(2, whole(5, video("a", 9, 5), video("b", 9, 5)))
    rows = nights.compare(2).rows
    assert {row["video_id"]: row["since"] for row in rows} == {"a": at(2), "b": at(4)}


def test_a_damaged_snapshot_is_left_out_with_a_warning(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 5, 0)))
    nights.publish(1, whole(1, video("a", 6, 1)))
    nights.publish(2, whole(2, video("a", 7, 2)))
    for kind in (VIDEOS, SELLERS):
        (path, *_) = SnapshotFiles.published(nights.data, kind, day_of(1)).paths[::-1]
        content = path.read_bytes()
        path.write_bytes(content[:60])
        result = nights.compare(2)
        assert (result.of("a")["since"], result.comparison.rests_on) == (at(0), {day_of(0): "run0"})
        (warning,) = result.comparison.warnings
        assert day_of(1).isoformat() in warning
        path.write_bytes(content)
    assert nights.compare(2).comparison.warnings == ()


def test_a_snapshot_whose_videos_are_lost_found_nothing_out(nights: Nights) -> None:
    for night in range(3):
        nights.publish(night, whole(night, video("a", 5, night)))
    shutil.rmtree(Layout(nights.data).snapshot(VIDEOS, day_of(1)))
    assert nights.compare(2).kinds == {}


def test_a_damaged_snapshot_of_tonight_is_refused(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 5, 0)))
    (path, *_) = SnapshotFiles.published(nights.data, VIDEOS, day_of(0)).paths
    path.write_bytes(b"rubbish")
    with pytest.raises(UnreadableError):
        nights.compare(0)


def test_files_name_their_run_and_what_they_rest_on(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 5, 0)))
    nights.publish(1, whole(1, video("a", 5, 1)))
    assert nights.compare(1).rows == []
    metadata = pq.ParquetFile(nights.data / "changes.parquet").metadata.metadata or {}
    assert metadata[RUN.encode()] == b"run1"
    assert orjson.loads(metadata[RESTS_ON.encode()]) == {day_of(0).isoformat(): "run0"}


def test_sellers_gain_sums_and_counts(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 5, 0), video("b", 5, 0), video("c", 1, 0)), whole(0, seller="t"))
    new = video("d", 10, 1, created=at(0.5))
    nights.publish(1, whole(1, video("a", 4, 1), video("b", 8, 1), new), whole(1, seller="t"))
    result = nights.compare(1)
    summed = {name: result.sellers["s"][name] for name in SELLER_SUMS}
    assert summed == {
        "views": 22,
        "sales": 22,
        "gmv": 22.0,
        "views_gain": 12,
        "sales_gain": 12,
        "gmv_gain": 12.0,
        "published": 1,
        "discovered": 0,
        "gone": 1,
        "changed": 2,
    }
    assert [result.sellers["t"][name] for name in ("views", "views_gain", "changed")] == [0, 0, 0]
    assert result.comparison.gains == {"views_gain": 12, "sales_gain": 12, "gmv_gain": 12.0}
    assert sum(result.comparison.counts.values()) == 4


def test_sellers_after_one_that_is_read_in_pieces_come_after_it(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART_ROWS", 1)
    monkeypatch.setattr(module, "MAX_ROWS", 1)
    nights.publish(0, whole(0, video("v0", 1, 0), seller="t"))
    nights.publish(1, whole(1, video("v1", 1, 1), seller="s"), whole(1, seller="t"))
    assert [row["seller_id"] for row in nights.compare(1).rows] == ["s", "t"]


def test_a_video_observed_at_its_creation_returns(nights: Nights) -> None:
    nights.publish(0, whole(0, video("a", 3, 0, created=at(0))))
    nights.publish(1, whole(1))
    nights.publish(2, whole(2, video("a", 5, 2, created=at(0))))
    assert nights.compare(2).of("a")["total_views_cnt_gain"] == 2


SELLERS_OF_ALL = ("s", "t", "u")


@dataclass
class Shop:
    """What the API would answer of one seller as a history goes on."""

    views: dict[str, int]
    created: dict[str, int]


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, int, list[Seller]]]:
    """Crawls in the order of their times: date, number of the crawl, and sellers as published.

    Dates may be skipped, read late, crawled again in place of an earlier crawl, and sellers may be cut off,
    fail, be carried, have gaps, or be missing.
    """
    shops = {name: Shop({}, {}) for name in SELLERS_OF_ALL}
    newest: dict[str, Seller] = {}
    crawls = []
    dates = draw(st.lists(st.integers(0, 6), min_size=2, max_size=8))
    for number, night in enumerate(dates):
        sellers = []
        for name, shop in shops.items():
            moved(draw, shop, number)
            how = draw(
                st.sampled_from(["whole"] * 4 + ["partial", "failed", "gap", "carried", "pending", ""])
            )
            seller = read(draw, name, shop, how, number, newest)
            if seller is not None:
                sellers.append(seller)
                if seller.row()["pages"]:
                    newest[name] = seller
        crawls.append((night, number, sellers))
    return crawls


def moved(draw: st.DrawFn, shop: Shop, number: int) -> None:
    for name in [*shop.views]:
        fate = draw(st.sampled_from(["up", "up", "down", "same"]))
        shop.views[name] += {"up": draw(st.integers(1, 9)), "down": -1}.get(fate, 0)
    if draw(st.booleans()):
        name = f"v{number}"
        shop.views[name] = draw(st.integers(0, 99))
        shop.created[name] = at(number) - draw(st.integers(0, 5)) * DAY // 2


def read(
    draw: st.DrawFn, name: str, shop: Shop, how: str, number: int, newest: dict[str, Seller]
) -> Seller | None:
    if how == "":
        return None
    if how == "pending":
        return Seller(name, status="pending")
    if how == "carried":
        before = newest.get(name)
        if before is None or before.carried or before.status != "complete":
            return None
        kept = [replace(each, carried_from=day_of(0)) for each in before.videos]
        return Seller(name, kept, at(number), carried=1)
    there = [each for each in shop.views if draw(st.integers(0, 5))]
    if how in {"partial", "failed"}:
        there = there[: len(there) // 2]
    videos = [
        Video(each, shop.views[each], at(number) + draw(st.integers(0, HOUR)), shop.created[each], region)
        for each in there
        for region in [("MY", "TH", None)[len(each) % 2 + int(each[1:]) % 2]]
    ]
    status = how if how in {"partial", "failed"} else "complete"
    return Seller(name, videos, at(number), status, drift=int(how == "gap"))


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories(), part_rows=st.sampled_from([1, 3, 1000]))
def test_gains_add_up_over_any_range_of_nights(
    tmp_path_factory: pytest.TempPathFactory,
    history: Sequence[tuple[int, int, list[Seller]]],
    part_rows: int,
) -> None:
    nights = Nights(tmp_path_factory.mktemp("history"))
    shown = {night: (number, sellers) for night, number, sellers in history}
    for night, (number, sellers) in shown.items():
        nights.publish(night, *sellers, run_id=f"run{number}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PART_ROWS", part_rows)
        patch.setattr(module, "MAX_ROWS", part_rows)
        results = {number: nights.compare(night) for night, (number, _) in shown.items()}
    observed: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
    for number, sellers in sorted(shown.values(), key=lambda each: each[0]):
        for seller in sellers:
            for each in seller.videos:
                if each.carried_from is None:
                    place = observed.setdefault((seller.seller_id, each.video_id), [])
                    place.append((each.at, number, each.views or 0))
    for name, of_video in observed.items():
        of_video.sort()
        changes = {
            number: row for number, result in results.items() for row in result.rows if key(row) == name
        }
        for at_first, (_, begin, count) in enumerate(of_video):
            for _, end, last in of_video[at_first:]:
                first = changes.get(begin)
                is_published = first is not None and first["kind"] == "published"
                assert is_published <= (at_first == 0)
                gains = [
                    row["total_views_cnt_gain"] or 0
                    for number, row in changes.items()
                    if begin < number <= end or (number == begin and is_published)
                ]
                assert sum(gains) == last - count + (count if is_published else 0)


def test_the_paths_are_those_of_the_layout(tmp_path: Path) -> None:
    path = Layout(tmp_path).snapshot("changes", day_of(0))
    assert path == tmp_path / "changes" / "crawl_date=2024-10-04"
