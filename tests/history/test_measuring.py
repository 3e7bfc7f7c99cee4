"""What a snapshot is measured by: which sellers are compared, with which reading, and how."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from snapshot_files import DAY, FIRST_DATE, HOUR, START, Seller, Video, publish

from crawler.history import compared_parts
from crawler.history.changes import compare
from crawler.history.fields import sellers_with_nulls
from crawler.history.measuring import Measuring
from crawler.history.reader import SnapshotFiles
from crawler.models.api import COUNT_COLUMNS
from crawler.rules.plausibility import ROWS, Comparison, Measures, Plausibility, Share, judge
from crawler.store.layout import SELLERS, VIDEOS
from crawler.store.records import PageFacts

NOTHING = PageFacts((0, 0), (0, 0))


def shop(number: int, views: int, at: int, count: int = 2, status: str = "complete") -> Seller:
    videos = [Video(f"{number}-{n}", views + n, at) for n in range(count)]
    return Seller(f"{number:03}", videos, at, status)


@dataclass(frozen=True)
class Measured:
    measures: Measures
    hits: dict[str, list[Any]]
    warnings: tuple[str, ...]
    changes: dict[str, int]
    rests_on: dict[date, str]


def measured(data: Path, night: int, shops: list[Seller], sorting: str = "") -> Measured:
    """Publish a night and measure it, as it is while it is compared."""
    day = FIRST_DATE + timedelta(days=night)
    staged = data / "staged"
    publish(staged, day, shops, f"run{night}", sorting=sorting)
    videos, sellers = (SnapshotFiles.published(staged, kind, day) for kind in (VIDEOS, SELLERS))
    found: list[Measuring] = []

    def judge(measuring: Measuring) -> dict[str, str]:
        found.append(measuring)
        return {"verdict": "seen"}

    files = data / "changes.parquet", data / "sellers.parquet"
    window, lag = timedelta(days=90), timedelta(hours=48)
    compared = compare(data, day, videos, sellers, *files, f"run{night}", window, lag, judge)
    assert (pq.ParquetFile(files[1]).metadata.metadata or {})[b"verdict"] == b"seen"
    measures = found[-1].measures(videos, NOTHING, Share(0, 0))
    publish(data, day, shops, f"run{night}", sorting=sorting)
    changes = {kind: count for kind, count in compared.counts.items() if count}
    return Measured(measures, found[-1].hits, compared.warnings, changes, dict(compared.rests_on))


def test_a_stale_api_is_odd_at_first_and_implausible_after_three_nights_that_moved(tmp_path: Path) -> None:
    past: list[Measures] = []
    for night in range(5):
        stale = [shop(n, 1000 + 100 * (night - 1), START + night * DAY) for n in range(60)]
        if night:
            found = measured(tmp_path, night, stale)
            assert found.measures.compared is not None
            assert found.measures.compared.still == Share(60, 60)
            assert found.measures.compared.hours == 24
            verdict = judge(found.measures, past)
            assert verdict.kind is (Plausibility.IMPLAUSIBLE if night > 3 else Plausibility.ODD), night
            assert sum(map(len, found.hits["still"])) == 60
        moved = [shop(n, 1000 + 100 * night, START + night * DAY) for n in range(60)]
        past.append(measured(tmp_path, night, moved).measures)
        assert judge(past[-1], past[:-1]).kind is Plausibility.PLAUSIBLE


def test_stillness_says_nothing_of_readings_that_are_less_than_20_hours_apart(tmp_path: Path) -> None:
    measured(tmp_path, 0, [shop(n, 100, START) for n in range(9)])
    compared = measured(tmp_path, 1, [shop(n, 100, START + 19 * HOUR) for n in range(9)]).measures.compared
    assert compared is not None
    assert compared.still == Share(0, 0)


def test_only_sellers_that_were_read_whole_on_both_nights_are_compared(tmp_path: Path) -> None:
    cut_off = [shop(2, 9, START, status="partial"), shop(3, 9, START)]
    measured(tmp_path, 0, [shop(1, 9, START), *cut_off, shop(5, 9, START, count=0)])
    later = START + DAY
    again = [shop(1, 9, later, count=0), shop(2, 9, later, count=0), shop(4, 9, later)]
    cut_off = [shop(3, 9, later, count=1, status="partial"), shop(5, 9, later)]
    found = measured(tmp_path, 1, [*again, *cut_off])
    assert found.measures.compared is not None
    assert found.measures.compared.emptied == Share(1, 1)
    assert found.measures.compared.regions == {"MY": Share(1, 1)}
    assert [ids.to_pylist() for ids in found.hits["emptied"]] == [["001"]]
    assert (found.measures.empty, found.measures.rows) == (Share(2, 5), 5)


def test_rows_that_were_carried_hide_no_column_that_is_missing(tmp_path: Path) -> None:
    """Of six videos tonight's answers have no creation time; the ten that are carried have one."""
    measured(tmp_path, 0, [shop(n, 9, START) for n in range(8)])
    later = START + DAY
    read = [Video(f"{n}", 9, later, created=None, region=None) for n in range(6)]
    kept = [Video(f"0{n}", 9, START, created=n % 3 or None, carried_from=FIRST_DATE) for n in range(10)]
    measures = measured(tmp_path, 1, [Seller("001", [*read, *kept], later, stretches="[]")]).measures
    assert measures.nulls["create_time"] == measures.nulls["region"] == Share(6, 6)
    assert measures.nulls["total_views_cnt"] == Share(0, 6)
    assert {"create_time", "region"} <= measures.missing_fields
    carried = [Video("0", 9, START, created=None, carried_from=FIRST_DATE)]
    measured(tmp_path, 2, [Seller("001", read, later), Seller("002", carried)])
    videos = SnapshotFiles.published(tmp_path, VIDEOS, FIRST_DATE + timedelta(days=2))
    assert {id_ for ids in sellers_with_nulls(videos, {"create_time"}) for id_ in ids.to_pylist()} == {"001"}


def test_videos_that_nobody_had_watched_when_they_were_last_seen_are_counted(tmp_path: Path) -> None:
    unseen = Seller("001", [Video(f"1-{n}", 0, START) for n in range(30)], START, "partial")
    first = measured(tmp_path, 0, [unseen, shop(2, 9, START)]).measures
    assert first.zero_before == 0
    later = START + DAY
    again = [Video(f"1-{n}", 0, later) for n in range(33)]
    found = measured(tmp_path, 1, [Seller("001", again, later, "partial")]).measures
    assert (found.rows, found.zero_before) == (33, 30)
    assert judge(found, [first]).kind is Plausibility.PLAUSIBLE


def test_a_seller_is_compared_with_its_last_whole_reading(tmp_path: Path) -> None:
    measured(tmp_path, 0, [shop(1, 1000, START)])
    measured(tmp_path, 1, [shop(1, 9, START + DAY, status="partial")])
    found = measured(tmp_path, 2, [shop(1, 2, START + 2 * DAY)]).measures.compared
    assert found is not None
    assert found.before["total_views_cnt"] == 2001
    assert found.now["total_views_cnt"] == 5
    assert found.fallen["total_views_cnt"] == Share(1, 1)
    assert found.hours == 48


def test_a_date_read_again_is_judged_beside_its_own_snapshot_and_not_compared_with_it(tmp_path: Path) -> None:
    measured(tmp_path, 0, [shop(1, 1000, START)])
    found = measured(tmp_path, 0, [shop(1, 9, START + 21 * HOUR)])
    assert found.measures.compared is not None
    assert found.measures.compared.fallen["total_views_cnt"] == Share(1, 1)
    assert found.measures.compared.hours == 21
    assert (found.changes, found.rests_on) == ({"discovered": 2}, {})


def test_only_readings_of_the_same_sorting_are_judged_beside_all_are_compared(tmp_path: Path) -> None:
    measured(tmp_path, 0, [shop(1, 1000, START)], "views desc")
    found = measured(tmp_path, 1, [shop(1, 9, START + DAY)], "sales desc")
    assert found.measures.compared is None
    assert (found.changes, found.measures.rows) == ({"corrected": 2}, 2)
    found = measured(tmp_path, 2, [shop(1, 2000, START + 2 * DAY)], "views desc")
    assert found.measures.compared is not None
    assert found.measures.compared.hours == 48
    assert found.measures.compared.before["total_views_cnt"] == 2001
    assert (found.changes, found.rests_on) == ({"changed": 2}, {FIRST_DATE + timedelta(days=1): "run1"})


def test_a_seller_that_is_read_in_pieces_is_judged_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compared_parts, "MAX_ROWS", 3)
    measured(tmp_path, 0, [shop(1, 1000, START, count=20), shop(2, 1000, START)])
    later = START + DAY
    found = measured(tmp_path, 1, [shop(1, 1000, later, count=20), shop(2, 1001, later)])
    assert found.measures.compared is not None
    before, now = found.measures.compared.before, found.measures.compared.now
    assert (before[ROWS], now[ROWS]) == (22, 22)
    assert all(before[name] == now[name] - 2 for name in COUNT_COLUMNS)
    assert (found.measures.rows, found.measures.compared.still) == (22, Share(1, 2))


def test_a_damaged_snapshot_is_left_out(tmp_path: Path) -> None:
    measured(tmp_path, 0, [shop(1, 1000, START)])
    measured(tmp_path, 1, [shop(1, 1000, START + DAY)])
    for path in (tmp_path / VIDEOS / f"crawl_date={FIRST_DATE + timedelta(days=1)}").rglob("*.parquet"):
        path.write_bytes(b"damaged")
    found = measured(tmp_path, 2, [shop(1, 1000, START + 2 * DAY)])
    assert found.measures.compared is not None
    assert found.measures.compared.hours == 48
    assert len(found.warnings) == 1


def listing(night: int, ids: list[int], count: int = 30) -> list[Seller]:
    """Sellers each of which has videos with IDs of its own."""
    at = START + night * DAY
    shops = []
    for number in range(count):
        videos = [Video(str(7 * 10**18 + 10**6 * number + each), 1000, at) for each in ids]
        shops.append(Seller(f"{number:03}", videos, at))
    return shops


def compared(data: Path, night: int, shops: list[Seller]) -> Comparison:
    found = measured(data, night, shops).measures.compared
    assert found is not None
    return found


def test_videos_with_other_ids_are_lost(tmp_path: Path) -> None:
    measured(tmp_path, 0, listing(0, [1, 2, 3]))
    found = measured(tmp_path, 1, listing(1, [11, 12, 13]))
    assert found.measures.compared is not None
    assert found.measures.compared.lost.part >= 15
    assert found.measures.compared.lost.whole == 30
    assert judge(found.measures, [found.measures]).kind is Plausibility.PLAUSIBLE
    assert "lost" in judge(found.measures, ()).measures


def test_new_videos_hide_none_that_is_there(tmp_path: Path) -> None:
    measured(tmp_path, 0, listing(0, [1, 2, 3]))
    assert compared(tmp_path, 1, listing(1, list(range(1, 99)))).lost == Share(0, 30)


def test_videos_are_lost_within_three_days_and_of_ids_that_are_numbers(tmp_path: Path) -> None:
    measured(tmp_path, 0, listing(0, [1, 2, 3]))
    assert compared(tmp_path, 4, listing(4, [11, 12, 13])).lost == Share(0, 0)
    measured(tmp_path, 10, [shop(n, 100, START + 10 * DAY) for n in range(9)])
    assert compared(tmp_path, 11, [shop(n, 100, START + 11 * DAY, count=1) for n in range(9)]).lost.whole == 0


def test_rows_fall_of_sellers_that_had_a_full_page(tmp_path: Path) -> None:
    """Pages of five: sellers with fewer videos are as before."""
    few = shop(99, 100, START, count=9)
    measured(tmp_path, 0, [*listing(0, list(range(10)), count=9), few])
    later = shop(99, 100, START + DAY, count=5)
    found = compared(tmp_path, 1, [*listing(1, list(range(5)), count=9), later])
    assert found.fallen["rows"] == Share(9, 9)


def test_sums_may_fall_and_rise_in_weeks_and_few_may_become_many(tmp_path: Path) -> None:
    measured(tmp_path, 0, [shop(1, 1000, START), shop(2, 9, START)])
    near = compared(tmp_path, 7, [shop(1, 99_000, START + 7 * DAY), shop(2, 300, START + 7 * DAY)])
    assert near.risen["total_views_cnt"] == Share(1, 2)
    far = compared(tmp_path, 27, [shop(1, 9, START + 27 * DAY), shop(2, 99_000, START + 27 * DAY)])
    assert far.risen["total_views_cnt"] == far.fallen["total_views_cnt"] == Share(0, 0)
