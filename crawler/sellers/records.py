"""From bytes to the records of a CSV: encoding, lines, quoted text over many lines, comments."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Any, BinaryIO

from crawler.models.encodings import LEGACY_ENCODINGS, marked_encoding
from crawler.models.errors import InputError
from crawler.sellers.cells import DELIMITERS, SPREADSHEET_ERROR, folded, holds_wanted_name, shown

EXCEL_SEPARATOR = re.compile(r"\"?sep=([,;\t|])\"?\s*", re.IGNORECASE)
_MARKUP = re.compile(r"\s*<[a-z!?]", re.IGNORECASE)
_JSON = re.compile(r"\s*[\[{]\s*[\[{\"\]}0-9]")
_ERROR_LINE = re.compile(rf"\s*\"?{SPREADSHEET_ERROR.pattern}\"?\s*(?:[,;\t|]|$)")
_BLOCK = 1 << 20
_MAX_LINE = 8 << 20
_MAX_RECORD = 16 << 20
"""Characters of a line, and of a record with all its lines."""
_SAMPLE = 64
"""Lines that are looked at to learn a list's dialect."""

csv.field_size_limit(_MAX_LINE)


def decoded_blocks(file: BinaryIO, head: bytes, column: str | None) -> Iterator[str]:
    """The text of a file whose `head` was read already, block by block."""
    encoding = marked_encoding(head) or _likely_encoding(head, column)
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for block in chain([head], iter(lambda: file.read(_BLOCK), b"")):
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


def _likely_encoding(head: bytes, column: str | None) -> str:
    """UTF-8, unless a header names the wanted column in another encoding alone; IDs are the same in all."""
    if column is None or column.isascii():
        return "utf-8"
    wanted = folded(column)
    for encoding in ("utf-8", *LEGACY_ENCODINGS):
        lines = io.StringIO(head.decode(encoding, "replace"), newline="").readlines()[:_SAMPLE]
        for delimiter in DELIMITERS:
            # Half a cell at the head's end may be an open quote.
            with suppress(csv.Error):
                rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
                if any(folded(cell) == wanted for row in rows for cell in row):
                    return encoding
    return "utf-8"


def lines_of(texts: Iterator[str], name: str) -> Iterator[list[str]]:
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
        if len(rest) > _MAX_LINE:
            raise InputError(
                f"{name}, line {number + len(lines) + 1}: longer than {_MAX_LINE:,} characters: "
                f"begins {shown(rest)}: shorten it, or put one seller ID on a line"
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


class Records:
    """The records of a CSV with the lines they begin on; a blank line is an empty record.

    While `has_comments`, a line that begins with # is one as well, unless it is a spreadsheet's error value.
    """

    def __init__(self, blocks: Iterator[list[str]], name: str) -> None:
        self._blocks = blocks
        self._name = name
        self._block: list[str] = []
        self._at = 0
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

    def find_delimiter(self, column: str | None) -> None:
        """Choose the separator by the first lines."""
        # Lines that cannot be read are refused later, when their number is known.
        with suppress(csv.Error):
            self.delimiter = _likely_delimiter(
                self._block[self._at :][:_SAMPLE] if self.more() else [], column
            )

    def _reader(self, lines: Iterable[str]) -> Any:
        return csv.reader(lines, delimiter=self.delimiter, skipinitialspace=True)

    def at_hand(self) -> Iterator[tuple[int, list[str]]]:
        """The records that begin in the lines at hand; the last may end beyond them."""
        first, lines = self.line, self._block[self._at :]
        self._between = True
        is_plain = not (self.has_comments or any('"' in line for line in lines))
        if is_plain:
            # Each line is a record: to watch them one by one takes twice the time.
            self.physical, self._at = [], len(self._block)
        reader = self._reader(lines if is_plain else self._feed())
        try:
            for row in reader:
                begun, self.line = self.line, first + reader.line_num
                self._between = True
                yield begun, row
        except csv.Error as error:
            cause = f"{error}: is a quote missing or one too many on this line?"
            if "limit" in str(error):
                cause = (
                    f"the text that begins here is longer than {_MAX_LINE:,} characters: shorten it, or "
                    "close its quote if that was left open"
                )
            raise InputError(f"{self._name}, line {self._opening()}: {cause}") from None

    def _opening(self) -> int:
        """The line on which the last quoted text of the record at hand begins."""
        before: list[str] = []
        with suppress(csv.Error):
            *before, _ = next(self._reader([*self.physical[:_SAMPLE], '"']), [""])
        return self.line + sum(map(line_breaks, before))

    def all(self) -> Iterator[tuple[int, list[str]]]:
        """Every record that is left."""
        while self.more():
            yield from self.at_hand()

    def _feed(self) -> Iterator[str]:
        own = self._block
        length = 0
        while self.more():
            line = self._block[self._at]
            if self._between:
                if self._block is not own:
                    return
                is_comment = self.has_comments and line.lstrip().startswith("#")
                if is_comment and not _ERROR_LINE.match(line):
                    line = "\n"
                self.physical, length = [line], 0
            else:
                self.physical.append(line)
                length += len(line)
                if length > _MAX_RECORD:
                    raise csv.Error(f"over the limit of {_MAX_RECORD} characters")
            self._at += 1
            self._between = False
            yield line
        if not self._between:
            raise csv.Error("the quoted text that begins here never ends")


def line_breaks(text: str) -> int:
    """How many line ends a text holds, of any kind."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def _likely_delimiter(sample: list[str], column: str | None) -> str:
    """The separator that finds the wanted header, or else splits most lines alike."""
    lines = [line for line in sample if line.strip() and not line.lstrip().startswith("#")]
    if lines and (named := EXCEL_SEPARATOR.fullmatch(lines[0])):
        return named[1]

    def score(delimiter: str) -> tuple[bool, int, int]:
        rows = [row for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if any(row)]
        width = len(rows[0]) if rows else 0
        if width < 2:
            return False, 0, 0
        alike = sum(len(row) == width for row in rows)
        return holds_wanted_name(rows[0], column), alike, width

    return max(DELIMITERS, key=score)
