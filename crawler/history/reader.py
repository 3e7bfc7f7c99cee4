"""The one reader of what is published: open it to read snapshots in a new way, or to change what damage is.

Rows come some at a time in the order of the files: by seller, then by position. Two snapshots are compared in
bounded memory by asking both for the same sellers, range after range.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.history.footers import Footer, footer_of, union
from crawler.store.layout import REGION_KEY, SELLERS, Layout, dated_folders, parquet_files, run_of
from crawler.store.schema import NEWER_COLUMNS, REGION, SORTING, VIDEO_SCHEMA, region_of

BATCH_ROWS = 65_536
FEW_TEXTS = pa.dictionary(pa.int32(), pa.string())
"""The type of a column of texts of which there are few: only their numbers are copied from row to row."""
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
    def runs(self) -> set[str]:
        """The runs that published them."""
        return {run_of(path) for path in self.paths}

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
        few = [field.name for field in schema if field.type == FEW_TEXTS]
        for path in self.paths:
            require_file(path)
            with reading(path):
                file = pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, read_dictionary=few)
                there = columns_to_read(file, schema, optional)
                # Asked for all row groups at once, Arrow keeps what it needs to read each until the end.
                for number in range(file.num_row_groups):
                    for batch in file.iter_batches(size, [number], there, use_threads=use_threads):
                        yield conformed(pa.Table.from_batches([batch]), schema, path)

    def table(self, schema: pa.Schema, optional: frozenset[str] = frozenset()) -> pa.Table:
        """The same as one table: for `SELLERS`, and for what fits in memory."""
        return pa.concat_tables([schema.empty_table(), *self.batches(schema, optional)])

    def rows_of(
        self, sellers: pa.Array[Any], schema: pa.Schema = VIDEO_SCHEMA, *, use_threads: bool = False
    ) -> Iterator[pa.Table]:
        """Rows of some sellers. Little is read of other sellers but those between the first and the last."""
        if not len(sellers):
            return
        ends = pc.min_max(sellers)
        seller_id = pc.field("seller_id")
        inside: Any = (seller_id >= ends["min"]) & (seller_id <= ends["max"]) & seller_id.isin(sellers)
        yield from _rows_inside(self.paths, inside, schema, use_threads=use_threads)

    def _footers(self) -> Iterator[Footer]:
        for path in self.paths:
            require_file(path)
            with reading(path):
                footer = footer_of(path)
            yield footer


def carried_before(files: SnapshotFiles, day: date, schema: pa.Schema = VIDEO_SCHEMA) -> Iterator[pa.Table]:
    """Rows of `VIDEOS` that were carried from a date before a day. Little is read where there are none."""
    inside = pc.field("carried_from") < pa.scalar(day, pa.date32())
    return _rows_inside(files.paths, inside, schema, use_threads=False)


def _rows_inside(
    paths: tuple[Path, ...], inside: Any, schema: pa.Schema, *, use_threads: bool
) -> Iterator[pa.Table]:
    import pyarrow.dataset as ds  # noqa: PLC0415 - heavy, and most runs carry nothing

    # Else Arrow reads a file ahead of a slow reader, up to all of it.
    scan = ds.ParquetFragmentScanOptions(pre_buffer=False)
    in_pieces = ds.ParquetFileFormat(default_fragment_scan_options=scan)
    for path in paths:
        require_file(path)
        with reading(path):
            source = ds.dataset(str(path), schema=VIDEO_SCHEMA, format=in_pieces)
            has_region = is_in_region_folder(path)
            names = [name for name in schema.names if not (has_region and name == REGION)]
            for batch in source.to_batches(
                columns=names,
                filter=inside,
                batch_size=BATCH_ROWS,
                batch_readahead=16 if use_threads else 1,
                use_threads=use_threads,
            ):
                yield conformed(pa.Table.from_batches([batch]), schema, path)


def require_file(path: Path) -> None:
    """Raise `UnreadableError` where there is no such file."""
    # To open a pipe would wait for ever.
    if not path.is_file():
        raise UnreadableError(f"{path} is missing or is no file")


def columns_to_read(file: pq.ParquetFile, schema: pa.Schema, optional: Collection[str]) -> list[str]:
    """Those columns of a schema that a file of `VIDEOS` or `SELLERS` has.

    Raises `LookupError` where others are missing than `optional` ones and those of later versions.
    """
    there = [name for name in schema.names if name in file.schema_arrow.names]
    missing = set(schema.names) - set(there) - {*optional, *NEWER_COLUMNS}
    if missing:
        raise LookupError(f"it has no column {', '.join(sorted(missing))}")
    return there


def conformed(rows: pa.Table, schema: pa.Schema, path: Path) -> pa.Table:
    """Rows of a file with the columns of a schema: those that are missing are null.

    The region is taken from the file's folder where that is a region's.
    """
    there = set(rows.column_names)
    columns = [
        _as(field.type, rows[field.name])
        if field.name in there
        else _repeated(region_of(path.parent.name) if field.name == REGION else None, field.type, len(rows))
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def is_in_region_folder(path: Path) -> bool:
    """Whether the folder of a file says the region of its rows."""
    return path.parent.name.startswith(REGION_KEY)


def _as(kind: Any, column: Any) -> Any:
    if column.type == kind:
        return column
    return column.dictionary_encode() if kind == FEW_TEXTS else column.cast(kind)


def _repeated(value: str | None, kind: Any, count: int) -> Any:
    """A column with one value."""
    if value is None:
        return pa.nulls(count, kind)
    if kind == FEW_TEXTS:
        numbers = pa.repeat(pa.scalar(0, pa.int32()), count)
        return pa.DictionaryArray.from_arrays(numbers, pa.array([value]))
    return pa.repeat(pa.scalar(value, kind), count)
