"""Coverage-guided fuzzing of an answer's way from bytes to columns: `fuzz_answers.py [SECONDS]`.

Ends with 0 when its time is over, otherwise with the input that broke a promise. The checks serve the
property tests as well.
"""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType
from typing import Any

import orjson
import pyarrow as pa

from crawler.api import answers, lenient, messages, rows
from crawler.models.api import API_COLUMNS
from crawler.models.errors import CrawlerError, PageError
from crawler.models.page import Page, PageRows
from crawler.store.schema import VIDEO_SCHEMA

SELLER = "7494662098975951181"
_SEEDS = (
    b'a{"code":0,"message":"success","data":[{"video_id":"1","region":"MY"}],"requestId":"r"}',
    b'a{"code":0,"data":null}',
    b'a{"code":"429","message":"qps limit exceeded","data":null}',
    b'a\xef\xbb\xbf{"data":[]} ',
    b"a<html><body>502 Bad Gateway</body></html>",
    b'e{"code":500.0,"message":"Usage Limit Exceeded"}',
    b'a{"success":false,"error":{"code":"quota_exceeded","details":[{"msg":"x"}]},"data":[]}',
    b'r{"video_id":"1","create_time":"1662218112","total_views_cnt":1.5,"total_video_sale_gmv_amt":2627.73}',
    b'r{"video_id":"\\ud800\\udc00\\ud800\x01\xff\\\\\\"","a":[NaN,-Infinity,1e999,-0,0.0,1E-5]},{"video_id":7}',
    b'r{"video_id":99999999999999999999,"seller_id":7494662098975951181,"total_digg_cnt":"1e18","x":true}',
    b"r" + b'[{"a":' * 150 + b"1" + b"}]" * 150 + b',{"video_id":7}',
    b'r{"video_id":"1","user_id":' + b"[" * 1100 + b"]" * 1100 + b"}",
    b"h120",
    b"hThu, 01 Jan 2026 00:00:00 GMT",
)


def check_answer(status: int, retry_after: str | None, body: bytes) -> None:
    """Hold one answer to the promises: a page whose rows are all there, or a typed error."""
    try:
        page = answers.read_answer(status, retry_after, body, SELLER, 1, 0)
    except (PageError, CrawlerError) as error:
        if not getattr(error, "label", None):
            raise AssertionError("an error without a label") from error
        return
    check_page(page)


def check_page(page: Page) -> None:
    """Hold a page to the promise that it counts its rows, and those that are rejected, as they end up."""
    result = check_body(page.body)
    data = lenient.load_tolerant(page.body)[0]["data"]
    assert page.row_count == (None if data is None else len(data))
    assert page.rejected == len(result.rejects)
    assert len(page.values) == len(result.places)
    assert not data or any(map(messages.is_row, data))


def check_body(body: bytes) -> PageRows:
    """Hold a body to the promise that nothing of it is lost on the way to its columns, which are returned."""
    received = lenient.load_tolerant(body)[0]["data"] or []
    result = rows.read_rows(SELLER, body)
    assert sorted([*result.places, *(r.place for r in result.rejects)]) == list(range(1, len(received) + 1))
    for reject in result.rejects:
        assert reject.row == received[reject.place - 1]
        orjson.dumps(reject.row)
    for name, values in result.values.items():
        assert len(values) == len(result.places)
        kind = pa.string() if name == "region" else VIDEO_SCHEMA.field(name).type
        pa.array(values, kind).validate(full=True)
    for index, place in enumerate(result.places):
        _check_row(received[place - 1], result, index)
    return result


def _check_row(row: dict[str, Any], result: PageRows, index: int) -> None:
    text = result.values["extra"][index]
    extra = {} if text is None else orjson.loads(text)
    assert text is None or extra
    for name, kind in API_COLUMNS:
        value, kept = row.get(name), result.values[name][index]
        if kept is None:
            assert extra.get(name) == value
        else:
            assert name not in extra
            assert _says(kind, kept, value), f"{name}: {value!r} became {kept!r}"
    known = {column.name for column in API_COLUMNS} | {"seller_id"}
    assert {name: extra[name] for name in row.keys() - known} == {
        name: row[name] for name in row.keys() - known
    }
    assert extra.keys() <= row.keys()
    named = row.get("seller_id")
    same = (SELLER, int(SELLER), float(SELLER), int(float(SELLER)), int(Decimal(repr(float(SELLER)))))
    usable = isinstance(named, str | int | float) and not isinstance(named, bool)
    assert not usable or named == 0 or str(named).strip("0 ") in ("", SELLER) or named in same
    assert named is None or str(named) == SELLER or extra["seller_id"] == named


def _says(kind: str, kept: Any, value: Any) -> bool:
    if kind == "string":
        return bool(kept == str(value))
    number = Decimal(str(value).strip())
    if kind == "int64":
        return bool(Decimal(kept) == number)
    if kind == "float64":
        return bool(kept == float(number))
    return bool(abs(Decimal(kept) / 1000 - number) <= Decimal("0.001"))


def _one_input(data: bytes) -> None:
    """The first byte says what the rest is: a page's rows, a header, an error's body, or a whole answer."""
    kind, rest = data[:1], data[1:]
    try:
        if kind == b"r":
            check_answer(200, None, b'{"code":0,"data":[' + rest + b"]}")
        elif kind == b"h":
            answers.read_retry_after(rest.decode("latin-1"))
        else:
            check_answer(500 if kind == b"e" else 200, None, rest)
    except BaseException:
        sys.stderr.write(f"broken by {data!r}\n")
        raise


def _fuzz(seconds: str, folder: str) -> None:
    """Runs in a process of its own: the fuzzer ends it without leave."""
    atheris = import_module("atheris")
    for part in (lenient, messages, answers, rows):
        for value in vars(part).values():
            if isinstance(value, FunctionType) and value.__module__ == part.__name__:
                atheris.instrument_func(value)
    for number, seed in enumerate(_SEEDS):
        (Path(folder) / str(number)).write_bytes(seed)
    limits = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=5"]
    report = [f"-artifact_prefix={folder}/", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *limits, *report, folder], _one_input)
    atheris.Fuzz()


def main() -> int:
    """Fuzz for as many seconds as the first argument says (60)."""
    with TemporaryDirectory() as folder:
        seconds = sys.argv[1] if len(sys.argv) > 1 else "60"
        return subprocess.run([sys.executable, __file__, seconds, folder], check=False).returncode


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _fuzz(*sys.argv[1:])
    else:
        sys.exit(main())
