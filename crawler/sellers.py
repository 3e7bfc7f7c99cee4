"""The seller list: CSV in any dialect, a plain list, Parquet, or standard input."""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from crawler.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_ID = re.compile(r"[0-9]{1,32}", re.ASCII)
_GUARDED = re.compile(r"(?:=\"(.*)\"|'(.*))", re.DOTALL)
_RUINED = re.compile(r"[0-9]+([.,][0-9]+)?[eE]\+?[0-9]+")
_DECIMAL = re.compile(r"[0-9]+[.,][0-9]+")
_CHUNK = 65_536
_SHOWN = 5
_SAMPLE = 64
_DELIMITERS = ",;\t|"
_FOREIGN = {
    b"PAR1": "",
    b"PK\x03\x04": "an Excel workbook or another zip file: save it as CSV",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: unpack it first",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: save it as CSV",
    b"%PDF": "a PDF: export a CSV",
}


@dataclass(frozen=True, slots=True)
class BadId:
    """An entry that is no seller ID: its line (from 1), the value, and what to do."""

    line: int
    value: str
    reason: str


@dataclass(frozen=True, slots=True)
class SellerList:
    """Seller IDs, unique, in order of first appearance, held once in an Arrow array."""

    name: str
    ids: pa.StringArray
    repeated: int
    bad: tuple[BadId, ...]
    bad_count: int

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self.ids), _CHUNK):
            yield from self.ids.slice(start, _CHUNK).to_pylist()  # type: ignore[misc]  # no nulls inside


def read_sellers(source: str, *, column: str | None = None, skip_bad_ids: bool = False) -> SellerList:
    """Read a seller list from a path, or from standard input for `-`.

    Raises `InputError` with the file, the line, the value and what to do.
    """
    name = "standard input" if source == "-" else source
    with _opened(source, name) as file:
        head = file.peek(8192)[:8192]
        _refuse_foreign(head, name)
        if head.startswith(b"PAR1"):
            entries = _parquet_entries(file, name, column)
        else:
            entries = _text_entries(file, head, name, column)
        return _collect(entries, name, skip_bad_ids=skip_bad_ids)


@contextmanager
def _opened(source: str, name: str) -> Iterator[io.BufferedReader]:
    if source == "-":
        yield sys.stdin.buffer  # type: ignore[misc]  # a BufferedReader on every real platform
        return
    path = Path(source)
    if path.is_dir():
        raise InputError(f"{name} is a folder: name the seller list in it")
    try:
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        siblings = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, siblings, 1)
        raise InputError(f"{name}: no such file{f'; did you mean {near[0]}?' if near else ''}") from None
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from None


def _refuse_foreign(head: bytes, name: str) -> None:
    for magic, what in _FOREIGN.items():
        if what and head.startswith(magic):
            raise InputError(f"{name} is {what}")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, b"PAR1")):
        return
    if b"\0" in head:
        raise InputError(f"{name} is a binary file: a CSV, a plain list or Parquet is wanted")
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()[:15].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise InputError(f"{name}, line 1: an HTML or XML page, not a list: was a login page saved instead?")


def _parquet_entries(file: IO[bytes], name: str, column: str | None) -> Iterator[tuple[int, str]]:
    import pyarrow as pa  # noqa: PLC0415 - heavy
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        source = file if file.seekable() else io.BytesIO(file.read())
        parquet = pq.ParquetFile(source)
        names = parquet.schema_arrow.names
        chosen = names[_choose(names, column, name)]
        kind = parquet.schema_arrow.field(chosen).type
        if not (
            pa.types.is_integer(kind)
            or pa.types.is_string(kind)
            or pa.types.is_large_string(kind)
            or pa.types.is_dictionary(kind)
        ):
            raise InputError(f"{name}: column {chosen} is of type {kind}: IDs must be text or whole numbers")
        line = 0
        for batch in parquet.iter_batches(columns=[chosen]):
            for value in batch.column(0).to_pylist():
                line += 1
                yield line, "" if value is None else str(value)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name} cannot be read as Parquet: {error}") from None


def _text_entries(file: IO[bytes], head: bytes, name: str, column: str | None) -> Iterator[tuple[int, str]]:
    utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = io.TextIOWrapper(file, "utf-16" if utf16 else "utf-8-sig", "replace", newline="")
    try:
        yield from _rows_to_entries(text, name, column)
    except csv.Error as error:
        raise InputError(f"{name}: cannot be read as CSV: {error}") from None
    except UnicodeError:
        raise InputError(f"{name} is no readable text: save it as UTF-8") from None
    finally:
        text.detach()


def _rows_to_entries(text: io.TextIOWrapper, name: str, column: str | None) -> Iterator[tuple[int, str]]:
    lines = (line for line in text)
    sample = list(islice(lines, _SAMPLE))
    delimiter = _delimiter(sample)
    reader = csv.reader(
        (_uncommented(line) for line in chain(sample, lines)), delimiter=delimiter, skipinitialspace=True
    )
    index: int | None = None
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if index is None:
            filled = cells if len(cells) > 1 else cells[:1]
            if _is_header(filled, column):
                index = _choose(filled, column, name)
                continue
            if column is not None or (len(filled) > 1 and sum(map(bool, filled)) > 1):
                raise InputError(
                    f"{name}, line {reader.line_num}: no header names the column {column or 'seller_id'}: "
                    "add a header line, or keep the IDs alone"
                )
            index = next(i for i, cell in enumerate(filled) if cell)
        yield reader.line_num, cells[index] if index < len(cells) else ""


def _uncommented(line: str) -> str:
    return "\n" if line.lstrip().startswith("#") else line


def _delimiter(sample: list[str]) -> str:
    first = next((s for s in sample if s.strip() and not s.lstrip().startswith("#")), "")
    bare = re.sub(r'"[^"]*"', "", first)
    counts = {delimiter: bare.count(delimiter) for delimiter in _DELIMITERS}
    best = max(counts, key=lambda d: counts[d])
    return best if counts[best] else ","


def _is_header(cells: list[str], column: str | None) -> bool:
    wanted = _folded(column or "seller_id")
    if any(_folded(cell) == wanted for cell in cells):
        return True
    plausible = any(re.match(r"[='\-+]*\"?[0-9]", cell) for cell in cells)
    return not plausible and any(c.isalpha() for cell in cells for c in cell)


def _choose(names: list[str], column: str | None, name: str) -> int:
    wanted = _folded(column or "seller_id")
    folded = [_folded(n) for n in names]
    if wanted in folded:
        return folded.index(wanted)
    if len(names) == 1 and column is None:
        return 0
    near = difflib.get_close_matches(wanted, folded, 1)
    told = ", ".join(n for n in names[:20] if n)[:300]
    hint = f"; did you mean --column {names[folded.index(near[0])]!r}?" if near else "; name it with --column"
    raise InputError(f"{name}: no column {column or 'seller_id'} among: {told}{hint}")


def _folded(name: str) -> str:
    return name.strip().strip("'\"").strip().casefold()


def _collect(entries: Iterator[tuple[int, str]], name: str, *, skip_bad_ids: bool) -> SellerList:
    import pyarrow as pa  # noqa: PLC0415 - heavy

    chunks: list[Any] = []
    good: list[str] = []
    bad: list[BadId] = []
    bad_count = total = 0
    for line, raw in entries:
        value = raw
        if not _ID.fullmatch(value):
            value = _unguarded(value)
            if not value:
                continue
            reason = _fault(value)
            if reason:
                bad_count += 1
                if len(bad) < _SHOWN:
                    bad.append(BadId(line, _shown(value), reason))
                continue
        total += 1
        good.append(value)
        if len(good) >= _CHUNK:
            chunks.append(pa.array(good, pa.string()))
            good = []
    chunks.append(pa.array(good, pa.string()))
    ids: Any = pa.chunked_array(chunks, pa.string()).unique()
    if bad_count and (not skip_bad_ids or not len(ids)):
        told = "\n".join(f"  line {b.line}: {b.value}: {b.reason}" for b in bad)
        more = f"\n  and {bad_count - len(bad)} more" if bad_count > len(bad) else ""
        raise InputError(
            f"{name}: {bad_count} bad seller IDs (--skip-bad-ids goes on without):\n{told}{more}"
        )
    if not len(ids):
        raise InputError(f"{name}: the list is empty: one seller ID a line is wanted")
    return SellerList(name, ids, total - len(ids), tuple(bad), bad_count)


def _unguarded(value: str) -> str:
    """The text inside a spreadsheet's guards: `="7494..."` or a leading apostrophe."""
    guarded = _GUARDED.fullmatch(value)
    return (guarded[1] or guarded[2] or "").strip() if guarded else value.strip()


def _fault(value: str) -> str | None:
    if _ID.fullmatch(value):
        return None
    if _RUINED.fullmatch(value):
        return "a spreadsheet ruined this ID: format the column as text and export it again"
    if _DECIMAL.fullmatch(value):
        return "a number with decimals: export the column as text"
    return "no seller ID: digits alone are wanted"


def _shown(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:57] + "...")
