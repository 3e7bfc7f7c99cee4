"""What budgets bring by freshest: nights are played at constant rates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.planning import trade as module
from crawler.planning.trade import Kept, World
from crawler.rules.freshness import Stretch

MAX_AGE = 7

lists = st.lists(
    st.builds(
        Stretch,
        seller=st.just(0),
        first_page=st.just(1),
        cost=st.integers(1, 12),
        rate=st.floats(0, 1e9) | st.sampled_from([0.0, 1.0]),
        age=st.integers(1, 9),
        is_known=st.booleans(),
    ),
    min_size=1,
    max_size=25,
).map(
    lambda some: [
        each._replace(seller=number, age=each.age if each.is_known else MAX_AGE)
        for number, each in enumerate(some)
    ]
)


def heavy_tailed(count: int, seed: int = 1, spread: float = 1.5) -> list[Stretch]:
    random = Random(seed)
    return [
        Stretch(number, 1, min(16, int(random.paretovariate(1.2))), random.lognormvariate(0, spread), 1, True)
        for number in range(count)
    ]


@given(lists)
def test_the_whole_cost_sees_all(some: list[Stretch]) -> None:
    kept = World(some, MAX_AGE).kept(sum(each.cost for each in some))
    assert (kept.oldest_age, kept.overdue, kept.share_of_cost) == (0, 0, 1.0)
    if any(each.rate > 0 for each in some):
        assert kept.share_seen == pytest.approx(1.0)
        assert kept.mean_age == 0.0
    else:
        assert kept.share_seen is None
        assert kept.mean_age is None


@settings(deadline=None, max_examples=60)
@given(lists, st.integers(1, 5), st.integers(0, 30))
def test_what_bears_the_duties_leaves_nothing_beyond_the_longest_age(
    some: list[Stretch], max_age: int, more: int
) -> None:
    some = [each if each.is_known else each._replace(age=max_age) for each in some]
    world = World(some, max_age)
    kept = world.kept(world.bearable_budget + more)
    assert kept.overdue == 0
    assert kept.oldest_age < max_age


@settings(deadline=None, max_examples=25)
@given(lists, st.integers(0, 100))
def test_shares_and_ages_are_of_a_night(some: list[Stretch], budget: int) -> None:
    kept = World(some, MAX_AGE).kept(budget)
    if kept.share_seen is not None:
        assert 0 <= kept.share_seen <= 1
    if kept.mean_age is not None:
        assert 0 <= kept.mean_age <= kept.oldest_age + 1e-9
    assert kept.overdue <= len(some)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 99), st.sampled_from([1.0, 2.0]))
def test_more_is_seen_with_a_larger_budget(seed: int, spread: float) -> None:
    steps = World(heavy_tailed(250, seed, spread), MAX_AGE).steps()
    shares = [step.share_seen or 0.0 for step in steps]
    ages = [step.mean_age or 0.0 for step in steps]
    assert all(above > below for below, above in pairwise(shares)), shares
    assert all(above < below for below, above in pairwise(ages)), ages
    assert [step.share_of_cost for step in steps] == pytest.approx([n / 10 for n in range(1, 11)], abs=0.01)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_equal_stretches_take_turns(count: int) -> None:
    world = World([Stretch(number, 1, 3, 5.0, 1 + number, True) for number in range(count)], MAX_AGE)
    kept = world.kept(3)
    assert kept.share_of_cost == pytest.approx(1 / count)
    assert kept.share_seen == pytest.approx(1 / count)
    assert kept.mean_age == pytest.approx((count - 1) / 2)
    assert kept.oldest_age == count - 1


def test_what_was_never_read_has_no_age_and_no_share_until_it_is() -> None:
    new = [Stretch(number, 1, 1, 1.0, MAX_AGE, False) for number in range(4)]
    assert World(new, MAX_AGE).kept(0)[2:] == (0.0, None, 0, 0)
    assert World(new, MAX_AGE).kept(4).share_seen == 1.0


def test_a_budget_below_the_duties_leaves_some_overdue() -> None:
    world = World(heavy_tailed(250), MAX_AGE)
    kept = world.kept(world.bearable_budget // 2)
    assert kept.overdue > 0
    assert kept.oldest_age >= MAX_AGE


def test_alike_stretches_count_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    some = [each._replace(age=1 + number % 5) for number, each in enumerate(heavy_tailed(1500))]
    grouped = World(some, MAX_AGE)
    assert len(grouped._groups) < 1200
    for age in range(1, 6):
        parts = [[each for each in all_ if each.age == age] for all_ in (some, grouped._groups)]
        costs, rates = [[sum(e[field] for e in part) for part in parts] for field in (2, 3)]
        assert costs[0] == costs[1]
        assert rates[0] == pytest.approx(rates[1])
    monkeypatch.setattr(module, "_MAX_GROUPS", 1500)
    each_by_itself = World(some, MAX_AGE)
    assert len(each_by_itself._groups) == 1500
    for part in (0.1, 0.2, 0.4):
        budget = ceil(grouped.cost * part)
        about, exact = grouped.kept(budget), each_by_itself.kept(budget)
        assert about.share_seen == pytest.approx(exact.share_seen, abs=0.02)
        assert about.mean_age == pytest.approx(exact.mean_age, rel=0.05)
        assert about.overdue == pytest.approx(exact.overdue, rel=0.1)


@pytest.mark.parametrize("share", [0.3, 0.9, 1.0])
def test_a_target_is_the_smallest_budget_for_its_share(share: float) -> None:
    world = World(heavy_tailed(250), MAX_AGE)
    budget = world.target(share)
    seen, less = world.kept(budget).share_seen, world.kept(budget - world.cost // 50).share_seen
    assert seen is not None
    assert less is not None
    assert less < share <= seen + 1e-9


def test_a_target_bears_the_duties() -> None:
    world = World(heavy_tailed(250), MAX_AGE)
    assert world.target(0.01) == world.bearable_budget


def test_where_no_gain_is_expected_a_target_reads_all() -> None:
    world = World([each._replace(rate=0.0) for each in heavy_tailed(20)], MAX_AGE)
    assert world.target(0.5) == world.cost
    assert world.enough(world.steps()) is None


@pytest.mark.parametrize(
    ("shares", "enough"),
    [
        ([0.5, 0.8, 0.9, 0.93, 0.95, 0.96, 0.97, 0.98, 0.99, 1.0], 300),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], 1000),
        ([0.9, 0.92, 0.97, 0.98, 0.99, 1.0, 1.0, 1.0, 1.0, 1.0], 300),
        ([1.0] * 10, 143),
    ],
)
def test_beyond_enough_a_credit_buys_less_than_a_third(shares: Sequence[float], enough: int) -> None:
    some = [Stretch(number, 1, 1, 1.0, 1, True) for number in range(1000)]
    steps = [Kept(100 * n, n / 10, share, 0.0, 0, 0) for n, share in enumerate(shares, 1)]
    assert World(some, MAX_AGE).enough(steps) == enough
