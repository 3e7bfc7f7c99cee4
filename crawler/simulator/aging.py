"""How sellers change from day to day: which videos one has, their views, when they were created."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple, Self

_FIRST_SECOND = 1_640_995_200
_CREATED_WITHIN = 120_000_000
_DAY = 86_400
_UNIX_DAY = date(1970, 1, 1).toordinal()
_LIFETIME = 100
"""Days from a video's first date to the one on which it is gone."""


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

    Videos gain views, the young ones most. `day` counts from the date on which the catalogue begins.
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
        return 4 * typical * age // (age + 10 + bits % 61)

    def created(self, number: int, bits: int) -> int:
        """When it was created, in epoch seconds."""
        return (self.begins + min(self.day, self._first_day(number)) - 1) * _DAY + bits % _DAY

    def _first_day(self, number: int) -> int:
        """The first day on which a video is seen."""
        return -((self.phase - _LIFETIME * (number - self.size + 1)) // max(1, self.size))


Aged = Grown | Dated
