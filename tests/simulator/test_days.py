"""The stand-in from day to day: figures follow from the date; outages are wrong nights of good answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from click.testing import CliRunner

from crawler.cli import cli
from crawler.models.errors import InputError
from crawler.simulator import server as module
from crawler.simulator.catalogue import Catalogue, CatalogueOptions
from crawler.simulator.outages import OUTAGES, read_outage
from crawler.simulator.server import KEY, PATH, Simulator, SimulatorOptions, read_day

Row = dict[str, Any]
Pages = list[list[Row]]
"""The first two pages of each of some sellers."""

TODAY, DAY = date(2026, 11, 23), timedelta(days=1)
IDS = Catalogue().seller_ids(100)


def by_id(rows: list[Row]) -> dict[str, Row]:
    return {row["video_id"]: row for row in rows}


def counts(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name.startswith("total_")}


def without(row: Row, *names: str) -> Row:
    return {name: value for name, value in row.items() if name not in names}


def test_from_date_to_date_videos_come_gain_are_corrected_and_go() -> None:
    catalogue, later = Catalogue(day=TODAY), Catalogue(day=TODAY + DAY)
    before, after = dict[str, Row](), dict[str, Row]()
    for seller in catalogue.seller_ids(200):
        before |= by_id(catalogue.videos(seller))
        after |= by_id(later.videos(seller))
        assert abs(later.size(seller) - catalogue.size(seller)) <= 1
    both = before.keys() & after.keys()
    new, gone = after.keys() - both, before.keys() - both
    fallen = 0
    for each in both:
        is_fallen = after[each]["total_views_cnt"] < before[each]["total_views_cnt"]
        fallen += is_fallen
        now, then = (counts(row) for row in (after[each], before[each]))
        assert all(now[name] <= count if is_fallen else now[name] >= count for name, count in then.items())
        assert without(after[each], *counts(after[each])) == without(before[each], *counts(before[each]))
    assert sum(after[each] != before[each] for each in both) > 0.4 * len(both)
    assert 0.0005 < fallen / len(both) < 0.002
    assert [len(new), len(gone)] == pytest.approx([len(both) / 100] * 2, rel=0.2)
    midnight = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC).timestamp()
    assert all(0 <= int(after[each]["create_time"]) - midnight < 86_400 for each in new)


def test_half_of_the_videos_stop_gaining_for_good_and_one_in_eight_is_corrected_once() -> None:
    series = dict[str, list[int]]()
    for n in range(100):
        night = Catalogue(day=TODAY + n * DAY)
        for video, row in by_id([row for seller in IDS[:50] for row in night.videos(seller)]).items():
            series.setdefault(video, []).append(row["total_views_cnt"])
    whole = [views for views in series.values() if len(views) > 90 and min(views) > 30]
    falls = [sum(later < views for views, later in pairwise(each)) for each in whole]
    assert set(falls) == {0, 1}
    assert sum(falls) / len(falls) == pytest.approx(1 / 8, abs=0.05)
    assert sum(views[-30] == views[-1] for views in whole) / len(whole) == pytest.approx(1 / 2, abs=0.1)


async def test_its_truth_can_be_asked_for_and_costs_nothing() -> None:
    async with (
        Simulator(SimulatorOptions(day=TODAY, outage="empty")) as simulator,
        aiohttp.ClientSession(simulator.url) as session,
    ):
        for day in (None, TODAY - 40 * DAY, TODAY + DAY):
            params = {} if day is None else {"day": str(day)}
            async with session.get(f"/_truth/{IDS[0]}", params=params) as said:
                assert await said.json() == Catalogue(day=day or TODAY).videos(IDS[0])
        for wrong in ("/_truth/shop", f"/_truth/{IDS[0]}?day=soon"):
            assert (await session.get(wrong)).status == 400
        assert simulator.stats.requests == simulator.stats.credits == 0


def test_figures_follow_from_the_date_alone() -> None:
    moved = Catalogue()
    ids = moved.seller_ids(60)
    for day in (TODAY, TODAY + DAY, 3, TODAY):
        moved.day = day
        fresh = Catalogue(day=day)
        for seller in ids:
            assert moved.size(seller) == fresh.size(seller)
            assert moved.page(seller, 1, 1, 1, 10) == fresh.page(seller, 1, 1, 1, 10)


def test_sellers_keep_their_sizes_for_years() -> None:
    first, later = Catalogue(), Catalogue(day=TODAY + 1000 * DAY)
    sizes = [(first.size(seller), later.size(seller)) for seller in first.seller_ids(300)]
    assert all(abs(size - then) <= 1 for size, then in sizes)
    assert sum(size != then for size, then in sizes) > 20


def test_one_seller_in_ten_has_a_multiple_of_ten_on_every_date() -> None:
    nights = [Catalogue(day=TODAY + n * DAY) for n in range(50)]
    sizes = [{night.size(seller) for night in nights} for seller in IDS]
    assert sum(len(found) == 1 and found != {0} and found.pop() % 10 == 0 for found in sizes) >= 7


def test_the_first_date_of_a_catalogue_can_be_set() -> None:
    """Catalogues of the same age differ only in when their videos were created."""
    week = 7 * DAY
    one = Catalogue(CatalogueOptions(begins=TODAY - 2 * week), TODAY)
    other = Catalogue(CatalogueOptions(begins=TODAY - week), TODAY + week)
    for seller in one.seller_ids(30):
        here, there = by_id(one.videos(seller)), by_id(other.videos(seller))
        assert here.keys() == there.keys()
        for video, row in here.items():
            created = str(int(row["create_time"]) + 7 * 86_400)
            assert there[video] == {**row, "create_time": created}


def test_sellers_that_stand_still_do_so_on_dates_too() -> None:
    options = CatalogueOptions(still=0.5)
    nights = [Catalogue(options, TODAY + n * DAY) for n in (0, 10)]
    same = [nights[0].videos(seller) == nights[1].videos(seller) for seller in IDS]
    assert 40 < sum(same) < 75


async def first_page(simulator: Simulator, seller: str, number: int = 1) -> Any:
    params = {"seller_id": seller, "page_num": str(number), "page_size": "10"}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(simulator.url + PATH, params=params, headers=headers) as response,
    ):
        assert response.status == 200
        body = await response.json()
        assert (body["code"], body["message"]) == (0, "success")
        return body["data"]


async def test_the_stand_in_follows_the_clock_until_its_day_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [TODAY]
    monkeypatch.setattr(module, "_today", lambda: clock[-1])
    async with Simulator(SimulatorOptions(day=None)) as simulator:
        found = [await first_page(simulator, IDS[0])]
        clock.append(TODAY + 40 * DAY)
        found.append(await first_page(simulator, IDS[0]))
        async with aiohttp.ClientSession(simulator.url) as session:
            assert (await session.post(f"/_day/{TODAY - DAY}")).status == 200
        found.append(await first_page(simulator, IDS[0]))
    days = (*clock, TODAY - DAY)
    assert found == [Catalogue(day=day).page(IDS[0], 1, 1, 1, 10) for day in days]


@pytest.mark.parametrize("text", ["", "x", "-1", "100000", "2026-13-01", "20261123", "2026-W48-1"])
def test_days_that_cannot_be_read(text: str) -> None:
    with pytest.raises(InputError, match="a date such as"):
        read_day(text)


def test_days_that_can_be_read() -> None:
    assert [read_day("0"), read_day("2026-11-23")] == [0, TODAY]


def empty_sellers(pages: Pages) -> int:
    return sum(not page for page in pages[::2])


def is_half_empty(pages: Pages, right: Pages) -> bool:
    kept = [(page, whole) for page, whole in zip(pages, right, strict=True) if page]
    return 35 < empty_sellers(pages) < 70 and all(page == whole for page, whole in kept)


def is_empty_in_one_region(pages: Pages, right: Pages) -> bool:
    lost = [whole for page, whole in zip(pages, right, strict=True) if page != whole]
    firsts = [max(regions := [row["region"] for row in whole], key=regions.count) for whole in lost]
    return set(firsts) == {"MY"} and 3 < empty_sellers(pages) - empty_sellers(right) < 20


def is_of_one_seller(pages: Pages, right: Pages) -> bool:
    videos = {tuple(row["video_id"] for row in page) for page in pages[::2]}
    return (
        len(videos) == 1
        and [page[0]["seller_id"] for page in pages[::2]] == IDS
        and [row["video_id"] for row in pages[0]] in [[row["video_id"] for row in page] for page in right]
    )


def have_counts(value: object) -> Callable[[Pages, Pages], bool]:
    def check(pages: Pages, right: Pages) -> bool:
        found, whole = ([row for page in every for row in page] for every in (pages, right))
        return (
            all(set(counts(row).values()) == {value} for row in found)
            and [without(row, *counts(row)) for row in found] == [without(row, *counts(row)) for row in whole]
        )  # fmt: skip

    return check


def are_renamed(pages: Pages, right: Pages) -> bool:
    def renamed(row: Row) -> Row:
        return {**without(row, "total_views_cnt"), "total_play_cnt": row["total_views_cnt"]}

    return pages == [[renamed(row) for row in page] for page in right]


def on(day: date) -> Pages:
    catalogue = Catalogue(day=day)
    return [catalogue.page(seller, 1, 1, number, 10) for seller in IDS for number in (1, 2)]


SERVED: dict[str, Callable[[Pages, Pages], bool]] = {
    "empty": lambda pages, _: not any(pages),
    "half-empty": is_half_empty,
    "region": is_empty_in_one_region,
    "stale": lambda pages, right: pages == on(TODAY - DAY) != right,
    "foreign": is_of_one_seller,
    "page-ignored": lambda pages, right: pages[::2] == pages[1::2] == right[::2],
    "small-pages": lambda pages, right: (
        pages == [part for page in right[::2] for part in (page[:5], page[5:])]
    ),
    "renamed": are_renamed,
    "zeros": have_counts(0),
    "no-region": lambda pages, right: (
        pages == [[{**row, "region": None} for row in page] for page in right] != right
    ),
    "nulls": have_counts(None),
    "rejected": lambda pages, right: pages == [[without(row, "video_id") for row in page] for page in right],
}


@pytest.mark.parametrize("name", OUTAGES)
async def test_outages_serve_wrong_nights_as_successes(name: str) -> None:
    assert OUTAGES.keys() == SERVED.keys()
    async with Simulator(SimulatorOptions(day=TODAY, outage=read_outage(name))) as simulator:
        pages = [await first_page(simulator, seller, number) for seller in IDS for number in (1, 2)]
        assert simulator.stats.credits == len(pages)
    assert SERVED[name](pages, on(TODAY))


def test_help_and_docs_list_every_outage() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    shown = CliRunner().invoke(cli, ["simulate", "--help"], terminal_width=120).output
    for name, outage in OUTAGES.items():
        assert f"| `{name}` | {outage.doc} |" in page
        assert re.search(rf"^  {name} +{outage.doc}$", shown, re.MULTILINE)


def test_options_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Mock(return_value=0)
    monkeypatch.setattr("crawler.commands.simulate.simulate_command", served)
    for arguments in ((), ("--day", "3"), ("--day", "2026-11-23", "--outage", "stale")):
        assert CliRunner().invoke(cli, ["simulate", *arguments], standalone_mode=False).return_value == 0
    options = [call.args[0] for call in served.call_args_list]
    assert [(each.day, each.outage) for each in options] == [(None, None), (3, None), (TODAY, "stale")]


def test_an_outage_that_there_is_not() -> None:
    with pytest.raises(InputError, match="half-empty"):
        read_outage("halfempty")


def test_the_first_day_has_none_before_it() -> None:
    days = [Catalogue(day=day).the_day_before().day for day in (0, 3, TODAY)]
    assert days == [0, 2, TODAY - DAY]
