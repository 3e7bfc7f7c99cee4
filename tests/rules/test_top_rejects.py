"""`--top` where a page has rows that cannot be kept."""

from __future__ import annotations

from math import inf

from crawler.models.page import Page
from crawler.rules.best_first import Top


def test_a_page_with_rejected_rows_ends_no_run_and_raises_no_threshold() -> None:
    top = Top(1)
    top.learn(
        Page(
            "1",
            1,
            b"",
            row_count=2,
            fingerprint=0,
            received_at=0,
            request_id="",
            total=5.0,
            last_value=5.0,
            ids=("a", ""),
            values=(5.0,),
            rejected=1,
        )
    )
    assert top.threshold == -inf
