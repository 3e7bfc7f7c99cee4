"""Rates: what sellers are expected to gain, by what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from crawler.history.gains import GainHistory, Reading
from crawler.models.api import Value
from crawler.planning import rates as module
from crawler.planning.rates import learn_rates
from crawler.planning.visits import NewSeller
from crawler.store.bases import Bases
from crawler.store.records import text_of

DAY = date(2026, 11, 23)
BEFORE = DAY - timedelta(1)


class Learnt(NamedTuple):
    rates: dict[str, Sequence[float]]
    new: NewSeller


def learnt(
    monkeypatch: pytest.MonkeyPatch,
    stretches: dict[str, int],
    readings: list[Reading],
    totals: dict[int, float],
) -> Learnt:
    """What is learnt of sellers of so many stretches where the published nights have these readings."""

    def known(history: GainHistory, *_: object) -> list[Reading]:
        for number, total in totals.items():
            history.totals[number] = total
        return readings

    monkeypatch.setattr(GainHistory, "readings", known)
    monkeypatch.setattr(module, "published_dates", lambda _data: [BEFORE])
    bases = Bases()
    for seller_id, count in stretches.items():
        bases.add(seller_id, BEFORE, 80 * count - 1, text_of([BEFORE] * count))
    found = learn_rates(Path("nowhere"), DAY, bases, Value.VIEWS)
    return Learnt({seller_id: base.rates for seller_id, base in bases.items()}, found.new)


def test_a_seller_is_expected_to_gain_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = [Reading(0, 0, 700.0, 1), Reading(1, 0, 7.0, 1)] * 5
    found = learnt(monkeypatch, {"a": 1, "b": 1}, readings, {0: 100.0, 1: 100.0})
    assert found.rates["a"][0] > 50 * found.rates["b"][0] > 0
    assert found.new.rate > 0


def test_one_without_a_past_gains_what_those_of_its_size_do(monkeypatch: pytest.MonkeyPatch) -> None:
    bases = dict.fromkeys("abcd", 1)
    readings = [Reading(0, 0, 100.0, 1), Reading(1, 0, 1.0, 1)] * 5
    found = learnt(monkeypatch, bases, readings, {0: 10_000.0, 1: 100.0, 2: 10_000.0, 3: 100.0})
    assert found.rates["c"][0] == pytest.approx(found.rates["a"][0], rel=0.3)
    assert found.rates["c"][0] > 10 * found.rates["d"][0]


def test_before_any_gain_is_known_the_large_and_the_first_pages_go_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = learnt(monkeypatch, {"a": 3, "b": 1}, [], {0: 1000.0, 1: 10.0})
    first, second, third = found.rates["a"]
    assert first > second > third > 0
    assert first > found.rates["b"][0]


def test_of_no_seller_nothing_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    assert learnt(monkeypatch, {}, [], {}) == Learnt({}, NewSeller())
