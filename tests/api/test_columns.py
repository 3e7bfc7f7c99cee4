"""Many pages at once and page by page: the same columns, the same rejects, whatever the pages hold."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pytest
from fuzz_answers import SELLER
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_rows import IDENTIFIED, ROWS, VALUES

from crawler.api import columns
from crawler.api.columns import ROW_SCHEMA, read_batch
from crawler.api.lenient import load_quickly
from crawler.api.rows import read_rows
from crawler.models.api import API_COLUMNS
from crawler.models.page import Reject

PLAIN = {
    "avatar": "https://images.example/a.jpg",
    "create_time": "1662218112",
    "nick_name": "beautycouture",
    "region": "MY",
    "seller_id": SELLER,
    "total_comments_cnt": 0,
    "total_views_cnt": 37,
    "total_video_sale_gmv_amt": 2627.73,
    "user_id": "7122779249316054043",
    "video_desc": 'outfits \U0001f516 "\\\n\u2028\x00',
    "video_id": "7139172409529142554",
}
Batch = list[tuple[str, bytes]]


def body_of(data: Any, **others: Any) -> bytes:
    raw = json.dumps({"code": 0, "message": "success", "data": data, "requestId": "r", **others})
    return kept(raw)


def kept(text: str) -> bytes:
    """A page's body as the API client leaves it."""
    return load_quickly(text.encode())[1]


def test_odd_pages_are_searched_for_with_little_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many pages are odd, a batch is parsed a few times at most; and a few odd ones are found."""
    parsed, tolerant = Mock(wraps=columns._parsed), Mock(wraps=columns._tolerant)
    monkeypatch.setattr(columns, "_parsed", parsed)
    monkeypatch.setattr(columns, "_tolerant", tolerant)
    plain, odd = (SELLER, body_of([PLAIN])), (SELLER, body_of([{**PLAIN, "new": [[1]]}]))
    for places, most in ((range(512), 512), ((5, 300), 2 * columns._MIN_BISECTED)):
        parsed.reset_mock()
        tolerant.reset_mock()
        pages = [odd if number in places else plain for number in range(512)]
        assert read_batch(pages).rows["place"].to_pylist() == [1] * 512
        assert sum(len(call.args[0]) for call in parsed.call_args_list) < 5 * 512
        assert tolerant.call_count <= most


def test_a_very_long_page_is_left_to_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow gets no page of hundreds of thousands of unknown fields, of which it would make columns."""
    monkeypatch.setattr(columns, "_parsed", lambda _bodies: pytest.fail("it was parsed"))
    check([(SELLER, body_of([{**PLAIN, **{str(n): [n] for n in range(40_000)}}]))])


def one_by_one(pages: Batch) -> tuple[pa.Table, list[tuple[int, Reject]]]:
    rejects, values = [], dict[str, list[Any]]({name: [] for name in ROW_SCHEMA.names})
    for number, (seller_id, body) in enumerate(pages):
        page = read_rows(seller_id, body)
        rejects += [(number, reject) for reject in page.rejects]
        for name, column in page.values.items():
            values[name] += column
        values["page"] += [number] * len(page.places)
        values["place"] += page.places
    return pa.table(values, schema=ROW_SCHEMA), rejects


def check(pages: Batch) -> None:
    batch, (rows, rejects) = read_batch(pages), one_by_one(pages)
    batch.rows.validate(full=True)
    assert batch.rejects == rejects
    # By their text as well: 0.0 and -0.0 are equal, and are not the same.
    for name in ROW_SCHEMA.names:
        assert batch.rows[name].to_pylist() == rows[name].to_pylist()
        assert str(batch.rows[name].to_pylist()) == str(rows[name].to_pylist())


def is_plain(body: bytes) -> bool:
    return columns._whole([(SELLER, body)], 0) is not None


def test_plain_pages_are_read_at_once() -> None:
    assert is_plain(body_of([PLAIN, PLAIN]))
    assert is_plain(body_of([dict.fromkeys(PLAIN) | {"video_id": "1"}]))
    assert is_plain(body_of([{"video_id": "1", "total_video_sale_gmv_amt": 0}]))
    assert is_plain(body_of([{"video_id": "1", "total_video_sale_gmv_amt": 10**30}]))
    assert is_plain(body_of([]))
    assert is_plain(body_of(None))
    assert is_plain(body_of([PLAIN], cost=1, more={"a": [None]}))
    check([(SELLER, body_of([PLAIN] * 10))] * 40)


ODD: list[dict[str, Any]] = [
    {"video_id": None},
    {"video_id": ""},
    {"video_id": "\u3000"},
    {"video_id": "\x1f"},
    {"video_id": 7},
    {"seller_id": "8"},
    {"seller_id": int(SELLER)},
    {"seller_id": ""},
    {"create_time": 1662218112},
    {"create_time": "0x10"},
    {"create_time": "+5"},
    {"create_time": "-5"},
    {"create_time": " 5"},
    {"create_time": "5\n"},
    {"create_time": ""},
    {"create_time": "1662218112.5"},
    {"create_time": "\u0665"},
    {"create_time": "253402300800"},
    {"create_time": "00000000000000000005"},
    {"total_views_cnt": "37"},
    {"total_views_cnt": 37.0},
    {"total_views_cnt": 1e3},
    {"total_views_cnt": 2**63},
    {"total_views_cnt": True},
    {"total_views_cnt": 10**30},
    {"total_video_sale_gmv_amt": -0.0},
    {"total_video_sale_gmv_amt": "1.5"},
    {"total_video_sale_gmv_amt": float("inf")},
    {"nick_name": 5},
    {"nick_name": []},
    {"nick_name": {"a": 1}},
    {"region": True},
    {"new": 1},
    {"new": None},
    {"new": {"a": [[]]}},
    {"extra": "x"},
    {"page": 1, "place": 2},
    {"": 0},
]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_odd_row_goes_the_tolerant_way_alone(odd: dict[str, Any]) -> None:
    page = SELLER, body_of([PLAIN, PLAIN | odd])
    assert not is_plain(page[1])
    plain = SELLER, body_of([PLAIN])
    check([plain] * 20 + [page] + [plain] * 13 + [page])


@pytest.mark.parametrize("row", [None, 1, "1", [], [PLAIN], True, 1.5])
def test_what_is_no_row_is_a_reject_among_others(row: Any) -> None:
    check([(SELLER, body_of([PLAIN])), (SELLER, body_of([PLAIN, row])), (SELLER, body_of([row]))])


@pytest.mark.parametrize(
    "text",
    [
        '{"code":0,"data":[{"video_id":"1","total_video_sale_gmv_amt":-0}]}',
        '{"code":0,"data":[{"video_id":"1","total_video_sale_gmv_amt":\t-0 }]}',
        '{"code":0,"data":[{"video_id":"1","total_views_cnt":-0}]}',
        '{"code":0,"data":[{"video_id":"1","video_id":"2"}]}',
        '{"code":0,"data":[{"video_id":"1"}],"data":[]}',
        '{"code":0,"data":[],"data":[{"video_id":"1"}]}',
        '{"code":0,"data":[{"vide\\u006f_id":"\\u0031","nick_name":"\\ud83d\\ude00\\u0000"}]}',
        '{"code":0,\r\n"data":[\n{"video_id":\n"1"}\r]}\n',
        '{"code":0,"data":[{"video_id":"1","total_video_sale_gmv_amt":1E-5}]}',
        '{"code":0,"data":[{"video_id":"1","total_video_sale_gmv_amt":9007199254740993}]}',
        '{"code":0,"data":[{"video_id":"1","total_video_sale_gmv_amt":18446744073709551615}]}',
        '{"code":0,"data":[{"video_id":"1","total_video_sale_gmv_amt":2.2250738585072011e-308}]}',
        '{"code":0,"data":[{"video_id":"1","total_video_sale_gmv_amt":4.9e-324}]}',
        '{"code":0,"data":[{"video_id":"1","total_views_cnt":9223372036854775807}]}',
        '{"code":0,"data":[{"video_id":"1","total_views_cnt":-9223372036854775808}]}',
        '{"code":0,"x":' + "[" * 190 + "]" * 190 + ',"data":[{"video_id":"1"}]}',
        '{"code":0,"x":' + '{"x":' * 190 + "1" + "}" * 190 + ',"data":[{"video_id":"1"}]}',
        '\ufeff{"data":[{"video_id":"1"}]}',
    ],
)
def test_how_the_text_spells_it_makes_no_difference(text: str) -> None:
    page = SELLER, kept(text)
    check([page])
    check([(SELLER, body_of([PLAIN])), page, (SELLER, body_of([PLAIN, PLAIN]))] * 6)


def test_other_fields_of_an_answer_may_differ_from_page_to_page() -> None:
    others: list[Any] = [1, "1", None, {"a": 1}, [1], 1.5, True, "2026-01-01T00:00:00Z"]
    check([(SELLER, body_of([PLAIN], cost=other)) for other in others * 3])


def test_each_page_has_the_seller_it_was_asked_for() -> None:
    sellers = [SELLER, "8", "9"]
    check([(seller, body_of([PLAIN | {"seller_id": named}])) for seller in sellers for named in sellers])


PLAIN_ROWS = st.fixed_dictionaries(
    {"video_id": st.integers(0, 5).map(str)},
    optional={
        **{c.name: st.text() for c in API_COLUMNS if c.kind == "string" and c.name != "video_id"},
        **{c.name: st.integers(-(2**63), 2**63 - 1) for c in API_COLUMNS if c.kind == "int64"},
        "total_video_sale_gmv_amt": st.integers() | st.floats(allow_nan=False, allow_infinity=False),
        "create_time": st.integers(0, 10**13).map(str) | st.from_regex(r"\s?[-+]?[0-9]{1,12}\s?"),
        "seller_id": st.sampled_from([SELLER, None, "8"]),
    },
)
PAGES = st.lists(PLAIN_ROWS | PLAIN_ROWS | IDENTIFIED | ROWS | VALUES, max_size=4) | st.none()


@given(st.lists(PAGES, max_size=24), st.sampled_from([None, 1]))
@example([[{"video_id": "1", "total_video_sale_gmv_amt": -0.0}]], None)
@example([[{"video_id": "1", "new": [None, None]}]], None)
@settings(deadline=None, max_examples=60)
def test_at_once_and_one_by_one_are_the_same(pages: list[Any], indent: int | None) -> None:
    texts = [json.dumps({"code": 0, "data": rows}, indent=indent) for rows in pages]
    check([(SELLER, kept(text)) for text in texts])
