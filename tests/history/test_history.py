"""What earlier snapshots know, and that damaged or foreign files break nothing."""

from __future__ import annotations

from array import array
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crawler.api.columns import read_batch
from crawler.history import snapshots as module
from crawler.history.carried import PinnedRows
from crawler.history.figures import Pair, all_ids, costs_per_page, last_seen, pairs
from crawler.history.snapshots import History
from crawler.models.api import SortField
from crawler.models.page import Page
from crawler.models.seller import Ending, SellerStatus, StopReason
from crawler.store.journal import Journal
from crawler.store.publishing import publish
from crawler.store.records import Record
from crawler.store.schema import SELLER_SCHEMA, VIDEO_SCHEMA
from crawler.store.segments import SegmentWriter
from crawler.store.snapshot import SnapshotPlan

TODAY = date(2026, 11, 9)
COMPLETE = Ending(SellerStatus.COMPLETE, StopReason.SHORT_PAGE)


def night(data: Path, day: int, pages: dict[str, list[list[Any]]], pending: tuple[str, ...] = ()) -> None:
    """Publish a snapshot: each seller's rows by page; one whose last page is full was cut off."""
    records = []
    for seller, of_seller in pages.items():
        for number, rows in enumerate(of_seller, 1):
            body = orjson.dumps({"code": 0, "data": rows})
            page = Page(seller, number, body, len(rows), number, 1_700_000_000_000, "r")
            is_last = number == len(of_seller) and len(rows) < 10
            records.append(Record(seller, "run", 1, page, COMPLETE if is_last else None))
    crawl_date = date(2026, 11, day)
    with Journal(data / "state" / "journal" / f"{crawl_date}.1.sqlite") as journal:
        writer = SegmentWriter(journal, read_batch)
        writer.write(records)
        writer.flush()
        plan = SnapshotPlan(data, "run", crawl_date, pa.array(pending, pa.string()), None)
        publish(journal, plan, PinnedRows(journal, data, crawl_date))


def rows(first: int, *views: int | None, region: str = "MY") -> list[dict[str, Any]]:
    return [
        {"video_id": str(first + n), "region": region, "total_views_cnt": v, "total_video_sale_gmv_amt": 0.5}
        for n, v in enumerate(views)
    ]


def published_file(data: Path, day: int, kind: str = "sellers") -> Path:
    (path,) = (data / kind / f"crawl_date=2026-11-{day:02}").rglob("*.parquet")
    return path


def plain(values: dict[str, array[float]]) -> dict[str, list[float]]:
    return {seller: list(pages) for seller, pages in values.items()}


def ids(*sellers: str) -> pa.Array[Any]:
    return pa.array(sellers, pa.string())


def seen(history: History, *sellers: str) -> dict[str, list[Any]]:
    known: dict[str, list[Any]] = last_seen(history.sellers(), TODAY, ids(*sellers)).to_pydict()
    return known


def test_a_folder_without_snapshots_knows_nothing(tmp_path: Path) -> None:
    history = History(tmp_path / "missing", TODAY)
    assert (
        history.dates,
        history.sellers(),
        pairs(history.sellers()),
        costs_per_page(history.sellers()),
    ) == ([], [], [], [])
    assert history.page_values(SortField.VIEWS) == {}
    assert len(all_ids(history.sellers())) == 0
    assert seen(history, "1")["videos"] == [None]
    assert not (tmp_path / "missing").exists()


def test_only_dates_before_count_newest_first(tmp_path: Path) -> None:
    for day in (3, 8, 9, 10):
        night(tmp_path, day, {"1": [rows(1, day)]})
    (tmp_path / "sellers" / "crawl_date=2026-11-07").mkdir()
    (tmp_path / "sellers" / "crawl_date=soon").mkdir()
    (tmp_path / "sellers" / "notes.txt").write_text("?")
    history = History(tmp_path, TODAY)
    assert [day.day for day in history.dates] == [8, 3]
    assert [day.day for day, _ in history.sellers(1)] == [8]
    ((_, table), _) = history.sellers()
    assert table.to_pylist() == [
        {
            "seller_id": "1",
            "status": "complete",
            "stop_reason": "short_page",
            "pages": 1,
            "videos": 1,
            "credits": 1,
        }
    ]
    assert plain(history.page_values(SortField.VIEWS)) == {"1": [8.0]}


def test_each_page_is_summed_over_its_regions(tmp_path: Path) -> None:
    first = rows(1, *range(100, 92, -1)) + rows(11, 50, None, region="SG")
    night(tmp_path, 8, {"1": [first, rows(21, 7, region="TH")], "2": [[]], "3": [rows(1, *([3] * 10)), []]})
    history = History(tmp_path, TODAY)
    assert plain(history.page_values(SortField.VIEWS)) == {
        "1": [sum(range(93, 101)) + 50, 7],
        "2": [0],
        "3": [30, 0],
    }
    assert plain(history.page_values(SortField.GMV))["1"] == [5, 0.5]
    assert plain(history.page_values(SortField.SALES))["1"] == [0, 0]


def test_rows_are_summed_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SUMMED_ROWS", 3)
    night(tmp_path, 8, {str(s): [rows(1, *([s] * 10)), rows(11, *([1] * s))] for s in range(1, 6)})
    values = plain(History(tmp_path, TODAY).page_values(SortField.VIEWS))
    assert values == {str(s): [10.0 * s, s] for s in range(1, 6)}


def test_the_newest_snapshot_that_has_a_seller_counts(tmp_path: Path) -> None:
    night(tmp_path, 7, {"1": [rows(1, 70)], "2": [rows(1, 20)]})
    night(tmp_path, 8, {"1": [rows(1, 80)]}, pending=("2", "3"))
    history = History(tmp_path, TODAY)
    assert plain(history.page_values(SortField.VIEWS)) == {"1": [80], "2": [20]}
    known = seen(history, "2", "3", "1")
    assert (known["videos"], known["age"]) == ([1, None, 1], [2, None, 1])


def test_a_seller_that_was_cut_off_is_known_by_its_last_complete_snapshot(tmp_path: Path) -> None:
    full = rows(1, *([9] * 10))
    night(tmp_path, 6, {"1": [full, rows(11, 1)], "2": [full]})
    night(tmp_path, 8, {"1": [full], "2": [full, rows(11, *([8] * 10))]})
    known = seen(History(tmp_path, TODAY), "1", "2", "9")
    assert (known["videos"], known["age"]) == ([11, None, None], [3, None, None])
    assert known["cut"] == [None, 2, None]
    assert known["refused"] == [None, None, None]


def test_a_seller_that_was_refused_is_known_by_what_that_cost(tmp_path: Path) -> None:
    night(tmp_path, 8, {"1": [rows(1, 1)]})
    with Journal(tmp_path / "state" / "journal" / "2026-11-08.1.sqlite") as journal:
        failed = Ending(SellerStatus.FAILED, StopReason.ERROR, "400")
        journal.write([Record("2", "run", 2, None, failed), Record("1", "run", 5, None, COMPLETE)])
        plan = SnapshotPlan(tmp_path, "run2", date(2026, 11, 8), ids(), None)
        publish(journal, plan, PinnedRows(journal, tmp_path, plan.crawl_date))
    history = History(tmp_path, TODAY)
    known = seen(history, "1", "2")
    assert (known["videos"], known["refused"]) == ([1, None], [None, 2])
    assert costs_per_page(history.sellers()) == [6.0]


def test_a_refusal_does_not_hide_an_earlier_night(tmp_path: Path) -> None:
    night(tmp_path, 7, {"1": [rows(1, 1)]})
    night(tmp_path, 8, {"2": [rows(1, 1)]})
    failed = Ending(SellerStatus.FAILED, StopReason.ERROR, "400")
    with Journal(tmp_path / "state" / "journal" / "2026-11-08.1.sqlite") as journal:
        journal.write([Record("1", "run", 1, None, failed)])
        plan = SnapshotPlan(tmp_path, "run2", date(2026, 11, 8), ids(), None)
        publish(journal, plan, PinnedRows(journal, tmp_path, plan.crawl_date))
    known = seen(History(tmp_path, TODAY), "1")
    assert (known["videos"], known["age"], known["refused"]) == ([1], [2], [None])


def test_growth_is_that_of_sellers_complete_in_both(tmp_path: Path) -> None:
    full = rows(1, *([9] * 10))
    night(tmp_path, 5, {"1": [full], "2": [rows(1, 1, 1)], "3": [rows(1, 1, 1, 1, 1)]})
    night(tmp_path, 7, {"1": [full, []], "2": [rows(1, 1, 1, 1)], "3": [rows(1, 1, 1, 1, 1, 1, 1)]})
    (pair,) = pairs(History(tmp_path, TODAY).sellers())
    assert pair == Pair(2, 2, 6, 9, 4 + 16, 0.0)
    night(tmp_path, 8, {"2": [rows(1, 1, 1)], "3": [rows(1, *([1] * 7))]})
    newest = pairs(History(tmp_path, TODAY).sellers())[0]
    assert newest == Pair(1, 2, 9, 9, 9 + 36, 1 + 1)


def test_deep_sellers_that_lost_a_page_are_counted(tmp_path: Path) -> None:
    pages = [rows(10 * n, *([9] * 10)) for n in range(12)]
    night(tmp_path, 7, {"1": [*pages, []], "2": [*pages, []], "3": [*pages[:3], []]})
    night(tmp_path, 8, {"1": [*pages, []], "2": [*pages[:11], []], "3": [*pages[:2], []]})
    (pair,) = pairs(History(tmp_path, TODAY).sellers())
    assert (pair.deep, pair.shrunk) == (2, 1)


def test_sellers_that_stood_still_do_not_count_as_slow_ones(tmp_path: Path) -> None:
    night(tmp_path, 7, {"1": [rows(1, 1, 1)], "2": [rows(1, 1, 1)]})
    night(tmp_path, 8, {"1": [rows(1, 1, 1)], "2": [rows(1, 1, 1, 1)]})
    history = History(tmp_path, TODAY)
    (pair,) = pairs(history.sellers(), {date(2026, 11, 8): ids("1")})
    assert (pair.before, pair.after) == (2, 3)
    assert pairs(history.sellers(), {}) == []


def test_first_pages_are_distinguished_and_a_damaged_snapshot_has_none(tmp_path: Path) -> None:
    pages = [rows(1, *range(20, 10, -1)), rows(11, 3)]
    night(tmp_path, 6, {"1": pages, "2": pages})
    night(tmp_path, 7, {"1": [pages[0], rows(11, 2)], "2": [rows(1, *range(21, 11, -1)), pages[1]]})
    history = History(tmp_path, TODAY)
    before, after = (history.first_pages(date(2026, 11, day)) for day in (6, 7))
    assert before["1"] == after["1"] == before["2"] != after["2"]
    assert history.older_than(date(2026, 11, 7), date(2026, 11, 7)) == set()
    published_file(tmp_path, 7, "videos").write_bytes(b"PAR1 rubbish PAR1")
    assert history.first_pages(date(2026, 11, 7)) == history.first_pages(date(2026, 11, 5)) == {}
    assert history.older_than(date(2026, 11, 7), date(2026, 11, 7)) == set()
    assert len(history.warnings) == 1


@pytest.mark.parametrize("kind", ["sellers", "videos"])
@pytest.mark.parametrize("damage", ["empty", "cut", "other columns", "other types", "extra file"])
def test_a_snapshot_that_cannot_be_read_is_left_out_and_published_file(
    tmp_path: Path, kind: str, damage: str
) -> None:
    night(tmp_path, 7, {"1": [rows(1, 70)]})
    night(tmp_path, 8, {"1": [rows(1, 80)], "2": [rows(1, 5)]})
    path = published_file(tmp_path, 8, kind)
    table = pq.ParquetFile(path).read()
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "other columns":
        pq.write_table(pa.table({"x": [1]}), path)
    elif damage == "other types":
        words = pa.array(["many"] * len(table), pa.string())
        for name in {"pages", "total_views_cnt"} & set(table.column_names):
            table = table.set_column(table.column_names.index(name), name, words)
        pq.write_table(table, path)
    else:
        path.with_name("foreign.parquet").write_text("no Parquet")
    history = History(tmp_path, TODAY)
    assert plain(history.page_values(SortField.VIEWS)) == {"1": [70]}
    assert plain(history.page_values(SortField.VIEWS)) == {"1": [70]}
    assert len(history.warnings) == 1
    assert "2026-11-08" in history.warnings[0]
    assert [day.day for day, _ in history.sellers()] == ([7] if kind == "sellers" else [8, 7])


def test_hidden_files_and_other_kinds_are_not_looked_at(tmp_path: Path) -> None:
    night(tmp_path, 8, {"1": [rows(1, 80)]})
    folder = published_file(tmp_path, 8).parent
    for name in (".crawl.parquet", "_tmp.parquet", "notes.csv"):
        (folder / name).write_text("?")
    history = History(tmp_path, TODAY)
    assert plain(history.page_values(SortField.VIEWS)) == {"1": [80]}
    assert history.warnings == []


def test_absurd_figures_are_not_believed(tmp_path: Path) -> None:
    night(tmp_path, 8, {"1": [rows(1, 80)], "2": [rows(1, 5)], "3": [rows(1, 5)]})
    path = published_file(tmp_path, 8)
    table = pq.ParquetFile(path).read()
    pages = table.set_column(3, SELLER_SCHEMA.field("pages"), pa.array([1, 10**15, -1], pa.int64()))
    pq.write_table(pages, path)
    path = published_file(tmp_path, 8, "videos")
    videos = pq.ParquetFile(path).read()
    at = VIDEO_SCHEMA.get_field_index("page_num")
    pq.write_table(videos.set_column(at, "page_num", pa.array([2**31 - 1, 1, 1], pa.int32())), path)
    assert plain(History(tmp_path, TODAY).page_values(SortField.VIEWS)) == {"1": [0]}


def test_no_more_snapshots_are_read_than_a_week(tmp_path: Path) -> None:
    for day in range(1, 9):
        night(tmp_path, day, {str(day): [rows(1, day)]})
    assert sorted(History(tmp_path, TODAY).page_values(SortField.VIEWS)) == [str(day) for day in range(2, 9)]
