"""The one reader of what is published: open it to read snapshots in a new way, or to change what damage is.

Rows come some at a time in the order of the files: by seller, then by position. Two snapshots are compared in
bounded memory by asking both for the same sellers, range after range.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.history.footers import Footer, footer_of, union
from crawler.store.layout import SELLERS, Layout, dated_folders, parquet_files
from crawler.store.schema import SORTING, VIDEO_SCHEMA

BATCH_ROWS = 65_536
_BUFFER_BYTES = 1 << 20
_FAULTS = (pa.ArrowException, OSError, LookupError, ValueError)
"""What reading a damaged file may raise."""


class UnreadableError(Exception):
    """Something published that cannot be read; the text names the file, and says why."""


@contextmanager
def reading(what: object) -> Iterator[None]:
    """Raise `UnreadableError`, naming `what` is read, where damage makes the reading fail."""
    try:
        yield
    except _FAULTS as error:
        raise UnreadableError(f"{what}: {error}") from None


def columns_of(schema: pa.Schema, *names: str) -> pa.Schema:
    """A schema of some of another's columns."""
    return pa.schema([schema.field(name) for name in names])


def published_dates(data: Path) -> list[date]:
    """The dates that have published files, newest first."""
    dated = dated_folders(data, SELLERS)
    return sorted((day for day, folder in dated if parquet_files(folder)), reverse=True)


@dataclass(frozen=True, slots=True)
class SnapshotFiles:
    """Files of one snapshot: those of its `VIDEOS`, or of its `SELLERS`.

    Whatever reads them raises `UnreadableError` where one is missing, damaged or foreign.
    """

    paths: tuple[Path, ...]

    @classmethod
    def published(cls, data: Path, kind: str, day: date) -> SnapshotFiles:
        """The files in their published places, but for hidden ones."""
        paths = parquet_files(Layout(data).snapshot(kind, day))
        return cls(tuple(path for path in paths if not path.name.startswith((".", "_"))))

    def each(self) -> Iterator[SnapshotFiles]:
        """The files one by one, for a reader that can do without some of them."""
        return (SnapshotFiles((path,)) for path in self.paths)

    @property
    def row_count(self) -> int:
        """How many rows they have."""
        return sum(footer.rows for footer in self._footers())

    @property
    def sorting(self) -> str:
        """What pages were sorted by, and which way; empty where that is not known of the `SELLERS`."""
        return self.metadata.get(SORTING, "")

    @property
    def metadata(self) -> dict[str, str]:
        """What all the files say of themselves alike, by key."""
        noted = [set(footer.metadata.items()) for footer in self._footers()]
        return dict(set.intersection(*noted)) if noted else {}

    @property
    def columns(self) -> frozenset[str]:
        """The columns that all of them have."""
        found = [footer.columns for footer in self._footers()]
        return frozenset.intersection(*found) if found else frozenset()

    @property
    def read_span(self) -> tuple[int, int] | None:
        """When the sellers of `SELLERS` were read first and last, in epoch milliseconds; see `Footer`."""
        return union([footer.span for footer in self._footers() if footer.span is not None])

    def batches(
        self,
        schema: pa.Schema,
        optional: frozenset[str] = frozenset(),
        size: int = BATCH_ROWS,
        *,
        use_threads: bool = True,
    ) -> Iterator[pa.Table]:
        """All rows with the columns of a schema; `optional` ones may be missing, and are null then."""
        for path, file in self._opened():
            with reading(path):
                there = [name for name in schema.names if name in file.schema_arrow.names]
                missing = set(schema.names) - set(there) - optional
                if missing:
                    raise LookupError(f"it has no column {', '.join(sorted(missing))}")
                for batch in file.iter_batches(size, columns=there, use_threads=use_threads):
                    yield _as(schema, pa.Table.from_batches([batch]))

    def table(self, schema: pa.Schema, optional: frozenset[str] = frozenset()) -> pa.Table:
        """The same as one table: for `SELLERS`, and for what fits in memory."""
        return pa.concat_tables([schema.empty_table(), *self.batches(schema, optional)])

    def rows_of(
        self, sellers: pa.Array[Any], schema: pa.Schema = VIDEO_SCHEMA, *, use_threads: bool = False
    ) -> Iterator[pa.Table]:
        """Rows of some sellers. Little is read of other sellers but those between the first and the last."""
        import pyarrow.dataset as ds  # noqa: PLC0415 - heavy, and most runs carry nothing

        if not len(sellers):
            return
        ends = pc.min_max(sellers)
        seller_id = pc.field("seller_id")
        inside: Any = (seller_id >= ends["min"]) & (seller_id <= ends["max"]) & seller_id.isin(sellers)
        for path in self.paths:
            require_file(path)
            with reading(path):
                source = ds.dataset(str(path), schema=VIDEO_SCHEMA, format="parquet")
                for batch in source.to_batches(
                    columns=schema.names,
                    filter=inside,
                    batch_size=BATCH_ROWS,
                    batch_readahead=16 if use_threads else 1,
                    use_threads=use_threads,
                ):
                    yield pa.Table.from_batches([batch])

    def _footers(self) -> Iterator[Footer]:
        for path in self.paths:
            require_file(path)
            with reading(path):
                footer = footer_of(path)
            yield footer

    def _opened(self) -> Iterator[tuple[Path, pq.ParquetFile]]:
        for path in self.paths:
            require_file(path)
            with reading(path):
                file = pq.ParquetFile(path, buffer_size=_BUFFER_BYTES)
            yield path, file


def require_file(path: Path) -> None:
    """Raise `UnreadableError` where there is no such file."""
    # To open a pipe would wait for ever.
    if not path.is_file():
        raise UnreadableError(f"{path} is missing or is no file")


def _as(schema: pa.Schema, rows: pa.Table) -> pa.Table:
    names = rows.column_names
    columns = [
        rows[field.name].cast(field.type) if field.name in names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
