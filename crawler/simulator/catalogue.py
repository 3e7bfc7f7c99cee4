"""A deterministic catalogue: every seller ID has videos, the same for the same seed and day.

`Grown` and `Dated` say which videos a seller has on a day, with which views, and when they were created.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple, Self

_REGIONS = ("MY", "ID", "TH", "VN", "PH", "SG", "US", "GB", "MX", "BR")
_WORDS = (
    *("outfit", "haul", "tutorial", "unboxing", "#foryou", "#fyp", "review", "🔖"),
    *("✨", "sale", "restock", "kebaya", "serum", "mükemmel", "新品"),
)
_CREATORS = 40
_MASK = 2**64 - 1
_STEP = 0x9E37_79B9_7F4A_7C15  # odd: its multiples differ modulo every power of two that they fit in
_NUMBER_BITS = 32
_HELD = 4_000_000
_SHELF_WEIGHT = 100
_FIRST_SECOND = 1_640_995_200
_CREATED_WITHIN = 120_000_000
_DAY = 86_400
_UNIX_DAY = date(1970, 1, 1).toordinal()
_LIFETIME = 100
"""Days from a video's first date to the one on which it is gone."""
_GAINING_DAYS = (10, 20, 40, 60, *[_LIFETIME] * 4)
"""For how many days videos gain, an eighth of them each: after that their counts stay."""
_CORRECTED_AGE = 15
"""The first day on which a video may be corrected. Younger ones rise more in a day than they would fall."""


@dataclass(frozen=True, slots=True)
class CatalogueOptions:
    """`exponent` of the Pareto tail of videos a seller, `scale` its typical size, `largest` its end.

    `still`: the share of sellers that nothing changes of from day to day. `begins`: the date that dates are
    counted from; earlier ones are like it.
    """

    seed: int = 1
    exponent: float = 1.1
    scale: float = 9.0
    largest: int = 40_000
    still: float = 0.0
    begins: date = date(2020, 1, 1)


class Grown(NamedTuple):
    """A seller so many days after the first: it gains videos, and they gain views; none is lost."""

    numbers: range
    age: int

    @classmethod
    def after(cls, age: int, size: int, largest: int, shift: int) -> Self:
        """One of `size` videos on the first day, that grows to `largest`; `shift` videos more came in."""
        grown = max(size, min(largest, size + size * age * 3 // 100))
        return cls(range(grown + shift), age)

    def views(self, typical: int, _number: int, bits: int) -> int:
        """The views of a video."""
        return typical * (100 + self.age * (bits % 7)) // 100

    def created(self, _number: int, bits: int) -> int:
        """When it was created, in epoch seconds."""
        return _FIRST_SECOND + bits % _CREATED_WITHIN


class Dated(NamedTuple):
    """A seller on a date: each day 1 % of its videos are new, created the day before, and 1 % are gone.

    Videos gain views, the young ones most, and half of them stop for good. One in eight is corrected once:
    on that day its counts fall, by 10 % to 25 %. `day` counts from the date on which the catalogue begins.
    """

    numbers: range
    day: int
    begins: int
    size: int
    phase: int

    @classmethod
    def on(cls, day: date, begins: date, size: int, shift: int, bits: int, *, is_even: bool) -> Self:
        """One of about `size` videos on any date, exactly so many where `is_even`; `shift` more came in."""
        age = max(0, (day - begins).days)
        comes, goes = bits >> 8 & 0x3F, bits >> (8 if is_even else 16) & 0x3F
        first = (size * age + goes) // _LIFETIME
        end = size + (size * age + comes) // _LIFETIME
        return cls(range(first, end + shift), age, begins.toordinal() - _UNIX_DAY, size, comes)

    def views(self, typical: int, number: int, bits: int) -> int:
        """The views of a video."""
        age = 1 + max(0, self.day - self._first_day(number))
        gaining = min(age, _GAINING_DAYS[bits >> 44 & 7])
        views = 4 * typical * gaining // (gaining + 10 + bits % 61)
        is_corrected = not bits >> 47 & 7 and age >= _CORRECTED_AGE + (bits >> 50 & 0x3F)
        return views * (90 - (bits >> 56 & 0xF)) // 100 if is_corrected else views

    def created(self, number: int, bits: int) -> int:
        """When it was created, in epoch seconds."""
        return (self.begins + min(self.day, self._first_day(number)) - 1) * _DAY + bits % _DAY

    def _first_day(self, number: int) -> int:
        """The first day on which a video is seen."""
        return -((self.phase - _LIFETIME * (number - self.size + 1)) // max(1, self.size))


Aged = Grown | Dated


class _Shelf(NamedTuple):
    """One seller on one day in one order: its 64 bits that all comes from, its age, and video numbers."""

    base: int
    aged: Aged
    order: array[int]

    @property
    def weight(self) -> int:
        """Memory held, in units of 4 bytes."""
        return len(self.order) + _SHELF_WEIGHT


class Catalogue:
    """The videos of every seller on one day.

    Sizes have a heavy tail; one seller in ten is empty, and one in ten has a multiple of ten. A day is a
    number of days, from which on sellers and videos only grow, or a date, on which videos also go. The
    orders used last are held, some 16 MB of them.
    """

    def __init__(self, options: CatalogueOptions | None = None, day: int | date = 0) -> None:
        self._options = options or CatalogueOptions()
        self.day = day
        self._shelves: OrderedDict[tuple[str, int | date, int, int, int], _Shelf] = OrderedDict()
        self._held = 0
        self._earlier: Catalogue | None = None

    def seller_ids(self, count: int) -> list[str]:
        """`count` distinct IDs of 19 digits."""
        base = self._base("")
        return [str(7_494_000_000_000_000_000 + (base + i * _STEP) % 2**60) for i in range(count)]

    def size(self, seller_id: str, shift: int = 0) -> int:
        """How many videos a seller has on the catalogue's day, `shift` more having come in since."""
        return len(self._aged(self._base(seller_id), shift).numbers)

    def the_day_before(self) -> Catalogue:
        """The same catalogue a day earlier; a catalogue that only grows has no day before its first."""
        day = self.day
        earlier = day - timedelta(days=1) if isinstance(day, date) else max(0, day - 1)
        if self._earlier is None or self._earlier.day != earlier:
            self._earlier = Catalogue(self._options, earlier)
        return self._earlier

    def region(self, seller_id: str) -> str:
        """The region of most of a seller's videos."""
        return _REGIONS[self._base(seller_id) % len(_REGIONS)]

    def share(self, seller_id: str) -> float:
        """A number from 0 to 1 that is spread evenly over the sellers."""
        return _mixed(self._base(seller_id) + 1) / 2.0**64

    def page(
        self, seller_id: str, sort_field: int, sort_type: int, page_num: int, page_size: int, shift: int = 0
    ) -> list[dict[str, Any]]:
        """One page's rows as the API gives them: sort fields and types are the API's own numbers."""
        base, aged, order = self._shelf(seller_id, sort_field, sort_type, shift)
        start = (page_num - 1) * page_size
        return [_row(seller_id, base, aged, number) for number in order[start : start + page_size]]

    def videos(self, seller_id: str) -> list[dict[str, Any]]:
        """Every video of a seller on the catalogue's day, in the order in which they were published.

        It is the truth that pages are cut from; safe to call from any thread.
        """
        base = self._base(seller_id)
        aged = self._aged(base, 0)
        return [_row(seller_id, base, aged, number) for number in aged.numbers]

    def _base(self, seller_id: str) -> int:
        text = f"{self._options.seed} {seller_id}".encode()
        return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")

    def _aged(self, base: int, shift: int) -> Aged:
        bits, options = _mixed(base), self._options
        kind, rank = bits % 10, ((bits >> 24) + 1) / 2**40
        size = min(options.largest, int(options.scale * rank ** (-1 / options.exponent)))
        is_even = kind == 1
        if kind == 0:
            size = 0
        elif is_even:
            size = min(options.largest, max(10, size // 10 * 10))
        is_still = _mixed(~base) < options.still * 2.0**64
        if isinstance(self.day, date):
            day = options.begins if is_still else self.day
            return Dated.on(day, options.begins, size, shift, bits, is_even=is_even)
        age = 0 if is_still else self.day
        return Grown.after(age, size, 0 if is_even else options.largest, shift)

    def _shelf(self, seller_id: str, sort_field: int, sort_type: int, shift: int) -> _Shelf:
        key = (seller_id, self.day, sort_field, sort_type, shift)
        if key not in self._shelves:
            base = self._base(seller_id)
            aged = self._aged(base, shift)
            shelf = self._shelves[key] = _Shelf(base, aged, _order(base, aged, sort_field, sort_type))
            self._held += shelf.weight
        self._shelves.move_to_end(key)
        while self._held > _HELD and len(self._shelves) > 1:
            self._held -= self._shelves.popitem(last=False)[1].weight
        return self._shelves[key]


def _order(base: int, aged: Aged, sort_field: int, sort_type: int) -> array[int]:
    """Video numbers, sorted by a figure and, where it ties, by number."""
    keys = [
        _figures(aged, number, _mixed(base + number * _STEP))[sort_field - 1] << _NUMBER_BITS | number
        for number in aged.numbers
    ]
    keys.sort(reverse=sort_type == 1)
    return array("I", [key % 2**_NUMBER_BITS for key in keys])


def _figures(aged: Aged, number: int, bits: int) -> tuple[int, int, int]:
    """Views, sales, and GMV in hundredths: sales and GMV follow the views."""
    views = aged.views(3_276_800 // ((bits >> 8 & 0xFFFF) + 1), number, bits)
    sales = views * (bits >> 24 & 0xFF) // 20_000
    return views, sales, sales * ((bits >> 32 & 0xFFF) + 99)


def _row(seller_id: str, base: int, aged: Aged, number: int) -> dict[str, Any]:
    bits = _mixed(base + number * _STEP)
    views, sales, cents = _figures(aged, number, bits)
    look = _mixed(bits)
    # One video in eight is by a creator of many sellers.
    person = _mixed((base if look >> 44 & 7 else 0) + look % _CREATORS)
    picked = (look >> 8 & 0xF, look >> 12 & 0xF, look >> 16 & 0xF, look >> 20 & 0xF, look >> 24 & 0xF)
    return {
        "avatar": f"https://images.example/user-avatar/{person % 997}/{person}.jpg",
        "create_time": str(aged.created(number, look)),
        "nick_name": f"creator{person % 100_000}",
        "reflow_cover": f"https://images.example/video-cover/{look % 997}/{look}.jpg",
        "region": _REGIONS[(base if look >> 40 & 0xF else look) % len(_REGIONS)],
        "seller_id": seller_id,
        "total_comments_cnt": views // 900,
        "total_digg_cnt": views // 30,
        "total_shares_cnt": views // 2000,
        "total_video_sale_cnt": sales,
        "total_video_sale_gmv_amt": cents / 100 if cents else 0,
        "total_views_cnt": views,
        "user_id": str(7_000_000_000_000_000_000 + person % 10**17),
        "video_desc": " ".join([_WORDS[n] for n in picked if n < len(_WORDS)]),
        "video_id": str(7_100_000_000_000_000_000 + (base + number * _STEP) % 2**58),
    }


def _mixed(bits: int) -> int:
    """The finaliser of splitmix64: each bit of the result depends on all bits given."""
    bits &= _MASK
    bits = (bits ^ bits >> 30) * 0xBF58_476D_1CE4_E5B9 & _MASK
    bits = (bits ^ bits >> 27) * 0x94D0_49BB_1331_11EB & _MASK
    return bits ^ bits >> 31
