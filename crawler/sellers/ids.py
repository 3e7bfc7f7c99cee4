"""The IDs of a list as they are found: cleaned of a spreadsheet's guards, judged, counted once.

Open it when an entry is refused, or for the words in which it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from crawler.models.errors import InputError
from crawler.sellers.listing import SLICE, BadId, SellerList
from crawler.sellers.rounding import Lengths, Rounding, Sign

ID = re.compile(r"[0-9]{1,32}")
SPREADSHEET_ERROR = re.compile(r"#(?:\w/\w|NV|[^\sa-z]+[!?])")
NO_VALUES = {"null", "(null)", "nan", "na", "n/a", "n.a.", "none", "nil", "<na>", "nat", "\\n", "-"}
DELIMITERS = ",;\t|"
_RUINED = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]*)?[eE][+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*|,0*)")
_GUARDED = re.compile(r"=?\"+(.*?)\"+|=?'(.*?)'?", re.DOTALL)

_MAX_BAD_KEPT = 20
_MAX_BAD_SHOWN = 5
_MAX_SHOWN = 60
_MAX_BYTES = 2**31 - 1


class Found:
    """What a pass over a list has found so far; `place` is what an entry's number counts."""

    def __init__(self, name: str, place: str) -> None:
        self.name = name
        self.place = place
        self._chunks: list[Any] = []
        self._bad: list[BadId] = []
        self._bad_count = 0
        self._rounding = Rounding()
        self._lengths = Lengths()

    def add_text(self, values: Sequence[str], lines: Sequence[int]) -> None:
        """Take cells on, each with its line."""
        import pyarrow as pa  # noqa: PLC0415

        self.add(pa.array(values, pa.string()), lines)

    def add(self, array: Any, lines: Sequence[int]) -> None:
        """Take Arrow strings on; only those that are no clean ID are looked at one by one."""
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.compute as pc  # noqa: PLC0415

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
            self._bad.append(BadId(line, shown(value.strip()), _fault(bare)))
        return None

    def result(self, *, skip_bad_ids: bool) -> SellerList:
        """The list, without repetitions; raises `InputError` for bad entries and for an empty list."""
        import pyarrow as pa  # noqa: PLC0415

        self._leave_out_far_lengths()
        total = sum(map(len, self._chunks))
        rounded = self._rounding.refused(total)
        if rounded is not None and not self._is_rounded_without_repetitions():
            rounded = None
        if self._bad_count and not (skip_bad_ids and self._chunks):
            # What is advised must help: without the bad IDs a rounded list would be refused as well.
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
        ids = _unique(_taken_together(self._chunks))
        pa.default_memory_pool().release_unused()
        return SellerList(
            self.name, ids, total - len(ids), tuple(self._bad), self._bad_count, tuple(self._warnings(total))
        )

    def _warnings(self, total: int) -> Iterator[str]:
        noticed = self._rounding.noticed()
        if noticed is not None:
            yield f"{self.name}: {self._rounding_message(noticed, total)}"
        if self._bad_count:
            yield f"{_counted(self._bad_count, 'bad line')} of {self.name} skipped (--skip-bad-ids)"

    def _leave_out_far_lengths(self) -> None:
        """Judge entries bad whose length is far from all the others'."""
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.compute as pc  # noqa: PLC0415

        far = self._lengths.far()
        if not far:
            return
        usual = self._lengths.usual()
        others = str(usual[0]) if len(usual) == 1 else f"{usual[0]} to {usual[-1]}"
        for length, count in far.items():
            self._bad_count += count
            reason = f"{_counted(length, 'digit')}, where the others have {others}: a total, or a damaged ID?"
            self._bad += [BadId(line, shown(value), reason) for line, value in self._lengths.first(length)]
        self._bad = sorted(self._bad, key=lambda bad: bad.line)[:_MAX_BAD_KEPT]
        lengths = pa.array(list(far), pa.int32())
        kept = (c.filter(pc.invert(pc.is_in(pc.binary_length(c), value_set=lengths))) for c in self._chunks)
        self._chunks = [chunk for chunk in kept if len(chunk)]

    def _is_rounded_without_repetitions(self) -> bool:
        """Whether it is so where each ID counts once: a few that recur prove nothing."""
        import pyarrow.compute as pc  # noqa: PLC0415

        ids = _unique(_concatenated(self._chunks))
        rounding = Rounding()
        for start in range(0, len(ids), SLICE):
            some = ids.slice(start, SLICE)
            rounding.add(some, pc.binary_length(some), range(start, start + len(some)))
        return rounding.is_beyond_chance(len(ids))

    def _rounding_message(self, sign: Sign, total: int) -> str:
        shown = ", ".join(f"{self.place} {line}: {value}" for line, value in sign.first)
        more = f" and {sign.count - len(sign.first):,} more" if sign.count > len(sign.first) else ""
        return (
            f"{sign.count:,} of {_counted(total, 'seller ID')} look rounded ({shown}{more}): a spreadsheet, "
            "a floating point column or JavaScript keeps 15 to 17 digits of a number, so that they name "
            "others or nobody: export the list again from its source with the IDs as text (in a spreadsheet "
            "import the column as text, in pandas read it with dtype=str, in SQL cast it to text)"
        )

    def _refusal(self, *, skipped: bool, may_skip: bool) -> str:
        count = f"{self._bad_count:,} bad seller ID{'s' if self._bad_count > 1 else ''}"
        lines = [f"{self.name}: no good seller ID is left: {count}" if skipped else f"{self.name}: {count}"]
        some = self._bad[:_MAX_BAD_SHOWN]
        lines += [f"  {self.place} {bad.line}: {bad.value}: {bad.reason}" for bad in some]
        if self._bad_count > _MAX_BAD_SHOWN:
            lines.append(f"  and {self._bad_count - _MAX_BAD_SHOWN:,} more")
        if may_skip and not skipped and self._chunks:
            lines.append("  Correct them, or go on without them: --skip-bad-ids")
        return "\n".join(lines)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _concatenated(chunks: list[Any]) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    return pa.concat_arrays(chunks)


def _taken_together(chunks: list[Any]) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    joined = _concatenated(chunks)
    chunks.clear()
    pa.default_memory_pool().release_unused()
    return joined


def _unique(ids: Any) -> Any:
    """The IDs without repetitions; a tenth at a time, as a hash table of all weighs more than they do."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

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


def cleaned(value: str) -> str:
    """The text inside a spreadsheet's guards: `="7494..."`, a leading apostrophe, invisible characters."""
    bare = value.strip().strip("\ufeff\u200b\u200e").strip()
    guarded = _GUARDED.fullmatch(bare)
    return (guarded[1] or guarded[2] or "").strip() if guarded else bare


def _fault(value: str) -> str:
    reasons = (
        (
            not value or value.casefold() in NO_VALUES,
            "no seller ID in this row: fill it in, or remove the row",
        ),
        (
            SPREADSHEET_ERROR.fullmatch(value),
            "a spreadsheet's error in the place of an ID: repair its formula, or remove the row",
        ),
        (
            value.startswith("#"),
            "a line that begins with # is a comment only before the header and the first ID: remove it",
        ),
        (
            _RUINED.fullmatch(value),
            "a spreadsheet ruined this ID: format the column as text and export it again from its source",
        ),
        (
            _DECIMAL.fullmatch(value),
            "a number with decimals: format the column as text and export it again",
        ),
        (value.isascii() and value.isdigit(), "longer than 32 digits: is a separator missing?"),
        (
            any(delimiter in value for delimiter in DELIMITERS),
            "more values than there are columns: put a text that holds a separator in quotes",
        ),
        (True, "no number: a seller ID is 1 to 32 digits (0-9), nothing else"),
    )
    return next(reason for applies, reason in reasons if applies)


def shown(value: str, most: int = _MAX_SHOWN) -> str:
    """For a message: one short line, whatever is in it."""
    # A terminal obeys control characters; repr escapes them.
    return repr(value if len(value) <= most else f"{value[: most - 3]}...")
