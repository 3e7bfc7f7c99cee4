"""Which answers no longer show what made a night implausible."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.models.api import COUNT_COLUMNS
from crawler.rules.plausibility import ANY_FIGURE, REPEATS, ROWS
from crawler.rules.rechecks import Row, is_answered_otherwise


def rows(count: int = 10, views: int | None = 1000, first: int = 0, **others: Any) -> list[Row]:
    return [
        {"video_id": str(first + at), "create_time": 1, "region": "MY"}
        | dict.fromkeys(COUNT_COLUMNS, views)
        | others
        for at in range(count)
    ]


VIEWS = "total_views_cnt"


@pytest.mark.parametrize(
    ("shown_by", "now", "then", "differs"),
    [
        ([VIEWS], rows(views=1000), rows(views=None), True),
        ([VIEWS], rows(views=1000), rows(views=0), True),
        ([VIEWS], rows(views=2000), rows(views=1000), True),
        ([VIEWS], rows(views=1050), rows(views=1000), False),
        ([VIEWS], rows(total_views_cnt=None, views=9), rows(total_views_cnt=None, views=5), False),
        (["region"], rows(views=9), rows(views=5, region=None), True),
        (["region"], rows(views=9, region=None), rows(views=5, region=None), False),
        (["create_time"], rows(create_time=None), rows(), True),
        ([ROWS], rows(10), [], True),
        ([ROWS], rows(10), rows(5), True),
        ([ROWS], rows(21), rows(20), False),
        ([ROWS], [], [], False),
        (["video_id"], rows(first=100), rows(), True),
        (["video_id"], rows(11, views=5), rows(10), False),
        ([REPEATS], rows(11), rows(10) * 2, True),
        ([REPEATS], rows(10, views=7) * 2, rows(10) * 2, False),
        ([ANY_FIGURE], rows(views=1001), rows(), True),
        ([ANY_FIGURE], rows(), rows(), False),
        ([], rows(views=1001), rows(), True),
        ([ROWS, VIEWS], rows(views=0), rows(views=None), True),
    ],
)
def test_only_what_made_the_night_implausible_is_compared(
    shown_by: list[str], now: list[Row], then: list[Row], differs: bool
) -> None:
    assert is_answered_otherwise(shown_by, now, then) is differs
