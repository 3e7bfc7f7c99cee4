"""A seller list in Parquet: its column's type must hold an ID of 19 digits."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from crawler.models.errors import InputError
from crawler.sellers.cells import choose_column, shown
from crawler.sellers.entries import Entries
from crawler.sellers.listing import SLICE

_EXACT = (
    pa.types.is_integer,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_null,
)
"""Of which an ID keeps all its digits, besides decimals without a fraction."""


def read_parquet(file: BinaryIO, head: bytes, column: str | None, entries: Entries) -> None:
    """Add the cells of the list's column; `head` is what was read of the file already.

    Raises `InputError` where it cannot be read, or its column's type ruins an ID.
    """
    # The footer is read first, which a pipe cannot do.
    source: Any = file if file.seekable() else io.BytesIO(head + file.read())
    try:
        parquet = pq.ParquetFile(source)
        schema = parquet.schema_arrow
        name = schema.names[choose_column(schema.names, column, entries.name)]
        _refuse_type(schema.field(name).type, f"{entries.name}: column {shown(name)}")
        row = 1
        for batch in parquet.iter_batches(batch_size=SLICE, columns=[name]):
            cells: Any = batch.column(0)
            plain = cells.dictionary_decode() if pa.types.is_dictionary(cells.type) else cells
            entries.add(plain.cast(pa.string()), range(row, row + len(batch)))
            row += len(batch)
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        raise InputError(
            f"{entries.name} cannot be read as Parquet: {shown(str(error), 200)}: write it again, or as CSV"
        ) from None


def _refuse_type(kind: Any, column: str) -> None:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_floating(value):
        raise InputError(
            f"{column} is of type {kind}: an ID of 19 digits is ruined in a floating point number: write the "
            "column as text"
        )
    is_whole = pa.types.is_decimal(value) and value.scale == 0
    if not is_whole and not any(is_exact(value) for is_exact in _EXACT):
        raise InputError(
            f"{column} is of type {shown(str(kind))}: write the seller IDs as text or as whole numbers"
        )
