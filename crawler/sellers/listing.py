"""The seller list: CSV in any dialect, a plain list, Parquet, or standard input."""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, BinaryIO

from crawler.models.encodings import LEGACY_ENCODINGS, marked_encoding
from crawler.models.errors import InputError
from crawler.sellers.entries import FAR, Lengths, Rounding, Sign

_ID = re.compile(r"[0-9]{1,32}")
_RUINED = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]*)?[eE][+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*|,0*)")
_GUARDED = re.compile(r"=?\"+(.*?)\"+|=?'(.*?)'?", re.DOTALL)
_NUMBERED = re.compile(r"[='\"+-]*[0-9][^\s]*")
_EXCEL_SEPARATOR = re.compile(r"\"?sep=([,;\t|])\"?\s*", re.IGNORECASE)
_MARKUP = re.compile(r"\s*<[a-z!?]", re.IGNORECASE)
_ESCAPED = re.compile(r"\\u(dc[89a-f][0-9a-f])")
_JSON = re.compile(r"\s*[\[{]\s*[\[{\"\]}0-9]")

_SPREADSHEET_ERROR = re.compile(r"#(?:\w/\w|NV|[^\sa-z]+[!?])")
_ERROR_LINE = re.compile(rf"\s*\"?{_SPREADSHEET_ERROR.pattern}\"?\s*(?:[,;\t|]|$)")
_NO_VALUES = {"null", "(null)", "nan", "na", "n/a", "n.a.", "none", "nil", "<na>", "nat", "\\n", "-"}
_NAMELESS = re.compile(r"|unnamed: \d+(_level_\d+)?|__index_level_\d+__")

_HEAD = 65_536
_BLOCK = 1 << 20
_LONGEST_LINE = 8 << 20
_LONGEST_RECORD = 16 << 20
_LONG_ID = 10
_SLICE = 65_536
_COMPARED = 2
_SAMPLE = 64
_KEPT = 20
_TOLD = 5
_SHOWN = 60
_DELIMITERS = ",;\t|"
_COLUMN = "seller_id"
_PARQUET = b"PAR1"
_MOST_BYTES = 2**31 - 1

_FOREIGN = {
    b"PK\x05\x06": "an empty zip archive: a CSV is wanted",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: unpack it first",
    b"\xfd7zXZ\0": "compressed with xz: unpack it first",
    b"BZh": "compressed with bzip2: unpack it first",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save it as CSV",
    b"%PDF": "a PDF: export a CSV",
    b"SQLite format 3\0": "an SQLite database: export a CSV",
}


@dataclass(frozen=True, slots=True)
class BadId:
    """An entry that is no seller ID: its line (a row in Parquet) from 1, the value as shown, what to do."""

    line: int
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class SellerList:
    """Seller IDs, unique, in order of first appearance, held once in one Arrow string array.

    `repeated` counts the entries that named a seller again; `bad` holds the first 20 entries that
    were left out, `bad_count` counts them all. `warnings` are for the user: of what was left out, and of
    IDs that look rounded.
    """

    name: str
    ids: Any
    repeated: int
    bad: tuple[BadId, ...]
    bad_count: int
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self.ids), _SLICE):
            yield from self.ids.slice(start, _SLICE).to_pylist()

    def without(self, known: Iterable[Any]) -> SellerList:
        """The sellers that are in none of some Arrow string arrays."""
        return replace(self, ids=missing(self.ids, known))

    def digest(self) -> str:
        """Equal for two lists of the same sellers in the same order."""
        told = blake2b(digest_size=16)
        for start in range(0, len(self.ids), _SLICE):
            told.update("\n".join([*self.ids.slice(start, _SLICE).to_pylist(), ""]).encode())
        return told.hexdigest()

    def contains(self, ids: list[str]) -> list[bool]:
        """Whether each ID is in the list."""
        import pyarrow as pa  # noqa: PLC0415 - heavy
        import pyarrow.compute as pc  # noqa: PLC0415

        # A hash table of these few, and not of the whole list.
        wanted = pa.array(ids, pa.string())
        found = self.ids.filter(pc.is_in(self.ids, value_set=wanted))
        return [bool(inside) for inside in pc.is_in(wanted, value_set=found).to_pylist()]


def missing(ids: Any, known: Iterable[Any]) -> Any:
    """The IDs of an Arrow string array that are in none of others.

    A hundred thousand are compared at a time, or a sixteenth of a long list: a hash table of all would weigh
    more than they do.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.compute as pc  # noqa: PLC0415

    inside: Any = None
    arrays = iter(known)
    while some := list(islice(arrays, max(_COMPARED, len(ids) // _SLICE // 16))):
        found: Any = pc.is_in(ids, value_set=pa.concat_arrays(some))
        inside = found if inside is None else pc.or_(inside, found)
    pa.default_memory_pool().release_unused()
    return ids if inside is None or inside.true_count == 0 else ids.filter(pc.invert(inside))


def as_text(name: str) -> str:
    """A file's name, which need not be UTF-8, as text that can be printed and kept anywhere."""
    return name.encode("utf-8", "backslashreplace").decode()


def as_name(text: str) -> str:
    """The file's name of which `as_text` made a text."""
    return _ESCAPED.sub(lambda byte: chr(int(byte[1], 16)), text)


def read_sellers(source: str, *, column: str | None = None, skip_bad_ids: bool = False) -> SellerList:
    """Read a seller list from a path, or from standard input for `-`.

    Raises `InputError` where the list cannot be read or found, has no such column, holds no seller,
    or (unless `skip_bad_ids`) holds entries that are no seller IDs; it names the file, the line, the
    value and what to do.
    """
    name = "standard input" if source == "-" else as_text(source)
    if column is not None and not _folded(column):
        raise InputError("--column is empty: name the column that holds the seller IDs")
    found = _Found(name, "line")
    try:
        with _opened(source, name) as file:
            head = file.read(_HEAD)
            _refuse_foreign(head, name)
            if head.startswith(_PARQUET):
                found.place = "row"
                _read_parquet(file, head, column, found)
            else:
                _TextList(name, column, found).read(_decoded(file, head, column))
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from None
    return found.result(skip_bad_ids=skip_bad_ids)


@contextmanager
def _opened(source: str, name: str) -> Iterator[BinaryIO]:
    if source == "-":
        # Started with its standard input closed, Python has none at all.
        if sys.stdin is None:
            raise InputError("standard input is closed: name a file, or pipe the seller list in")
        yield sys.stdin.buffer
        return
    try:
        with Path(source).open("rb") as file:
            yield file
    except IsADirectoryError:
        raise InputError(f"{name} is a folder: name the seller list in it") from None
    except FileNotFoundError:
        raise InputError(f"{name}: no such file{_nearest_file(Path(source))}") from None
    except PermissionError:
        raise InputError(f"{name} may not be read by this user: change its permissions") from None
    except ValueError as error:
        raise InputError(f"{_shown(source)} is no file name: {error}") from None


def _nearest_file(path: Path) -> str:
    try:
        with os.scandir(path.parent) as entries:
            siblings = [entry.name for entry in islice(entries, 1000)]
    except OSError:
        return f": the folder {_shown(str(path.parent))} cannot be listed either"
    near = difflib.get_close_matches(path.name, siblings, 1)
    return f": did you mean {_shown(near[0])}?" if near else ": is its path right?"


def _refuse_foreign(head: bytes, name: str) -> None:
    if head.startswith(b"PK\x03\x04"):
        workbook = b"[Content_Types].xml" in head or b"xl/" in head or b"opendocument" in head
        what = "an Excel workbook: save it as CSV" if workbook else "a zip archive: unpack it first"
        raise InputError(f"{name} is {what}")
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise InputError(f"{name} is {what}")


# --- text -------------------------------------------------------------------------------------------


def _decoded(file: BinaryIO, head: bytes, column: str | None) -> Iterator[str]:
    encoding = marked_encoding(head) or _likely_encoding(head, column)
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for block in chain([head], iter(lambda: file.read(_BLOCK), b"")):
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


def _likely_encoding(head: bytes, column: str | None) -> str:
    """UTF-8, unless a header names the wanted column in another encoding alone; IDs are the same in all."""
    if column is None or column.isascii():
        return "utf-8"
    wanted = _folded(column)
    for encoding in ("utf-8", *LEGACY_ENCODINGS):
        lines = io.StringIO(head.decode(encoding, "replace"), newline="").readlines()[:_SAMPLE]
        for delimiter in _DELIMITERS:
            # Half a cell at the head's end may be an open quote.
            with suppress(csv.Error):
                rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
                if any(_folded(cell) == wanted for row in rows for cell in row):
                    return encoding
    return "utf-8"


def _lines(texts: Iterator[str], name: str) -> Iterator[list[str]]:
    """Whole physical lines, some at a time: one that never ends must not fill the memory."""
    rest = ""
    number = 0
    for text in texts:
        if "\0" in text:
            line = number + 1 + text.count("\n", 0, text.index("\0"))
            raise InputError(
                f"{name}, line {line}: a NUL byte: a binary or damaged file, or UTF-16 without its mark: "
                "save it as CSV in UTF-8"
            )
        if not number and not rest:
            _refuse_markup(text, name)
        # Not str.splitlines, which also splits at characters that end no line of a CSV.
        lines = io.StringIO(rest + text, newline="").readlines()
        # The last one may go on in the next block, even where it ends in half of a CR LF.
        rest = lines.pop() if lines else ""
        if len(rest) > _LONGEST_LINE:
            raise InputError(
                f"{name}, line {number + len(lines) + 1}: longer than {_LONGEST_LINE:,} characters: "
                f"begins {_shown(rest)}: shorten it, or put one seller ID on a line"
            )
        if lines:
            yield lines
        number += len(lines)
    if rest:
        yield [rest]


def _refuse_markup(text: str, name: str) -> None:
    if _MARKUP.match(text):
        raise InputError(
            f"{name}, line 1: an HTML or XML page, no list: was a login page saved instead? Export a CSV"
        )
    if _JSON.match(text):
        raise InputError(f"{name}, line 1: JSON, no list: write a CSV, or one seller ID a line")


class _Records:
    """The records of a CSV with the lines they begin on; a blank line is an empty record.

    While `has_comments`, a line that begins with # is one as well, unless it is a spreadsheet's error value.
    """

    def __init__(self, blocks: Iterator[list[str]], name: str) -> None:
        self._blocks = blocks
        self._name = name
        self._block: list[str] = []
        self._at = 0
        self._taken = 0
        self._between = True
        self.delimiter = ","
        self.line = 1
        self.has_comments = True
        self.physical: list[str] = []
        """The lines of the record read last."""

    def more(self) -> bool:
        """Whether any line is left."""
        while self._at >= len(self._block):
            block = next(self._blocks, None)
            if block is None:
                return False
            self._block, self._at = block, 0
        return True

    def ahead(self) -> list[str]:
        """What is left of the lines at hand."""
        return self._block[self._at :]

    def skip(self, count: int) -> None:
        """Count lines at hand as read."""
        self._at += count
        self.line += count

    def reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """A reader of `lines` in this list's dialect."""
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=True)

    def at_hand(self) -> Iterator[tuple[int, list[str]]]:
        """The records that begin in the lines at hand; the last may end beyond them."""
        first = self.line
        self._taken = 0
        self._between = True
        try:
            for row in self.reader(self._feed()):
                begun, self.line = self.line, first + self._taken
                self._between = True
                yield begun, row
        except csv.Error as error:
            cause = f"{error}: is a quote missing or one too many on this line?"
            if "limit" in str(error):
                cause = (
                    f"the text that begins here is longer than {_LONGEST_LINE:,} characters: shorten it, or "
                    "close its quote if that was left open"
                )
            raise InputError(f"{self._name}, line {self._opening()}: {cause}") from None

    def _opening(self) -> int:
        """The line on which the last quoted text of the record at hand begins."""
        before: list[str] = []
        with suppress(csv.Error):
            *before, _ = next(self.reader([*self.physical[:_SAMPLE], '"']), [""])
        return self.line + sum(map(_line_breaks, before))

    def all(self) -> Iterator[tuple[int, list[str]]]:
        """Every record that is left."""
        while self.more():
            yield from self.at_hand()

    def _feed(self) -> Iterator[str]:
        own = self._block
        length = 0
        while self.more():
            if self._between and self._block is not own:
                return
            line = self._block[self._at]
            # Inside a quoted field, a line that begins with # is no comment.
            if self._between and self.has_comments and line.lstrip().startswith("#"):
                line = line if _ERROR_LINE.match(line) else "\n"
            if self._between:
                self.physical, length = [line], 0
            else:
                self.physical.append(line)
                length += len(line)
                if length > _LONGEST_RECORD:
                    raise csv.Error(f"over the limit of {_LONGEST_RECORD} characters")
            self._at += 1
            self._taken += 1
            self._between = False
            yield line
        if not self._between:
            raise csv.Error("the quoted text that begins here never ends")


csv.field_size_limit(_LONGEST_LINE)


class _TextList:
    """One pass over a list in text form: find its dialect and column, then hand its cells on."""

    def __init__(self, name: str, column: str | None, found: _Found) -> None:
        self._name = name
        self._column = column
        self._found = found
        self._index = 0
        self._width = 1
        self._alone = True

    def read(self, texts: Iterator[str]) -> None:
        """Read it to its end."""
        records = _Records(_lines(texts, self._name), self._name)
        self._begin(records)
        while records.more():
            lines = records.ahead()
            values = self._quick(lines, records)
            if values is None:
                self._careful(records)
            else:
                self._found.add_text(values, range(records.line, records.line + len(values)))
                records.skip(len(lines))

    def _begin(self, records: _Records) -> None:
        sampled = records.ahead()[:_SAMPLE] if records.more() else []
        try:
            records.delimiter = _delimiter(sampled, self._column)
        except csv.Error:
            # The pass itself meets the same line, and knows its number.
            records.delimiter = ","
        for line, row in records.all():
            cells = [cell.strip() for cell in row]
            if not any(cells) or _EXCEL_SEPARATOR.fullmatch(records.delimiter.join(row)):
                continue
            records.has_comments = False
            self._width = len(cells)
            self._alone = sum(map(bool, cells)) == 1
            if _is_header(cells, self._column):
                self._index = _choose(cells, self._column, f"{self._name}, line {line}")
                # A column without a name may hold something: pandas and R put a nameless index first.
                self._alone = False
                self._refuse_swallowed(row, line, records)
            else:
                self._index = next(at for at, cell in enumerate(cells) if cell)
                self._refuse_swallowed(row, line, records)
                self._headless(cells, line, records)
            return

    def _headless(self, cells: list[str], line: int, records: _Records) -> None:
        """The first record holds entries already: it is one ID, or a whole list on one line."""
        pieces = [piece for cell in cells for piece in cell.split()]
        in_one_line = len(pieces) > 1 and all(map(_ID.fullmatch, pieces))
        # Groups of three are one number, as some countries write it.
        in_one_line &= not self._alone or any(len(piece) > 3 for piece in pieces)
        # A number and an ID are no list of two: the number may count rows.
        in_one_line &= len(pieces) != 2 or abs(len(pieces[0]) - len(pieces[1])) < FAR
        if self._column is None and in_one_line and not _any_filled(records):
            self._found.add_text(pieces, [line] * len(pieces))
            return
        if self._column is not None or in_one_line or not self._alone:
            raise InputError(
                f"{self._name}, line {line}: no header names the column {_shown(self._column or _COLUMN)} "
                f"(this line begins with {_shown(next(filter(None, cells)))}): add a header line without # "
                "before it, or keep the seller IDs alone, one a line"
            )
        self._found.add_text([cells[self._index]], [line])

    def _quick(self, lines: list[str], records: _Records) -> list[str] | None:
        """The cells of lines without quotes and irregularities; None where there are any."""
        text = "".join(lines)
        if '"' in text or (self._alone and self._width > 1):
            return None
        delimiter, width, index = records.delimiter, self._width, self._index
        if width == 1:
            values = [] if delimiter in text else list(map(str.strip, lines))
        else:
            # Without quotes this is what the CSV reader does, in a third of its time.
            rows = map(str.split, lines, repeat(delimiter))
            values = [row[index].strip() for row in rows if len(row) == width]
        return values if len(values) == len(lines) and all(values) else None

    def _careful(self, records: _Records) -> None:
        regular = -1 if self._alone and self._width > 1 else self._width
        values: list[str] = []
        lines: list[int] = []
        for line, row in records.at_hand():
            if records.line - line > 1:
                self._refuse_swallowed(row, line, records)
            cell = row[self._index].strip() if len(row) == regular else ""
            value = cell or self._odd(row, records.delimiter)
            if value is not None:
                values.append(value)
                lines.append(line)
        self._found.add_text(values, lines)

    def _refuse_swallowed(self, row: list[str], begun: int, records: _Records) -> None:
        """Raise `InputError` where a cell spans lines of which two or more look like rows: an open quote."""
        at = 0
        for cell in row:
            breaks = _line_breaks(cell)
            if breaks and len(self._ids_in(records.physical[at : at + breaks + 1], records.delimiter)) > 1:
                raise InputError(
                    f"{self._name}, line {begun + at}: the quote that opens here is closed on line "
                    f"{begun + at + breaks}, and what lies between looks like rows of their own: close it on "
                    'its line, or write "" for a quote that belongs to the text'
                )
            at += breaks

    def _ids_in(self, lines: list[str], delimiter: str) -> set[str]:
        """The IDs that stand where a row has its ID, on lines that look like rows."""
        ids = set[str]()
        for line in lines:
            for cells in (next(csv.reader([line], delimiter=delimiter), []), line.split(delimiter)):
                cell = _cleaned(cells[self._index]).strip('"') if self._index < len(cells) else ""
                if _ID.fullmatch(cell) and (len(cells) == self._width or len(cell) >= _LONG_ID):
                    ids.add(cell)
                    break
        # A text may hold small numbers where a row has its ID.
        longest = max(map(len, ids), default=0)
        return {cell for cell in ids if longest - len(cell) < FAR}

    def _odd(self, row: list[str], delimiter: str) -> str | None:
        filled = [at for at, cell in enumerate(row) if cell.strip()]
        if not filled:
            return None
        # One cell too many may mean that the others stand in each other's places.
        if filled[-1] >= self._width or (self._alone and filled != [self._index]):
            return delimiter.join(row)
        return row[self._index] if self._index < len(row) else ""


def _line_breaks(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def _any_filled(records: _Records) -> bool:
    return any(cell.strip() for _, row in records.all() for cell in row)


def _delimiter(sample: list[str], column: str | None) -> str:
    """The separator that finds the wanted header, or else splits most lines alike."""
    lines = [line for line in sample if line.strip() and not line.lstrip().startswith("#")]
    if lines and (told := _EXCEL_SEPARATOR.fullmatch(lines[0])):
        return told[1]
    wanted = {_COLUMN, _folded(column or _COLUMN)}

    def score(delimiter: str) -> tuple[bool, int, int]:
        rows = [row for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if any(row)]
        width = len(rows[0]) if rows else 0
        if width < 2:
            return False, 0, 0
        alike = sum(len(row) == width for row in rows)
        return any(_folded(cell) in wanted for cell in rows[0]), alike, width

    return max(_DELIMITERS, key=score)


def _is_header(cells: list[str], column: str | None) -> bool:
    wanted = {_COLUMN, _folded(column or _COLUMN)}
    if any(_folded(cell) in wanted for cell in cells):
        return True
    if all(not cell or cell.casefold() in _NO_VALUES or _SPREADSHEET_ERROR.fullmatch(cell) for cell in cells):
        return False
    # A letter in another encoding than UTF-8 is decoded as U+FFFD.
    has_letters = any(c.isalpha() or c == "\ufffd" for cell in cells for c in cell)
    return has_letters and not any(map(_looks_numbered, cells))


def _looks_numbered(cell: str) -> bool:
    """Whether it is an ID, a ruined one, or one with a slip in it, rather than a column's name."""
    digits = sum(c.isdigit() for c in cell)
    return _NUMBERED.fullmatch(cell) is not None and digits * 2 >= len(cell)


def _choose(names: Sequence[str], column: str | None, place: str) -> int:
    wanted = _folded(column or _COLUMN)
    folded = [_folded(name) for name in names]
    if folded.count(wanted) > 1:
        raise InputError(f"{place}: several columns are named {_shown(wanted)}: rename all but one")
    if wanted in folded:
        return folded.index(wanted)
    filled = [at for at, name in enumerate(folded) if not _NAMELESS.fullmatch(name)]
    if len(filled) == 1 and column is None:
        return filled[0]
    near = difflib.get_close_matches(wanted, [folded[at] for at in filled], 1)
    if any("\ufffd" in name for name in names):
        hint = "the file is no UTF-8: save it as CSV UTF-8, then name the column with --column"
    elif near:
        hint = f"did you mean --column {_shown(names[folded.index(near[0])])}?"
    else:
        hint = "name it with --column"
    told = ", ".join(_shown(names[at]) for at in filled[:20])
    more = f" and {len(filled) - 20} more" if len(filled) > 20 else ""
    raise InputError(f"{place}: no column {_shown(column or _COLUMN)} among {told or 'none'}{more}: {hint}")


def _folded(name: str) -> str:
    # A Mac types letters and their accents as two characters.
    return unicodedata.normalize("NFC", name).strip("'\"\ufeff \t\r\n\xa0").casefold()


# --- Parquet ----------------------------------------------------------------------------------------


def _read_parquet(file: BinaryIO, head: bytes, column: str | None, found: _Found) -> None:
    import pyarrow as pa  # noqa: PLC0415 - heavy, and not every command reads a list
    import pyarrow.parquet as pq  # noqa: PLC0415

    # The footer is read first, which a pipe cannot do.
    source: Any = file if file.seekable() else io.BytesIO(head + file.read())
    try:
        parquet = pq.ParquetFile(source)
        schema = parquet.schema_arrow
        name = schema.names[_choose(schema.names, column, found.name)]
        _refuse_type(schema.field(name).type, name, found.name)
        row = 1
        for batch in parquet.iter_batches(batch_size=_SLICE, columns=[name]):
            found.add(_as_text(batch.column(0)), range(row, row + len(batch)))
            row += len(batch)
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        raise InputError(
            f"{found.name} cannot be read as Parquet: {_shown(str(error), 200)}: write it again, or as CSV"
        ) from None


def _refuse_type(kind: Any, column: str, name: str) -> None:
    import pyarrow as pa  # noqa: PLC0415

    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_floating(value):
        raise InputError(
            f"{name}: column {_shown(column)} is of type {kind}: an ID of 19 digits is ruined in a floating "
            "point number: write the column as text"
        )
    exact = pa.types.is_decimal(value) and value.scale == 0
    if not exact and not any(
        known(value)
        for known in (
            pa.types.is_integer,
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_null,
        )
    ):
        raise InputError(
            f"{name}: column {_shown(column)} is of type {_shown(str(kind))}: write the seller IDs as text "
            "or as whole numbers"
        )


def _as_text(array: Any) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    plain = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    return plain.cast(pa.string())


# --- IDs --------------------------------------------------------------------------------------------


class _Found:
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
        cleaned = _cleaned(value)
        if _ID.fullmatch(cleaned):
            return cleaned
        self._bad_count += 1
        if len(self._bad) < _KEPT:
            self._bad.append(BadId(line, _shown(value.strip()), _fault(cleaned)))
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
            told = self._told(skipped=skip_bad_ids, may_skip=rounded is None)
            raise InputError(told if rounded is None else f"{told}\n  {self._rounded(rounded, total)}")
        if rounded is not None:
            raise InputError(f"{self.name}: {self._rounded(rounded, total)}")
        if not self._chunks:
            raise InputError(f"{self.name} holds no seller ID: write one a line, under a header or without")
        if sum(chunk.nbytes for chunk in self._chunks) > _MOST_BYTES:
            raise InputError(f"{self.name} is too long for one list: split it")
        ids = _unique(_joined(self._chunks))
        pa.default_memory_pool().release_unused()
        return SellerList(
            self.name, ids, total - len(ids), tuple(self._bad), self._bad_count, tuple(self._warnings(total))
        )

    def _warnings(self, total: int) -> Iterator[str]:
        noticed = self._rounding.noticed()
        if noticed is not None:
            yield f"{self.name}: {self._rounded(noticed, total)}"
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
            self._bad += [BadId(line, _shown(value), reason) for line, value in self._lengths.first(length)]
        self._bad = sorted(self._bad, key=lambda bad: bad.line)[:_KEPT]
        lengths = pa.array(list(far), pa.int32())
        kept = (c.filter(pc.invert(pc.is_in(pc.binary_length(c), value_set=lengths))) for c in self._chunks)
        self._chunks = [chunk for chunk in kept if len(chunk)]

    def _is_rounded_without_repetitions(self) -> bool:
        """Whether it is so where each ID counts once: a few that recur prove nothing."""
        import pyarrow.compute as pc  # noqa: PLC0415

        ids = _unique(_concatenated(self._chunks))
        rounding = Rounding()
        for start in range(0, len(ids), _SLICE):
            some = ids.slice(start, _SLICE)
            rounding.add(some, pc.binary_length(some), range(start, start + len(some)))
        return rounding.is_beyond_chance(len(ids))

    def _rounded(self, sign: Sign, total: int) -> str:
        shown = ", ".join(f"{self.place} {line}: {value}" for line, value in sign.first)
        more = f" and {sign.count - len(sign.first):,} more" if sign.count > len(sign.first) else ""
        return (
            f"{sign.count:,} of {_counted(total, 'seller ID')} look rounded ({shown}{more}): a spreadsheet, "
            "a floating point column or JavaScript keeps 15 to 17 digits of a number, so that they name "
            "others or nobody: export the list again from its source with the IDs as text (in a spreadsheet "
            "import the column as text, in pandas read it with dtype=str, in SQL cast it to text)"
        )

    def _told(self, *, skipped: bool, may_skip: bool) -> str:
        count = f"{self._bad_count:,} bad seller ID{'s' if self._bad_count > 1 else ''}"
        lines = [f"{self.name}: no good seller ID is left: {count}" if skipped else f"{self.name}: {count}"]
        lines += [f"  {self.place} {bad.line}: {bad.value}: {bad.reason}" for bad in self._bad[:_TOLD]]
        if self._bad_count > _TOLD:
            lines.append(f"  and {self._bad_count - _TOLD:,} more")
        if may_skip and not skipped and self._chunks:
            lines.append("  Correct them, or go on without them: --skip-bad-ids")
        return "\n".join(lines)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _concatenated(chunks: list[Any]) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    return pa.concat_arrays(chunks)


def _joined(chunks: list[Any]) -> Any:
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


def _cleaned(value: str) -> str:
    """The text inside a spreadsheet's guards: `="7494..."`, a leading apostrophe, invisible characters."""
    bare = value.strip().strip("\ufeff\u200b\u200e").strip()
    guarded = _GUARDED.fullmatch(bare)
    return (guarded[1] or guarded[2] or "").strip() if guarded else bare


def _fault(value: str) -> str:
    reasons = (
        (
            not value or value.casefold() in _NO_VALUES,
            "no seller ID in this row: fill it in, or remove the row",
        ),
        (
            _SPREADSHEET_ERROR.fullmatch(value),
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
            any(delimiter in value for delimiter in _DELIMITERS),
            "more values than there are columns: put a text that holds a separator in quotes",
        ),
        (True, "no number: a seller ID is 1 to 32 digits (0-9), nothing else"),
    )
    return next(reason for applies, reason in reasons if applies)


def _shown(value: str, most: int = _SHOWN) -> str:
    """For a message: one short line, whatever is in it."""
    # A terminal obeys control characters; repr escapes them.
    return repr(value if len(value) <= most else f"{value[: most - 3]}...")
