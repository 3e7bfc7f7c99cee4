"""What needs attention: each matter once, and nothing of a good night."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.report.attention import attention
from crawler.report.page_facts import NO_FACTS, PageFacts, PastNight, SellerNames

GOOD: dict[str, Any] = {
    "exit_code": 0,
    "sellers": {"total": 9, "complete": 9, "failed": 0, "pending": 0},
    "requests": {"sent": 100, "by_status": {"200": 100}},
    "credits": {"spent_for_month": 100, "monthly_budget": 1000},
    "plausibility": {"verdict": "plausible", "reasons": []},
    "notes": [],
}


def night(day: int, rows: int = 1000, credit: int = 100) -> PastNight:
    return PastNight(f"2026-11-{day:02}", "complete", "finished", 0, rows, 9, 9, 0, credit, 5.0, 1, f"r{day}")


def test_a_good_night_needs_none() -> None:
    assert attention(GOOD, PageFacts(nights=[night(1), night(2), night(3, 990, 110)])) == []


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"sellers": {"failed": 3}}, "3 sellers failed"),
        ({"sellers": {"pending": 1200}}, "1,200 sellers were not asked for yet"),
        ({"requests": {"sent": 100, "by_status": {"429": 2}}}, "2.0% of the requests were answered by 429"),
        ({"credits": {"spent_for_month": 950, "monthly_budget": 1000}}, "95% of the month's budget"),
        ({"notes": ["a note"]}, "a note"),
    ],
)
def test_what_is_wrong_is_said_once(changed: dict[str, Any], sentence: str) -> None:
    (said,) = attention(GOOD | changed, NO_FACTS)
    assert sentence in said


def test_what_goes_wrong_slowly_is_said_beside_the_median() -> None:
    said = attention(GOOD, PageFacts(nights=[night(1), night(2), night(5, 880, 130)], missed=["2026-11-03"]))
    assert said == [
        "Rows: 880, median 1,000, -12%.",
        "Credits: 130, median 100, +30%.",
    ]


def test_sellers_that_were_cut_off_are_counted() -> None:
    (said,) = attention(GOOD, PageFacts(cut_off=SellerNames((), 7)))
    assert said.startswith("7 sellers were cut off")


def test_why_a_night_is_implausible_is_not_said_twice() -> None:
    """The box of the verdict has it already; the note repeats it."""
    held = {"verdict": "implausible", "reasons": ["all counts are 0."]}
    notes = ["the night is implausible: all counts are 0.", "another note"]
    assert attention(GOOD | {"plausibility": held, "notes": notes}, NO_FACTS) == ["another note"]
