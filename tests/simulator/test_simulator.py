"""The stand-in is honest about the API's public description, and its faults are what they say."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import orjson
import pytest
import yaml

from crawler.models.errors import InputError
from crawler.simulator import catalogue as catalogue_module
from crawler.simulator.catalogue import Catalogue, CatalogueOptions
from crawler.simulator.faults import KINDS, drawn, kinds_help, parse_faults
from crawler.simulator.server import KEY, PATH, SimulatedKey, Simulator, SimulatorOptions, read_keys
from crawler.simulator.streams import HUGE

OPENAPI = yaml.safe_load((Path(__file__).parents[1] / "openapi.yaml").read_text())
RESPONSES = OPENAPI["paths"][PATH]["get"]["responses"]
SCHEMA = RESPONSES["200"]["content"]["application/json"]["schema"]
FIELDS = SCHEMA["properties"]["data"]["items"]["properties"].keys()
SELLER = "7494662098975951181"
GOOD = {"seller_id": SELLER, "page_num": "1", "page_size": "10"}
MIB = 1 << 20
Reader = asyncio.StreamReader


async def ask(
    simulator: Simulator, params: dict[str, str], key: str | None = KEY
) -> tuple[int, dict[str, Any]]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(simulator.url + PATH, params=params, headers=headers) as response,
    ):
        return response.status, await response.json()


@asynccontextmanager
async def asked(simulator: Simulator, *, size: int = 10, header: str = "") -> AsyncIterator[Reader]:
    """The bare bytes that come back for page 2 of the default seller."""
    host, _, port = simulator.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    target = f"{PATH}?seller_id={SELLER}&page_num=2&page_size={size}"
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n{header}\r\n"
    writer.write(head.encode())
    try:
        yield reader
    finally:
        writer.close()


async def answer(reader: Reader) -> tuple[int, dict[str, str], bytes]:
    """A whole answer: its status, headers in small letters, and body."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


def faulty(text: str, **options: Any) -> Simulator:
    return Simulator(SimulatorOptions(faults=parse_faults(text), **options))


def honest(simulator: Simulator, page: int = 2, size: int = 10) -> list[dict[str, Any]]:
    return simulator.catalogue.page(SELLER, 1, 1, page, size)


def by_id(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["video_id"]: row for row in rows}


async def test_every_page_of_several_sellers_fits_the_description() -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    async with Simulator(SimulatorOptions(CatalogueOptions(largest=60))) as simulator:
        catalogue = simulator.catalogue
        for seller in catalogue.seller_ids(20):
            rows: list[dict[str, Any]] = []
            for page in range(1, catalogue.size(seller) // 10 + 2):
                status, body = await ask(simulator, {**GOOD, "seller_id": seller, "page_num": str(page)})
                assert status == 200
                validator.validate(body)
                assert all(row.keys() == FIELDS for row in body["data"])
                assert len(body["data"]) == min(10, catalogue.size(seller) - len(rows))
                rows += body["data"]
            assert by_id(rows) == by_id(catalogue.videos(seller))


@pytest.mark.parametrize(
    ("params", "key", "status"),
    [
        (GOOD, None, 401),
        (GOOD, "wrong", 401),
        ({**GOOD, "page_num": "0"}, KEY, 400),
        ({**GOOD, "page_num": "²"}, KEY, 400),
        ({**GOOD, "page_size": "11"}, KEY, 400),
        ({**GOOD, "page_num": "100001"}, KEY, 400),
        ({**GOOD, "page_num": "1" * 5000}, KEY, 400),
        ({**GOOD, "sort_type": "2"}, KEY, 400),
        ({**GOOD, "seller_video_sort_field": "0"}, KEY, 400),
        ({**GOOD, "seller_id": "shop"}, KEY, 400),
        ({"page_num": "1", "page_size": "10"}, KEY, 400),
        ({"seller_id": SELLER, "page_size": "10"}, KEY, 400),
    ],
)
async def test_refusals_have_the_shape_of_the_examples(
    params: dict[str, str], key: str | None, status: int
) -> None:
    async with Simulator() as simulator:
        found, body = await ask(simulator, params, key)
        example = RESPONSES[str(status)]["content"]["application/json"]["schema"]["example"]
        assert found == status
        assert body.keys() == example.keys()
        assert body["code"] == status
        assert simulator.stats.credits == 0


async def test_qps_and_quota() -> None:
    async with Simulator(SimulatorOptions(qps=2)) as simulator:
        assert [(await ask(simulator, GOOD))[0] for _ in range(3)] == [200, 200, 429]
    async with Simulator(SimulatorOptions(quota=1)) as simulator:
        assert [(await ask(simulator, GOOD))[0] for _ in range(2)] == [200, 402]


async def test_each_of_several_keys_has_its_own_limits_and_counts() -> None:
    keys = (
        SimulatedKey("slow", qps=2),
        SimulatedKey("small", quota=3),
        SimulatedKey("lapsing", refused_after=2),
        SimulatedKey("free"),
    )
    async with Simulator(SimulatorOptions(keys=keys, qps=100, quota=9)) as simulator:
        found = {key.value: [(await ask(simulator, GOOD, key.value))[0] for _ in range(4)] for key in keys}
        assert found == {
            "slow": [200, 200, 429, 429],
            "small": [200, 200, 200, 402],
            "lapsing": [200, 200, 401, 401],
            "free": [200, 200, 402, 402],
        }
        assert (await ask(simulator, GOOD))[0] == 401, "its own key is none of these"
        async with aiohttp.ClientSession() as session, session.get(f"{simulator.url}/_stats") as answer:
            by_key = (await answer.json())["by_key"]
        assert by_key == {
            "slow": {"requests": 4, "credits": 2},
            "small": {"requests": 4, "credits": 3},
            "lapsing": {"requests": 4, "credits": 2},
            "free": {"requests": 4, "credits": 2},
        }
        assert [len(count.arrivals) for count in simulator.stats.by_key.values()] == [4] * 4


def test_keys_on_the_command_line() -> None:
    assert read_keys("a,b:2.5,c:3:40,d::5") == (
        SimulatedKey("a"),
        SimulatedKey("b", 2.5),
        SimulatedKey("c", 3.0, 40),
        SimulatedKey("d", None, 5),
    )
    for bad in ("a:x", "a:1:x", "a:1:2:3"):
        with pytest.raises(InputError, match="KEY:QPS"):
            read_keys(bad)


async def test_stats_are_served_and_the_day_can_be_moved() -> None:
    async with faulty("status=500@2,null@4,reset@6", quota=4) as simulator:
        answers = [(await ask(simulator, GOOD, key))[0] for key in (KEY, KEY, "wrong", KEY, KEY)]
        async with asked(simulator) as reader:
            await no_answer(reader)
        assert answers == [200, 500, 401, 200, 200]
        async with aiohttp.ClientSession(simulator.url) as session:
            stats = await (await session.get("/_stats")).json()
            size = simulator.catalogue.size(SELLER)
            days = [(await session.post(f"/_day/{day}")).status for day in ("2026-11-23", "90", "x")]
            assert days == [200, 200, 400]
            assert (await session.get("/")).status == 404
        assert stats == {
            "requests": 6,
            "credits": 5,
            "by_status": {"200": 3, "500": 1, "401": 1, "reset": 1},
        }
        assert simulator.catalogue.size(SELLER) > size
        assert len(simulator.stats.arrivals) == 6
        assert simulator.stats.pages == {(SELLER, 1): 4, (SELLER, 2): 1}


async def test_drift_brings_one_more_video_after_every_so_many_requests() -> None:
    async with Simulator(SimulatorOptions(drift=2)) as simulator:
        last = {**GOOD, "page_size": "1"}
        size = simulator.catalogue.size(SELLER)
        counts = [
            len((await ask(simulator, {**last, "page_num": str(page)}))[1]["data"])
            for page in (size + 1, size + 1, size + 2, size + 2)
        ]
    assert counts == [0, 1, 0, 1]


async def test_gzip_for_a_client_that_accepts_it() -> None:
    accepts = "Accept-Encoding: gzip, deflate\r\n"
    async with Simulator(SimulatorOptions(gzip=True)) as willing, Simulator() as plain:
        async with asked(willing, header=accepts) as reader:
            _, headers, packed = await answer(reader)
        assert headers["content-encoding"] == "gzip"
        assert orjson.loads(gzip.decompress(packed))["data"] == honest(willing)
        for simulator, header in ((willing, ""), (plain, accepts)):
            async with asked(simulator, header=header) as reader:
                _, headers, body = await answer(reader)
            assert "content-encoding" not in headers
            assert orjson.loads(body)["data"] == honest(willing)


@pytest.mark.parametrize("header", ["2", "Wed, 21 Oct 2026 07:28:00 GMT", None])
async def test_retry_after_goes_with_each_429(header: str | None) -> None:
    async with faulty("status=429@1", qps=2, retry_after=header) as simulator:
        found = []
        for _ in range(3):
            async with asked(simulator) as reader:
                status, headers, _ = await answer(reader)
            found.append((status, headers.get("retry-after")))
    assert found == [(429, header), (200, None), (429, header)]


def field(name: str, check: Callable[[Any], bool]) -> Callable[[list[Any]], bool]:
    return lambda rows: all(check(row[name]) for row in rows)


EVERY_ROW: dict[str, Callable[[list[Any]], bool]] = {
    "odd": lambda rows: all(
        isinstance(row["video_id"], int) and isinstance(row["total_views_cnt"], str) for row in rows
    ),
    "extra_field": field("brand_new_field", lambda value: value == {"a": [1, None]}),
    "surrogate": field("video_desc", lambda text: "\ud800" in text),
    "control": field("video_desc", lambda text: "\x01" in text),
    "nul": field("nick_name", lambda text: "\0" in text),
    "bigint": field("total_digg_cnt", lambda number: number == 2**64 + 1),
    "wide": field("region", lambda text: len(text) == 300),
    "region": field("region", lambda text: text == "../../x"),
}


@pytest.mark.parametrize("kind", EVERY_ROW)
async def test_odd_pages_hold_every_row(kind: str) -> None:
    async with faulty(f"{kind}:1") as simulator, asked(simulator) as reader:
        status, _, body = await answer(reader)
        rows = json.loads(body, strict=False)["data"]
        assert status == 200
        assert [str(row["video_id"]) for row in rows] == [row["video_id"] for row in honest(simulator)]
        assert EVERY_ROW[kind](rows)
        assert (kind in ("surrogate", "control")) == (not is_strict(body))
        assert simulator.stats.credits == 1


def is_strict(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


async def test_deep_holds_every_row() -> None:
    async with faulty("deep:1") as simulator, asked(simulator) as reader:
        _, _, body = await answer(reader)
        first, *others = honest(simulator)
        nested = b"[" * 100_000 + b"]" * 100_000
        assert body.count(nested) == 1
        rows = orjson.loads(body.replace(nested, b"0"))["data"]
        assert rows == [{**first, "brand_new_field": 0}, *others]


def error(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "data": None, "message": message}


REFUSALS = [
    ("status=400", 400, "Invalid parameter"),
    ("status=401", 401, "apiKey is invalid"),
    ("status=402", 402, "apiKey quota is not enough"),
    ("status=429", 429, "qps limit exceeded"),
    ("code=429", 200, "qps limit exceeded"),
    ("quota500", 500, "Your monthly quota has been exceeded"),
]
CHARGED = [
    ("status=500", 500, "Internal server error"),
    ("status=418", 418, "Internal server error"),
    ("code=500", 200, "Internal server error"),
]


@pytest.mark.parametrize(("text", "status", "message"), REFUSALS + CHARGED)
async def test_errors_on_demand_and_what_they_cost(text: str, status: int, message: str) -> None:
    async with faulty(f"{text}:1") as simulator:
        code = int(text.partition("=")[2] or status)
        assert await ask(simulator, GOOD) == (status, error(code, message))
        assert simulator.stats.credits == ((text, status, message) in CHARGED)


@pytest.mark.parametrize("status", ["402", "429", "500"])
async def test_errors_on_demand_are_the_examples(status: str) -> None:
    async with faulty(f"status={status}:1") as simulator:
        example = RESPONSES[status]["content"]["application/json"]["schema"]["example"]
        assert await ask(simulator, GOOD) == (int(status), example)


SPOILED: dict[str, Callable[[bytes, Simulator], bool]] = {
    "html": lambda body, _: body.startswith(b"<html>"),
    "malformed": lambda body, _: body.startswith(b'{"code":0') and not is_strict(body),
    "null": lambda body, _: orjson.loads(body)["data"] is None,
    "object": lambda body, s: orjson.loads(body)["data"] == {"list": honest(s)},
    "repeat": lambda body, s: orjson.loads(body)["data"] == honest(s, 1),
    "short": lambda body, s: orjson.loads(body)["data"] == honest(s)[:-1],
    "no_id": lambda body, s: (
        ["video_id" in row for row in orjson.loads(body)["data"]] == [False, *[True] * (len(honest(s)) - 1)]
    ),
}


@pytest.mark.parametrize("kind", SPOILED)
async def test_spoiled_pages(kind: str) -> None:
    async with faulty(f"{kind}:1") as simulator, asked(simulator) as reader:
        status, headers, body = await answer(reader)
        assert status == 200
        assert headers["content-type"] == ("text/html" if kind == "html" else "application/json")
        assert SPOILED[kind](body, simulator)
        assert simulator.stats.credits == 1


async def no_answer(reader: Reader) -> None:
    with pytest.raises(ConnectionResetError):
        await reader.read()


async def half_a_body(reader: Reader) -> None:
    with pytest.raises(asyncio.IncompleteReadError) as cut:
        await answer(reader)
    assert len(cut.value.partial) == (cut.value.expected or 0) // 2


async def only_headers(reader: Reader) -> None:
    await comes_to(reader, b"")


async def one_byte(reader: Reader) -> None:
    await comes_to(reader, b"{")


async def comes_to(reader: asyncio.StreamReader, body: bytes) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"Content-Length: " in head
    assert await reader.readexactly(len(body)) == body
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.2)


async def a_page_in_time(reader: Reader) -> None:
    began = asyncio.get_running_loop().time()
    _, _, body = await answer(reader)
    assert len(orjson.loads(body)["data"]) == 2
    assert asyncio.get_running_loop().time() - began > 0.04


async def chunks(reader: Reader) -> None:
    assert b"Transfer-Encoding: chunked" in await reader.readuntil(b"\r\n\r\n")
    assert len(await reader.readexactly(MIB)) == MIB


async def header_lines(reader: Reader) -> None:
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    assert b"\r\n\r\n" not in await reader.readexactly(MIB)


async def two_hundred_mib(reader: Reader) -> None:
    assert f"Content-Length: {HUGE}".encode() in await reader.readuntil(b"\r\n\r\n")
    body, left = b"", HUGE
    while left:
        piece = await reader.read(MIB)
        body, left = body + piece.strip(), left - len(piece)
    assert len(orjson.loads(body)["data"]) == 2


DELIVERIES = {
    "reset": no_answer,
    "cut": half_a_body,
    "hang": only_headers,
    "drip": one_byte,
    "slow": a_page_in_time,
    "endless": chunks,
    "endless-headers": header_lines,
    "huge": two_hundred_mib,
}


@pytest.mark.parametrize("kind", DELIVERIES)
async def test_deliveries(kind: str) -> None:
    async with faulty(f"{kind}@1") as simulator:
        async with asked(simulator, size=2) as reader:
            await DELIVERIES[kind](reader)
        assert simulator.stats.by_status == {kind: 1}
        assert simulator.stats.credits == 1
        assert (await ask(simulator, GOOD))[0] == 200


def test_every_kind_is_tested_and_listed() -> None:
    tested = {"status", "code", "quota500", "deep", *EVERY_ROW, *SPOILED, *DELIVERIES}
    assert {name.partition("=")[0] for name in KINDS} == tested
    assert [line.split()[0] for line in kinds_help().splitlines()] == list(KINDS)


async def test_scripted_faults_hit_exactly_their_request() -> None:
    async with faulty("status=500@2,html@6,code=7@4,status=503@4000", qps=1) as simulator:
        found = [(await ask(simulator, GOOD)) for _ in range(5)]
        async with asked(simulator) as reader:
            assert (await answer(reader))[2].startswith(b"<html>")
    assert [status for status, _ in found] == [200, 500, 429, 200, 429]
    assert found[3][1]["code"] == 7


def test_shares_are_kept_and_drawn_alike() -> None:
    faults = parse_faults("status=500:0.2, reset:.1, cut@3")
    found = [drawn(faults, 1, SELLER, page, 1) for page in range(4000)]
    kinds = [fault.kind if fault else "" for fault in found]
    assert kinds.count("status") == pytest.approx(800, rel=0.15)
    assert kinds.count("reset") == pytest.approx(400, rel=0.2)
    assert "cut" not in kinds
    assert found == [drawn(faults, 1, SELLER, page, 1) for page in range(4000)]


@pytest.mark.parametrize("sort_field", [1, 2, 3])
@pytest.mark.parametrize("sort_type", [0, 1])
def test_pages_cover_the_truth_in_order(sort_field: int, sort_type: int) -> None:
    catalogue = Catalogue(CatalogueOptions(largest=300))
    seller = max(catalogue.seller_ids(30), key=catalogue.size)
    rows: list[dict[str, Any]] = []
    while page := catalogue.page(seller, sort_field, sort_type, -(-len(rows) // 10) + 1, 10):
        rows += page
    assert sorted(r["video_id"] for r in rows) == sorted(by_id(catalogue.videos(seller)))
    field = ("total_views_cnt", "total_video_sale_cnt", "total_video_sale_gmv_amt")[sort_field - 1]
    values = [row[field] for row in rows]
    assert values == sorted(values, reverse=sort_type == 1)
    assert len(set(values)) > 10


def test_catalogue_is_unequal_deterministic_and_grows() -> None:
    catalogue, again, later = Catalogue(), Catalogue(), Catalogue(day=5)
    ids = catalogue.seller_ids(3000)
    sizes = [catalogue.size(i) for i in ids]
    assert sizes == [again.size(i) for i in ids]
    assert len(set(ids)) == 3000
    assert {len(i) for i in ids} == {19}
    assert sizes.count(0) > 100
    assert sum(s % 10 == 0 and s > 0 for s in sizes) > 200
    assert max(sizes) > 2000
    assert all(later.size(i) >= size for i, size in zip(ids, sizes, strict=True))
    largest = catalogue.videos(ids[sizes.index(max(sizes))])
    assert len({row["video_id"] for row in largest}) == len(largest)
    assert len({row["region"] for row in largest}) == 10


def test_no_video_vanishes_and_no_count_falls() -> None:
    today, later = Catalogue(), Catalogue(day=5)
    counts = [name for name in FIELDS if name.startswith("total_")]
    for seller in today.seller_ids(60):
        grown = by_id(later.videos(seller))
        for row in today.videos(seller):
            assert all(grown[row["video_id"]][name] >= row[name] for name in counts)


def test_the_catalogue_is_the_same_everywhere() -> None:
    catalogue = Catalogue(CatalogueOptions(seed=3), day=2)
    rows = [catalogue.page(seller, 3, 1, 1, 10) for seller in catalogue.seller_ids(20)]
    assert blake2b(orjson.dumps(rows), digest_size=8).hexdigest() == "0683ec06a8df4e81"


def test_orders_held_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_module, "_HELD", 2000)
    catalogue, fresh = Catalogue(), Catalogue()
    for _ in range(2):
        for seller in catalogue.seller_ids(60):
            assert catalogue.page(seller, 1, 1, 1, 10) == fresh.page(seller, 1, 1, 1, 10)
    assert len(catalogue._shelves) < 30
    assert catalogue._held == sum(shelf.weight for shelf in catalogue._shelves.values())


@pytest.mark.parametrize(
    "text",
    [
        *("status", "status=x:1", "reset:2", "frob:0.1", "reset:", "reset:nan", "reset:-1", "frob@1", ""),
        *("reset@0", "reset@-1", "reset@", "reset@x", "reset=5:0.1", "status:0.1", "status@2", "status=99:1"),
        *("status=600@1", "reset:0.6,cut:0.6", "reset:1@2"),
    ],
)
def test_faults_that_cannot_be_read(text: str) -> None:
    with pytest.raises(InputError, match="fault"):
        parse_faults(text or ":")
