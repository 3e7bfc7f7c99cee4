"""What one cell of a list is: a seller ID, a column's name, or neither, and then why.

Open it when an entry or a column is refused, or another column is read than the one meant.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

from crawler.models.errors import InputError

SELLER_ID = "seller_id"
_NUMBERED = re.compile(r"[='\"+-]*[0-9][^\s]*")
_NAMELESS = re.compile(r"|unnamed: \d+(_level_\d+)?|__index_level_\d+__")
ID = re.compile(r"[0-9]{1,32}")
SPREADSHEET_ERROR = re.compile(r"#(?:\w/\w|NV|[^\sa-z]+[!?])")
NO_VALUES = {"null", "(null)", "nan", "na", "n/a", "n.a.", "none", "nil", "<na>", "nat", "\\n", "-"}
DELIMITERS = ",;\t|"
FAR = 5
"""IDs whose lengths differ by so many digits do not come from the same source."""
_IN_POWERS_OF_TEN = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]*)?[eE][+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*|,0*)")
_GUARDED = re.compile(r"=?\"+(.*?)\"+|=?'(.*?)'?", re.DOTALL)


def cleaned(value: str) -> str:
    """The text inside a spreadsheet's guards: `="7494..."`, a leading apostrophe, invisible characters."""
    bare = value.strip().strip("\ufeff\u200b\u200e").strip()
    guarded = _GUARDED.fullmatch(bare)
    return (guarded[1] or guarded[2] or "").strip() if guarded else bare


def reason_against(value: str) -> str:
    """Why a text is no seller ID, and what to do."""
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
            _IN_POWERS_OF_TEN.fullmatch(value),
            "a spreadsheet ruined this ID: format the column as text and export it again from its source",
        ),
        (_DECIMAL.fullmatch(value), "a number with decimals: format the column as text and export it again"),
        (value.isascii() and value.isdigit(), "longer than 32 digits: is a separator missing?"),
        (
            any(delimiter in value for delimiter in DELIMITERS),
            "more values than there are columns: put a text that holds a separator in quotes",
        ),
        (True, "no number: a seller ID is 1 to 32 digits (0-9), nothing else"),
    )
    return next(reason for applies, reason in reasons if applies)


def shown(value: str, most: int = 60) -> str:
    """For a message: one short line, whatever is in it."""
    # A terminal obeys control characters; repr escapes them.
    return repr(value if len(value) <= most else f"{value[: most - 3]}...")


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
    """The number of the seller IDs' column, else `InputError`; `place` says where its name would be."""
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
