"""What is said of top movers, in a terminal and on the page."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.report.run_report import RunReport
from crawler.report.top_movers_words import sentences

ROWS = [{"certainty": "proved"}, {"certainty": "proved"}, {"certainty": "likely"}]
PROVED = "2 of 3 are proved to be among the 3 that gained most; any others are likely."


def found(unread: dict[str, Any] | None, *doubts: str, rows: list[dict[str, Any]] = ROWS) -> dict[str, Any]:
    return {"by": "views", "top": 3, "rows": rows, "unread": unread, "doubts": [*doubts]}


@pytest.mark.parametrize(
    ("unread", "said"),
    [
        (
            {"rivals": 0, "unbounded_videos": 0, "unbounded_sellers": 0, "largest_gain": 7.0},
            ["No known video that was not read can have gained more than any of these."],
        ),
        (
            {"rivals": 1200, "unbounded_videos": 0, "unbounded_sellers": 0, "largest_gain": 4321.0},
            [
                "1,200 known videos that were not read may have gained more than the last of these.",
                "None of them can have gained more than 4,321.",
            ],
        ),
        (
            {"rivals": 1200, "unbounded_videos": 900, "unbounded_sellers": 12, "largest_gain": None},
            [
                "1,200 known videos that were not read may have gained more than the last of these.",
                "Nothing bounds 900 of them, of 12 sellers.",
            ],
        ),
    ],
)
def test_what_stands_in_the_way_is_said(unread: dict[str, Any], said: list[str]) -> None:
    assert [*sentences(found(unread))] == [PROVED, *said]


def test_a_doubt_is_said_and_nothing_of_what_is_not_known() -> None:
    rows = [{"certainty": "likely"}]
    assert [*sentences(found(None, "changes are out of date", rows=rows))] == [
        "0 of 1 are proved to be among the 3 that gained most; any others are likely.",
        "Nothing is proved: changes are out of date.",
    ]
    assert [*sentences({})] == []


def test_the_last_line_of_a_run_says_how_many_are_proved_where_they_are_asked_for() -> None:
    report = RunReport("R", "2026-11-23", "", rows={"written": 1})
    assert "top movers" not in report.summary()
    asked = RunReport("R", "2026-11-23", "", rows={"written": 1}, top_movers=found(None))
    assert asked.summary().endswith("; 2 of 3 top movers proved")
