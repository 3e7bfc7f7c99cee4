"""The head of a report: what matters first, whatever is missing, and never more than a ping may hold."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crawler.exit_codes import EXIT_CODES
from crawler.report.head import MAX_BYTES, as_head, shortened

REPORT: dict[str, Any] = {
    "crawl_date": "2026-11-23",
    "exit_code": 10,
    "plausibility": {"verdict": "implausible", "reasons": ["all lists are empty.", "so they are."]},
    "message": "the night is not published\nby anybody",
    "sellers": {"total": 3, "complete": 1200, "failed": 1, "pending": 0},
    "rows": {"written": 12345},
    "published": False,
    "credits": {"spent": 1, "spent_for_date": 2, "budget": 5, "spent_for_month": 3, "monthly_budget": None},
    "qps": {"limit": 5, "achieved": 4.9},
    "requests": {"sent": 7},
    "go_on": "crawler run x",
    "notes": ["the night is implausible: all lists are empty.", "a \x1b[31mnote\nof two lines"],
    "run_id": "R",
    "started_at": "S",
    "finished_at": "F",
}


def test_the_verdict_comes_first_and_each_text_stays_on_its_line() -> None:
    assert as_head(REPORT).splitlines() == [
        "crawl date 2026-11-23: implausible, held back, exit code 10",
        "the night is implausible:",
        "- all lists are empty.",
        "- so they are.",
        "the night is not published",
        "by anybody",
        "sellers: 1,200 complete, 1 failed, of 3",
        "rows: 12,345, not published by this run",
        "credits: 1 spent, 2 of 5 for the date, 3 for the month",
        "requests: 7, 4.9 a second of 5",
        f"what to do: {EXIT_CODES[10].advice.replace('`', '').replace('date D ', 'date 2026-11-23 ')}",
        "go on with it by: crawler run x",
        r"- a \x1b[31mnote\nof two lines",
        "run R, S to F",
    ]


def test_the_meaning_of_the_exit_code_is_said_where_there_are_no_reasons() -> None:
    assert f"meaning: {EXIT_CODES[9].meaning}".replace("`", "") in as_head({"exit_code": 9})


def test_what_is_missing_is_left_out() -> None:
    assert as_head({"exit_code": 0}) == "crawl: complete, exit code 0\n"
    assert as_head({}) == "crawl: unknown, exit code \N{EN DASH}\n"


def test_nothing_is_said_twice() -> None:
    left = EXIT_CODES[141].meaning
    assert as_head({"exit_code": 141, "message": left}).count("the reader of standard output") == 1


def test_it_is_cut_at_a_whole_character() -> None:
    assert len(as_head({**REPORT, "message": "ü" * 20_000}).encode()) <= MAX_BYTES
    assert shortened("ab", 2) == "ab"


@given(st.text(), st.integers(4, 40))
def test_shortened_text_fits(text: str, most: int) -> None:
    assert len(shortened(text, most).encode()) <= most


@given(
    st.dictionaries(
        st.sampled_from(sorted(REPORT)), st.none() | st.integers() | st.text() | st.lists(st.text())
    )
)
def test_any_report_has_a_head(report: dict[str, Any]) -> None:
    assert as_head(report).endswith("\n")


def test_why_requests_brought_no_page_is_counted_the_most_frequent_first() -> None:
    kinds = {"timeout": 3, "400": 18, "200": 1, "502": 2, "reset": 4, "503": 1, "500": 9}
    report = {"exit_code": 4, "sellers": {"failed": 7}, "errors": {"by_kind": kinds}}
    line = "requests without a page: 18 x 400, 9 x 500, 4 x reset, 3 x timeout, 2 x 502"
    assert line in as_head(report).splitlines()
    assert line not in as_head(report | {"message": "the API is down"})
    assert line not in as_head(report | {"sellers": {"failed": 0}})
