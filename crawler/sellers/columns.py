"""Which column of a table holds the seller IDs, and whether a line is a header.

Open it when a list is refused though its column is there, or another column is read than the one meant.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

from crawler.models.errors import InputError
from crawler.sellers.ids import NO_VALUES, SPREADSHEET_ERROR, shown

SELLER_ID = "seller_id"
_NUMBERED = re.compile(r"[='\"+-]*[0-9][^\s]*")
_NAMELESS = re.compile(r"|unnamed: \d+(_level_\d+)?|__index_level_\d+__")


def holds_wanted_name(cells: Iterable[str], column: str | None) -> bool:
    """Whether one of them names the column of the seller IDs."""
    wanted = {SELLER_ID, folded(column or SELLER_ID)}
    return any(folded(cell) in wanted for cell in cells)


def is_header(cells: list[str], column: str | None) -> bool:
    """Whether a line names columns, rather than holding a first entry."""
    if holds_wanted_name(cells, column):
        return True
    if all(not cell or cell.casefold() in NO_VALUES or SPREADSHEET_ERROR.fullmatch(cell) for cell in cells):
        return False
    # A letter in another encoding than UTF-8 is decoded as U+FFFD.
    has_letters = any(c.isalpha() or c == "\ufffd" for cell in cells for c in cell)
    return has_letters and not any(map(_looks_numbered, cells))


def _looks_numbered(cell: str) -> bool:
    """Whether it is an ID, a ruined one, or one with a slip in it, rather than a column's name."""
    digits = sum(c.isdigit() for c in cell)
    return _NUMBERED.fullmatch(cell) is not None and digits * 2 >= len(cell)


def choose_column(names: Sequence[str], column: str | None, place: str) -> int:
    """The place of the column of the seller IDs; `place` says where its name would be.

    Raises `InputError` where there is none, or more than one.
    """
    wanted = folded(column or SELLER_ID)
    found = [folded(name) for name in names]
    if found.count(wanted) > 1:
        raise InputError(f"{place}: several columns are named {shown(wanted)}: rename all but one")
    if wanted in found:
        return found.index(wanted)
    filled = [at for at, name in enumerate(found) if not _NAMELESS.fullmatch(name)]
    if len(filled) == 1 and column is None:
        return filled[0]
    near = difflib.get_close_matches(wanted, [found[at] for at in filled], 1)
    if any("\ufffd" in name for name in names):
        hint = "the file is no UTF-8: save it as CSV UTF-8, then name the column with --column"
    elif near:
        hint = f"did you mean --column {shown(names[found.index(near[0])])}?"
    else:
        hint = "name it with --column"
    others = ", ".join(shown(names[at]) for at in filled[:20])
    more = f" and {len(filled) - 20} more" if len(filled) > 20 else ""
    raise InputError(
        f"{place}: no column {shown(column or SELLER_ID)} among {others or 'none'}{more}: {hint}"
    )


def folded(name: str) -> str:
    """A column's name as it is compared: without case, quotes and spaces."""
    # A Mac types letters and their accents as two characters.
    return unicodedata.normalize("NFC", name).strip("'\"\ufeff \t\r\n\xa0").casefold()
