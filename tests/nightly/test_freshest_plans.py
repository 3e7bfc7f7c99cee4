"""What plans, checks and targets say of `--strategy freshest`, on nights that the program published."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from test_freshest_nights import BEGIN, SELLERS, Nights

from crawler.models.seller import Strategy
from crawler.options import RunSettings, Settings
from crawler.planning.freshest_plan import tonight

BUDGET = 60


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole night and two of a budget."""
    nights = Nights(tmp_path_factory.mktemp("published"))
    nights.run(0)
    for number in (1, 2):
        nights.run(number, "--budget", str(BUDGET), "--max-age", "5")
    return nights.folder


@pytest.fixture
def nights(published: Path, tmp_path: Path) -> Nights:
    return Nights(Path(shutil.copytree(published, tmp_path / "nights")))


def printed(nights: Nights, number: int, *options: str) -> str:
    with nights.served(number) as (simulator, source):
        words = ("plan", str(source), "--crawl-date", nights.day(number), "--strategy", "freshest", *options)
        done = nights.job.call(*words)
        assert (done.returncode, simulator.stats.requests) == (0, 0), done.stderr
    return str(done.stdout)


def planned(nights: Nights, number: int, *options: str) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads(printed(nights, number, "--json", *options))
    return plan


def files(folder: Path) -> dict[str, bytes]:
    """All but what SQLite keeps beside a database that is read."""
    kept = (path for path in folder.rglob("*") if path.is_file() and path.suffix[-4:] not in {"-shm", "-wal"})
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def test_a_plan_shows_what_each_budget_would_bring(nights: Nights) -> None:
    before = files(nights.job.data)
    trade = planned(nights, 3, "--max-age", "5")["trade"]
    assert files(nights.job.data) == before, "a plan writes nothing"
    assert trade["cost"] == sum(row["pages"] for row in nights.sellers(0).values())
    assert (trade["value"], trade["max_age"], trade["nights"], trade["target"]) == ("views", 5, 10, None)
    steps = trade["budgets"]
    assert [step["credits"] for step in steps] == [-(-trade["cost"] * part // 10) for part in range(1, 11)]
    seen = [step["share_seen"] for step in steps]
    assert all(below < above for below, above in pairwise(seen[:-1]))
    assert (seen[-1], steps[-1]["mean_age"], steps[-1]["oldest_age"]) == (pytest.approx(1.0), 0.0, 0)
    for step in steps:
        if step["credits"] >= trade["bearable_budget"]:
            assert step["overdue"] == 0
            assert step["oldest_age"] < 5
    assert trade["bearable_budget"] <= trade["enough"] <= trade["cost"]


def test_a_plan_foresees_what_the_next_night_reads(nights: Nights) -> None:
    reach = planned(nights, 3, "--budget", str(BUDGET), "--max-age", "5")["by_strategy"]["freshest"]
    report = nights.run(3, "--budget", str(BUDGET), "--max-age", "5")
    assert reach["credits"] == report["charged"] == BUDGET
    read = [row for row in nights.sellers(3).values() if row["pages"]]
    assert reach["sellers_seen"] == pytest.approx(len(read), abs=1)
    whole = [row for row in nights.sellers(3).values() if row["stretches"] is None]
    assert reach["sellers_complete"] == pytest.approx(len(whole), abs=1)
    assert 0 < reach["share_of_views"] < 1
    assert planned(nights, 3)["by_strategy"]["freshest"]["share_of_views"] == pytest.approx(1.0)


def test_a_night_under_way_is_planned_by_what_is_left(nights: Nights) -> None:
    first = planned(nights, 3, "--budget", "40")
    nights.run(3, "--budget", "40")
    plan = planned(nights, 3, "--budget", "80")
    assert plan["budget"]["left"] == 40
    assert plan["trade"]["cost"] == first["trade"]["cost"], "budgets are for whole nights"
    reach = plan["by_strategy"]["freshest"]
    assert reach["sellers_seen"] > first["by_strategy"]["freshest"]["sellers_seen"]
    assert reach["share_of_views"] > first["by_strategy"]["freshest"]["share_of_views"]
    report = nights.run(3, "--budget", "80")
    whole = [row for row in nights.sellers(3).values() if row["stretches"] is None]
    assert report["credits"]["spent_for_date"] == 80
    assert reach["sellers_complete"] == pytest.approx(len(whole), abs=1)


def test_what_is_received_for_the_date_is_not_bought_again(nights: Nights) -> None:
    report = nights.run(3, "--budget", "40")
    run = RunSettings(data=nights.job.data, strategy=Strategy.FRESHEST)
    ids = pa.array(sorted(nights.sellers(0)), pa.string())
    found = tonight(Settings(run=run), ids, BEGIN + timedelta(3))
    whole = {seller_id for seller_id, row in nights.sellers(3).items() if row["stretches"] is None}
    assert found.received.whole == whole
    assert whole.isdisjoint(found.ids_left)
    assert whole.union(found.ids_left) == {*nights.sellers(0)}
    assert found.left.cost == pytest.approx(found.listed.cost - report["charged"], abs=3)


def test_the_table_has_a_line_for_each_budget(nights: Nights) -> None:
    text = printed(nights, 3, "--max-age", "5")
    trade = planned(nights, 3, "--max-age", "5")["trade"]
    for step in trade["budgets"]:
        assert any(
            f"{step['credits']:,} " in line and f"{step['share_seen']:.1%}" in line
            for line in text.splitlines()
        )
    little = f"Beyond {trade['enough']} credits a night another credit buys little."
    whole = "Each credit up to the whole cost buys more than a little."
    assert (little if trade["enough"] < trade["cost"] else whole) in text
    assert f"{trade['bearable_budget']} read every page at least every 5 days." in text


def test_other_strategies_are_planned_without_budgets(nights: Nights) -> None:
    with nights.served(3) as (_, source):
        done = nights.job.call("plan", str(source), "--crawl-date", nights.day(3), "--json")
    plan = json.loads(done.stdout)
    assert plan["trade"] is None
    assert "freshest" not in plan["by_strategy"]


def test_a_damaged_snapshot_is_left_out_of_a_plan(nights: Nights) -> None:
    for path in (nights.job.data / "sellers" / f"crawl_date={nights.day(2)}").glob("*.parquet"):
        path.write_bytes(b"damaged")
    plan = planned(nights, 3)
    assert any(nights.day(2) in warning for warning in plan["basis"]["warnings"])
    assert plan["trade"]["cost"] > 100


def test_of_unknown_sellers_no_budget_is_planned(tmp_path: Path) -> None:
    plan = planned(Nights(tmp_path), 0)
    assert plan["trade"] is None
    assert plan["sellers"]["unknown"] == SELLERS


def test_a_target_picks_the_budget_that_its_plan_names(nights: Nights) -> None:
    plan = planned(nights, 3, "--target", "0.6", "--max-age", "5")
    target = plan["trade"]["target"]
    assert target["share_seen"] >= 0.6
    assert plan["trade"]["bearable_budget"] <= target["credits"] < plan["trade"]["cost"]
    assert plan["budget"]["left"] == plan["by_strategy"]["freshest"]["credits"] == target["credits"]
    assert f"The target takes {target['credits']}," in printed(nights, 3, "--target", "0.6", "--max-age", "5")
    report = nights.run(3, "--target", "0.6", "--max-age", "5")
    assert report["credits"]["budget"] == report["charged"] == target["credits"]
    assert report["freshness"]["target"] == 0.6
    assert any(
        f"60 % of the gains of crawl date {nights.day(3)}, {target['credits']} credits" in note
        for note in report["notes"]
    )


def test_a_target_stays_as_it_was_picked_for_the_date(nights: Nights) -> None:
    target = planned(nights, 3, "--target", "0.6")["trade"]["target"]["credits"]
    first = nights.run(3, "--target", "0.6", "--budget", "20")
    assert first["credits"]["budget"] == first["charged"] == 20, "the smaller one counts"
    for options in (("--target", "0.95"), ("--target", "0.95", "--budget", "1000")):
        assert planned(nights, 3, *options)["trade"]["target"]["credits"] == target
    assert planned(nights, 3, "--target", "0.95")["budget"]["left"] == target - 20
    report = nights.run(3, "--target", "0.95")
    assert report["credits"]["budget"] == report["credits"]["spent_for_date"] == target
    assert nights.run(3, "--target", "0.95")["charged"] == 0


def test_a_month_s_budget_limits_a_target(nights: Nights) -> None:
    spent = nights.run(3, "--budget", "1")["credits"]["spent_for_month"]
    config = nights.folder / "month.toml"
    config.write_text(f"[credits]\nmonthly_budget = {spent + 15}\n")
    assert nights.run(4, "--target", "0.9", "--config", str(config))["charged"] == 15


def test_a_first_night_knows_no_budget_for_a_target(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    report = nights.run(0, "--target", "0.5", sellers=4)
    assert report["credits"]["budget"] is None
    assert report["sellers"]["complete"] == 4
    assert any("it is not known which budget shows 50 %" in note for note in report["notes"])


@pytest.mark.parametrize(
    "words", [("0.5",), ("0", "--strategy", "freshest"), ("1.1", "--strategy", "freshest")]
)
def test_a_target_is_a_share_for_freshest_alone(nights: Nights, words: tuple[str, ...]) -> None:
    with nights.served(3) as (simulator, source):
        done = nights.job.call("run", str(source), "--target", *words)
        assert (done.returncode, simulator.stats.requests) == (2, 0)
    assert ("a share above 0, at most 1 is wanted" if len(words) > 1 else "freshest") in done.stderr


def warnings_of_check(nights: Nights, *options: str) -> list[str]:
    with nights.served(3) as (simulator, source):
        words = ("check", str(source), "--crawl-date", nights.day(3), "--json", *options)
        done = nights.job.call(*words)
        assert (done.returncode, simulator.stats.requests) == (0, 0), done.stderr
    return [warning for warning in json.loads(done.stdout)["warnings"] if "budget" in warning]


def test_plan_and_check_name_the_smallest_budget_that_would_do(nights: Nights) -> None:
    options = ("--strategy", "freshest", "--max-age", "5", "--budget")
    trade = planned(nights, 3, "--max-age", "5")["trade"]
    bearable, least = trade["bearable_budget"], trade["cost"] // 5
    for budget in (10, least // 2):
        plan = planned(nights, 3, "--max-age", "5", "--budget", str(budget))
        (doubt,) = (text for text in plan["basis"]["warnings"] if "cannot bear" in text)
        assert f"a budget of {budget} credits" in doubt
        assert f"{bearable} credits a night would do" in doubt
        assert warnings_of_check(nights, *options, str(budget)) == [doubt]
    for budget in (bearable, trade["cost"]):
        warnings = planned(nights, 3, "--max-age", "5", "--budget", str(budget))["basis"]["warnings"]
        assert not [text for text in warnings if "cannot bear" in text]
        assert warnings_of_check(nights, *options, str(budget)) == []
    assert warnings_of_check(nights, "--budget", "10") == []
    assert warnings_of_check(nights, "--strategy", "freshest") == []
