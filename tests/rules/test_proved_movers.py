"""What bounds the videos that were not read, and which movers are proved by that."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from crawler.models.certainty import Certainty
from crawler.rules.movers import ReadRow, bound_of_unread, certainty, worst_places

lists = st.lists(st.integers(0, 40).map(float), max_size=40).map(lambda values: sorted(values, reverse=True))


def rows_at(values: dict[int, float | None], run_id: str = "a") -> list[ReadRow]:
    return [ReadRow(position, value, run_id) for position, value in values.items()]


@given(lists, st.sets(st.integers(0, 39)), st.integers(0, 40))
def test_no_row_that_was_not_read_is_worth_more_than_the_bound(
    values: list[float], out: set[int], end: int
) -> None:
    """Whatever is missing: what comes after the end, stretches of pages, rows that could not be kept."""
    read = {place + 1: value for place, value in enumerate(values[:end]) if place not in out}
    bound = bound_of_unread(rows_at(dict(read)), 0)
    assert all(value <= bound for place, value in enumerate(values, 1) if place not in read)
    if not out and values[:end]:
        assert bound == values[:end][-1]


@given(lists, st.integers(1, 39), st.integers(0, 39))
def test_what_slipped_into_the_part_that_another_run_had_read_is_within_the_bound(
    values: list[float], end: int, fell: int
) -> None:
    """Between two runs a video that the first had read is gone, and all after it move up by one place."""
    end = min(end, len(values) - 1)
    if end < 1:
        return
    moved = [value for place, value in enumerate(values) if place != min(fell, end - 1)]
    first = rows_at(dict(enumerate(values[:end], 1)))
    second = rows_at(dict(enumerate(moved[end:], end + 1)), "b")
    assert values[end] <= bound_of_unread([*first, *second], 0)


def test_a_list_that_is_out_of_order_bounds_nothing() -> None:
    assert bound_of_unread(rows_at({1: 9.0, 2: 7.0, 3: 8.0}), 0) == inf
    assert bound_of_unread(rows_at({1: 9.0, 2: None, 3: 8.0}), 0) == inf
    assert bound_of_unread(rows_at({1: 9.0, 2: float("nan")}), 0) == inf
    assert bound_of_unread(rows_at({1: 9.0, 2: 7.0, 11: 8.0}), 0) == inf, "nor beyond what was not read"
    assert bound_of_unread(rows_at({1: 9.0, 2: 9.0, 3: 8.0}), 0) == 8
    assert bound_of_unread(rows_at({1: 9.0, 2: 9.0, 3: 8.0}), 1) == inf, "a gap that is left"
    assert bound_of_unread([], 0) == inf


def test_a_place_that_comes_twice_ends_what_bounds() -> None:
    """The list moved while it was read: what follows may be of another moment."""
    twice = [ReadRow(position, value, "a") for position, value in ((1, 9.0), (2, 8.0), (2, 7.0), (3, 6.0))]
    assert bound_of_unread(twice, 0) == 8
    again = [
        ReadRow(position, value, run)
        for position, value, run in ((1, 9.0, "a"), (2, 8.0, "b"), (2, 7.0, "a"))
    ]
    assert bound_of_unread(again, 0) == 9


@given(
    st.lists(st.integers(1, 30).map(float), max_size=8),
    st.lists(st.tuples(st.integers(0, 30).map(float), st.integers(0, 5)), max_size=8),
    st.integers(1, 6),
)
def test_a_mover_that_is_proved_is_among_the_best_whatever_the_unread_gained(
    read: list[float], hidden: list[tuple[float, int]], top: int
) -> None:
    """Of each unread video the true gain is known here, and how far the bound is above it."""
    gains = sorted(read, reverse=True)[:top]
    places = worst_places(gains, [gain + slack for gain, slack in hidden])
    assert places == sorted(places)
    truth = [*read, *(gain for gain, _ in hidden)]
    worst = [*read, *(gain + slack for gain, slack in hidden)]
    for gain, place in zip(gains, places, strict=True):
        assert place == 1 + sum(other > gain for other in worst)
        if certainty(place, top) is Certainty.PROVED:
            assert sum(other > gain for other in truth) < top


def test_what_nothing_bounds_stands_before_every_mover() -> None:
    assert worst_places([9.0, 5.0, 5.0], [inf, 5.0, 4.0]) == [2, 3, 3]
    assert certainty(3, 3) is Certainty.PROVED
    assert certainty(4, 3) is Certainty.LIKELY
