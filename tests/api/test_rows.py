"""From a page's rows to typed columns: each value is in its column or in `extra`, each row counted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from fuzz_answers import SELLER, check_body, check_page
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crawler.api.answers import read_answer
from crawler.api.lenient import load_quickly
from crawler.api.rows import FOREIGN, read_rows
from crawler.models.api import API_COLUMNS
from crawler.models.errors import UnavailableError
from crawler.models.page import PageRows
from crawler.store.schema import REGION_FILE_SCHEMA

STRING, INT, FLOAT, TIME = "nick_name", "total_views_cnt", "total_video_sale_gmv_amt", "create_time"
MISFIT = object()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEAR_1 = int((datetime(1, 1, 1, tzinfo=UTC) - EPOCH).total_seconds())
YEAR_9999 = int((datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - EPOCH).total_seconds())


def rows_of(*rows: Any) -> PageRows:
    body = json.dumps({"code": 0, "data": rows}).encode()
    try:
        page = read_answer(200, None, body, SELLER, 1, 0)
    except UnavailableError:
        # None of the rows is one of the seller's.
        result = check_body(load_quickly(body)[1])
        assert rows
        assert not result.places
        return result
    check_page(page)
    return read_rows(SELLER, page.body)


def row_of(**fields: Any) -> dict[str, Any]:
    result = rows_of({"video_id": "1", **fields})
    (extra,) = result.values.pop("extra")
    row = {name: value for name, (value,) in result.values.items()}
    return {**row, "extra": {} if extra is None else orjson.loads(extra)}


def test_the_example_of_the_description_fits() -> None:
    sent = {
        "create_time": "1662218112",
        "nick_name": "beautycouture",
        "region": "MY",
        "seller_id": SELLER,
        "total_comments_cnt": 0,
        "total_digg_cnt": 37,
        "total_video_sale_gmv_amt": 0,
        "user_id": "7122779249316054043",
        "video_desc": "outfits \U0001f516",
    }
    row = row_of(**sent)
    assert row.pop("create_time") == 1_662_218_112_000
    assert isinstance(row["total_video_sale_gmv_amt"], float)
    assert row.pop("extra") == {}
    kept = {name: value for name, value in row.items() if value is not None}
    del sent["create_time"], sent["seller_id"]
    assert kept == {"video_id": "1", **sent}


def test_the_columns_are_those_of_the_dataset() -> None:
    names = list(rows_of().values)
    assert [name for name in REGION_FILE_SCHEMA.names if name in names] == [n for n in names if n != "region"]
    assert names == [*(column.name for column in API_COLUMNS), "extra"]


@pytest.mark.parametrize(
    ("column", "value", "kept"),
    [
        (STRING, "", ""),
        (STRING, " a\0b\n", " a\0b\n"),
        (STRING, "\ufffd\U0001f600", "\ufffd\U0001f600"),
        (STRING, 7122779249316054043, "7122779249316054043"),
        (STRING, -5, "-5"),
        (STRING, 2**64, "18446744073709551616"),
        (STRING, 1.5, MISFIT),
        (STRING, True, MISFIT),
        (STRING, ["a"], MISFIT),
        (STRING, {"a": 1}, MISFIT),
        (INT, 37, 37),
        (INT, 0, 0),
        (INT, -1, -1),
        (INT, "37", 37),
        (INT, " +37 ", 37),
        (INT, "37.0", 37),
        (INT, "1e3", 1000),
        (INT, 37.0, 37),
        (INT, -0.0, 0),
        (INT, 37.5, MISFIT),
        (INT, "37.5", MISFIT),
        (INT, True, MISFIT),
        (INT, False, MISFIT),
        (INT, "", MISFIT),
        (INT, "1,000", MISFIT),
        (INT, "1_000", MISFIT),
        (INT, "0x10", MISFIT),
        (INT, "\u0663", MISFIT),
        (INT, "many", MISFIT),
        (INT, [1], MISFIT),
        (INT, 2**63 - 1, 2**63 - 1),
        (INT, -(2**63), -(2**63)),
        (INT, str(2**63 - 1), 2**63 - 1),
        (INT, f"{2**63 - 1}.0", 2**63 - 1),
        (INT, f"{2**63 - 1}.1", MISFIT),
        (INT, 2**63, MISFIT),
        (INT, 2**64 - 1, MISFIT),
        (INT, str(2**63), MISFIT),
        (INT, 5.804118501327017e16, 58041185013270170),
        (INT, -(2.0**63), MISFIT),
        (INT, 2.0**63, MISFIT),
        (INT, 1e300, MISFIT),
        (INT, "1e300", MISFIT),
        (INT, "1e999999999", MISFIT),
        (INT, "1e99999999999999999999", MISFIT),
        (INT, "-1e-999999999", MISFIT),
        (INT, "9" * 65, MISFIT),
        (INT, "NaN", MISFIT),
        (INT, "sNaN", MISFIT),
        (INT, "-Infinity", MISFIT),
        (FLOAT, 2627.73, 2627.73),
        (FLOAT, 2627, 2627.0),
        (FLOAT, "2627.73", 2627.73),
        (FLOAT, "1e-5", 1e-5),
        (FLOAT, -0.0, 0.0),
        (FLOAT, 2**64 - 1, 2.0**64),
        (FLOAT, "1e308", 1e308),
        (FLOAT, "1e309", MISFIT),
        (FLOAT, "-1e399", MISFIT),
        (FLOAT, "nan", MISFIT),
        (FLOAT, "inf", MISFIT),
        (FLOAT, True, MISFIT),
        (FLOAT, "$5", MISFIT),
        (FLOAT, {}, MISFIT),
        (TIME, "1662218112", 1_662_218_112_000),
        (TIME, 1662218112, 1_662_218_112_000),
        (TIME, 1662218112.25, 1_662_218_112_250),
        (TIME, "1662218112.0014", 1_662_218_112_001),
        (TIME, 0, 0),
        (TIME, "-1", -1000),
        (TIME, YEAR_9999, YEAR_9999 * 1000),
        (TIME, YEAR_9999 + 1, MISFIT),
        (TIME, YEAR_1, YEAR_1 * 1000),
        (TIME, YEAR_1 - 1, MISFIT),
        (TIME, 1_662_218_112_000, MISFIT),
        (TIME, "2022-09-03", MISFIT),
        (TIME, "", MISFIT),
        (TIME, False, MISFIT),
        (TIME, "NaN", MISFIT),
    ],
)
def test_a_value_is_in_its_column_or_in_extra(column: str, value: Any, kept: Any) -> None:
    row = row_of(**{column: value})
    assert row[column] == (None if kept is MISFIT else kept)
    assert type(row[column]) is not bool
    assert row["extra"] == ({column: value} if kept is MISFIT else {})


def test_numbers_beyond_json_stay_as_text() -> None:
    row = row_of(**{INT: 10**30, FLOAT: float("nan"), TIME: float("inf"), "x": -(10**30)})
    kept = {INT: "1" + "0" * 30, FLOAT: "NaN", TIME: "Infinity", "x": "-1" + "0" * 30}
    assert row["extra"] == kept
    assert row[INT] is row[FLOAT] is row[TIME] is None


def test_every_time_that_fits_is_a_date_everywhere() -> None:
    for second in (YEAR_1, YEAR_9999):
        assert EPOCH + timedelta(milliseconds=row_of(create_time=second)["create_time"])


def test_null_and_absent_are_the_same() -> None:
    names = {column.name for column in API_COLUMNS} - {"video_id"}
    assert row_of(**dict.fromkeys([*names, "seller_id"])) == row_of()


def test_unknown_fields_go_to_extra() -> None:
    unknown = {
        "extra": {"a": 1},
        "page_num": 3,
        "New Field": [1, {"b": None}],
        "": 0,
        "crawl_date": None,
        "x\0": "\0",
    }
    assert row_of(**unknown)["extra"] == unknown


@pytest.mark.parametrize("named", [SELLER, int(SELLER), None])
def test_the_seller_asked_for_need_not_be_named(named: Any) -> None:
    assert row_of(seller_id=named)["extra"] == {}


@pytest.mark.parametrize(
    "named", ["", 0, "0", SELLER + " ", float(SELLER), 7494662098975951000, [SELLER], True]
)
def test_a_seller_that_is_none_or_spelled_oddly_is_kept_in_extra(named: Any) -> None:
    assert row_of(seller_id=named)["extra"] == {"seller_id": named}


@pytest.mark.parametrize(
    "named", ["8", 8, 8.5, -1, int(SELLER) + 1, SELLER[:-1], SELLER + "0", "x", float("nan")]
)
def test_a_row_of_another_seller_is_a_reject(named: Any) -> None:
    rows = rows_of({"video_id": "1"}, {"video_id": "2", "seller_id": named})
    assert rows.values["video_id"] == ["1"]
    assert [(reject.place, reject.reason) for reject in rows.rejects] == [(2, FOREIGN)]


@pytest.mark.parametrize("video_id", [7139172409529142554, 2**64 + 1, "7139", " 7 ", "\0", "NaN"])
def test_ids_may_be_numbers(video_id: Any) -> None:
    assert rows_of({"video_id": video_id}).values["video_id"] == [str(video_id)]


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"video_id": None, "nick_name": "a"},
        {"video_id": ""},
        {"video_id": " \n"},
        {"video_id": 1.5},
        {"video_id": True},
        {"video_id": ["1"]},
        {"Video_Id": "1"},
        None,
        "1",
        1,
        [],
        [{"video_id": "1"}],
    ],
)
def test_a_row_without_a_usable_id_is_a_reject(row: Any) -> None:
    result = rows_of({"video_id": "1"}, row, {"video_id": "3"})
    assert result.places == [1, 3]
    assert [(reject.place, reject.row) for reject in result.rejects] == [(2, row)]
    assert result.rejects[0].reason


def test_no_rows() -> None:
    for body in (b'{"data":null}', b'{"data":[]}'):
        result = read_rows(SELLER, body)
        assert not result.places
        assert not result.rejects
        assert set(map(tuple, result.values.values())) == {()}


NUMBERS = st.integers() | st.floats() | st.integers(-(2**65), 2**65) | st.decimals().map(str)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | NUMBERS.map(str) | st.text(st.characters()) | st.just(SELLER),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from([*(column.name for column in API_COLUMNS), "seller_id", "extra", "x"])
ROWS = st.dictionaries(NAMES, VALUES, max_size=8)
IDENTIFIED = st.builds(lambda row, number: {**row, "video_id": number}, ROWS, st.integers(0, 5))


@given(st.lists(IDENTIFIED | ROWS | VALUES, max_size=6))
@example([{"video_id": "1", "nick_name": [[[{}]]] * 90, "create_time": "253402300799.9999"}])
@example([{"video_id": 1, "total_views_cnt": "9223372036854775807.0000000000000000000000001"}])
@settings(deadline=None, max_examples=75)
def test_nothing_of_a_page_is_lost_on_the_way_to_its_columns(rows: list[Any]) -> None:
    rows_of(*rows)
