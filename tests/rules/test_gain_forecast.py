"""What is learnt of a stretch from its readings, and of stretches of its size."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from calls import assert_linear
from hypothesis import given
from hypothesis import strategies as st

from crawler.rules.gain_forecast import Past, Pool, rate

readings = st.lists(st.tuples(st.floats(-10, 1e9), st.integers(1, 14)), min_size=1, max_size=28)
gains = st.floats(0.01, 1e6)


def past_of(*observed: tuple[float, int]) -> Past:
    past = Past()
    for gain, nights in observed:
        past.observed(gain, nights)
    return past


@given(gains, st.lists(st.integers(1, 14), min_size=1, max_size=28), st.integers(1, 30))
def test_a_steady_gain_is_expected_to_go_on_however_it_was_read(
    gain: float, gaps: list[int], age: int
) -> None:
    past = past_of(*[(gain * nights, nights) for nights in gaps])
    assert rate(past, gain, age) == pytest.approx(gain)
    assert rate(past, 0.0, age) == pytest.approx(gain)


@given(readings, st.floats(0, 1e6), st.integers(1, 30))
def test_what_is_expected_lies_within_what_was_seen(
    observed: list[tuple[float, int]], prior: float, age: int
) -> None:
    rates = [max(0.0, gain) / nights for gain, nights in observed]
    expected = rate(past_of(*observed), prior, age)
    assert min(*rates, prior) * (1 - 1e-9) <= expected <= max(*rates, prior) * (1 + 1e-9)


@given(readings, st.floats(0.001, 1000), st.integers(1, 30))
def test_all_units_are_alike_but_for_the_weight_of_the_prior(
    observed: list[tuple[float, int]], scale: float, age: int
) -> None:
    scaled = [(gain * scale, nights) for gain, nights in observed]
    assert rate(past_of(*scaled), 0.0, age) == pytest.approx(rate(past_of(*observed), 0.0, age) * scale)


def test_a_burst_is_expected_to_go_on_for_a_while_and_then_to_fade() -> None:
    past = past_of(*[(10.0, 1)] * 20, (200.0, 1))
    expected = [rate(past, 10.0, age) for age in (1, 3, 7, 14, 40)]
    assert expected == sorted(expected, reverse=True)
    assert expected[0] > 100
    assert expected[-1] < 25
    after = past_of(*[(10.0, 1)] * 20, (200.0, 1), *[(10.0, 1)] * 6)
    assert rate(after, 10.0, 1) < 20, "and is forgotten once it is over"


def test_nights_without_gain_count_though_no_reading_was_made_in_them() -> None:
    often = past_of(*[(10.0, 1)] * 10)
    seldom = past_of(*[(10.0, 10)] * 10)
    still = past_of(*[(10.0, 1)] * 10, (0.0, 10))
    assert rate(seldom, 0.0, 1) == pytest.approx(rate(often, 0.0, 1) / 10)
    assert rate(still, 0.0, 1) < 1


def test_what_fell_counts_as_no_gain() -> None:
    assert rate(past_of((-50.0, 1)), 0.0, 1) == 0
    assert rate(past_of((5.0, 1), (-50.0, 1)), 0.0, 1) == rate(past_of((5.0, 1), (0.0, 1)), 0.0, 1)


def test_a_reading_weighs_as_many_nights_as_lie_before_it() -> None:
    one, ten = past_of((10.0, 1), (0.0, 1)), past_of((10.0, 1), (0.0, 10))
    assert one.usual > 2 * ten.usual > 0
    assert past_of((2.0, 1), (8.0, 4)).nights == pytest.approx(past_of(*[(2.0, 1)] * 5).nights)


def test_what_never_moved_is_noticed_when_it_moves() -> None:
    past = past_of(*[(0.0, 7)] * 4, (100.0, 1))
    assert rate(past, 0.0, 1) > 50
    assert past.usual > 1


def test_the_prior_counts_alone_at_first_and_soon_hardly() -> None:
    assert rate(Past(), 7.0, 5) == 7.0
    few, many = past_of((0.0, 1)), past_of(*[(0.0, 1)] * 20)
    assert 0 < rate(many, 0.1, 9) < rate(few, 0.1, 9) < 0.1, "nothing in a night, of ten nights for one"
    assert rate(few, 1000.0, 9) < 1, "nothing where a thousand are usual"


def test_a_prior_goes_with_the_size() -> None:
    pool = Pool()
    assert pool.prior(5) == pool.prior(None) == 0
    for size in (10.0, 20.0, 40.0, 3000.0):
        pool.add(past_of((size / 10, 1)), size)
    pool.add(Past(), 1e9)
    for size in (10.0, 35.0, 2500.0, 90_000.0):
        assert pool.prior(size) == pytest.approx(size / 10)
    assert pool.prior(None) == pytest.approx((10 + 20 + 40 + 3000) / 40)


def test_a_prior_is_that_of_stretches_of_this_size_where_there_are_many() -> None:
    pool = Pool()
    for _ in range(100):
        pool.add(past_of((50.0, 1)), 100.0)
        pool.add(past_of((5.0, 1)), 5000.0)
    assert 40 < pool.prior(100.0) < 51
    assert 4 < pool.prior(5000.0) < 10


def test_learning_takes_no_more_work_than_its_stretches() -> None:
    random = Random(1)
    observed = [(random.random(), 1 + random.randrange(3)) for _ in range(28)]

    def learnt(stretches: int) -> Callable[[], None]:
        def learn() -> None:
            pool = Pool()
            for size in range(stretches):
                past = past_of(*observed)
                pool.add(past, size)
                rate(past, pool.prior(size), 3)

        return learn

    assert_linear(learnt, 1_000)
