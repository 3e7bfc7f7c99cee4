"""The entries of a list as they are read: judged, counted, and made into a `SellerList`.

Open it for the words in which a list is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler import events
from crawler.models.errors import InputError
from crawler.sellers.cells import ID, cleaned, reason_against, shown
from crawler.sellers.listing import SLICE, SellerList
from crawler.sellers.rounding import Lengths, Rounding, Sign

_MAX_BAD_KEPT = 20
_MAX_BAD_SHOWN = 5
_SHORTEST_REFUSED = 10
"""IDs from which on a list that looks rounded is refused."""
_MAX_BYTES = 2**31 - 1


class Entries:
    """The entries read so far; `place` is what an entry's number counts: lines or rows."""

    def __init__(self, name: str, place: str) -> None:
        self.name = name
        self.place = place
        self._chunks: list[Any] = []
        self._bad: list[tuple[int, str, str]] = []
        self._bad_count = 0
        self._rounding = Rounding()
        self._lengths = Lengths()

    def add(self, entries: Any, lines: Sequence[int]) -> None:
        """Add strings, or an Arrow array of them, each with its line."""
        array: Any = pa.array(entries, pa.string())
        lengths: Any = pc.binary_length(array)
        clean: Any = pc.and_(pc.ascii_is_decimal(array), pc.less_equal(lengths, pa.scalar(32)))
        misses = pc.indices_nonzero(pc.invert(pc.fill_null(clean, False))).to_pylist()
        if misses:
            values = array.to_pylist()
            for at in misses:
                values[at] = self._judged(values[at] or "", lines[at])
            lines = [line for line, value in zip(lines, values, strict=True) if value is not None]
            array = pa.array(values, pa.string()).drop_null()
            lengths = pc.binary_length(array)
        if len(array):
            self._chunks.append(array)
            self._lengths.add(array, lengths, lines)
            self._rounding.add(array, lengths, lines)

    def _judged(self, value: str, line: int) -> str | None:
        bare = cleaned(value)
        if ID.fullmatch(bare):
            return bare
        self._bad_count += 1
        if len(self._bad) < _MAX_BAD_KEPT:
            self._bad.append((line, shown(value.strip()), reason_against(bare)))
        return None

    def result(self, *, skip_bad_ids: bool) -> SellerList:
        """The list, without repetitions; raises `InputError` for bad entries and for an empty list."""
        self._leave_out_far_lengths()
        total = sum(map(len, self._chunks))
        rounded = self._rounding.beyond_chance(total) if total >= _SHORTEST_REFUSED else None
        if rounded is not None and not self._is_rounded_without_repetitions():
            rounded = None
        if self._bad_count and not (skip_bad_ids and self._chunks):
            # Do not advise --skip-bad-ids for a list that would then be refused as rounded.
            refusal = self._refusal(skipped=skip_bad_ids, may_skip=rounded is None)
            if rounded is not None:
                refusal += f"\n  {self._rounding_message(rounded, total)}"
            raise InputError(refusal)
        if rounded is not None:
            raise InputError(f"{self.name}: {self._rounding_message(rounded, total)}")
        if not self._chunks:
            raise InputError(f"{self.name} holds no seller ID: write one a line, under a header or without")
        if sum(chunk.nbytes for chunk in self._chunks) > _MAX_BYTES:
            raise InputError(f"{self.name} is too long for one list: split it")
        joined = pa.concat_arrays(self._chunks)
        self._chunks.clear()
        pa.default_memory_pool().release_unused()
        ids = _unique(joined)
        del joined
        pa.default_memory_pool().release_unused()
        return SellerList(self.name, ids, total - len(ids), self._bad_count, tuple(self._warnings(total)))

    def _warnings(self, total: int) -> Iterator[events.Sentence]:
        noticed = self._rounding.noticed()
        if noticed is not None:
            words = self._rounding_message(noticed, total)
            yield events.LIST_ROUNDED(list=self.name, rounded=noticed.count, ids=total, rounded_words=words)
        if self._bad_count:
            words = _counted(self._bad_count, "bad line")
            yield events.LIST_LINES_SKIPPED(list=self.name, lines=self._bad_count, lines_words=words)

    def _leave_out_far_lengths(self) -> None:
        """Count entries as bad whose length is far from all the others'."""
        far = self._lengths.far()
        if not far:
            return
        usual = self._lengths.usual()
        others = str(usual[0]) if len(usual) == 1 else f"{usual[0]} to {usual[-1]}"
        for length, count in far.items():
            self._bad_count += count
            reason = f"{_counted(length, 'digit')}, where the others have {others}: a total, or a damaged ID?"
            first = self._lengths.first[length]
            self._bad += [(line, shown(value), reason) for line, value in first]
        self._bad = sorted(self._bad, key=itemgetter(0))[:_MAX_BAD_KEPT]
        lengths = pa.array(list(far), pa.int32())
        kept = (c.filter(pc.invert(pc.is_in(pc.binary_length(c), value_set=lengths))) for c in self._chunks)
        self._chunks = [chunk for chunk in kept if len(chunk)]

    def _is_rounded_without_repetitions(self) -> bool:
        """Whether the list looks rounded where each ID counts once: a few that recur prove nothing."""
        ids = _unique(pa.concat_arrays(self._chunks))
        rounding = Rounding()
        for start in range(0, len(ids), SLICE):
            some = ids.slice(start, SLICE)
            rounding.add(some, pc.binary_length(some), range(start, start + len(some)))
        return rounding.beyond_chance(len(ids)) is not None

    def _rounding_message(self, sign: Sign, total: int) -> str:
        first = ", ".join(f"{self.place} {line}: {value}" for line, value in sign.first)
        more = f" and {sign.count - len(sign.first):,} more" if sign.count > len(sign.first) else ""
        return (
            f"{sign.count:,} of {_counted(total, 'seller ID')} look rounded ({first}{more}): a spreadsheet, "
            "a floating point column or JavaScript keeps 15 to 17 digits of a number, so that they name "
            "others or nobody: export the list again from its source with the IDs as text (in a spreadsheet "
            "import the column as text, in pandas read it with dtype=str, in SQL cast it to text)"
        )

    def _refusal(self, *, skipped: bool, may_skip: bool) -> str:
        count = _counted(self._bad_count, "bad seller ID")
        lines = [f"{self.name}: no good seller ID is left: {count}" if skipped else f"{self.name}: {count}"]
        some = self._bad[:_MAX_BAD_SHOWN]
        lines += [f"  {self.place} {line}: {value}: {reason}" for line, value, reason in some]
        if self._bad_count > _MAX_BAD_SHOWN:
            lines.append(f"  and {self._bad_count - _MAX_BAD_SHOWN:,} more")
        if may_skip and not skipped and self._chunks:
            lines.append("  Correct them, or go on without them: --skip-bad-ids")
        return "\n".join(lines)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _unique(ids: Any) -> Any:
    """The IDs without repetitions; a tenth at a time, as a hash table of all weighs more than they do."""
    keep: Any = None
    for digit in "0123456789":
        inside = pc.ends_with(ids, pattern=digit)
        part = ids.filter(inside)
        codes: Any = part.dictionary_encode()
        if len(codes.dictionary) == len(part):
            continue
        # A code is new where it is higher than all before it.
        highest: Any = pc.cumulative_max(codes.indices)
        before = pa.concat_arrays([pa.array([-1], pa.int32()), highest.slice(0, len(part) - 1)])
        first: Any = pc.greater(codes.indices, before)
        keep = pa.repeat(pa.scalar(True), len(ids)) if keep is None else keep
        keep = pc.replace_with_mask(keep, inside, first)
    return ids if keep is None else ids.filter(keep)
