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

FAR = 5
"""IDs whose lengths differ by so many digits do not come from the same source."""

_SPREADSHEET_DIGITS = 15
_DOUBLE_DIGITS = 17
_UINT64_DIGITS = 19
_TAIL_DIGITS = 18
_TAIL_BITS = 11
_SHORTEST_REFUSED = 10
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
        """Whether chance cannot bring so many (Chernoff's bound)."""
        if self.count <= self.expected:
            return False
        if self.expected == 0:
            return True
        exponent = self.count * math.log(self.count / self.expected) - self.count + self.expected
        return math.exp(-exponent) < _CHANCE_REFUSED


class Rounding:
    """The signs of rounding that IDs show: 15 digits and zeros, 16 digits and zeros, an exact double, or any.

    Each is counted for itself, since the sign that is rarest by chance proves most.
    """

    def __init__(self) -> None:
        self._signs = tuple(Sign() for _ in range(4))

    def add(self, ids: Any, lengths: Any, lines: Sequence[int]) -> None:
        """Take Arrow strings of digits on, with their lengths and lines."""
        import pyarrow as pa  # noqa: PLC0415 - heavy, and not every command reads a list
        import pyarrow.compute as pc  # noqa: PLC0415 - same

        bounds: Any = pc.min_max(lengths).as_py()
        if bounds["max"] is None or bounds["max"] <= _SPREADSHEET_DIGITS:
            return
        if bounds["min"] == bounds["max"]:
            self._add_alike(ids, bounds["max"], lines)
            return
        for length in range(max(bounds["min"], _SPREADSHEET_DIGITS + 1), bounds["max"] + 1):
            at = pc.indices_nonzero(pc.equal(lengths, pa.scalar(length, pa.int32())))
            if len(at):
                self._add_alike(ids.take(at), length, _Picked(lines, at))

    def _add_alike(self, ids: Any, length: int, lines: Sequence[int]) -> None:
        import pyarrow.compute as pc  # noqa: PLC0415

        is_double, expected_doubles, is_number = _doubles(ids, length)
        if is_number is not None:
            at = pc.indices_nonzero(is_number)
            if len(at):
                self._add_alike(ids.take(at), length, _Picked(lines, at))
            return
        zeros = "0" * max(length - _DOUBLE_DIGITS, 1)
        looks_rounded = pc.or_(pc.ends_with(ids, pattern=zeros), is_double)
        at = pc.indices_nonzero(looks_rounded)
        found = ids.take(at)
        spreadsheet = length - _SPREADSHEET_DIGITS
        masks = (
            pc.ends_with(found, pattern="0" * spreadsheet),
            pc.ends_with(found, pattern="0" * max(spreadsheet - 1, 1)),
            is_double.take(at),
            None,
        )
        expected = (
            len(ids) * 10.0**-spreadsheet,
            len(ids) * 10.0 ** -max(spreadsheet - 1, 1),
            expected_doubles,
            len(ids) * 10.0 ** -len(zeros) + expected_doubles,
        )
        for sign, mask, chance in zip(self._signs, masks, expected, strict=True):
            sign.expected += chance
            sign.count += len(found) if mask is None else mask.true_count
            if len(sign.first) < _LINES_KEPT:
                some = (at if mask is None else at.filter(mask)).slice(0, _LINES_KEPT - len(sign.first))
                sign.first += [(lines[place], ids[place].as_py()) for place in some.to_pylist()]

    def refused(self, total: int) -> Sign | None:
        """The sign that at least half of a list of ten IDs or more shows, where chance cannot be why."""
        if total < _SHORTEST_REFUSED:
            return None
        signs = [sign for sign in self._signs if 2 * sign.count >= total and sign.is_beyond_chance()]
        return max(signs, key=lambda sign: sign.count, default=None)

    def is_beyond_chance(self, total: int) -> bool:
        """Whether at least half of the IDs, in a list of any length, show a sign that chance cannot bring."""
        return any(2 * sign.count >= total and sign.is_beyond_chance() for sign in self._signs)

    def noticed(self) -> Sign | None:
        """The sign that more IDs show than chance would bring."""
        signs = [sign for sign in self._signs if sign.exceeds_chance()]
        return max(signs, key=lambda sign: sign.count, default=None)


def _doubles(ids: Any, length: int) -> tuple[Any, float, Any]:
    """Which IDs are exact doubles, and how many would be by chance; or else which ones do not begin with 0.

    Leading zeros survive in text alone, so that such an ID was never rounded.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    if length > _UINT64_DIGITS:
        begins_with_zero = pc.starts_with(ids, pattern="0")
        if begins_with_zero.true_count:
            return None, 0.0, pc.invert(begins_with_zero)
        # A power of ten beyond the tail is a multiple of 2^18: the last digits decide alone.
        tail = pc.utf8_slice_codeunits(ids, -_TAIL_DIGITS).cast(pa.int64())
        low_bits = pc.bit_wise_and(tail, pa.scalar((1 << _TAIL_BITS) - 1, pa.int64()))
        return pc.equal(low_bits, pa.scalar(0, pa.int64())), len(ids) / (1 << _TAIL_BITS), None
    numbers = ids.cast(pa.uint64())
    if pc.min(numbers).as_py() < 10 ** (length - 1):
        return None, 0.0, pc.greater_equal(numbers, pa.scalar(10 ** (length - 1), pa.uint64()))
    if length < _DOUBLE_DIGITS:
        # Nearly all of them are below 2^53, where every whole number is a double.
        return pa.repeat(pa.scalar(False), len(ids)), 0.0, None
    floats = numbers.cast(pa.float64(), safe=False)
    expected = pc.sum(pc.divide(pa.scalar(2.0**53), floats)).as_py()
    return pc.equal(floats.cast(pa.uint64(), safe=False), numbers), expected, None


class _Picked(Sequence[int]):
    """The lines of those entries of a block that were picked."""

    def __init__(self, lines: Sequence[int], at: Any) -> None:
        self._lines = lines
        self._at = at

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, place: Any) -> Any:
        return self._lines[self._at[place].as_py()]


class Lengths:
    """How many IDs there are of each length, and the first of each with their lines."""

    def __init__(self) -> None:
        self._counts = Counter[int]()
        self._first: dict[int, list[tuple[int, str]]] = {}

    def add(self, ids: Any, lengths: Any, lines: Sequence[int]) -> None:
        """Take Arrow strings on, with their lengths and lines."""
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.compute as pc  # noqa: PLC0415

        bounds: Any = pc.min_max(lengths).as_py()
        if bounds["min"] == bounds["max"]:
            counts = {} if bounds["max"] is None else {bounds["max"]: len(lengths)}
        else:
            pairs: Any = pc.value_counts(lengths).to_pylist()
            counts = {pair["values"]: pair["counts"] for pair in pairs}
        for length, count in counts.items():
            self._counts[length] += count
            first = self._first.setdefault(length, [])
            if len(first) < _ENTRIES_KEPT:
                at = pc.indices_nonzero(pc.equal(lengths, pa.scalar(length, pa.int32())))
                at = at.slice(0, _ENTRIES_KEPT - len(first))
                first += [(lines[place], ids[place].as_py()) for place in at.to_pylist()]

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
        if not usual:
            return {}
        return {
            length: self._counts[length]
            for group in self._groups()
            if group != usual and (self._size(group) == 1 or 2 * group[-1] <= usual[0])
            for length in group
        }

    def first(self, length: int) -> list[tuple[int, str]]:
        """The first entries of a length, with their lines."""
        return self._first[length]

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
