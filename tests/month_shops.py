"""Shops whose lists live from night to night, and an API without a wire that serves them; for `months.py`."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Any

import orjson
from virtual_process import WirelessApi

from crawler.api.answers import read_answer
from crawler.models.api import COUNT_COLUMNS, PAGE_SIZE
from crawler.models.errors import UnavailableError
from crawler.models.page import Page
from crawler.ports import Departure

SIZES = (0, 4, 10, 33, 79, 80, 85, 120, 159, 160, 240, 330, 490)


@dataclass
class Video:
    """A video, and what it gains in a night."""

    video_id: str
    created: date
    views: int
    rate: float


@dataclass
class Shop:
    """A seller's videos, best first."""

    seller_id: str
    rng: Random
    videos: list[Video] = field(default_factory=list)
    made: int = 0

    def publish(self, count: int, day: date, views: int = 0) -> None:
        """Add new videos."""
        for _ in range(count):
            self.made += 1
            rate = self.rng.paretovariate(1.1) if self.rng.random() < 0.4 else 0.0
            worth = self.rng.randint(0, views) if views else 0
            self.videos.append(Video(f"{self.seller_id}{self.made:05}", day, worth, rate))

    def live(self, day: date) -> None:
        """Go on to another night: videos gain, some come, some go, and a few are corrected."""
        rng = self.rng
        for video in self.videos:
            if video.rate and rng.random() < 0.7:
                video.views += int(video.rate * rng.random() * 20)
        if rng.random() < 0.1 and self.videos:
            rng.choice(self.videos).views += rng.randint(1, 30_000)
        if rng.random() < 0.05 and self.videos:
            corrected = rng.choice(self.videos)
            corrected.views = corrected.views * 9 // 10
        self.publish(rng.choice((0, 0, 0, 1, 2, 11)) if rng.random() < 0.4 else 0, day)
        if rng.random() < 0.15:
            gone = {
                video.video_id for video in rng.sample(self.videos, min(len(self.videos), rng.randint(1, 4)))
            }
            self.videos = [video for video in self.videos if video.video_id not in gone]
        if rng.random() < 0.01:
            del self.videos[len(self.videos) // 2 :]
        self.videos.sort(key=lambda video: (-video.views, video.video_id))

    @property
    def pages(self) -> int:
        """Requests that it takes to read it."""
        return len(self.videos) // PAGE_SIZE + 1

    def page(self, page_num: int) -> list[Video]:
        """What the API has on a page."""
        return self.videos[(page_num - 1) * PAGE_SIZE : page_num * PAGE_SIZE]


def new_shop(seller_id: str, rng: Random, day: date) -> Shop:
    """A shop of some size that has been there for long."""
    shop = Shop(seller_id, Random(rng.random()))
    shop.publish(rng.choice(SIZES), day - timedelta(days=200), rng.choice((300, 30_000)))
    shop.videos.sort(key=lambda video: (-video.views, video.video_id))
    return shop


@dataclass
class Weather:
    """What one run meets; shares are of requests, times in virtual seconds."""

    throttling: float = 0.0
    failing: float = 0.0
    lost: float = 0.0
    null: float = 0.0
    short: float = 0.0
    refused: frozenset[str] = frozenset()
    sick: frozenset[str] = frozenset()
    down_from: float = 1e18
    crash_at_step: int | None = None
    crash_at_point: tuple[str, int] | None = None
    signal_at: float | None = None

    @property
    def is_fair(self) -> bool:
        """Whether every request is answered by what the API has."""
        return self == Weather()


@dataclass
class Read:
    """What was answered for a seller on one night: the videos of each page; `is_vague`: not all of them."""

    pages: dict[int, tuple[str, ...]] = field(default_factory=dict)
    is_vague: bool = False

    def add(self, page_num: int, ids: tuple[str, ...], *, is_true: bool) -> None:
        """Note an answer."""
        self.is_vague |= not is_true
        self.pages[page_num] = ids

    def is_read(self, first: int, last: int | None) -> bool:
        """Whether each of these pages was answered, or the list ended among them."""
        page_num = first
        while page_num in self.pages:
            if len(self.pages[page_num]) < PAGE_SIZE or page_num == last:
                return True
            page_num += 1
        return False

    @property
    def is_whole(self) -> bool:
        """Whether the list was read to its end."""
        return self.is_read(1, None)

    @property
    def found(self) -> set[str]:
        """The videos that were answered."""
        return {video_id for ids in self.pages.values() for video_id in ids}


@dataclass
class Served:
    """What the API answered: for each night and seller a `Read`, and the counters of each video.

    `ends_empty`: a list ends for the crawler with an empty page alone.
    """

    ends_empty: bool = False
    reads: dict[date, defaultdict[str, Read]] = field(default_factory=dict)
    views: dict[date, dict[tuple[str, str], int]] = field(default_factory=dict)

    def begin(self, day: date) -> None:
        """Begin a night."""
        self.reads[day] = defaultdict(Read)
        self.views[day] = {}


class Api(WirelessApi):
    """The shops of one night in the weather of one run; `sent` has each request as it left."""

    def __init__(
        self, shops: dict[str, Shop], served: Served, day: date, weather: Weather, rng: Random
    ) -> None:
        self._shops, self._served, self._day = shops, served, day
        self._weather, self._rng = weather, rng
        self.sent: list[tuple[str, int]] = []
        self.now_ms = 0

    async def fetch(self, seller_id: str, page_num: int, departure: Departure) -> Page:
        """See the engine's port."""
        weather, rng, loop = self._weather, self._rng, asyncio.get_running_loop()
        while not await departure.leave(lambda: True):
            await asyncio.sleep(0.001)
        self.sent.append((seller_id, page_num))
        if loop.time() >= weather.down_from or rng.random() < weather.lost:
            await asyncio.sleep(0.01)
            departure.label = "connection"
            raise UnavailableError("connection")
        await asyncio.sleep(0.05 + 0.1 * rng.random())
        status = self._status(seller_id)
        departure.label = str(status)
        rows, is_null = self._rows(seller_id, page_num)
        body = orjson.dumps(
            {"code": 0, "data": None if is_null else rows} if status == 200 else {"code": status}
        )
        if status == 200:
            ids = () if is_null else tuple(row["video_id"] for row in rows)
            self._served.reads[self._day][seller_id].add(
                page_num,
                ids,
                # A null must be seen twice, for which there may be no credit.
                is_true=not is_null and len(ids) == len(self._shops[seller_id].page(page_num)),
            )
        return read_answer(status, None, body, seller_id, page_num, self._received_ms(loop.time()))

    def _received_ms(self, now: float) -> int:
        return self.now_ms + int((now - 1000.0) * 1000)

    def _status(self, seller_id: str) -> int:
        weather = self._weather
        if seller_id in weather.refused:
            return 404
        if seller_id in weather.sick or self._rng.random() < weather.failing:
            return 500
        return 429 if self._rng.random() < weather.throttling else 200

    def _rows(self, seller_id: str, page_num: int) -> tuple[list[dict[str, Any]], bool]:
        videos = self._shops[seller_id].page(page_num)
        if videos and self._rng.random() < self._weather.short:
            videos = videos[: self._rng.randrange(len(videos))]
        self._served.views[self._day] |= {(seller_id, video.video_id): video.views for video in videos}
        rows = [
            {
                "video_id": video.video_id,
                "region": "MY" if video.views % 2 else "SG",
                "create_time": str(int((video.created - date(1970, 1, 1)).total_seconds())),
                **dict.fromkeys(COUNT_COLUMNS, video.views),
            }
            for video in videos
        ]
        return rows, self._rng.random() < self._weather.null
