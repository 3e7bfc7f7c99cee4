"""A deterministic catalogue: every seller ID has videos, the same for the same seed and day."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Any

_REGIONS = ("MY", "ID", "TH", "VN", "PH", "SG", "US", "GB", "MX", "BR")
_WORDS = (
    *("outfit", "haul", "tutorial", "unboxing", "#foryou", "#fyp", "review", "🔖"),
    *("✨", "sale", "restock", "kebaya", "serum", "mükemmel", "新品"),
)
_FIRST_SECOND = 1_640_995_200
_CACHED = 512


@dataclass(frozen=True, slots=True)
class CatalogueOptions:
    """`exponent` of the Pareto tail of videos a seller, `scale` its typical size, `largest` its end."""

    seed: int = 1
    exponent: float = 1.1
    scale: float = 9.0
    largest: int = 40_000


@dataclass(slots=True)
class _Shelf:
    """One seller's figures on one day, a tuple a video: (views, sales, gmv, number)."""

    videos: list[tuple[int, int, float, int]]
    orders: dict[tuple[int, int], list[tuple[int, int, float, int]]]


class Catalogue:
    """The stand-in's truth.

    Sizes have a heavy tail; one seller in ten is empty, and one in ten has a multiple of ten.
    """

    def __init__(self, options: CatalogueOptions | None = None, day: int = 0) -> None:
        self._options = options or CatalogueOptions()
        self.day = day
        self._shelves: OrderedDict[tuple[str, int, int], _Shelf] = OrderedDict()

    def seller_ids(self, count: int) -> list[str]:
        """`count` distinct IDs of 19 digits."""
        return [
            str(7_494_000_000_000_000_000 + self._hash("id", i) % 10**15 * 1000 + i % 1000)
            for i in range(count)
        ]

    def size(self, seller_id: str, shift: int = 0) -> int:
        """How many videos a seller has on the catalogue's day, `shift` more having come in since."""
        rng = Random(self._hash("size", seller_id))  # noqa: S311 - a catalogue, not a secret
        kind = rng.random()
        if kind < 0.1:
            return shift
        size = min(
            self._options.largest, int(self._options.scale * rng.paretovariate(self._options.exponent))
        )
        if kind < 0.2:
            size = max(10, size // 10 * 10)
        grown = size + size * self.day * 3 // 100 if kind >= 0.2 else size
        return min(self._options.largest, grown) + shift

    def page(
        self, seller_id: str, sort_field: int, sort_type: int, page_num: int, page_size: int, shift: int = 0
    ) -> list[dict[str, Any]]:
        """One page's rows as the API gives them: sort fields and types are the API's own numbers."""
        order = self._order(seller_id, sort_field, sort_type, shift)
        start = (page_num - 1) * page_size
        return [self._row(seller_id, video) for video in order[start : start + page_size]]

    def videos(self, seller_id: str) -> list[dict[str, Any]]:
        """Every video of a seller, in no order worth relying on."""
        return [self._row(seller_id, video) for video in self._shelf(seller_id, 0).videos]

    def _order(
        self, seller_id: str, sort_field: int, sort_type: int, shift: int
    ) -> list[tuple[int, int, float, int]]:
        shelf = self._shelf(seller_id, shift)
        key = (sort_field, sort_type)
        if key not in shelf.orders:
            shelf.orders[key] = sorted(
                shelf.videos, key=lambda video: (video[sort_field - 1], video[3]), reverse=sort_type == 1
            )
        return shelf.orders[key]

    def _shelf(self, seller_id: str, shift: int) -> _Shelf:
        key = (seller_id, self.day, shift)
        shelf = self._shelves.get(key)
        if shelf is None:
            shelf = self._shelves[key] = _Shelf(
                [self._video(seller_id, n) for n in range(self.size(*key[::2]))], {}
            )
            if len(self._shelves) > _CACHED:
                self._shelves.popitem(last=False)
        self._shelves.move_to_end(key)
        return shelf

    def _video(self, seller_id: str, number: int) -> tuple[int, int, float, int]:
        bits = self._hash(seller_id, number)
        growth = 100 + self.day * (bits % 7)
        views = int(50 / ((bits >> 8 & 0xFFFF) + 1) * 2**16) * growth // 100
        sales = views * (bits >> 24 & 0xFF) // 20_000
        return views, sales, round(sales * ((bits >> 32 & 0xFFF) + 99) / 100, 2), number

    def _row(self, seller_id: str, video: tuple[int, int, float, int]) -> dict[str, Any]:
        views, sales, gmv, number = video
        bits = self._hash("row", seller_id, number)
        home = _REGIONS[self._hash("home", seller_id) % len(_REGIONS)]
        person = self._hash("user", seller_id, bits % 40)
        picked = [bits >> shift & 0xF for shift in (0, 4, 8, 12, 16)]
        words = " ".join(_WORDS[n] for n in picked if n < len(_WORDS))
        return {
            "avatar": f"https://images.example/user-avatar/{person % 997}/{person}.jpg",
            "create_time": str(_FIRST_SECOND + bits % 120_000_000),
            "nick_name": f"creator{person % 100_000}",
            "reflow_cover": f"https://images.example/video-cover/{bits % 997}/{bits}.jpg",
            "region": home if bits % 20 else _REGIONS[bits >> 20 & 7],
            "seller_id": seller_id,
            "total_comments_cnt": views // 900,
            "total_digg_cnt": views // 30,
            "total_shares_cnt": views // 2000,
            "total_video_sale_cnt": sales,
            "total_video_sale_gmv_amt": gmv or 0,
            "total_views_cnt": views,
            "user_id": str(7_000_000_000_000_000_000 + person % 10**17),
            "video_desc": words,
            "video_id": str(7_100_000_000_000_000_000 + (self._hash("video", seller_id, number) >> 6)),
        }

    def _hash(self, *parts: object) -> int:
        told = repr((self._options.seed, *parts)).encode()
        return int.from_bytes(blake2b(told, digest_size=8).digest(), "big")
