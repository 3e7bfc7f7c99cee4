"""The first rows of a table in some order. Open it to change how lists choose the rows that they show."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_LOWEST_WHOLE = -(1 << 63)


def first_rows(rows: pa.Table, top: int, descending: str | None, ascending: Sequence[str]) -> pa.Table:
    """The first `top` rows by a column of numbers, its nulls last, then by columns without nulls."""
    # Arrow 20 selects nothing of no rows, and before 24 no row without a value.
    if not len(rows):
        return rows
    keys: dict[str, Any] = {name: rows[name] for name in ascending}
    order: list[Any] = [(name, "ascending") for name in ascending]
    if descending is not None:
        keys[descending] = _nulls_lowest(rows[descending])
        order.insert(0, (descending, "descending"))
    # The stubs do not know that a table can be ordered.
    table: Any = pa.table(keys)
    return rows.take(pc.select_k_unstable(table, top, order))


def _nulls_lowest(column: Any) -> Any:
    is_whole = pa.types.is_integer(column.type)
    return pc.fill_null(column, pa.scalar(_LOWEST_WHOLE if is_whole else -inf, column.type))
