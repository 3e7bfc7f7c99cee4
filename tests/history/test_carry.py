"""Carry-forward: one credit for a seller that stands still, and an audit of what that costs in truth."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from evenings import ALL, STILL, crawl, ids_of, on, rows_of, sellers_of, truth, values

from crawler.history.carrying import CarryRule
from crawler.simulator.catalogue import Catalogue
from crawler.store.digests import digests_of, keep_digests

SELLERS = 80


def reseal(folder: Path, day: int) -> None:
    """Keep digests of a snapshot's files as they are now."""
    data, of_day = folder / "data", date(2026, 11, 20 + day)
    keep_digests(data, of_day, "resealed", digests_of(data, of_day))


@pytest.fixture(scope="module")
def first_night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with the first day's snapshot of all sellers, and its report; not to be changed."""
    folder = tmp_path_factory.mktemp("first")
    return folder, crawl(folder, ids_of(SELLERS), 0)


@pytest.fixture
def begun(first_night: tuple[Path, dict[str, Any]], tmp_path: Path) -> list[str]:
    """Copy the first night into the test's folder; returns its sellers."""
    shutil.copytree(first_night[0], tmp_path, dirs_exist_ok=True)
    return ids_of(SELLERS)


def test_a_seller_that_stands_still_costs_one_credit(
    tmp_path: Path, first_night: tuple[Path, dict[str, Any]], begun: list[str]
) -> None:
    ids, (_, first) = begun, first_night
    second = crawl(tmp_path, ids, 1, *ALL)
    full = crawl(tmp_path / "full", ids, 1)
    assert values(rows_of(tmp_path, 1)) == values(rows_of(tmp_path / "full", 1))
    found = second["carry_forward"]
    assert found["carried"] > 20
    assert second["served"] == full["served"] - found["credits_saved"]
    assert found["credits_saved"] > 0.2 * first["served"]
    carried = {s: row for s, row in sellers_of(tmp_path, 1).items() if row["stop_reason"] == "carried"}
    assert len(carried) == found["carried"]
    old = {(r["seller_id"], r["video_id"]): r["crawled_at"] for r in rows_of(tmp_path, 0)}
    for row in rows_of(tmp_path, 1):
        was = row["seller_id"] in carried and row["page_num"] > 1
        assert row["carried_from"] == (date(2026, 11, 20) if was else None)
        assert (row["crawled_at"] == old.get((row["seller_id"], row["video_id"]))) == was
    for row in carried.values():
        assert (row["status"], row["pages"], row["credits"]) == ("complete", 1, 1)
        assert row["carried"] == row["videos"] - 10
    above = second["certain_above"]
    views = {(r["seller_id"], r["video_id"]): r["total_views_cnt"] for r in rows_of(tmp_path, 1)}
    truth = {(s, v["video_id"]): v["total_views_cnt"] for s in ids for v in Catalogue(STILL, 1).videos(s)}
    assert above > 0
    assert {k: v for k, v in views.items() if v > above} == {k: v for k, v in truth.items() if v > above}
    counts = second["rows"]
    assert counts["carried"] == sum(row["carried"] for row in carried.values())
    assert counts["received"] + counts["carried"] == counts["written"] == len(rows_of(tmp_path, 1))


@pytest.mark.long
def test_rows_are_carried_on_and_on_until_they_are_too_old(tmp_path: Path, begun: list[str]) -> None:
    ids = begun
    for day in (1, 2):
        crawl(tmp_path, ids, day, *ALL, "--max-age", "2")
    froms = {row["carried_from"] for row in rows_of(tmp_path, 2)}
    assert froms == {None, date(2026, 11, 20)}
    report = crawl(tmp_path, ids, 3, *ALL, "--max-age", "2")
    assert report["carry_forward"]["carried"] == 0
    assert {row["carried_from"] for row in rows_of(tmp_path, 3)} == {None}


def test_rows_are_carried_from_the_newest_snapshot_of_their_seller(tmp_path: Path, begun: list[str]) -> None:
    ids = begun[:25]
    crawl(tmp_path, ids, 1)
    assert crawl(tmp_path, ids, 2, *ALL)["carry_forward"]["carried"] > 3
    assert {row["carried_from"] for row in rows_of(tmp_path, 2)} == {None, date(2026, 11, 21)}


def test_the_audit_shows_how_often_carrying_is_wrong(tmp_path: Path, begun: list[str]) -> None:
    """A seller whose first page stands still while another row changes is what the audit is for."""
    ids = begun
    deep = [s for s, row in sellers_of(tmp_path, 0).items() if row["videos"] > 20]
    tampered = 0
    for path in (tmp_path / "data" / "videos" / f"crawl_date={on(0)}").rglob("*.parquet"):
        table = pq.ParquetFile(path).read().to_pylist()
        for row in table:
            if row["seller_id"] in deep[:20] and row["position"] == 15:
                row["total_digg_cnt"] += 1
                tampered += 1
        schema = pq.read_schema(path)
        pq.write_table(pq.ParquetFile(path).read().from_pylist(table, schema), path)
    reseal(tmp_path, 0)
    report = crawl(tmp_path, ids, 1, "--carry-forward", "--audit", "1")
    found = report["carry_forward"]
    assert found["carried"] == 0
    still = [s for s in deep[:20] if Catalogue(STILL, 1).videos(s) == Catalogue(STILL).videos(s)]
    assert tampered == 20
    assert found["changed"] >= found["wrong"] >= len(still) > 3
    assert found["audited"] > found["wrong"]
    assert any("could have been carried" in note for note in report["notes"])
    assert values(rows_of(tmp_path, 1)).keys() == {
        (s, v["video_id"]) for s in ids for v in Catalogue(STILL, 1).videos(s)
    }


@pytest.mark.long
def test_nothing_is_carried_from_what_is_not_whole_or_differently_sorted(tmp_path: Path) -> None:
    ids = ids_of(60)
    crawl(tmp_path, ids, 0, "--max-pages", "2")
    crawl(tmp_path / "b", ids, 0, "--sort", "gmv")
    for folder in (tmp_path, tmp_path / "b"):
        report = crawl(folder, ids, 1, *ALL)
        carried = {s for s, row in sellers_of(folder, 1).items() if row["stop_reason"] == "carried"}
        whole = {s for s, row in sellers_of(folder, 0).items() if row["status"] == "complete"}
        assert carried <= whole if folder == tmp_path else not carried
        assert report["sellers"]["complete"] == 60


def test_what_was_carried_is_published_again_though_the_snapshot_it_came_from_is_gone(
    tmp_path: Path, begun: list[str]
) -> None:
    ids = begun
    report = crawl(tmp_path, ids, 1, *ALL, "--budget", "30", code=3)
    assert report["carry_forward"]["carried"]
    before = values(rows_of(tmp_path, 1))
    for kind in ("videos", "sellers"):
        shutil.rmtree(tmp_path / "data" / kind / f"crawl_date={on(0)}")
    crawl(tmp_path, ids, 1, *ALL)
    after = values(rows_of(tmp_path, 1))
    assert before.items() <= after.items()
    assert after.keys() == {(s, v["video_id"]) for s in ids for v in Catalogue(STILL, 1).videos(s)}


def test_a_run_without_it_reads_what_was_carried(tmp_path: Path, begun: list[str]) -> None:
    ids = begun
    first = crawl(tmp_path, ids, 1, *ALL)
    then = crawl(tmp_path, ids, 1)
    assert then["served"] == first["carry_forward"]["credits_saved"]
    assert {row["carried_from"] for row in rows_of(tmp_path, 1)} == {None}
    assert then["carry_forward"]["audited"] == first["carry_forward"]["carried"]
    assert then["carry_forward"]["wrong"] == 0


def test_carried_rows_stand_until_their_seller_is_read_to_its_end(tmp_path: Path, begun: list[str]) -> None:
    """A run without the option that is cut short takes nothing out of the snapshot."""
    ids = begun
    first = crawl(tmp_path, ids, 1, *ALL)
    carried, saved = first["carry_forward"]["carried"], first["carry_forward"]["credits_saved"]
    spent, before = first["credits"]["spent_for_date"], rows_of(tmp_path, 1)
    for more in (0, saved // 2):
        cut = crawl(tmp_path, ids, 1, "--budget", str(spent + more), code=3)
        assert values(rows_of(tmp_path, 1)) == values(before)
        assert cut["sellers"]["complete"] == SELLERS
        assert cut["rows"]["written"] == len(before)
        assert cut["carry_forward"]["credits_saved"] == saved - more
    assert cut["carry_forward"]["carried"] < carried
    assert crawl(tmp_path, ids, 1, "--top", "3")["rows"]["written"] == len(before)
    assert crawl(tmp_path, ids, 1, *ALL)["served"] == 0
    assert crawl(tmp_path, ids, 1)["stops"].keys() == {"short_page", "empty_page"}
    assert values(rows_of(tmp_path, 1)) == values(before)
    assert {row["carried_from"] for row in rows_of(tmp_path, 1)} == {None}


@pytest.mark.parametrize("kind", ["videos", "sellers"])
def test_a_damaged_snapshot_carries_nothing_and_is_reported(
    tmp_path: Path, begun: list[str], kind: str
) -> None:
    ids = begun
    for path in (tmp_path / "data" / kind / f"crawl_date={on(0)}").rglob("*.parquet"):
        path.write_bytes(b"PAR1 rubbish PAR1")
    report = crawl(tmp_path, ids, 1, *ALL)
    assert report["carry_forward"]["carried"] == 0
    assert any("cannot be read" in note for note in report["notes"])
    assert report["sellers"]["complete"] == SELLERS


def test_sellers_whose_pins_are_gone_are_read_in_full(tmp_path: Path, begun: list[str]) -> None:
    ids = begun
    first = crawl(tmp_path, ids, 1, *ALL, "--budget", "30", code=3)
    shutil.rmtree(next((tmp_path / "data" / "state" / "journal").glob("*.carried")))
    report = crawl(tmp_path, ids, 1, *ALL)
    assert first["carry_forward"]["carried"]
    assert any("is missing" in note for note in report["notes"])
    assert values(rows_of(tmp_path, 1)).keys() == truth(ids, 1)
    full = sum(len(Catalogue(STILL, 1).videos(s)) // 10 + 1 for s in ids)
    saved = report["carry_forward"]["credits_saved"]
    assert first["served"] + report["served"] == full - saved


def test_the_audit_picks_its_share() -> None:
    rule = CarryRule(date(2026, 11, 21), 7, 0.3)
    picked = sum(rule.audits(str(n)) for n in range(2000))
    assert 500 < picked < 700
    assert not any(CarryRule(date(2026, 11, 21), 7, 0.0).audits(str(n)) for n in range(100))
    assert all(CarryRule(date(2026, 11, 21), 7, 1.0).audits(str(n)) for n in range(100))
