"""Reading a seller list from a file or standard input, whatever form it has."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from crawler.models.encodings import as_text
from crawler.models.errors import InputError
from crawler.sellers.cells import folded, shown
from crawler.sellers.listing import SellerList
from crawler.sellers.records import decoded_blocks
from crawler.sellers.text import TextList

_HEAD = 65_536
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


def read_sellers(source: str, *, column: str | None = None, skip_bad_ids: bool = False) -> SellerList:
    """Read a seller list from a path, or from standard input for `-`.

    Raises `InputError` where the list cannot be read or found, has no such column, holds no seller,
    or (unless `skip_bad_ids`) holds entries that are no seller IDs; it names the file, the line, the
    value and what to do.
    """
    from crawler.sellers.entries import Entries  # noqa: PLC0415 - heavy, and `check` may read no list
    from crawler.sellers.parquet import read_parquet  # noqa: PLC0415 - same

    name = "standard input" if source == "-" else as_text(source)
    if column is not None and not folded(column):
        raise InputError("--column is empty: name the column that holds the seller IDs")
    entries = Entries(name, "line")
    try:
        with _opened(source, name) as file:
            head = file.read(_HEAD)
            _refuse_foreign(head, name)
            if head.startswith(b"PAR1"):
                entries.place = "row"
                read_parquet(file, head, column, entries)
            else:
                TextList(decoded_blocks(file, head, column), name, column, entries).read()
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from None
    return entries.result(skip_bad_ids=skip_bad_ids)


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
        raise InputError(f"{shown(source)} is no file name: {error}") from None


def _nearest_file(path: Path) -> str:
    try:
        with os.scandir(path.parent) as entries:
            siblings = [entry.name for entry in islice(entries, 1000)]
    except OSError:
        return f": the folder {shown(str(path.parent))} cannot be listed either"
    near = difflib.get_close_matches(path.name, siblings, 1)
    return f": did you mean {shown(near[0])}?" if near else ": is its path right?"


def _refuse_foreign(head: bytes, name: str) -> None:
    if head.startswith(b"PK\x03\x04"):
        workbook = b"[Content_Types].xml" in head or b"xl/" in head or b"opendocument" in head
        what = "an Excel workbook: save it as CSV" if workbook else "a zip archive: unpack it first"
        raise InputError(f"{name} is {what}")
    for magic, what in _FOREIGN.items():
        if head.startswith(magic):
            raise InputError(f"{name} is {what}")
