"""Nights with several keys, as the stand-in's own counts by key see them."""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import orjson
import pytest
from conftest import DATE, SMALL, Night

from crawler.simulator.server import SimulatedKey, Simulator, SimulatorOptions
from crawler.store.ledger import Ledger

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
NAMES = ("first", "second", "third")
VALUES = {name: f"sk_live_of_{name}_0123456789" for name in NAMES}


def simulated(**limits: dict[str, Any]) -> SimulatorOptions:
    keys = tuple(SimulatedKey(VALUES[name], **limit) for name, limit in limits.items())
    return SimulatorOptions(SMALL, keys=keys, latency=0.02)


class SeveralKeys(Night):
    """A data folder whose settings file has several keys."""

    def environ(self) -> dict[str, str]:
        environ = super().environ()
        del environ["KEYAPI_API_KEY"]
        return {**environ, **{f"KEYAPI_{name.upper()}": value for name, value in VALUES.items()}}

    def have(self, **limits: dict[str, float]) -> None:
        text = "".join(
            f'[[api.keys]]\nname = "{name}"\nvariable = "KEYAPI_{name.upper()}"\n'
            + "".join(f"{word} = {value}\n" for word, value in limit.items())
            for name, limit in limits.items()
        )
        (self.folder / "config").mkdir(exist_ok=True)
        (self.folder / "config" / "crawler.toml").write_text(text)

    def by_key(self) -> dict[str, int]:
        with Ledger(self.data) as ledger:
            return {name: ledger.spent_since(date.min, None, name) for name in ledger.key_names()}


@pytest.fixture
def several(night: Begin) -> Callable[[SimulatorOptions], tuple[SeveralKeys, Simulator]]:
    def begin(options: SimulatorOptions) -> tuple[SeveralKeys, Simulator]:
        job, simulator = night(options)
        return SeveralKeys(job.folder, job.url), simulator

    return begin


Several = Callable[[SimulatorOptions], tuple[SeveralKeys, Simulator]]


def sent(simulator: Simulator) -> dict[str, int]:
    return {
        name: simulator.stats.by_key[VALUES[name]].requests
        for name in NAMES
        if VALUES[name] in simulator.stats.by_key
    }


def used(report: dict[str, Any]) -> dict[str, Any]:
    return {use["name"]: use for use in report["keys"]}


def busiest(arrivals: list[float], seconds: float = 1.0) -> int:
    return max((bisect.bisect_left(arrivals, t + seconds) - i for i, t in enumerate(arrivals)), default=0)


def assert_no_key_shown(job: SeveralKeys) -> None:
    for path in job.data.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(value.encode() in content for value in VALUES.values()), path


def test_keys_share_a_night_and_no_ceiling_is_exceeded(several: Several) -> None:
    """The ledger, the report and the stand-in count the same by key; nothing else tells the keys apart."""
    job, simulator = several(simulated(first={"qps": 60}, second={"qps": 25}, third={}))
    job.have(first={"qps": 60}, second={"qps": 25}, third={"qps": 40})
    report = job.run(job.sellers(simulator.catalogue.seller_ids(40)), "--qps", "100")
    assert report["exit_code"] == 0
    assert simulator.stats.by_status["429"] == 0
    assert {name: use["sent"] for name, use in used(report).items()} == sent(simulator) == job.by_key()
    assert sum(sent(simulator).values()) == report["requests"]["sent"] == report["credits"]["spent_for_date"]
    assert report["qps"]["limit"] == 100
    for name, qps in {"first": 60, "second": 25, "third": 40}.items():
        assert busiest(list(simulator.stats.by_key[VALUES[name]].arrivals)) <= qps
    assert busiest(list(simulator.stats.arrivals)) <= 100
    assert all(use["retired"] is None and use["by_status"] == {"200": use["sent"]} for use in report["keys"])
    assert_no_key_shown(job)
    columns = {name for row in job.videos() for name in row} | {
        name for row in job.seller_rows().values() for name in row
    }
    assert not {name for name in columns if "key" in name}


def test_a_key_that_is_refused_midway_leaves_the_others(several: Several) -> None:
    job, simulator = several(simulated(first={"refused_after": 30}, second={}))
    job.have(first={"qps": 100}, second={"qps": 100})
    source = job.sellers(simulator.catalogue.seller_ids(30))
    report = job.run(source)
    assert report["exit_code"] == 0
    assert report["sellers"]["complete"] == 30
    first = used(report)["first"]
    assert (first["retired"], used(report)["second"]["retired"]) == ("refused", None)
    assert "401" in first["reason"]
    assert [note for note in report["notes"] if "first" in note and "second" in note]
    assert len([note for note in report["notes"] if "is refused" in note]) == 1
    assert report["is_warning"]
    assert {name: use["sent"] for name, use in used(report).items()} == sent(simulator) == job.by_key()
    again = job.run(source, "--fresh")
    assert used(again)["first"]["sent"] == 1, "a later run tries it by one request"


def test_a_key_that_is_used_up_midway_leaves_the_others(several: Several) -> None:
    job, simulator = several(simulated(first={"quota": 25}, second={}))
    job.have(first={"qps": 100}, second={"qps": 100})
    report = job.run(job.sellers(simulator.catalogue.seller_ids(30)))
    assert report["exit_code"] == 0
    assert used(report)["first"]["retired"] == "used_up"
    assert simulator.stats.by_key[VALUES["first"]].credits == 25
    assert job.by_key() == sent(simulator)


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"first": {"refused_after": 5}, "second": {"refused_after": 9}}, 5),
        ({"first": {"quota": 5}, "second": {"quota": 9}}, 6),
        ({"first": {"refused_after": 5}, "second": {"quota": 9}}, 6),
        ({"first": {"quota": 5}, "second": {"refused_after": 9}}, 6),
        ({"first": {"refused_after": 0}}, 5),
    ],
)
def test_where_no_key_is_left_the_exit_code_says_why(
    several: Several, limits: dict[str, dict[str, int]], code: int
) -> None:
    job, simulator = several(simulated(**limits))
    job.have(**{name: {"qps": 100.0} for name in limits})
    report = job.run(job.sellers(simulator.catalogue.seller_ids(30)), code=code)
    assert all(name in report["message"] for name in limits)
    assert "KEYAPI_API_KEY" not in report["message"]
    assert job.by_key() == sent(simulator)
    assert set(report["stops"]) >= {"key_refused" if code == 5 else "quota"}


def test_budgets_by_key_hold_over_a_kill_and_a_later_run(several: Several) -> None:
    """The stand-in counts no key above its budget, and the ledger none below what the stand-in counted."""
    job, simulator = several(simulated(first={}, second={}, third={}))
    job.have(
        first={"qps": 100, "daily_budget": 50},
        second={"qps": 100, "monthly_budget": 70},
        third={"qps": 50, "daily_budget": 30},
    )
    source = job.sellers(simulator.catalogue.seller_ids(60))
    process = job.start(source)
    while simulator.stats.requests < 40:
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.communicate()
    time.sleep(0.1)
    killed = sent(simulator)
    assert all(job.by_key().get(name, 0) >= count for name, count in killed.items())
    report = job.run(source, code=3)
    by_key, counted = job.by_key(), sent(simulator)
    assert by_key == {"first": 50, "second": 70, "third": 30}
    assert all(killed[name] <= counted[name] <= by_key[name] for name in NAMES)
    assert report["credits"]["spent_for_date"] == 150
    assert {use["retired"] for use in report["keys"]} == {"budget"}
    assert (used(report)["first"]["spent_for_day"], used(report)["second"]["spent_for_month"]) == (50, 70)
    before = simulator.stats.requests
    spent = job.run(source, code=3)
    assert "first has spent its own budget" in spent["message"]
    assert simulator.stats.requests == before


def test_with_one_key_nothing_of_this_shows(night: Begin) -> None:
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(3))
    report = job.run(source)
    assert "keys" not in report
    assert "keys" not in orjson.loads(next((job.data / "runs").glob("*/report.json")).read_bytes())
    with Ledger(job.data) as ledger:
        assert ledger.key_names() == []
    assert "api.keys" not in job.call("check", str(source)).stdout
    assert "key" not in job.call("status").stdout
    assert "key" not in job.call("status", "--json").stdout


def test_check_asks_with_each_key_and_status_counts_them(several: Several) -> None:
    job, simulator = several(simulated(first={}, second={"refused_after": 0}))
    job.have(first={"qps": 100, "daily_budget": 9}, second={"qps": 100})
    checked = job.call("check", "--online", "--crawl-date", DATE)
    assert checked.returncode == 5
    lines = {" ".join(line.split()[:2]): line for line in checked.stdout.splitlines()}
    assert "answered with" in lines["online first"]
    assert "failed" in lines["online second"]
    assert "the key second is refused" in checked.stdout
    assert sent(simulator) == job.by_key() == {"first": 1, "second": 1}
    assert "key first: 1 of 9 credits spent today, 1 in the month" in job.call("status").stdout
    told = orjson.loads(job.call("status", "--json").stdout)["keys"]
    assert [(key["name"], key["spent_for_day"]) for key in told] == [("first", 1), ("second", 1)]
    assert not any(value in checked.stdout + checked.stderr for value in VALUES.values())


def test_metrics_and_page_name_the_keys(several: Several) -> None:
    job, simulator = several(simulated(first={"refused_after": 3}, second={}))
    job.have(first={"qps": 100}, second={"qps": 100})
    source, path = job.sellers(simulator.catalogue.seller_ids(5)), job.folder / "crawler.prom"
    words = ["run", str(source), "--crawl-date", DATE]
    assert job.call(*words, CRAWLER_METRICS_TEXTFILE=str(path)).returncode == 0
    text = path.read_text()
    assert 'crawler_key_retired{key="first"} 1' in text
    assert 'crawler_key_retired{key="second"} 0' in text
    assert f'crawler_key_credits_spent{{key="second"}} {sent(simulator)["second"]}' in text
    assert job.call("report").returncode == 0
    (page,) = job.data.glob("runs/*/report.html")
    assert "refused by the API" in page.read_text()
    assert_no_key_shown(job)
