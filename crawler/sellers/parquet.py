"""A seller list in Parquet: its column's type must hold an ID of 19 digits."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from crawler.models.errors import InputError
from crawler.sellers.columns import choose_column
from crawler.sellers.ids import Found, shown
from crawler.sellers.listing import SLICE

MAGIC = b"PAR1"


def read(file: BinaryIO, head: bytes, column: str | None, found: Found) -> None:
    """Hand on the cells of its column; `head` is what was read of the file already.

    Raises `InputError` where it cannot be read, or its column's type ruins an ID.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy, and not every command reads a list
    import pyarrow.parquet as pq  # noqa: PLC0415

    # The footer is read first, which a pipe cannot do.
    source: Any = file if file.seekable() else io.BytesIO(head + file.read())
    try:
        parquet = pq.ParquetFile(source)
        schema = parquet.schema_arrow
        name = schema.names[choose_column(schema.names, column, found.name)]
        _refuse_type(schema.field(name).type, name, found.name)
        row = 1
        for batch in parquet.iter_batches(batch_size=SLICE, columns=[name]):
            found.add(_as_text(batch.column(0)), range(row, row + len(batch)))
            row += len(batch)
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        raise InputError(
            f"{found.name} cannot be read as Parquet: {shown(str(error), 200)}: write it again, or as CSV"
        ) from None


def _refuse_type(kind: Any, column: str, name: str) -> None:
    import pyarrow as pa  # noqa: PLC0415

    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_floating(value):
        raise InputError(
            f"{name}: column {shown(column)} is of type {kind}: an ID of 19 digits is ruined in a floating "
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
            f"{name}: column {shown(column)} is of type {shown(str(kind))}: write the seller IDs as text "
            "or as whole numbers"
        )


def _as_text(array: Any) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    plain = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    return plain.cast(pa.string())
