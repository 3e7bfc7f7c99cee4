"""What the IDs of a list look like as a whole: rounded by a spreadsheet or a float, or of an odd length.

An ID of 16 digits or more does not survive a spreadsheet (15 digits, then zeros), nor a double (53 bits;
printed in full, or as 15 to 17 digits and zeros). By chance an honest ID looks so as well, the more rarely
the longer it is. So each sign of rounding is compared with the number that chance alone would bring.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.sellers.cells import FAR

_SPREADSHEET_DIGITS, _DOUBLE_DIGITS = 15, 17
_DIGITS_KEPT = (_SPREADSHEET_DIGITS, 16, _DOUBLE_DIGITS)
"""Digits that are left of a number, with zeros after them."""
_UINT64_DIGITS = 19
_TAIL_DIGITS = 18
_TAIL_BITS = 11
_CHANCE_REFUSED = 1e-3
_LINES_KEPT = 5
_ENTRIES_KEPT = 20
_FEWEST_ALIKE = 3


@dataclass(slots=True)
class Sign:
    """How many IDs show one sign of rounding, how many would by chance; the first ones with their lines."""

    count: int = 0
    expected: float = 0.0
    first: list[tuple[int, str]] = field(default_factory=list)

    def exceeds_chance(self) -> bool:
        """Whether it is worth a warning: far above what chance brings, in a short list and in a long one."""
        return self.count > min(20 * self.expected, self.expected + 3 * math.sqrt(self.expected))

    def is_beyond_chance(self) -> bool:
        """Whether chance cannot bring so many (Chernoff's inequality)."""
        if self.count <= self.expected:
            return False
        if self.expected == 0:
            return True
        exponent = self.count * math.log(self.count / self.expected) - self.count + self.expected
        return math.exp(-exponent) < _CHANCE_REFUSED


class Rounding:
    """The signs of rounding: 15 or 16 digits and zeros, an exact double, any. Each is counted for itself."""

    def __init__(self) -> None:
        self._signs = tuple(Sign() for _ in range(4))

    def add(self, ids: Any, lengths: Any, lines: Sequence[int]) -> None:
        """Add Arrow strings of digits, with their lengths and lines."""
        # Leading zeros survive in text alone: such an ID was never rounded.
        may_be_rounded = pc.and_(
            pc.greater(lengths, pa.scalar(_SPREADSHEET_DIGITS, pa.int32())),
            pc.invert(pc.starts_with(ids, pattern="0")),
        )
        for length in pc.unique(lengths.filter(may_be_rounded)).to_pylist():
            places = pc.indices_nonzero(
                pc.and_(may_be_rounded, pc.equal(lengths, pa.scalar(length, pa.int32())))
            )
            self._add_alike(ids.take(places), length, lines, places)

    def _add_alike(self, ids: Any, length: int, lines: Sequence[int], places: Any) -> None:
        """Add IDs of one length, which are at these places in the block that `lines` are of."""
        zeros = [max(length - digits, 1) for digits in _DIGITS_KEPT]
        by_15_digits, by_16_digits, by_17_digits = (
            (pc.ends_with(ids, pattern="0" * n), len(ids) * 10.0**-n) for n in zeros
        )
        is_double, doubles = _doubles(ids, length)
        any_sign = pc.or_(by_17_digits[0], is_double), by_17_digits[1] + doubles
        found = (by_15_digits, by_16_digits, (is_double, doubles), any_sign)
        for sign, (shows_it, expected) in zip(self._signs, found, strict=True):
            sign.expected += expected
            sign.count += shows_it.true_count
            if len(sign.first) < _LINES_KEPT:
                first = pc.indices_nonzero(shows_it).slice(0, _LINES_KEPT - len(sign.first)).to_pylist()
                sign.first += [(lines[places[at].as_py()], ids[at].as_py()) for at in first]

    def beyond_chance(self, total: int) -> Sign | None:
        """The sign that at least half of the IDs show, where chance cannot be why."""
        signs = [sign for sign in self._signs if 2 * sign.count >= total and sign.is_beyond_chance()]
        return max(signs, key=lambda sign: sign.count, default=None)

    def noticed(self) -> Sign | None:
        """The sign that more IDs show than chance would bring."""
        signs = [sign for sign in self._signs if sign.exceeds_chance()]
        return max(signs, key=lambda sign: sign.count, default=None)


def _doubles(ids: Any, length: int) -> tuple[Any, float]:
    """Which IDs are exact doubles, and how many would be by chance."""
    if length > _UINT64_DIGITS:
        # A power of ten beyond the tail is a multiple of 2^18: the last digits decide alone.
        tail = pc.utf8_slice_codeunits(ids, -_TAIL_DIGITS).cast(pa.int64())
        low_bits = pc.bit_wise_and(tail, pa.scalar((1 << _TAIL_BITS) - 1, pa.int64()))
        return pc.equal(low_bits, pa.scalar(0, pa.int64())), len(ids) / (1 << _TAIL_BITS)
    if length < _DOUBLE_DIGITS:
        # Nearly all of them are below 2^53, where every whole number is a double.
        return pa.repeat(pa.scalar(False), len(ids)), 0.0
    numbers = ids.cast(pa.uint64())
    floats = numbers.cast(pa.float64(), safe=False)
    expected = pc.sum(pc.divide(pa.scalar(2.0**53), floats)).as_py()
    return pc.equal(floats.cast(pa.uint64(), safe=False), numbers), expected


class Lengths:
    """How many IDs there are of each length, and the `first` of each with their lines."""

    def __init__(self) -> None:
        self._counts = Counter[int]()
        self.first: dict[int, list[tuple[int, str]]] = {}

    def add(self, ids: Any, lengths: Any, lines: Sequence[int]) -> None:
        """Add Arrow strings, with their lengths and lines."""
        pairs: Any = pc.value_counts(lengths).to_pylist()
        for length, count in (pair.values() for pair in pairs):
            self._counts[length] += count
            first = self.first.setdefault(length, [])
            if len(first) < _ENTRIES_KEPT:
                places = pc.indices_nonzero(pc.equal(lengths, pa.scalar(length, pa.int32())))
                places = places.slice(0, _ENTRIES_KEPT - len(first)).to_pylist()
                first += [(lines[at], ids[at].as_py()) for at in places]

    def usual(self) -> list[int]:
        """The lengths, at most `FAR` - 1 apart, that at least three and at least three quarters have."""
        most = max(self._groups(), key=self._size, default=[])
        size = self._size(most)
        return most if size >= _FEWEST_ALIKE and 4 * size >= 3 * self._counts.total() else []

    def far(self) -> dict[int, int]:
        """The lengths far from the usual ones, with their counts.

        A single ID, or several that are at most half as long as the others: totals, counts, page numbers.
        Several of another length that is not so short may be IDs of an older kind.
        """
        usual = self.usual()
        others = [group for group in self._groups() if group != usual] if usual else []
        far = [group for group in others if self._size(group) == 1 or 2 * group[-1] <= usual[0]]
        return {length: self._counts[length] for group in far for length in group}

    def _groups(self) -> list[list[int]]:
        groups: list[list[int]] = []
        for length in sorted(self._counts):
            if groups and length - groups[-1][-1] < FAR:
                groups[-1].append(length)
            else:
                groups.append([length])
        return groups

    def _size(self, group: list[int]) -> int:
        return sum(self._counts[length] for length in group)
