"""What a night will cost: measured against the catalogue's truth, night after night."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from heapq import nlargest
from math import exp, log1p, sqrt
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from conftest import SMALL, Night, stand_in
from hypothesis import given
from hypothesis import strategies as st

from crawler.cli import cli
from crawler.history.carrying import CarryRule
from crawler.history.unchanged import Share
from crawler.models.api import MAX_PAGE_NUM
from crawler.models.page import Page
from crawler.models.seller import Ending, SellerProgress, SellerStatus, StopReason, StopRule, Strategy
from crawler.planning.estimates import (
    Chances,
    Measure,
    Spread,
    Tail,
    chance,
    cost_per_page,
    growth,
    spread,
)
from crawler.planning.forecast import Detours, Forecast, Forecaster, KnownSeller, Tariff, jumps
from crawler.planning.reach import best_first, breadth_first, depth_first, share
from crawler.rules.order import Frontier
from crawler.rules.paging import PagingRule
from crawler.simulator.catalogue import Catalogue, CatalogueOptions
from crawler.simulator.server import SimulatorOptions
from crawler.store.journal import Journal
from crawler.store.layout import Layout
from crawler.store.ledger import Ledger
from crawler.store.records import Record
from crawler.store.schema import SELLER_SCHEMA, SORTING, VIDEO_SCHEMA

FIRST = date(2026, 11, 1)
NIGHTS = 14
FIGURES = {
    "credits",
    "sellers_complete",
    "sellers_seen",
    "share_of_views",
    "share_of_sales",
    "share_of_gmv",
}
KEY = "sk_live_0123456789abcd"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith(("CRAWLER_", "KEYAPI_"))]:
        monkeypatch.delenv(name)


def table_of(schema: pa.Schema, columns: dict[str, Sequence[Any]]) -> pa.Table:
    count = len(next(iter(columns.values())))
    return pa.table({f.name: pa.array(columns.get(f.name, [None] * count), f.type) for f in schema})


def published(
    data: Path,
    day: date,
    sizes: dict[str, int],
    *,
    cut_at: int = MAX_PAGE_NUM,
    credits_a_page: float = 1.0,
    views: Callable[[str, int], list[int]] | None = None,
) -> None:
    """A snapshot of sellers with so many videos; those of more than `cut_at` pages are cut off there."""
    whole = [size // 10 + 1 for size in sizes.values()]
    pages = [min(cut_at, count) for count in whole]
    videos = [min(size, cut_at * 10) for size in sizes.values()]
    sellers: dict[str, Sequence[Any]] = {
        "seller_id": list(sizes),
        "status": ["complete" if count <= cut_at else "partial" for count in whole],
        "pages": pages,
        "videos": videos,
        "credits": [round(count * credits_a_page) for count in pages],
    }
    write(data / "sellers" / f"crawl_date={day}", table_of(SELLER_SCHEMA, sellers))
    if views is not None:
        rows = [
            (seller, place // 10 + 1, value)
            for (seller, size), count in zip(sizes.items(), videos, strict=True)
            for place, value in enumerate(views(seller, size)[:count])
        ]
        names = ("seller_id", "page_num", "total_views_cnt")
        columns: dict[str, Sequence[Any]] = {name: [row[at] for row in rows] for at, name in enumerate(names)}
        columns["total_video_sale_cnt"] = [value // 10 for *_, value in rows]
        write(data / "videos" / f"crawl_date={day}" / "region=MY", table_of(VIDEO_SCHEMA, columns))


def write(folder: Path, table: pa.Table) -> None:
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "run.parquet")


def planned(data: Path, day: date, sellers: Sequence[str], *options: str) -> dict[str, Any]:
    """What `crawler plan --json` prints."""
    source = data.parent / "sellers.csv"
    source.write_text("seller_id\n" + "".join(f"{seller}\n" for seller in sellers))
    flags = ["--config", os.devnull, "--data", str(data), "--crawl-date", day.isoformat(), "--json", *options]
    result = CliRunner().invoke(cli, ["plan", str(source), *flags], standalone_mode=False)
    assert result.exception is None
    assert result.return_value == 0
    plan: dict[str, Any] = json.loads(result.stdout)
    return plan


def cost_of(sizes: dict[str, int]) -> int:
    return sum(size // 10 + 1 for size in sizes.values())


def is_inside(plan: dict[str, Any], truth: int) -> bool:
    low, high = plan["credits"]["low"], plan["credits"]["high"]
    assert low <= plan["credits"]["expected"] <= high
    return bool(low <= truth <= high)


# --- against the catalogue ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "exponent"),
    [(1, 1.1), *(pytest.param(*each, marks=pytest.mark.long) for each in ((4, 0.8), (5, 1.5)))],
)
def test_a_growing_catalogue_is_forecast_for_fourteen_nights(
    tmp_path: Path, seed: int, exponent: float
) -> None:
    data = tmp_path / "data"
    catalogue = Catalogue(CatalogueOptions(seed=seed, exponent=exponent))
    sellers = catalogue.seller_ids(1500)
    inside, errors, widths = [], [], []
    for night in range(NIGHTS):
        catalogue.day, day = night, FIRST + timedelta(night)
        sizes = {seller: catalogue.size(seller) for seller in sellers}
        if night:
            plan = planned(data, day, sellers)
            truth = cost_of(sizes)
            inside.append(is_inside(plan, truth))
            errors.append(abs(plan["credits"]["expected"] / truth - 1))
            widths.append(plan["credits"]["high"] / plan["credits"]["low"])
            assert plan["sellers"] == {"total": 1500, "known": 1500, "unknown": 0, "ended": 0}
        published(data, day, sizes)
    assert max(errors[1:]) < 0.05
    assert fmean(errors[1:]) < 0.01
    assert inside.count(True) >= 0.9 * len(inside)
    assert max(widths[1:]) < 1.15
    assert widths[0] == max(widths)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_new_sellers_each_night_stay_in_the_interval(tmp_path: Path, seed: int) -> None:
    data = tmp_path / "data"
    catalogue = Catalogue(CatalogueOptions(seed=seed, largest=5000))
    everyone = catalogue.seller_ids(3000)
    inside = []
    for night in range(NIGHTS):
        catalogue.day, day = night, FIRST + timedelta(night)
        listed = everyone[75 * night : 75 * night + 1500]
        sizes = {seller: catalogue.size(seller) for seller in listed}
        if night:
            plan = planned(data, day, listed)
            assert plan["sellers"]["unknown"] == 75
            inside.append(is_inside(plan, cost_of(sizes)))
            assert plan["credits"]["high"] / plan["credits"]["low"] < 1.35
        published(data, day, sizes)
    assert inside.count(True) >= 0.9 * len(inside)


def test_a_night_cut_off_by_its_budget_is_not_taken_for_a_cheap_one(tmp_path: Path) -> None:
    """Half the sellers were read in full, the others to their third page: these must not look shallow."""
    data = tmp_path / "data"
    catalogue = Catalogue(CatalogueOptions(seed=6, exponent=1.6, scale=30))
    sizes = {seller: catalogue.size(seller) for seller in catalogue.seller_ids(2000)}
    sellers = list(sizes)
    published(data, FIRST, {s: sizes[s] for s in sellers[:1000]})
    published(data, FIRST + timedelta(1), {s: sizes[s] for s in sellers[1000:]}, cut_at=3)
    plan = planned(data, FIRST + timedelta(2), sellers)
    assert plan["sellers"]["known"] == 2000
    assert is_inside(plan, cost_of(sizes))
    assert plan["credits"]["expected"] == pytest.approx(cost_of(sizes), rel=0.1)
    assert plan["credits"]["expected"] > cost_of({s: min(29, n) for s, n in sizes.items()}) * 1.5


def test_where_all_deep_sellers_were_cut_off_only_the_low_end_is_given(tmp_path: Path) -> None:
    data = tmp_path / "data"
    published(data, FIRST, {str(n): n for n in range(100)}, cut_at=3)
    plan = planned(data, FIRST + timedelta(1), [str(n) for n in range(100)])
    assert plan["credits"]["expected"] is None
    assert plan["credits"]["high"] is None
    assert 300 < plan["credits"]["low"] <= cost_of({str(n): n for n in range(100)})
    assert plan["minutes"] is None
    assert any("no upper end" in text for text in plan["basis"]["warnings"])
    capped = planned(data, FIRST + timedelta(1), [str(n) for n in range(100)], "--max-pages", "3")
    assert capped["credits"]["expected"] == pytest.approx(270, abs=3)


def test_retries_of_earlier_nights_are_expected_again(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for night in range(3):
        published(data, FIRST + timedelta(night), {str(n): 500 for n in range(100)}, credits_a_page=1.2)
    plan = planned(data, FIRST + timedelta(3), [str(n) for n in range(100)])
    assert plan["credits"]["expected"] == pytest.approx(5100 * 1.2, rel=0.01)
    assert plan["basis"]["credits_per_page"] == pytest.approx(1.2, abs=0.01)
    reach = planned(data, FIRST + timedelta(3), [str(n) for n in range(100)], "--budget", "612")
    assert reach["by_strategy"]["depth-first"]["sellers_complete"] == 10
    assert plan["minutes"] == pytest.approx(plan["credits"]["expected"] / 5 / 60, abs=0.1)


def test_rules_that_end_a_seller_count(tmp_path: Path) -> None:
    data = tmp_path / "data"
    sizes = {"1": 0, "2": 10, "3": 19, "4": 400, "5": 35, "6": 36}
    for night in range(2):
        published(data, FIRST + timedelta(night), sizes)
    day = FIRST + timedelta(2)
    assert planned(data, day, list(sizes))["credits"]["expected"] == 1 + 2 + 2 + 41 + 4 + 4
    assert planned(data, day, list(sizes), "--stop", "empty")["credits"]["expected"] == 1 + 2 + 3 + 41 + 5 + 5
    capped = planned(data, day, list(sizes), "--max-pages", "3")
    assert capped["credits"]["expected"] == 1 + 2 + 2 + 3 + 3 + 3
    assert capped["by_strategy"]["depth-first"]["sellers_complete"] == 3
    one = planned(data, day, [*sizes, "77"], "--max-pages", "1")["credits"]
    assert one["expected"] == one["low"] == 7


# --- carry-forward ---------------------------------------------------------------------------------------

SORTED = {SORTING: "views desc"}


class Carrier:
    """Nights with --carry-forward as the catalogue's truth has them: what each costs, and its snapshot."""

    def __init__(self, data: Path, options: CatalogueOptions, sellers: int) -> None:
        self._data = data
        self._catalogue = Catalogue(options)
        self.sellers = self._catalogue.seller_ids(sellers)
        self._firsts: dict[str, tuple[int, list[dict[str, Any]]]] = {}
        self._sources: dict[str, date] = {}

    def night(self, day: date, rule: CarryRule) -> int:
        """Publish one night's snapshot; what it cost."""
        self._catalogue.day = (day - FIRST).days
        ended, rows = [], []
        for seller in self.sellers:
            size, first = self._catalogue.size(seller), self._catalogue.page(seller, 1, 1, 1, 10)
            source = self._sources.get(seller, day)
            same = self._firsts.get(seller) == (size, first) and size > 10
            young = 0 < (day - source).days <= rule.max_age
            carried = same and young and not rule.audits(seller)
            self._firsts[seller] = size, first
            self._sources[seller] = source if carried else day
            pages = 1 if carried else size // 10 + 1
            ended.append((seller, "complete", "carried" if carried else "short_page", pages, size, pages))
            rows += [{**row, "page_num": 1, "position": at} for at, row in enumerate(first, 1)]
            rows += [{"seller_id": seller, "page_num": 2, "carried_from": source if carried else None}]
        self._write(day, ended, rows)
        return sum(row[-1] for row in ended)

    def _write(self, day: date, ended: list[tuple[Any, ...]], rows: list[dict[str, Any]]) -> None:
        names = ("seller_id", "status", "stop_reason", "pages", "videos", "credits")
        columns: dict[str, Sequence[Any]] = dict(zip(names, zip(*ended, strict=True), strict=True))
        sellers = table_of(SELLER_SCHEMA, columns).replace_schema_metadata(SORTED)
        write(self._data / "sellers" / f"crawl_date={day}", sellers)
        known = [name for name in VIDEO_SCHEMA.names if name not in {"create_time", "extra"}]
        videos = table_of(VIDEO_SCHEMA, {name: [row.get(name) for row in rows] for name in known})
        write(self._data / "videos" / f"crawl_date={day}" / "region=MY", videos)


@pytest.mark.parametrize(
    ("seed", "exponent", "still", "audit"),
    [
        (1, 1.1, 0.3, 0.05),
        *(pytest.param(*each, marks=pytest.mark.long) for each in ((3, 0.9, 0.9, 0.2), (4, 1.4, 0.6, 0.0))),
    ],
)
def test_nights_of_carrying_are_forecast(
    tmp_path: Path, seed: int, exponent: float, still: float, audit: float
) -> None:
    """Also the ninth night, on which all that stood still for a week is too old to be carried."""
    data = tmp_path / "data"
    options = CatalogueOptions(seed=seed, exponent=exponent, largest=2000, still=still)
    nights = Carrier(data, options, 400)
    flags = ("--carry-forward", "--audit", str(audit))
    inside, errors = [], []
    for night in range(NIGHTS):
        day = FIRST + timedelta(night)
        plan = planned(data, day, nights.sellers, *flags) if night else None
        truth = nights.night(day, CarryRule(day, 7, audit))
        if plan is not None:
            inside.append(is_inside(plan, truth))
            errors.append(abs(plan["credits"]["expected"] / truth - 1))
    assert inside.count(True) >= 0.9 * len(inside)
    assert max(errors[2:]) < 0.05


def test_where_one_snapshot_is_known_carrying_is_in_the_low_end_only(tmp_path: Path) -> None:
    data = tmp_path / "data"
    nights = Carrier(data, CatalogueOptions(seed=1, largest=200, still=0.5), 200)
    day = FIRST + timedelta(1)
    nights.night(FIRST, CarryRule(FIRST, 7, 0.0))
    without = planned(data, day, nights.sellers)
    plan = planned(data, day, nights.sellers, "--carry-forward", "--audit", "0")
    assert without["carry_forward"] is None
    assert plan["credits"]["expected"] == without["credits"]["expected"]
    assert plan["credits"]["high"] == without["credits"]["high"]
    assert 200 <= plan["credits"]["low"] < 230
    carrying = plan["carry_forward"]
    assert (carrying["expected"], carrying["credits_saved"], carrying["nights"]) == (None, None, 0)
    assert 100 < carrying["may_be_carried"] < 200
    assert any("no two snapshots show" in text for text in plan["basis"]["warnings"])
    audited = planned(data, day, nights.sellers, "--carry-forward", "--audit", "1")
    assert audited["carry_forward"]["may_be_carried"] == 0
    assert audited["credits"] == without["credits"]


def test_nothing_is_carried_from_another_sorting_or_what_is_too_old(tmp_path: Path) -> None:
    data = tmp_path / "data"
    nights = Carrier(data, CatalogueOptions(seed=1, largest=200, still=0.5), 100)
    for night in range(2):
        nights.night(FIRST + timedelta(night), CarryRule(FIRST, 7, 0.0))
    for day, options in ((2, ("--sort", "gmv")), (5, ("--max-age", "3"))):
        plan = planned(data, FIRST + timedelta(day), nights.sellers, "--carry-forward", *options)
        assert plan["carry_forward"]["may_be_carried"] == 0
        assert any("no seller may be carried" in text for text in plan["basis"]["warnings"])
    assert planned(data, FIRST + timedelta(4), nights.sellers, "--carry-forward", "--max-age", "3")[
        "carry_forward"
    ]["may_be_carried"]


def test_carried_sellers_do_not_mislead_a_plan_without_carrying(tmp_path: Path) -> None:
    """Their rows in `sellers/` have one page and one credit, but all videos."""
    data = tmp_path / "data"
    options = CatalogueOptions(seed=2, largest=2000, still=0.7)
    nights, truth = Carrier(data, options, 400), Catalogue(options, 5)
    for night in range(5):
        nights.night(FIRST + timedelta(night), CarryRule(FIRST + timedelta(night), 7, 0.05))
    plan = planned(data, FIRST + timedelta(5), nights.sellers)
    full = cost_of({seller: truth.size(seller) for seller in nights.sellers})
    assert is_inside(plan, full)
    assert plan["credits"]["expected"] == pytest.approx(full, rel=0.01)
    assert plan["basis"]["credits_per_page"] == 1
    assert plan["by_strategy"]["depth-first"]["credits"] == plan["credits"]["expected"]


def test_what_was_carried_today_is_paid_for_unless_the_option_is_gone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for night in range(2):
        published(data, FIRST + timedelta(night), {"1": 45, "2": 45})
    day = FIRST + timedelta(2)
    journaled(data, day, {"1": (1, Ending(SellerStatus.COMPLETE, StopReason.CARRIED))})
    assert planned(data, day, ["1", "2"], "--carry-forward")["credits"]["expected"] == 5
    assert planned(data, day, ["1", "2"])["credits"]["expected"] == 9


def test_a_credit_for_a_seller_that_is_carried_brings_all_its_rows(tmp_path: Path) -> None:
    data = tmp_path / "data"
    nights = Carrier(data, CatalogueOptions(seed=1, largest=200, still=1.0), 50)
    for night in range(3):
        nights.night(FIRST + timedelta(night), CarryRule(FIRST, 7, 0.0))
    source = tmp_path / "sellers.txt"
    flags = ["--carry-forward", "--audit", "0", "--budget", "50"]
    plan = planned(data, FIRST + timedelta(3), nights.sellers, *flags)
    assert plan["credits"]["expected"] < 60
    assert plan["by_strategy"]["breadth-first"]["share_of_views"] > 0.95
    source.write_text("".join(f"{seller}\n" for seller in nights.sellers))
    where = ["--config", os.devnull, "--data", str(data), "--crawl-date", str(FIRST + timedelta(3))]
    shown = CliRunner().invoke(cli, ["plan", str(source), *where, *flags]).stdout
    assert f"{plan['carry_forward']['expected']} of " in shown
    assert "sellers at most, saving" in shown


@pytest.mark.long
def test_a_real_run_carries_what_the_plan_said(tmp_path: Path) -> None:
    catalogue = replace(SMALL, still=0.6)
    ids = Catalogue(catalogue).seller_ids(100)
    for day in range(4):
        plan = planned(tmp_path / "data", FIRST + timedelta(day), ids, "--carry-forward", "--audit", "0.2")
        with stand_in(SimulatorOptions(catalogue, day=day)) as simulator:
            job = Night(tmp_path, simulator.url)
            options = ("--crawl-date", str(FIRST + timedelta(day)), "--carry-forward", "--audit", "0.2")
            report = job.run(job.sellers(ids), *options)
            served = simulator.stats.requests
    assert plan["carry_forward"]["expected"] == pytest.approx(report["carry_forward"]["carried"], abs=3)
    assert plan["carry_forward"]["credits_saved"] == pytest.approx(
        report["carry_forward"]["credits_saved"], rel=0.1
    )
    assert is_inside(plan, served)
    assert plan["credits"]["expected"] == pytest.approx(served, rel=0.05)


# --- look-ahead ------------------------------------------------------------------------------------------


def test_look_ahead_is_in_the_high_end(tmp_path: Path) -> None:
    data = tmp_path / "data"
    deep = {str(n): 300 for n in range(10)}
    for night, sizes in enumerate((deep, deep, deep | {"1": 250})):
        published(data, FIRST + timedelta(night), sizes)
    day, sellers = FIRST + timedelta(3), [*deep, "99"]
    high = {
        mode: planned(data, day, sellers, "--lookahead", mode)["credits"]["high"]
        for mode in ("off", "history", "gallop")
    }
    assert high["history"] == high["off"] + 1
    assert high["gallop"] == high["off"] + 1 + 5
    for others in (("--strategy", "breadth-first"), ("--min-value", "1")):
        plan = planned(data, day, sellers, "--lookahead", "gallop", *others)
        assert plan["credits"]["high"] == high["off"]


def test_pages_past_the_end_are_bounded_for_each_seller() -> None:
    known, cut, stranger = KnownSeller(300, 1), KnownSeller(cut=30), KnownSeller()
    history, gallop = Detours(10, 0.1), Detours(10, 0.1, gallops=True, jumps=2.5)
    assert [history.most(seller, 0.0) for seller in (known, cut, stranger)] == [0.1, 1.0, 0.0]
    assert history.most(known, 4.0) == 1.0
    assert gallop.most(known, 7.0) == 4.0
    assert gallop.most(cut, 31.0) == 6.0
    assert gallop.most(stranger, 0.0) == 2.5
    assert gallop.most(KnownSeller(refused=1), 0.0) == history.most(KnownSeller(99, 1), 9.0) == 0.0
    assert jumps([4.0, 16.0, 32.0], 10) == pytest.approx(3.0)
    assert jumps([], 10) == Detours().most(known, 0.0) == 0.0


# --- what is not known ----------------------------------------------------------------------------------


def test_where_nothing_is_known_nothing_is_guessed_and_nothing_written(tmp_path: Path) -> None:
    data = tmp_path / "data"
    plan = planned(data, FIRST, ["1", "2"], "--budget", "5")
    assert plan["sellers"] == {"total": 2, "known": 0, "unknown": 2, "ended": 0}
    assert plan["credits"] == {"low": 2, "expected": None, "high": None}
    assert plan["minutes"] is None
    assert plan["by_strategy"] == {strategy.value: dict.fromkeys(FIGURES) for strategy in Strategy}
    assert plan["budget"]["left"] == 5
    assert "nothing is known" in plan["basis"]["warnings"][0]
    assert not data.exists()


def test_a_list_of_strangers_costs_what_the_known_ones_do(tmp_path: Path) -> None:
    data = tmp_path / "data"
    published(data, FIRST, {str(n): 10 * (n % 5) for n in range(100)})
    plan = planned(data, FIRST + timedelta(1), [str(n) for n in range(1000, 1100)])
    assert plan["sellers"]["unknown"] == 100
    assert plan["credits"]["expected"] == 300
    assert 250 < plan["credits"]["low"] < 300 < plan["credits"]["high"] < 350


def test_few_known_ends_tell_nothing_of_strangers(tmp_path: Path) -> None:
    data = tmp_path / "data"
    published(data, FIRST, {str(n): 50 for n in range(4)})
    plan = planned(data, FIRST + timedelta(1), ["1", "2", "99"])
    assert plan["credits"]["expected"] is None
    assert 3 <= plan["credits"]["low"] <= 13


# --- the command ----------------------------------------------------------------------------------------


def descending(_seller: str, size: int) -> list[int]:
    return [1000 // (place + 1) for place in range(size)]


def test_what_a_budget_reaches(tmp_path: Path) -> None:
    data = tmp_path / "data"

    def views(seller: str, size: int) -> list[int]:
        return [{"1": 1, "2": 100, "3": 10}[seller]] * size

    for night in range(2):
        published(data, FIRST + timedelta(night), {"1": 25, "2": 25, "3": 9}, views=views)
    plan = planned(data, FIRST + timedelta(2), ["1", "2", "3"], "--budget", "4")
    assert set(plan) >= {"sellers", "credits", "minutes", "by_strategy", "basis", "budget"}
    assert plan["credits"]["expected"] == 7
    total = 25 + 2500 + 90
    expected = {
        "depth-first": (4, 1, 2, 25 + 1000),
        "breadth-first": (4, 1, 3, 20 + 1000 + 90),
        "best-first": (4, 2, 2, 2500 + 90),
    }
    for strategy, (credits_, complete, seen, worth) in expected.items():
        reach = plan["by_strategy"][strategy]
        assert set(reach) == FIGURES
        assert (reach["credits"], reach["sellers_complete"], reach["sellers_seen"]) == (
            credits_,
            complete,
            seen,
        )
        assert reach["share_of_views"] == pytest.approx(worth / total)
        assert reach["share_of_gmv"] is None
    free = planned(data, FIRST + timedelta(2), ["1", "2", "3"])
    assert free["budget"]["left"] is None
    for reach in free["by_strategy"].values():
        assert reach["credits"] == 7
        assert (reach["sellers_complete"], reach["share_of_views"]) == (3, 1)
    by_sales = planned(data, FIRST + timedelta(2), ["1", "2", "3"], "--budget", "1", "--sort", "sales")
    assert by_sales["by_strategy"]["best-first"]["share_of_sales"] == pytest.approx(100 / (250 + 9))


def test_a_stranger_s_first_page_is_worth_what_first_pages_are(tmp_path: Path) -> None:
    data = tmp_path / "data"
    worth = {"1": 30, "2": 1, **dict.fromkeys("34567", 2)}
    published(data, FIRST, dict.fromkeys(worth, 5), views=lambda seller, size: [worth[seller]] * size)
    for budget, strangers in ((1, 0), (2, 1), (3, 1)):
        plan = planned(data, FIRST + timedelta(1), [*worth, "99"], "--budget", str(budget))
        reach = plan["by_strategy"]["best-first"]
        assert reach["sellers_seen"] == budget
        known = 30 + 2 * (budget - 1 - strangers)
        assert reach["share_of_views"] == pytest.approx(known / sum(worth.values()))


def test_another_sorting_than_the_last_is_reported(tmp_path: Path) -> None:
    data = tmp_path / "data"
    published(data, FIRST, {"1": 30}, views=lambda _seller, size: list(range(size)))
    published(data, FIRST + timedelta(3), {"1": 30}, views=descending)
    doubted = planned(data, FIRST + timedelta(1), ["1"])["basis"]["warnings"]
    assert any("not sorted by views" in text for text in doubted)
    assert not any(
        "sorted" in text for text in planned(data, FIRST + timedelta(4), ["1"])["basis"]["warnings"]
    )


def test_what_the_crawl_date_has_already_costs_nothing_more(tmp_path: Path) -> None:
    data = tmp_path / "data"
    day = FIRST + timedelta(2)
    sizes = {"1": 45, "2": 45, "3": 45, "4": 45}
    for night in range(2):
        published(data, FIRST + timedelta(night), sizes, views=descending)
    complete = Ending(SellerStatus.COMPLETE, StopReason.SHORT_PAGE)
    with Journal(Layout(data).journal(day, 1)) as journal:
        for seller, pages, ending in (("1", 3, complete), ("2", 2, None)):
            for number in range(1, pages + 1):
                page = Page(seller, number, b"{}", 10, number, 0, "r")
                journal.write([Record(seller, "run", 1, page, ending if number == pages else None)])
    with Ledger(data) as ledger:
        ledger.begin("run", day, "2026-11-03T00:00:00Z")
        ledger.reserve("run", day, None, lambda _left: 7)
    plan = planned(data, day, list(sizes), "--budget", "10")
    assert plan["credits"]["expected"] == 13
    assert plan["sellers"]["ended"] == 1
    assert plan["budget"]["spent"] == 7
    assert plan["budget"]["left"] == 3
    reach = plan["by_strategy"]["depth-first"]
    assert (reach["credits"], reach["sellers_complete"], reach["sellers_seen"]) == (3, 2, 2)
    assert reach["share_of_views"] == pytest.approx(0.5)
    capped = planned(data, day, list(sizes), "--max-pages", "2")
    assert (capped["credits"]["expected"], capped["sellers"]["ended"]) == (4, 2)
    anew = planned(data, day, list(sizes), "--fresh")
    assert (anew["credits"]["expected"], anew["sellers"]["ended"]) == (20, 0)


def journaled(data: Path, day: date, begun: dict[str, tuple[int, Ending | None]]) -> None:
    """A crawl date's journal: so many full pages of each seller, and how it ended."""
    with Journal(Layout(data).journal(day, 1)) as journal:
        for seller, (pages, ending) in begun.items():
            for number in range(1, pages + 1):
                page = Page(seller, number, b"{}", 10, number, 0, "r")
                journal.write([Record(seller, "run", 1, page, ending if number == pages else None)])
            if not pages:
                journal.write([Record(seller, "run", 1, None, ending)])


COMPLETE = Ending(SellerStatus.COMPLETE, StopReason.SHORT_PAGE)
REFUSED = Ending(SellerStatus.FAILED, StopReason.ERROR, "400")
BROKEN = Ending(SellerStatus.FAILED, StopReason.ERROR, "500", retriable=True)


def test_after_a_first_night_that_was_cut_short_each_seller_left_costs_a_credit(tmp_path: Path) -> None:
    data = tmp_path / "data"
    begun = {"1": (3, COMPLETE), "2": (70, None), "3": (0, REFUSED), "4": (0, BROKEN)}
    journaled(data, FIRST, begun)
    sellers = [*begun, "5", "6"]
    plan = planned(data, FIRST, sellers)
    assert plan["credits"] == {"low": 4, "expected": None, "high": None}
    assert plan["sellers"] == {"total": 6, "known": 0, "unknown": 6, "ended": 2}
    assert planned(data, FIRST, sellers, "--retry-failed")["credits"]["low"] == 5
    assert planned(data, FIRST, sellers, "--stop", "empty")["credits"]["low"] == 5
    assert planned(data, FIRST, sellers, "--fresh")["credits"]["low"] == 6


def test_a_seller_that_turns_out_deeper_does_not_make_the_others_cheaper(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for night in range(2):
        published(data, FIRST + timedelta(night), {"1": 25, "2": 45, "3": 45})
    journaled(data, FIRST + timedelta(2), {"1": (30, None)})
    assert planned(data, FIRST + timedelta(2), ["1", "2", "3"])["credits"]["expected"] == 11


def test_where_today_has_nothing_left_the_next_wanted_night_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an operator asks by day, after cron's run at night; here the month ends between the two."""
    data, today = tmp_path / "data", datetime.now(UTC).date()
    published(data, today, {"1": 45, "2": 45})
    journaled(data, today, {"1": (5, COMPLETE), "2": (5, COMPLETE)})
    with Ledger(data) as ledger:
        ledger.begin("run", today, f"{today}T00:00:00Z")
        ledger.reserve("run", today, None, lambda _left: 10)
    (source := tmp_path / "sellers.csv").write_text("seller_id\n1\n2\n")
    monkeypatch.setenv("CRAWLER_RUN_EVERY", "31")
    monkeypatch.setenv("CRAWLER_CREDITS_MONTHLY_BUDGET", "30")
    asked = ["plan", str(source), "--config", os.devnull, "--data", str(data), "--budget", "20"]
    shown = CliRunner().invoke(cli, asked).stdout
    assert shown.startswith(f"{today} has nothing left to do, so this is the next night:\n")
    plan = json.loads(CliRunner().invoke(cli, [*asked, "--json"]).stdout)
    assert plan["crawl_date"] == str(today + timedelta(31))
    assert (plan["credits"]["expected"], plan["sellers"]["ended"]) == (10, 0)
    assert (plan["budget"]["spent"], plan["budget"]["spent_for_month"], plan["budget"]["left"]) == (0, 0, 20)
    source.write_text("seller_id\n1\n2\n3\n")
    assert json.loads(CliRunner().invoke(cli, [*asked, "--json"]).stdout)["crawl_date"] == str(today)
    assert planned(data, today, ["1", "2"])["credits"]["expected"] == 0


def test_the_month_s_budget_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRAWLER_CREDITS_MONTHLY_BUDGET", "9")
    plan = planned(tmp_path / "data", FIRST, ["1"], "--budget", "20")
    assert (plan["budget"]["monthly_budget"], plan["budget"]["left"]) == (9, 9)


def test_a_damaged_snapshot_is_reported(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for night in range(3):
        published(data, FIRST + timedelta(night), {str(n): 20 + night for n in range(9)}, views=descending)
    (path,) = (data / "sellers" / f"crawl_date={FIRST + timedelta(1)}").iterdir()
    path.write_bytes(b"PAR1 not at all")
    plan = planned(data, FIRST + timedelta(3), [str(n) for n in range(9)])
    assert plan["basis"]["crawl_dates"] == [str(FIRST + timedelta(2)), str(FIRST)]
    assert str(FIRST + timedelta(1)) in plan["basis"]["warnings"][0]
    assert plan["basis"]["growth_per_night"] == pytest.approx(0.05)
    assert plan["credits"]["expected"] == 27


def test_it_sends_nothing_and_needs_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    data = tmp_path / "data"
    published(data, FIRST, {"1": 25}, views=descending)
    before = sorted(data.rglob("*"))
    planned(data, FIRST + timedelta(1), ["1"], "--api-url", "http://127.0.0.1:9", "--budget", "2")
    assert sorted(data.rglob("*")) == before


def test_the_table_is_whole_on_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("KEYAPI_API_KEY", KEY)
    data = tmp_path / "data"
    for night in range(7):
        published(data, FIRST + timedelta(night), {"1": 1_000_000 - 10, "2": 3}, views=lambda _s, _n: [5])
    source = tmp_path / "sellers.txt"
    source.write_text("1\n2\n")
    flags = ["--config", os.devnull, "--data", str(data), "--crawl-date", "2026-11-08", "--budget", "99999"]
    result = CliRunner().invoke(cli, ["plan", str(source), *flags], standalone_mode=False)
    assert (result.exception, result.return_value) == (None, 0)
    assert "…" not in result.stdout
    assert KEY not in result.stdout
    for text in ("100,001", "99,999", "breadth-first", "100.0%", "not known", "2 known, 0 unknown"):
        assert text in result.stdout


def test_the_table_says_what_is_not_known(tmp_path: Path) -> None:
    data, source = tmp_path / "data", tmp_path / "sellers.txt"
    source.write_text("1\n99\n")
    flags = ["--config", os.devnull, "--data", str(data), "--crawl-date", str(FIRST + timedelta(1))]
    shown = CliRunner().invoke(cli, ["plan", str(source), *flags]).stdout
    assert "not known" in shown
    assert "at least 2 credits" in shown
    assert "at least 1 s at 5 requests a second" in shown
    assert len(shown.splitlines()) == 1
    published(data, FIRST, {"1": 50})
    shown = CliRunner().invoke(cli, ["plan", str(source), *flags]).stdout
    assert "at least 5" in shown
    assert "warning: too few sellers were ever read to their end" in shown


def test_its_help_names_the_options_of_a_run() -> None:
    shown = CliRunner().invoke(cli, ["plan", "--help"])
    assert shown.exit_code == 0
    for text in ("nothing is sent", "--budget", "--max-pages", "--json"):
        assert text in shown.stdout


@pytest.mark.parametrize("arguments", [["missing.csv"], ["-", "--stop", "never"], []])
def test_bad_input_is_a_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["plan", *arguments], input="7\n", standalone_mode=False)
    assert getattr(result.exception, "exit_code", None) == 2


# --- the rules ------------------------------------------------------------------------------------------


@given(size=st.integers(0, 300), stop=st.sampled_from(StopRule), max_pages=st.integers(1, 40))
def test_the_tariff_is_what_the_paging_rule_makes_a_seller_cost(
    size: int, stop: StopRule, max_pages: int
) -> None:
    rule, seller = PagingRule(stop, max_pages), SellerProgress("7")
    while True:
        start = (seller.next_page - 1) * 10
        count = max(0, min(10, size - start))
        page = Page("7", seller.next_page, b"", count, start, 0, "")
        step = rule.after(seller, page)
        seller.received(page)
        if isinstance(step, Ending):
            break
    assert Tariff(stop, max_pages).pages(size) == seller.pages


@given(size=st.integers(0, 500), factor=st.floats(0.5, 1.5), stop=st.sampled_from(StopRule))
def test_expected_pages_lie_between_those_of_the_whole_sizes_around(
    size: int, factor: float, stop: StopRule
) -> None:
    tariff = Tariff(stop, 40)
    pages = tariff.expected(size, factor)
    assert tariff.pages(int(size * factor) - 1) <= pages <= tariff.pages(int(size * factor) + 2)
    assert tariff.expected(size, 1.0) == tariff.pages(size)


def test_a_fraction_of_a_video_is_a_chance() -> None:
    assert Tariff().expected(9, 1 + 0.25 / 9) == pytest.approx(1.25)
    assert Tariff().expected(5, 1 + 0.25 / 5) == 1


def test_probes_cost_their_share_but_one_a_seller_at_most() -> None:
    assert Tariff(probe=0.1).with_probes(900, 500) == pytest.approx(1000)
    assert Tariff(probe=0.5).with_probes(900, 500) == 1400
    assert Tariff(probe=1.0).with_probes(900, 500) == 1400
    assert Tariff(StopRule.EMPTY, probe=0.1).with_probes(900, 500) == 900


def test_growth_is_the_mean_of_the_nights_and_its_spread_narrows() -> None:
    assert growth([]).nights == 0
    few, many = growth([0.03]), growth([0.03] * 6)
    assert few.mean == many.mean == pytest.approx(0.03)
    assert many.sd < few.sd < growth([]).sd
    assert growth([0.0, 0.2] * 3).sd == pytest.approx(0.1, rel=0.1)
    assert growth([0.03] * 6, [0.02] * 6).sd > many.sd
    assert cost_per_page([0.5]).mean == 1.0
    assert cost_per_page([1.1, 1.3]).mean == pytest.approx(1.2)


def test_a_chance_is_the_share_of_the_nights_seen() -> None:
    assert chance([], [], 0.9) == Measure(0.9, 0.15, 0)
    steady, once = chance([0.8] * 5, [0.0] * 5, 0.9), chance([0.8], [0.0], 0.9)
    assert steady.mean == once.mean == pytest.approx(0.8)
    assert 0 < steady.sd < once.sd < chance([0.8], [0.3], 0.9).sd
    assert chance([1.0], [0.0], 0.9).sd > 0


def test_the_share_that_stands_still_is_weighed_by_pages() -> None:
    share_ = Share()
    share_.add(30, counts=True)
    share_.add(10, counts=False)
    assert share_.rate == 0.75
    assert share_.error == pytest.approx(sqrt(0.75 * 0.25 * 1000) / 40)


def test_what_a_seller_costs_that_may_be_carried() -> None:
    chances: Chances = {True: Measure(0.75, 0.1, 2), False: Measure(0.25, 0.0, 2), None: Measure(0.5, 0.0, 2)}
    still = Measure(0.0, 0.0, 9), Measure(1.0, 0.0, 9)
    known = Forecaster(Tariff(), still[0], 0.0, still[1], Spread(None, {}, 0), chances)
    unknown = replace(known, chances=None)
    seller = KnownSeller(400, 1, may_carry=True)
    assert known.pages(seller._replace(unchanged=True)) == 11
    assert known.pages(seller._replace(unchanged=False)) == 31
    assert known.pages(seller) == 21
    assert known.pages(KnownSeller(400, 1, unchanged=True)) == 41
    assert known.savings([seller, KnownSeller(400, 1)]) == (0.5, 20.0)
    assert unknown.savings([seller]) is None
    assert unknown.total([seller]) == Forecast(1, 41, 42)
    many = [seller._replace(unchanged=True)] * 1000
    low, expected, high = known.total(many)
    assert expected == 11_000
    assert high is not None
    assert low < 11_000 - 2 * 0.1 * 40_000 < low + 500
    assert high > 11_000 + 2 * 0.1 * 40_000 > high - 500


@given(st.lists(st.integers(1, 30), min_size=5, max_size=30))
def test_a_spread_without_cuts_is_mean_and_variance(ends: list[int]) -> None:
    whole = spread([float(end) for end in ends], []).whole
    assert whole is not None
    assert whole.mean == pytest.approx(fmean(ends))
    assert whole.variance == pytest.approx(fmean((end - fmean(ends)) ** 2 for end in ends), abs=1e-6)


def mass_handed_right(ends: list[int], cuts: list[int]) -> tuple[float, dict[int, float]]:
    """Efron's way to the same estimate: each cut-off one's weight goes to all that went further."""
    seen = sorted([(end, False) for end in ends] + [(cut, True) for cut in cuts])
    weights = [1.0 / len(seen)] * len(seen)
    for at, (_, is_cut) in enumerate(seen):
        if is_cut:
            handed, weights[at] = weights[at] / (len(seen) - at - 1), 0.0
            weights[at + 1 :] = [weight + handed for weight in weights[at + 1 :]]
    beyond = {}
    for cut in cuts:
        further = [(weight, pages) for weight, (pages, _) in zip(weights, seen, strict=True) if pages > cut]
        beyond[cut] = sum(w * p for w, p in further) / sum(w for w, _ in further)
    return sum(w * p for w, (p, _) in zip(weights, seen, strict=True)), beyond


@given(st.lists(st.integers(1, 20), min_size=4, max_size=15), st.lists(st.integers(1, 20), max_size=10))
def test_cut_off_sellers_are_worth_those_that_went_further(ends: list[int], cuts: list[int]) -> None:
    found = spread([*map(float, ends), 21.0], cuts)
    mean, beyond = mass_handed_right([*ends, 21], cuts)
    assert found.whole is not None
    assert found.whole.mean == pytest.approx(mean)
    for cut, tail in found.beyond.items():
        assert tail is not None
        assert tail.mean == pytest.approx(beyond[cut])
        assert tail.mean > cut


def test_a_few_lost_sellers_do_not_take_all_knowledge_with_them() -> None:
    many = spread([5.0] * 1000, [40])
    assert many.beyond[40] == Tail(60.0, 100.0)
    assert many.whole is not None
    assert many.whole.mean == pytest.approx(5.0, abs=0.1)
    few = spread([5.0] * 100, [40])
    assert (few.whole, few.beyond) == (None, {40: None})


def test_what_each_seller_costs() -> None:
    tail = Tail(7.0, 4.0)
    forecaster = Forecaster(
        Tariff(max_pages=50),
        Measure(0.1, 0.0, 3),
        0.0,
        Measure(1.0, 0.0, 3),
        Spread(tail, {3: Tail(9.0, 1.0), 4: None}, 10),
    )
    assert forecaster.pages(KnownSeller(100, 1)) == 12
    assert forecaster.pages(KnownSeller(100, 2)) == pytest.approx(13)
    assert forecaster.pages(KnownSeller(10_000, 1)) == 50
    assert forecaster.pages(KnownSeller(cut=3)) == 9
    assert forecaster.pages(KnownSeller(cut=4)) is None
    assert forecaster.pages(KnownSeller(cut=50)) == 50
    assert forecaster.pages(KnownSeller(refused=2)) == 2
    assert forecaster.pages(KnownSeller()) == 7
    assert forecaster.total([]) == Forecast(0, 0, 0)
    assert forecaster.total([KnownSeller(100, 1, paid=3), KnownSeller(refused=1)])[1] == 10
    assert forecaster.total([KnownSeller(100, 1, paid=30), KnownSeller(refused=1)])[1] == 2
    assert forecaster.total([KnownSeller(cut=4), KnownSeller(100, 1)]) == Forecast(16, None, None)
    assert forecaster.total([KnownSeller(cut=4, paid=4), KnownSeller(100, 1)]) == Forecast(12, None, None)


@given(st.floats(0.5, 1e6), st.floats(0.001, 1e9), st.integers(1, 50))
def test_no_interval_goes_below_a_credit_a_seller(mean: float, variance: float, count: int) -> None:
    tail = Tail(max(1.0, mean), variance)
    forecaster = Forecaster(Tariff(), Measure(0.0, 0.03, 0), 0.0, Measure(1.0, 0.0, 0), Spread(tail, {}, 9))
    low, expected, high = forecaster.total([KnownSeller()] * count)
    assert expected is not None
    assert high is not None
    assert count <= low <= expected <= high


def interval(spread_: Spread, sellers: list[KnownSeller], unrest: float = 0.0) -> tuple[int, int]:
    still = Measure(0.0, 0.0, 9), Measure(1.0, 0.0, 9)
    low, _, high = Forecaster(Tariff(), still[0], unrest, still[1], spread_).total(sellers)
    assert high is not None
    return low, high


def test_a_guessed_sum_is_skewed_as_a_log_normal_one() -> None:
    low, high = interval(Spread(Tail(1000.0, 1e6), {}, 10**9), [KnownSeller()] * 4)
    log_variance = log1p(0.25)
    assert low == pytest.approx(4000 * exp(-log_variance / 2 - 2 * sqrt(log_variance)), abs=1)
    assert high == pytest.approx(4000 * exp(-log_variance / 2 + 2 * sqrt(log_variance)), abs=1)


def test_a_mean_of_few_sellers_and_unruly_growth_widen_the_interval() -> None:
    tail, strangers = Tail(10.0, 25.0), [KnownSeller()] * 1000
    few, many = (interval(Spread(tail, {}, ends), strangers) for ends in (10, 10**9))
    assert high_over_low(few) > 1 + 5 * (high_over_low(many) - 1)
    nobody, known = Spread(None, {}, 0), [KnownSeller(10_000, 1)] * 100
    assert interval(nobody, known) == (100_100 - 10, 100_100 + 10)
    assert interval(nobody, known, 0.01) == pytest.approx((100_100 - 2000, 100_100 + 2000), abs=1)
    assert interval(nobody, [KnownSeller(10_000, 4)] * 100, 0.01)[1] == pytest.approx(100_100 + 4000, abs=1)


def high_over_low(ends: tuple[int, int]) -> float:
    return ends[1] / ends[0]


stock = st.lists(
    st.tuples(st.integers(0, 4), st.lists(st.integers(0, 5), min_size=1, max_size=5)), min_size=1, max_size=6
)


def played(read: list[int], costs: list[int], budget: int, strategy: Strategy) -> list[int]:
    """The real frontier, one page at a time."""
    reached = list(read)
    fresh = (str(n) for n, have in enumerate(read) if have == 0 < costs[n])
    begun = [SellerProgress(str(n), have + 1) for n, have in enumerate(read) if 0 < have < costs[n]]
    frontier = Frontier(fresh, begun, strategy)
    for _ in range(budget):
        seller = frontier.take()
        if seller is None:
            break
        number = int(seller.seller_id)
        reached[number] += 1
        seller.next_page += 1
        if reached[number] < costs[number]:
            frontier.put_back(seller)
    return reached


@given(stock, st.integers(0, 40))
def test_reaches_are_those_of_the_frontier(sellers: list[tuple[int, list[int]]], budget: int) -> None:
    costs = [len(pages) for _, pages in sellers]
    nothing = [0] * len(costs)
    assert depth_first(nothing, costs, budget) == played(nothing, costs, budget, Strategy.DEPTH_FIRST)
    assert breadth_first(nothing, costs, budget) == played(nothing, costs, budget, Strategy.BREADTH_FIRST)


@given(stock, st.integers(0, 40))
def test_reaches_spend_the_budget_and_no_more(sellers: list[tuple[int, list[int]]], budget: int) -> None:
    costs = [len(pages) for _, pages in sellers]
    read = [min(have, cost) for (have, _), cost in zip(sellers, costs, strict=True)]
    values = [pages for _, pages in sellers]
    for reached in (
        depth_first(read, costs, budget),
        breadth_first(read, costs, budget),
        best_first(read, costs, values, budget),
    ):
        assert sum(reached) - sum(read) == min(budget, sum(costs) - sum(read))
        assert all(a <= b <= c for a, b, c in zip(read, reached, costs, strict=True))


@given(stock, st.integers(0, 12))
def test_best_first_is_the_best_there_is_where_pages_decline(
    sellers: list[tuple[int, list[int]]], budget: int
) -> None:
    values = [sorted(pages, reverse=True) for _, pages in sellers]
    costs = [len(pages) for pages in values]
    reached = best_first([0] * len(costs), costs, values, budget)
    worth = sum(sum(pages[:n]) for pages, n in zip(values, reached, strict=True))
    assert worth == sum(nlargest(budget, [value for pages in values for value in pages]))
    total = sum(map(sum, values))
    assert share(reached, values) == (pytest.approx(worth / total) if total else None)


@given(stock, st.integers(0, 12))
def test_best_first_always_takes_the_page_worth_most(
    sellers: list[tuple[int, list[int]]], budget: int
) -> None:
    values = [pages for _, pages in sellers]
    costs = [len(pages) + 1 for pages in values]
    reached = [0] * len(costs)
    for _ in range(min(budget, sum(costs))):
        worth = [
            ([*pages, 0][n], -at)
            for at, (pages, n) in enumerate(zip(values, reached, strict=True))
            if n < costs[at]
        ]
        reached[-max(worth)[1]] += 1
    assert best_first([0] * len(costs), costs, values, budget) == reached
