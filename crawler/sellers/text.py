"""A seller list in text form: CSV in any dialect, or one ID a line.

Open it when cells of a list are read from the wrong place, or an open quote swallows rows.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import TYPE_CHECKING

from crawler.models.errors import InputError
from crawler.sellers.cells import FAR, ID, SELLER_ID, choose_column, cleaned, is_header, shown
from crawler.sellers.records import EXCEL_SEPARATOR, Records, line_breaks, lines_of

if TYPE_CHECKING:
    from crawler.sellers.entries import Entries

_MIN_LONG_ID = 10
"""Digits from which on a number is taken for an ID wherever it is on a line."""


class TextList:
    """One pass over a list in text form: find its dialect and column, then hand its cells on."""

    def __init__(self, texts: Iterator[str], name: str, column: str | None, entries: Entries) -> None:
        self._records = Records(lines_of(texts, name), name)
        self._name = name
        self._column = column
        self._entries = entries
        self._index = 0
        self._width = 1
        self._alone = True

    def read(self) -> None:
        """Read it to its end."""
        self._begin()
        while self._records.more():
            self._add_at_hand()

    def _begin(self) -> None:
        records = self._records
        records.find_delimiter(self._column)
        for line, row in records.all():
            cells = [cell.strip() for cell in row]
            if not any(cells) or EXCEL_SEPARATOR.fullmatch(records.delimiter.join(row)):
                continue
            records.has_comments = False
            self._width = len(cells)
            self._alone = sum(map(bool, cells)) == 1
            if is_header(cells, self._column):
                self._index = choose_column(cells, self._column, f"{self._name}, line {line}")
                # A column without a name may hold something: pandas and R put a nameless index first.
                self._alone = False
                self._refuse_swallowed(row, line)
            else:
                self._index = next(at for at, cell in enumerate(cells) if cell)
                self._refuse_swallowed(row, line)
                self._headless(cells, line)
            return

    def _headless(self, cells: list[str], line: int) -> None:
        """The first record holds entries already: it is one ID, or a whole list on one line."""
        pieces = [piece for cell in cells for piece in cell.split()]
        in_one_line = len(pieces) > 1 and all(map(ID.fullmatch, pieces))
        # Groups of three are one number, as some countries write it.
        in_one_line &= not self._alone or any(len(piece) > 3 for piece in pieces)
        # A number and an ID are no list of two: the number may count rows.
        in_one_line &= len(pieces) != 2 or abs(len(pieces[0]) - len(pieces[1])) < FAR
        # What follows is read only where this line may be the whole list.
        if (
            self._column is None
            and in_one_line
            and not any(cell.strip() for _, row in self._records.all() for cell in row)
        ):
            self._entries.add(pieces, [line] * len(pieces))
            return
        if self._column is not None or in_one_line or not self._alone:
            raise InputError(
                f"{self._name}, line {line}: no header names the column {shown(self._column or SELLER_ID)} "
                f"(this line begins with {shown(next(filter(None, cells)))}): add a header line without # "
                "before it, or keep the seller IDs alone, one a line"
            )
        self._entries.add([cells[self._index]], [line])

    def _add_at_hand(self) -> None:
        regular = -1 if self._alone and self._width > 1 else self._width
        values: list[str] = []
        lines: list[int] = []
        for line, row in self._records.at_hand():
            if self._records.line - line > 1:
                self._refuse_swallowed(row, line)
            cell = row[self._index].strip() if len(row) == regular else ""
            value = cell or self._odd(row)
            if value is not None:
                values.append(value)
                lines.append(line)
        self._entries.add(values, lines)

    def _refuse_swallowed(self, row: list[str], begun: int) -> None:
        """Raise `InputError` where a cell spans lines of which two or more look like rows: an open quote."""
        at = 0
        for cell in row:
            breaks = line_breaks(cell)
            if breaks and len(self._ids_in(self._records.physical[at : at + breaks + 1])) > 1:
                raise InputError(
                    f"{self._name}, line {begun + at}: the quote that opens here is closed on line "
                    f"{begun + at + breaks}, and what lies between looks like rows of their own: close it on "
                    'its line, or write "" for a quote that belongs to the text'
                )
            at += breaks

    def _ids_in(self, lines: list[str]) -> set[str]:
        """The IDs in the place where a row has its ID, on lines that look like rows."""
        ids, delimiter = set[str](), self._records.delimiter
        for line in lines:
            for cells in (next(csv.reader([line], delimiter=delimiter), []), line.split(delimiter)):
                cell = cleaned(cells[self._index]).strip('"') if self._index < len(cells) else ""
                if ID.fullmatch(cell) and (len(cells) == self._width or len(cell) >= _MIN_LONG_ID):
                    ids.add(cell)
                    break
        # A text may hold small numbers where a row has its ID.
        longest = max(map(len, ids), default=0)
        return {cell for cell in ids if longest - len(cell) < FAR}

    def _odd(self, row: list[str]) -> str | None:
        filled = [at for at, cell in enumerate(row) if cell.strip()]
        if not filled:
            return None
        # One cell too many may mean that the others are in the wrong columns.
        if filled[-1] >= self._width or (self._alone and filled != [self._index]):
            return self._records.delimiter.join(row)
        return row[self._index] if self._index < len(row) else ""
