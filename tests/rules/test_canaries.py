"""Canaries: the sequential test, what a hit is, who they are, and credits before the stop in outages."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outages import OUTAGES, Project, after_nights

from crawler.rules.canaries import (
    ANSWER_RATES,
    CANARIES,
    Canaries,
    Canary,
    Decision,
    FirstPage,
    Rates,
    SequentialTest,
    choose_canaries,
    still_rates,
)
from crawler.rules.plausibility import Band, Measures, Plausibility, judge

DAY = 86_400.0
STILL = Rates(0.25, 0.9)
PAGE = Path(__file__).parents[2] / "docs" / "plausibility.md"


def canaries(regions: str = "M" * 50, still: Rates | None = None) -> Canaries:
    return Canaries([Canary(f"s{n}", region, 20, n, 0.0) for n, region in enumerate(regions)], still)


def page(number: int, **changes: Any) -> FirstPage:
    return FirstPage(f"s{number}", 10, number, -number - 1, DAY)._replace(**changes)


def ask(watched: Canaries, answer: dict[str, Any], only: str = "", regions: str = "") -> int:
    """Give all canaries (of a region) the same answer; how many were asked until a decision."""
    asked = 0
    for number in range(len(watched.waiting)):
        is_hit = not only or regions[number] == only
        asked += 1
        if watched.answered(page(number, **(answer if is_hit else {}))) is not Decision.UNDECIDED:
            break
    return asked


@pytest.mark.parametrize(
    ("answer", "credits_spent", "words"),
    [
        ({"rows": 0}, 6, "is empty"),
        ({"ids": 7}, 7, "has the videos of another canary's"),
    ],
)
def test_each_kind_of_hit_stops_the_run(answer: dict[str, Any], credits_spent: int, words: str) -> None:
    watched = canaries()
    assert ask(watched, answer) == credits_spent
    assert watched.decision is Decision.STOP
    assert f"6 of {credits_spent} canaries is wrong: 6 times it {words}." in watched.reason


def test_of_two_canaries_with_the_same_videos_neither_is_believed() -> None:
    watched = canaries()
    for answer in (page(0, ids=7), page(1), page(2, ids=7)):
        watched.answered(answer)
    assert watched.suspects == {"s0", "s2"}


def test_answers_as_ever_let_the_run_go_on() -> None:
    watched = canaries(still=STILL)
    assert ask(watched, {}) < 30
    assert (watched.decision, watched.reason) == (Decision.GO_ON, "")


def test_one_empty_region_stops_the_run() -> None:
    regions = "MTVPI" * 10
    watched = canaries(regions)
    assert ask(watched, {"rows": 0}, "T", regions) <= 35
    assert "canaries of T is wrong" in watched.reason


def stale(read_at: float, still: Rates | None) -> Canaries:
    watched = canaries(still=still)
    for number in range(50):
        watched.answered(page(number, figures=number, read_at=read_at))
    return watched


def test_the_same_figures_stop_the_run_only_after_twenty_hours_and_three_nights() -> None:
    assert stale(20 * 3600.0, STILL).decision is Decision.STOP
    assert "same figures to the last digit" in stale(DAY, STILL).reason
    assert stale(20 * 3600.0 - 1, STILL).decision is Decision.GO_ON
    assert stale(DAY, None).decision is Decision.GO_ON


def test_other_sellers_and_second_answers_say_nothing() -> None:
    watched = canaries("MM")
    for _ in range(99):
        assert watched.answered(page(99, rows=0)) is Decision.UNDECIDED
    watched.answered(page(0, rows=0))
    assert watched.waiting == ("s1",)
    watched.answered(page(0, rows=0))
    assert watched.answered(page(1)) is Decision.GO_ON


def test_no_canaries_let_the_run_go_on() -> None:
    assert Canaries([]).decision is Decision.GO_ON


@given(st.lists(st.booleans(), max_size=200))
def test_a_decision_stays_and_more_hits_never_acquit(hits: list[bool]) -> None:
    one, all_hits = SequentialTest(ANSWER_RATES), SequentialTest(ANSWER_RATES)
    seen = [one.observe(hit) for hit in hits]
    decided = [decision for decision in seen if decision is not Decision.UNDECIDED]
    assert len(set(decided)) <= 1
    for _ in hits:
        all_hits.observe(is_hit=True)
    assert all_hits.decision is not Decision.GO_ON
    assert one.decision is not Decision.STOP or all_hits.decision is Decision.STOP


@given(st.floats(0, 1))
def test_learned_rates_are_rates(odd: float) -> None:
    rates = still_rates(Band(0.0, odd, 1.0))
    assert rates is None or 0 < rates.healthy < rates.outage < 1
    assert rates is None or SequentialTest(rates).decision is Decision.UNDECIDED
    assert still_rates(None) is None


def test_rates_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="not 0 <"):
        SequentialTest(Rates(0.5, 0.2))


@given(st.lists(st.tuples(st.sampled_from("MTV"), st.integers(0, 3)), max_size=80), st.integers(1, 60))
def test_canaries_are_listed_sellers_with_videos(sellers: list[tuple[str, int]], count: int) -> None:
    history = {f"s{n}": Canary(f"s{n}", region, videos, n, 0.0) for n, (region, videos) in enumerate(sellers)}
    chosen = choose_canaries([*history, "new"], history, count)
    with_videos = [canary for canary in history.values() if canary.videos]
    assert len(chosen) == len(set(chosen)) == min(count, len(with_videos))
    assert set(chosen) <= set(with_videos)
    for region in "MTV":
        expected = [canary for canary in with_videos if canary.region == region]
        taken = [canary for canary in chosen if canary.region == region]
        assert taken == expected[: len(taken)]
        assert len(taken) >= min(len(expected), count // 3)


def test_canaries_come_from_the_front_of_the_order() -> None:
    history = {f"s{n}": Canary(f"s{n}", "M", 5, n, 0.0) for n in range(5_000)}
    assert [canary.seller_id for canary in choose_canaries(history, history)] == [*history][:CANARIES]
    assert choose_canaries([f"new{n}" for n in range(5_000)] + [*history], history) == []


@pytest.mark.long
def test_two_thousand_healthy_nights_are_not_stopped() -> None:
    for seed in range(2_000, 2_100):
        project, past = Project(seed), list[Measures]()
        for _ in range(21):
            tonight = project.healthy()
            if project.days:
                assert project.ask(project.canaries(past), tonight)[0] is Decision.GO_ON, seed
            past.append(project.measures(tonight))
            project.publish(tonight)


@pytest.mark.long
@pytest.mark.parametrize("outage", OUTAGES)
def test_the_page_says_what_outages_cost(outage: str) -> None:
    spent, kinds = list[int](), list[Plausibility]()
    for seed in range(3_000, 3_100):
        project, past = after_nights(seed, 5, 200)
        tonight = project.suffer(outage)
        decision, credits_spent = project.ask(project.canaries(past), tonight)
        assert decision is Decision.STOP, seed
        spent.append(credits_spent)
        kinds.append(judge(project.measures(tonight), past).kind)
    assert set(kinds) == {Plausibility.IMPLAUSIBLE}
    line = re.search(rf"^\| {outage} \|.*$", PAGE.read_text(), re.MULTILINE)
    measured = f"{median(spent):.0f} ({min(spent)} to {max(spent)})"
    assert line is not None
    assert measured in line[0], measured
