from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crawler.models.keys import Retirement
from crawler.rules.keys import Candidate, choose, verdict

TIMES = st.floats(0, 100, allow_nan=False)
CANDIDATES = st.lists(st.none() | st.builds(Candidate, TIMES, TIMES), max_size=6)


@given(candidates=CANDIDATES, now=TIMES)
def test_the_key_of_a_request_has_a_place_and_has_rested_longest(
    candidates: list[Candidate | None], now: float
) -> None:
    chosen = choose(candidates, now)
    free = {n: c for n, c in enumerate(candidates) if c is not None and c.free_at <= now}
    if chosen is None:
        assert not free
    else:
        assert chosen in free
        assert all(free[chosen].rested_at <= other.rested_at for other in free.values())
        assert choose(candidates, now) == chosen


@given(candidates=CANDIDATES, now=TIMES, at=st.integers(0, 5))
def test_a_key_that_goes_changes_nothing_for_the_others(
    candidates: list[Candidate | None], now: float, at: int
) -> None:
    chosen = choose(candidates, now)
    if chosen is not None and at < len(candidates) and at != chosen:
        candidates[at] = None
        assert choose(candidates, now) == chosen


REFUSED, USED_UP, BUDGET = Retirement.REFUSED, Retirement.USED_UP, Retirement.BUDGET


@given(reasons=st.lists(st.sampled_from(Retirement), min_size=1, max_size=6))
def test_what_all_keys_share_ends_the_run_and_a_mixture_counts_as_used_up(reasons: list[Retirement]) -> None:
    kinds = set(reasons)
    assert verdict(reasons) is (reasons[0] if len(kinds) == 1 else USED_UP)


def test_the_verdicts_by_name() -> None:
    assert verdict([REFUSED, REFUSED]) is REFUSED
    assert verdict([BUDGET, BUDGET]) is BUDGET
    assert verdict([USED_UP, BUDGET]) is verdict([REFUSED, USED_UP]) is verdict([REFUSED, BUDGET]) is USED_UP
