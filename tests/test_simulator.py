"""The stand-in is honest about the API's public description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
import yaml

from crawler.errors import InputError
from crawler.simulator.catalogue import Catalogue, CatalogueOptions
from crawler.simulator.faults import parse_faults
from crawler.simulator.server import KEY, PATH, Simulator, SimulatorOptions

OPENAPI = yaml.safe_load((Path(__file__).parent / "openapi.yaml").read_text())
RESPONSES = OPENAPI["paths"][PATH]["get"]["responses"]
GOOD = {"seller_id": "7494662098975951181", "page_num": "1", "page_size": "10"}


async def ask(
    simulator: Simulator, params: dict[str, str], key: str | None = KEY
) -> tuple[int, dict[str, Any]]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(simulator.url + PATH, params=params, headers=headers) as response,
    ):
        return response.status, await response.json()


async def test_answers_fit_the_description() -> None:
    schema = RESPONSES["200"]["content"]["application/json"]["schema"]
    async with Simulator() as simulator:
        for seller in simulator.catalogue.seller_ids(20):
            status, body = await ask(simulator, {**GOOD, "seller_id": seller})
            assert status == 200
            jsonschema.validate(body, schema)
            assert len(body["data"]) == min(10, simulator.catalogue.size(seller))


@pytest.mark.parametrize(
    ("params", "key", "status"),
    [
        (GOOD, None, 401),
        (GOOD, "wrong", 401),
        ({**GOOD, "page_num": "0"}, KEY, 400),
        ({**GOOD, "page_size": "11"}, KEY, 400),
        ({**GOOD, "page_num": "100001"}, KEY, 400),
        ({"page_num": "1", "page_size": "10"}, KEY, 400),
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


@pytest.mark.parametrize("sort_field", [1, 2, 3])
@pytest.mark.parametrize("sort_type", [0, 1])
def test_pages_cover_the_truth_in_order(sort_field: int, sort_type: int) -> None:
    catalogue = Catalogue(CatalogueOptions(largest=300))
    seller = max(catalogue.seller_ids(30), key=catalogue.size)
    rows: list[dict[str, Any]] = []
    while page := catalogue.page(seller, sort_field, sort_type, len(rows) // 10 + 1, 10):
        rows += page
    assert sorted(r["video_id"] for r in rows) == sorted(r["video_id"] for r in catalogue.videos(seller))
    field = ("total_views_cnt", "total_video_sale_cnt", "total_video_sale_gmv_amt")[sort_field - 1]
    values = [row[field] for row in rows]
    assert values == sorted(values, reverse=sort_type == 1)


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
    seller = next(i for i, size in zip(ids, sizes, strict=True) if 20 < size < 200)
    views = {row["video_id"]: row["total_views_cnt"] for row in catalogue.videos(seller)}
    grown = {row["video_id"]: row["total_views_cnt"] for row in later.videos(seller)}
    assert all(grown[video] >= count for video, count in views.items())


@pytest.mark.parametrize("text", ["status", "status=x:1", "reset:2", "frob:0.1", "reset:"])
def test_faults_that_cannot_be_read(text: str) -> None:
    with pytest.raises(InputError, match="fault"):
        parse_faults(text)
