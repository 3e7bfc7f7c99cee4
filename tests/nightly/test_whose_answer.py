"""Whose answer is it, and what does it say: whole runs against an API that misdelivers and refuses."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from conftest import Night

from crawler.models.api import COUNT_COLUMNS

Rows = list[Any]
Script = Callable[[str, int, int], Any]
"""What a seller's page holds on an attempt (from 1): its `data`, or a whole answer where it is an object."""


class Api:
    """Answers by script, and notes which pages were asked for."""

    def __init__(self, script: Script, headers: dict[str, str]) -> None:
        self.asked: list[tuple[str, int]] = []
        self._attempts: Counter[tuple[str, int]] = Counter()
        self._script = script
        self.headers = headers

    def answer(self, path: str) -> bytes:
        query = parse_qs(urlsplit(path).query)
        page = query["seller_id"][0], int(query["page_num"][0])
        self.asked.append(page)
        self._attempts[page] += 1
        answer = self._script(*page, self._attempts[page])
        return orjson.dumps(
            answer if isinstance(answer, dict) else {"code": 0, "message": "success", "data": answer}
        )

    def pages_of(self, seller_id: str) -> list[int]:
        return [number for seller, number in self.asked if seller == seller_id]


@contextmanager
def serving(api: Api) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = api.answer(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            for name, value in api.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., tuple[Night, Api]]]:
    with ExitStack() as stack:

        def begun(script: Script, **headers: str) -> tuple[Night, Api]:
            api = Api(script, headers)
            (tmp_path / "config").mkdir()
            (tmp_path / "config" / "crawler.toml").write_text("[run]\nbackoff = 0.01\nlookahead_pages = 2\n")
            return Night(tmp_path, stack.enter_context(serving(api))), api

        yield begun


def rows(seller_id: str, page_num: int, count: int = 10, *, owner: Any = None) -> Rows:
    """Rows of a page; `owner` is the seller that they carry."""
    return [
        {
            "video_id": f"{seller_id}{page_num:03}{n:02}",
            "seller_id": seller_id if owner is None else owner,
            "create_time": "1760000000",
            **dict.fromkeys(COUNT_COLUMNS, 100_000 - 100 * page_num - n),
            "region": "MY",
        }
        for n in range(count)
    ]


def listed(seller_id: str, page_num: int, sizes: list[int]) -> Rows:
    return rows(seller_id, page_num, sizes[page_num - 1] if page_num <= len(sizes) else 0)


def test_a_quota_that_is_used_up_stops_the_run_whatever_the_code_says(
    begin: Callable[..., tuple[Night, Api]],
) -> None:
    def script(seller_id: str, page_num: int, _attempt: int) -> Any:
        if len(api.asked) > 12:
            return {"code": 0, "message": "Usage Limit Exceeded", "data": None}
        return {
            **dict.fromkeys(("message", "note"), "quota exceeded"),
            "data": listed(seller_id, page_num, [10, 4]),
        }

    job, api = begin(script)
    report = job.run(job.sellers([str(9000 + n) for n in range(60)]), "--workers", "3", code=6)
    assert len(api.asked) <= 12 + 3
    assert report["sellers"]["complete"] <= 6
    assert report["stops"]["quota"] == 60 - report["sellers"]["complete"]
    assert len(job.ids()) == report["rows"]["written"] > 0


SIZES = {"103": [10, 7, 10, 3], "104": [5], "106": [12, 10, 25, 3], "110": []}
SELLERS = [str(101 + n) for n in range(10)]
ONCE: dict[tuple[str, int], Callable[[Rows], Any]] = {
    ("101", 2): lambda page: [[page]],
    ("102", 2): lambda _page: [1, 2, 3],
    ("105", 2): lambda _page: rows("101", 2),
    ("107", 1): lambda _page: None,
    ("108", 3): lambda _page: {"success": False, "message": "internal", "data": []},
}
ALWAYS: dict[str, Callable[[Rows, int], Any]] = {
    "103": lambda page, number: [*page, 17] if number == 2 else page,
    "104": lambda page, number: [*page, *rows("105", 9, 1)] if number == 1 else page,
    "109": lambda page, _number: [{**row, "seller_id": 109} for row in page],
    "110": lambda _page, number: rows("110", number, owner="101"),
}
"""Odd pages: 104 has a row of another seller's, 106 long pages, 110 only rows of another seller's."""


def odd(seller_id: str, page_num: int, attempt: int) -> Any:
    page = listed(seller_id, page_num, SIZES.get(seller_id, [10, 10, 5]))
    if attempt == 1 and (seller_id, page_num) in ONCE:
        return ONCE[seller_id, page_num](page)
    return ALWAYS[seller_id](page, page_num) if seller_id in ALWAYS else page


@pytest.mark.parametrize("lookahead", ["off", "gallop"])
def test_rows_are_their_sellers_and_none_is_missing(
    begin: Callable[..., tuple[Night, Api]], lookahead: str
) -> None:
    job, api = begin(odd, Cookie="x" * 70_000, **{f"X-{n}": "y" * 9000 for n in range(7)})
    report = job.run(job.sellers(SELLERS), "--lookahead", lookahead, code=4)
    expected = [
        (seller, row["video_id"])
        for seller in SELLERS
        for number, size in enumerate(SIZES.get(seller, [10, 10, 5]), 1)
        for row in rows(seller, number, size)
    ]
    assert job.ids() == sorted(expected)
    sellers = job.seller_rows()
    assert {seller for seller, row in sellers.items() if row["status"] != "complete"} == {"110"}
    assert "another seller's" in sellers["110"]["error"]
    assert (sellers["103"]["stop_reason"], sellers["104"]["stop_reason"]) == ("short_page", "empty_page")
    assert report["after_rejects"] == {"pages": 2, "rows_found": 10}
    assert any("(rejects.jsonl has them)" in note for note in report["notes"])
    (path,) = job.data.glob("runs/*/rejects.jsonl")
    rejects = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    found = sorted((reject["seller_id"], reject["page_num"], reject["reason"]) for reject in rejects)
    assert found == [("103", 2, "the row is no JSON object"), ("104", 1, "the row is another seller's")]
    assert report["requests"]["by_status"]["misdelivered"] == 1 + len(api.pages_of("110"))
    assert report["requests"]["by_status"]["malformed"] == 2
    assert report["requests"]["retried"] == 5 + len(api.pages_of("110")) - 1
    if lookahead == "off":
        assert api.pages_of("103") == [1, 2, 3, 4]
        assert api.pages_of("107") == [1, 1, 2, 3]
    positions = {row["video_id"]: row["position"] for row in job.videos() if row["seller_id"] == "106"}
    assert [positions[video_id] for video_id in sorted(positions)] == list(range(1, 51))


def test_a_run_that_follows_knows_of_rejects_on_a_short_page(
    begin: Callable[..., tuple[Night, Api]],
) -> None:
    """The budget ends with the short page: its seller is partial, and goes on with the page after it."""
    job, api = begin(odd)
    source = job.sellers(["103"])
    report = job.run(source, "--budget", "2", code=3)
    assert report["sellers"]["partial"] == 1
    assert job.seller_rows()["103"]["stop_reason"] == "budget"
    report = job.run(source)
    assert api.pages_of("103") == [1, 2, 3, 4]
    assert job.seller_rows()["103"]["status"] == "complete"
    assert report["rows"]["written"] == 30
