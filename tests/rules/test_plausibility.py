"""The judge: one test for each measure, properties of the bands, healthy projects, and outages."""

from __future__ import annotations

from dataclasses import replace
from math import comb
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outages import OUTAGES, Project, after_nights

from crawler.options import PlausibilitySettings
from crawler.rules.plausibility import (
    FIGURES,
    Band,
    Comparison,
    Measures,
    Plausibility,
    Range,
    Share,
    Verdict,
    binomial_tail,
    judge,
    still_band,
)

PLAUSIBLE, ODD, IMPLAUSIBLE = Plausibility
SUMS = dict.fromkeys(FIGURES, 1000.0)
SAME = Comparison(
    emptied=Share(0, 100),
    before=SUMS,
    now=SUMS,
    fallen={name: Share(0, 100) for name in FIGURES},
    risen={name: Share(0, 100) for name in FIGURES},
    still=Share(5, 100),
)
NIGHT = Measures(
    sellers=100,
    rows=1000,
    empty=Share(5, 100),
    rejected=Share(0, 1000),
    nulls={"total_views_cnt": Share(0, 1000), "avatar": Share(10, 1000)},
    totals=dict.fromkeys(FIGURES[1:], 10.0),
    short_first_pages=Share(0, 60),
    repeated=Share(0, 60),
    shared=Share(0, 95),
    compared=SAME,
)
PAST = [NIGHT] * 5
RATES = st.floats(0, 1)


def alone(**changes: Any) -> Measures:
    return replace(NIGHT, **changes)


def beside(**changes: Any) -> Measures:
    return replace(NIGHT, compared=replace(SAME, **changes))


def reason(measures: Measures, kind: Plausibility, past: list[Measures] = PAST) -> str:
    """The only reason of a verdict of this kind."""
    verdict = judge(measures, past)
    assert verdict.kind is kind, verdict
    assert len(verdict.reasons) == 1, verdict
    return verdict.reasons[0]


def test_a_night_as_ever_is_plausible() -> None:
    assert judge(NIGHT, PAST) == judge(NIGHT, []) == judge(alone(compared=None), []) == Verdict(PLAUSIBLE)


def test_sellers_that_became_empty() -> None:
    said = reason(beside(emptied=Share(41, 60)), IMPLAUSIBLE)
    assert said == (
        "41 of 60 sellers that had videos in the snapshot before have none (68.3%; up to 2.0% is usual)."
    )
    reason(beside(emptied=Share(9, 100)), ODD)
    assert judge(beside(emptied=Share(3, 100)), PAST).kind is PLAUSIBLE


def test_sellers_that_lost_videos() -> None:
    assert "41 of 60 sellers no longer have one of two videos" in reason(
        beside(lost=Share(41, 60)), IMPLAUSIBLE
    )
    reason(beside(lost=Share(25, 100)), ODD)
    assert judge(beside(lost=Share(12, 100)), PAST).kind is PLAUSIBLE


def test_one_region_that_became_empty() -> None:
    regions = {"MY": Share(0, 900), "TH": Share(20, 20)}
    assert "20 of 20 sellers of TH" in reason(beside(emptied=Share(20, 920), regions=regions), IMPLAUSIBLE)
    few = {"MY": Share(0, 900), "TH": Share(1, 1)}
    assert judge(beside(regions=few), PAST).kind is PLAUSIBLE


@pytest.mark.parametrize(
    ("emptied", "kind"),
    [
        (Share(1, 1), PLAUSIBLE),
        (Share(1, 3), PLAUSIBLE),
        (Share(3, 3), IMPLAUSIBLE),
        (Share(2, 9), PLAUSIBLE),
    ],
)
def test_few_sellers_make_no_outage_until_all_of_them_are_empty(emptied: Share, kind: Plausibility) -> None:
    assert judge(beside(emptied=emptied), PAST).kind is kind


def test_a_first_night_without_videos() -> None:
    for empty, kind in ((Share(60, 60), IMPLAUSIBLE), (Share(12, 12), ODD), (Share(3, 3), ODD)):
        night = Measures(sellers=empty.whole, rows=0, empty=empty)
        assert judge(night, []).kind is kind, empty


def test_a_list_of_dead_sellers_is_usual_once_it_was_accepted() -> None:
    dead = alone(empty=Share(95, 100), compared=None)
    assert judge(dead, []).kind is IMPLAUSIBLE
    assert judge(dead, [dead]).kind is PLAUSIBLE


def test_no_video_at_all_is_odd_even_of_few_sellers() -> None:
    nothing = Measures(sellers=2, rows=0, empty=Share(2, 2))
    assert reason(nothing, ODD, []) == "No video at all: sellers that were read: 2."
    assert judge(nothing, [nothing]).kind is PLAUSIBLE
    assert judge(replace(nothing, sellers=0), []).kind is PLAUSIBLE


@pytest.mark.parametrize("name", FIGURES)
def test_rows_and_counters_that_fell(name: str) -> None:
    fallen = {**SAME.fallen, name: Share(80, 100)}
    said = reason(beside(fallen=fallen, now={**SUMS, name: 300.0}), IMPLAUSIBLE)
    assert said.startswith(f"{name} fell by more than a tenth at 80 of 100 sellers, from 1,000 to 300 in all")
    reason(beside(fallen={**SAME.fallen, name: Share(25, 100)}), ODD)


def test_one_large_seller_that_closes_makes_no_fall() -> None:
    fallen = {name: Share(1, 100) for name in FIGURES}
    assert judge(beside(fallen=fallen, now=dict.fromkeys(FIGURES, 100.0)), PAST).kind is PLAUSIBLE


def test_counters_in_another_unit() -> None:
    risen = {**SAME.risen, "total_video_sale_gmv_amt": Share(100, 100)}
    assert "more than tenfold" in reason(beside(risen=risen), IMPLAUSIBLE)


def test_stillness_needs_three_nights_that_moved() -> None:
    stale = beside(still=Share(100, 100))
    assert "to the last digit as 24 hours before" in reason(stale, IMPLAUSIBLE)
    reason(stale, ODD, PAST[:2])
    reason(stale, ODD, [alone(compared=None)] * 5)
    reason(beside(still=Share(60, 100)), ODD)


def test_stillness_between_near_readings_says_nothing() -> None:
    near = beside(still=Share(100, 100), hours=19.9)
    assert judge(near, PAST).kind is PLAUSIBLE
    assert still_band([near] * 9) is None
    assert still_band(PAST) is not None


def test_sellers_that_share_a_first_page() -> None:
    assert "have a page of another" in reason(alone(shared=Share(95, 95)), IMPLAUSIBLE, [])


def test_rejected_rows_count_as_the_sellers_that_they_may_be_of() -> None:
    assert "1,000 of 1,000 rows were rejected" in reason(alone(rejected=Share(1000, 1000)), IMPLAUSIBLE, [])
    one = alone(empty=Share(0, 2), rejected=Share(500, 1000), nulls={}, compared=None)
    assert judge(one, []).kind is PLAUSIBLE


def test_nulls_of_a_counter_and_of_another_column() -> None:
    counter = alone(nulls={"total_views_cnt": Share(900, 1000)})
    assert "total_views_cnt is null in 900 of 1,000 rows" in reason(counter, IMPLAUSIBLE)
    reason(counter, ODD, [])
    avatar = alone(nulls={"avatar": Share(1000, 1000)})
    reason(avatar, ODD)
    assert judge(avatar, []).kind is PLAUSIBLE


def test_fields_never_seen_before() -> None:
    assert "1 fields never seen before: shop" in reason(alone(unknown_fields=frozenset({"shop"})), ODD)
    assert judge(alone(unknown_fields=frozenset({"shop"})), []).kind is PLAUSIBLE
    misfits = {"region": 2, "total_views_cnt": 123}
    assert "as never before, of 1,000 rows: total_views_cnt in 123, region in 2." in reason(
        alone(misfits=misfits), ODD
    )
    assert judge(alone(misfits=misfits), []).kind is PLAUSIBLE
    assert judge(alone(misfits=misfits), [alone(misfits=dict.fromkeys(misfits, 1))]).kind is PLAUSIBLE
    assert r"before: \x1b[2J." in reason(alone(unknown_fields=frozenset({"\x1b[2J"})), ODD)
    assert f"before: {'x' * 39}…." in reason(alone(unknown_fields=frozenset({"x" * 1000})), ODD)


def test_fields_gone() -> None:
    counter, other = (alone(missing_fields=frozenset({name})) for name in ("total_digg_cnt", "avatar"))
    assert reason(counter, IMPLAUSIBLE) == "1 field is missing in all 1,000 rows: total_digg_cnt."
    reason(counter, ODD, [])
    reason(other, ODD)
    for night in (counter, other):
        assert judge(night, [night]).kind is PLAUSIBLE
    assert judge(other, []).kind is PLAUSIBLE


def test_all_counts_zero() -> None:
    zero = alone(totals=dict.fromkeys(FIGURES[1:], 0.0))
    assert "All 6 counts are 0" in reason(zero, IMPLAUSIBLE)
    reason(zero, ODD, [])
    assert judge(zero, [zero]).kind is PLAUSIBLE
    assert judge(replace(zero, rows=3), []).kind is PLAUSIBLE
    assert judge(replace(zero, zero_before=zero.rows - 19), [alone()]).kind is PLAUSIBLE
    assert judge(replace(zero, zero_before=zero.rows - 20), [alone()]).kind is IMPLAUSIBLE


def test_short_first_pages_that_go_on() -> None:
    assert "shorter than full" in reason(alone(short_first_pages=Share(60, 60)), IMPLAUSIBLE, [])


def test_pages_that_repeat() -> None:
    assert "repeats an earlier one" in reason(alone(repeated=Share(60, 60)), IMPLAUSIBLE, [])


def test_a_region_that_no_row_has_is_implausible_after_nights_that_had_it() -> None:
    past = [alone(nulls={"region": Share(0, 1000)})] * 3
    night = alone(nulls={"region": Share(1000, 1000)}, missing_fields=frozenset({"region"}))
    assert judge(night, past).kind is IMPLAUSIBLE
    assert judge(night, past).reasons[0].startswith("region is null in 1,000 of 1,000 rows")
    assert judge(night, past).shown_by == ("region",)
    assert judge(night, []).kind is ODD
    # Nights of earlier versions did not count regions: a project may never have had any.
    assert judge(night, [alone()] * 3).kind is PLAUSIBLE


def test_what_was_accepted_is_usual_from_then_on() -> None:
    """A field that the API has renamed for good is accepted once, not each night until the median follows."""
    good = alone(nulls={"total_digg_cnt": Share(0, 1000)})
    renamed = alone(nulls={"total_digg_cnt": Share(1000, 1000)}, missing_fields=frozenset({"total_digg_cnt"}))
    accepted = replace(renamed, is_accepted=True)
    assert judge(renamed, [*[good] * 10, renamed]).kind is IMPLAUSIBLE
    assert judge(renamed, [*[good] * 10, accepted]).kind is PLAUSIBLE
    assert judge(renamed, [*[good] * 10, accepted, renamed]).kind is PLAUSIBLE
    emptied = [replace(beside(emptied=Share(0, 60)))] * 10
    once = replace(beside(emptied=Share(60, 60)), is_accepted=True)
    assert judge(beside(emptied=Share(60, 60)), [*emptied, once]).kind is IMPLAUSIBLE


def test_the_gravest_reason_comes_first() -> None:
    night = replace(beside(emptied=Share(60, 60)), unknown_fields=frozenset({"shop"}))
    kind, reasons, *_ = judge(night, PAST)
    assert kind is IMPLAUSIBLE
    assert [said.startswith("60 of 60") for said in reasons] == [True, False]


def test_columns_are_named_in_one_reason_a_measure() -> None:
    """With the gravest of them and its figures; a list of reasons tells measures apart."""
    fallen = {name: Share(40 + at, 100) for at, name in enumerate(FIGURES)} | {"rows": Share(25, 100)}
    nulls = {name: Share(1000, 1000) for name in FIGURES[1:]}
    night = replace(beside(fallen=fallen), nulls=nulls, missing_fields=frozenset(FIGURES[1:]))
    kind, reasons, measures, shown_by = judge(night, PAST)
    assert kind is IMPLAUSIBLE
    assert len(reasons) == 3
    assert measures == ("nulls", "fallen", "")
    assert {*shown_by} == {*FIGURES} - {"rows"}
    said = reasons[1]
    assert said.startswith("total_video_sale_gmv_amt fell by more than a tenth at 46 of 100 sellers")
    assert said.endswith("; likewise rows, " + ", ".join(FIGURES[1:-1]) + ".")
    assert reasons[0].startswith("total_views_cnt is null in 1,000 of 1,000 rows")
    assert reasons[2].startswith("6 fields are missing in all 1,000 rows: ")


def test_regions_are_named_beside_the_whole_list() -> None:
    regions = {name: Share(20, 20) for name in ("MY", "TH", "VN")}
    said = reason(beside(emptied=Share(60, 60), regions=regions), IMPLAUSIBLE)
    assert said.startswith("60 of 60 sellers that had videos")
    assert said.endswith("; likewise MY, TH, VN.")
    many = {f"R{number}": Share(20, 20) for number in range(20)}
    assert reason(beside(emptied=Share(400, 400), regions=many), IMPLAUSIBLE).endswith("R14 and 5 more.")


def test_a_setting_moves_its_limit() -> None:
    limits = PlausibilitySettings(emptied_floor=0.5, emptied_ceiling=0.9)
    assert judge(beside(emptied=Share(41, 100)), PAST).kind is IMPLAUSIBLE
    assert judge(beside(emptied=Share(41, 100)), PAST, limits).kind is PLAUSIBLE


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.001, 0.999))
def test_the_tail_is_exact(part: int, whole: int, chance: float) -> None:
    exact = sum(comb(whole, k) * chance**k * (1 - chance) ** (whole - k) for k in range(part, whole + 1))
    assert binomial_tail(part, whole, chance) == pytest.approx(exact, rel=1e-7, abs=1e-300)


def test_the_tail_of_millions_is_quick_and_right() -> None:
    assert binomial_tail(500_500, 1_000_000, 0.5) == pytest.approx(0.1587, abs=2e-3)
    assert binomial_tail(990_000, 1_000_000, 0.02) == 0.0


@given(st.lists(RATES, max_size=40), RATES, RATES)
def test_a_band_lies_between_floor_and_ceiling(past: list[float], one: float, other: float) -> None:
    floor, ceiling = sorted((one, other))
    band = Band.learn(past, Range(floor, ceiling))
    room = 1 - band.usual
    assert 0 <= band.usual <= 1
    assert band.usual + floor * room <= band.odd + 1e-9
    assert band.odd <= band.implausible + 1e-9 <= 1 + 2e-9


@given(st.lists(st.floats(0, 0.1), min_size=5, max_size=30), RATES)
def test_one_wild_night_among_many_moves_no_band_beyond_the_others(past: list[float], wild: float) -> None:
    assert Band.learn([*past, wild], Range(0.0, 1.0)).usual <= 0.1


@given(st.integers(1, 400), st.data())
def test_more_empty_sellers_never_make_a_night_more_plausible(whole: int, data: st.DataObject) -> None:
    few, many = sorted(data.draw(st.integers(0, whole)) for _ in range(2))
    order = [*Plausibility]
    kinds = [judge(beside(emptied=Share(part, whole)), PAST).kind for part in (few, many)]
    assert order.index(kinds[0]) <= order.index(kinds[1])


@pytest.mark.long
def test_two_thousand_healthy_nights_raise_no_alarm() -> None:
    for seed in range(1_000, 1_100):
        project, past = Project(seed), list[Measures]()
        for _ in range(20):
            tonight = project.healthy()
            measures = project.measures(tonight)
            assert judge(measures, past) == Verdict(PLAUSIBLE), (seed, project.days)
            past.append(measures)
            project.publish(tonight)


@pytest.mark.parametrize("outage", OUTAGES)
def test_every_outage_is_implausible(outage: str) -> None:
    for seed in range(1_000, 1_040):
        project, past = after_nights(seed, 5, 200)
        assert judge(project.measures(project.suffer(outage)), past).kind is IMPLAUSIBLE, seed
