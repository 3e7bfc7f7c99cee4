"""What `freshest` reads tonight: index, duties, the share of what was never read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count as counting
from math import inf, nan
from random import Random

import pytest
from calls import assert_linear
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.rules import freshness
from crawler.rules.freshness import Choice, Stretch, bearable_budget, choose, price

MAX_AGE = 7

stretches = st.lists(
    st.builds(
        Stretch,
        seller=st.integers(0, 99),
        first_page=st.integers(1, 400),
        cost=st.integers(1, 12),
        rate=st.floats(0, 1e9) | st.sampled_from([0.0, 1.0]),
        age=st.integers(0, 12),
        is_known=st.booleans(),
    ),
    max_size=40,
).map(
    lambda some: [
        each._replace(seller=number, age=each.age if each.is_known else MAX_AGE)
        for number, each in enumerate(some)
    ]
)


SELLERS = counting(1_000_000)


def known(rate: float = 1.0, age: int = 1, cost: int = 1) -> Stretch:
    return Stretch(next(SELLERS), 1, cost, rate, age, True)


def unknown(rate: float = 1.0, cost: int = 1, max_age: int = MAX_AGE) -> Stretch:
    return Stretch(next(SELLERS), 1, cost, rate, max_age, False)


def heavy_tailed(count: int, seed: int, spread: float = 1.1, largest: int = 1) -> list[Stretch]:
    random = Random(seed)
    costs = [min(largest, int(random.paretovariate(1.2))) for _ in range(count)]
    return [Stretch(n, 1, costs[n], random.lognormvariate(0, spread), 1, True) for n in range(count)]


def whole(some: Sequence[Stretch], choice: Choice, budget: int) -> set[int]:
    """The stretches that are read as a whole: a run stops within the last where it costs too much."""
    if sum(some[number].cost for number in choice.chosen) > budget:
        return set(choice.chosen[:-1])
    return set(choice.chosen)


def nights(
    some: Sequence[Stretch], budget: int, max_age: int, count: int
) -> Iterator[tuple[list[Stretch], Choice]]:
    """Before each night the stretches as they stand, and what is chosen of them."""
    now = list(some)
    for _ in range(count):
        choice = choose(now, budget, max_age)
        yield now, choice
        read = whole(now, choice, budget)
        now = [
            each._replace(age=1, is_known=True)
            if number in read
            else each._replace(age=each.age + each.is_known)
            for number, each in enumerate(now)
        ]


# ---- one night


def test_the_largest_index_is_read_first() -> None:
    some = [known(rate=3, age=2), known(rate=1, age=4), known(rate=8, age=2, cost=2), known(rate=0, age=3)]
    assert choose(some, 4, 20).chosen == [2, 1, 0]
    assert choose(some, 1, 20).chosen == [1], "the best costs too much, the next is read"


@given(stretches, st.integers(0, 300), st.integers(1, 9))
def test_the_budget_is_used_and_not_exceeded(some: list[Stretch], budget: int, max_age: int) -> None:
    choice = choose(some, budget, max_age)
    costs = [some[number].cost for number in choice.chosen]
    assert len(set(choice.chosen)) == len(choice.chosen)
    assert all(some[number].age > 0 for number in choice.chosen)
    assert sum(costs[:-1]) < budget or sum(costs) <= budget
    assert sum(costs) >= min(budget, sum(each.cost for each in some if each.age > 0))
    assert choice == choose(some, budget, max_age)


@given(stretches, st.integers(1, 9))
def test_a_budget_for_all_reads_all_in_the_order_of_the_list(some: list[Stretch], max_age: int) -> None:
    everything = [number for number, each in enumerate(some) if each.age > 0]
    cost = sum(some[number].cost for number in everything)
    for budget in (None, cost, cost + 1):
        assert choose(some, budget, max_age)[:2] == (everything, [])


@given(stretches, st.integers(0, 300), st.integers(1, 9))
def test_overdue_are_those_due_that_are_not_read_as_a_whole(
    some: list[Stretch], budget: int, max_age: int
) -> None:
    choice = choose(some, budget, max_age)
    due = {number for number, each in enumerate(some) if each.is_known and each.age >= max_age}
    assert choice.overdue == sorted(due - whole(some, choice, budget))


@given(stretches, st.integers(0, 300))
def test_a_larger_budget_leaves_no_more_overdue(some: list[Stretch], budget: int) -> None:
    equal = [each._replace(cost=1) for each in some if each.is_known]
    overdue = [len(choose(equal, credits_, MAX_AGE).overdue) for credits_ in (budget, budget + 1)]
    assert overdue[0] >= overdue[1]


def test_duties_that_cannot_be_borne_are_read_by_index() -> None:
    some = [known(rate=1, age=7), known(rate=5, age=7), known(rate=99, age=1), known(rate=1, age=9)]
    choice = choose(some, 2, MAX_AGE)
    assert choice.chosen == [1, 3]
    assert choice.overdue == [0]


def test_ties_keep_the_order_of_the_list() -> None:
    assert choose([known(age=2)] * 9, 4, MAX_AGE).chosen == [0, 1, 2, 3]


@pytest.mark.parametrize("rate", [nan, -1.0, 0.0])
def test_a_rate_that_is_no_gain_counts_as_none(rate: float) -> None:
    assert choose([known(rate), known(0.1)], 1, MAX_AGE).chosen == [1]
    assert choose([known(rate), known(rate, age=2)], 1, MAX_AGE).chosen == [0], "a tie"


def test_what_is_left_begins_one_more() -> None:
    some = [known(rate=9, cost=3), known(rate=8, cost=5), known(rate=1, cost=4)]
    assert choose(some, 5, 90).chosen == [0, 1]
    assert choose([*some, unknown(rate=0, cost=6)], 5, 90).chosen == [0, 3], "of a new one pages stay read"
    same = some[1]._replace(seller=some[0].seller)
    assert choose([some[0], same, some[2]], 5, 90).chosen == [0, 2], "it would come before what is chosen"


# ---- the price of a credit


@given(st.lists(st.tuples(st.floats(0.001, 1e6), st.integers(1, 9)), min_size=1), st.floats(0.01, 1))
def test_reading_at_the_price_costs_the_budget(some: list[tuple[float, int]], share: float) -> None:
    densities, costs = zip(*some, strict=True)
    budget = share * sum(costs)
    found = price(densities, costs, budget, MAX_AGE)
    if sum(costs) / MAX_AGE > budget:
        assert found == inf
        return

    def cost_at(threshold: float) -> float:
        ages = range(1, MAX_AGE)
        periods = (
            next((age for age in ages if density * age * (age + 1) / 2 >= threshold), MAX_AGE)
            for density in densities
        )
        return float(sum(cost / period for cost, period in zip(costs, periods, strict=True)))

    assert cost_at(found * 1.1) <= budget * 1.0001
    assert cost_at(found / 1.1) >= budget * 0.9999 or cost_at(0) <= budget


def test_the_price_where_nothing_moves_is_nothing() -> None:
    assert price([0.0, 0.0], [1, 1], 1, MAX_AGE) == 0
    assert price([], [], 1, MAX_AGE) == 0


# ---- many nights


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(0, 999),
    st.sampled_from([0.0, 0.5, 2.0]),
    st.integers(1, 12),
    st.integers(1, 9),
    st.floats(1, 3),
)
def test_nothing_gets_older_than_max_age_with_a_bearable_budget(
    count: int, seed: int, spread: float, largest: int, max_age: int, factor: float
) -> None:
    some = heavy_tailed(count, seed, spread, largest)
    budget = int(bearable_budget(some, max_age) * factor)
    for now, choice in nights(some, budget, max_age, 4 * max_age + 3):
        assert max(each.age for each in now) <= max_age
        assert not choice.overdue


def test_large_stretches_do_not_fall_due_in_a_night_that_cannot_hold_them() -> None:
    """Here they would, if later nights counted with the whole of their budget."""
    some = [known(rate, cost=cost) for cost, rate in ((9, 0), (10, 1), (10, 10), (9, 100), (9, 10), (9, 100))]
    assert not any(choice.overdue for _, choice in nights(some, bearable_budget(some, 7), 7, 24))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(0, 999), st.integers(1, 12), st.integers(1, 9))
def test_a_bearable_budget_works_a_backlog_off(count: int, seed: int, largest: int, max_age: int) -> None:
    some = [each._replace(age=20) for each in heavy_tailed(count, seed, 1.0, largest)]
    budget = bearable_budget(some, max_age)
    later = list(nights(some, budget, max_age, 4 * max_age))[2 * max_age :]
    assert not any(choice.overdue for _, choice in later)


@pytest.mark.parametrize(("spread", "share"), [(0.5, 0.3), (1.1, 0.2), (1.1, 0.3), (2.0, 0.2), (2.0, 0.5)])
def test_duties_cost_about_the_same_every_night(
    spread: float, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = list[int]()
    buy_duties = freshness._Night.buy_duties

    def watched(night: freshness._Night, numbers: Sequence[int], kept: int) -> None:
        buy_duties(night, numbers, kept)
        spent.append(sum(night._costs[number] for number in night.chosen))

    monkeypatch.setattr(freshness._Night, "buy_duties", watched)
    some = heavy_tailed(600, 5, spread, 10)
    budget = int(share * sum(each.cost for each in some))
    list(nights(some, budget, MAX_AGE, 50))
    later = spent[20:]
    mean = sum(later) / len(later)
    assert max(abs(cost - mean) for cost in later) <= 0.15 * mean
    assert spent[0] >= 0.75 * mean, "from the first night on"


def test_a_night_costs_what_any_other_costs_though_all_was_read_at_once() -> None:
    some = heavy_tailed(300, 8, 1.1, 10)
    budget = sum(each.cost for each in some) // 4
    for now, choice in nights(some, budget, MAX_AGE, 20):
        read = sum(now[number].cost for number in whole(now, choice, budget))
        assert budget - 10 < read <= budget


def test_gain_is_seen_sooner_than_by_rotation() -> None:
    some = heavy_tailed(400, 2, 1.5)
    unseen = [
        sum(each.rate * each.age for number, each in enumerate(now) if number not in choice.chosen)
        for now, choice in nights(some, 120, MAX_AGE, 40)
    ]
    rotation = sum(each.rate for each in some) * (len(some) / 120 - 1) / 2
    assert sum(unseen[10:]) / 30 < 0.5 * rotation


def test_a_large_stretch_is_not_passed_over_for_ever() -> None:
    """Small ones of a far larger gain would fill each night to the last credit."""
    some = [known(rate=0.01, cost=9), *[known(rate=50.0)] * 30]
    ages = [now[0].age for now, _ in nights(some, 16, MAX_AGE, 30)]
    assert max(ages) <= MAX_AGE


def test_one_that_costs_more_than_the_budget_is_overdue_and_changes_nothing_else() -> None:
    some = [known(rate=1e6, cost=40), known(rate=50.0), *[known(rate=0.1)] * 9]
    for now, choice in nights(some, 5, MAX_AGE, 20):
        assert 0 not in choice.chosen
        assert 1 in choice.chosen, "the one that gains most"
        assert len(choice.chosen) == 5
        assert choice.bearable_budget == 47
        assert choice.overdue == ([0] if now[0].age >= MAX_AGE else [])


def test_a_few_that_stand_still_are_not_read_more_often_than_need_be() -> None:
    some = [*[known(rate=0.0)] * 2, *[known(rate=9.0)] * 20]
    read = [sum(number < 2 for number in choice.chosen) for _, choice in nights(some, 11, MAX_AGE, 70)]
    assert 20 <= sum(read) <= 25


# ---- what was never read


def test_a_flood_of_new_sellers_gets_half_of_what_duties_leave() -> None:
    some = [*heavy_tailed(700, 3), *[unknown(rate=50.0)] * 10_000]
    for now, choice in nights(some, 400, MAX_AGE, 7):
        new = sum(not now[number].is_known for number in choice.chosen)
        assert 80 <= new <= 200
        assert not choice.overdue


@pytest.mark.parametrize("budget", [2, 12, 40, 100])
def test_new_sellers_are_all_read_some_day_however_little_they_promise(budget: int) -> None:
    """Also those that cost more than any night has left for them, and under a budget that bears no duty."""
    some = [*heavy_tailed(100, 4), *(unknown(rate=0.0) for _ in range(9)), unknown(rate=0.0, cost=60)]
    begun = set[int]()
    for _, choice in nights(some, budget, MAX_AGE, 90):
        begun |= set(choice.chosen)
    assert set(range(100, 110)) <= begun


def test_new_sellers_are_read_sparingly_where_they_promise_little() -> None:
    some = [*[known(rate=10.0, age=2)] * 100, *[unknown(rate=0.01)] * 70]
    chosen = choose(some, 40, MAX_AGE).chosen
    assert sum(number >= 100 for number in chosen) in range(5, 11), "a quarter of what duties leave"


def test_on_a_first_night_all_of_the_budget_goes_to_new_sellers() -> None:
    assert choose([unknown()] * 50, 20, MAX_AGE).chosen == list(range(20))


def test_new_ones_never_make_a_bearable_budget_fail() -> None:
    random = Random(6)
    some = [each._replace(is_known=random.random() < 0.5) for each in heavy_tailed(200, 6, 1.1, 8)]
    some = [each if each.is_known else each._replace(age=MAX_AGE) for each in some]
    budget = bearable_budget([each._replace(is_known=True) for each in some], MAX_AGE)
    played = list(nights(some, budget, MAX_AGE, 40))
    assert not any(choice.overdue for _, choice in played)
    assert all(each.is_known for each in played[-1][0])


def test_work_grows_with_the_stretches_and_no_faster() -> None:
    random = Random(1)
    some = [
        Stretch(n, 1, 1 + n % 7, random.paretovariate(1.1), 1 + n % MAX_AGE, n % 9 > 0) for n in range(40_000)
    ]
    assert_linear(lambda count: lambda: choose(some[:count], count * 5 // 4, MAX_AGE), 20_000)
