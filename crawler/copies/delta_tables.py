"""The copy as Delta tables: each night is replaced in one commit a table, the videos last.

The only module that knows deltalake, which is an extra. A table lies in a folder of its own, never in the
dataset's `videos/`: its log would break those who scan that folder.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake

from crawler.copies.parts import DamagedFileError, LocalFile, Part, damage_in
from crawler.copies.places import Place
from crawler.store.failpoints import reached
from crawler.store.layout import CHANGES, SELLERS, UNDATED_KINDS, VIDEOS, published_file, run_of
from crawler.store.schema import REGION, region_of

_DATE = "crawl_date"
_ORDER = (SELLERS, CHANGES, VIDEOS)
_BATCH_ROWS = 16_384
_RECENT = 5
_RETENTION = timedelta(days=7)
"""How long a file that is no longer needed stays, for who reads an earlier version."""
_RUN, _DAY, _CONTENT = "crawler.run_id", "crawler.crawl_date", "crawler.content"


class DeltaTables:
    """The tables below an address. Whatever is done raises what deltalake raises where the storage fails.

    `known` names the parts that were sent before as they are: of these it is only asked if they are there.
    """

    def __init__(self, place: Place, known: Collection[str] = ()) -> None:
        self._known = frozenset(known)
        self._root = place.address
        self._options = _options_of(place)

    def send(self, data: Path, part: Part) -> int | None:
        """Replace a part in each table; returns the bytes that were read, None where all was there before.

        Raises `DamagedFileError` where a file here is damaged: then the tables stay as they were.
        """
        if part.name in self._known & self._there:
            return None
        if damage := damage_in(data, part):
            raise DamagedFileError(damage)
        kinds = (part.name,) if part.crawl_date is None else _ORDER
        sent = [self._replace(data, part, kind) for kind in kinds]
        return sum(filter(None, sent)) if any(each is not None for each in sent) else None

    def tidy(self, _grace_s: float) -> int:
        """Remove files that no version of the last week needs; returns how many."""
        return sum(len(self._vacuumed(kind)) for kind in (*_ORDER, *UNDATED_KINDS))

    @cached_property
    def _there(self) -> frozenset[str]:
        """The parts that the tables had before this copy, whatever their content.

        The history of a table is no help there: it forgets commits, and older nights are many commits ago.
        """
        dated = [self._table(kind) for kind in _ORDER]
        undated = [kind for kind in UNDATED_KINDS if self._table(kind) is not None]
        if dated[-1] is None or None in dated:
            return frozenset(undated)
        return frozenset(undated) | {partition[_DATE] for partition in dated[-1].partitions()}

    def _replace(self, data: Path, part: Part, kind: str) -> int | None:
        files = [file for file in part.files if file.kind == kind]
        commit = CommitProperties(custom_metadata=_metadata_of(part, files))
        if self._has(kind, part, files):
            return None
        predicate = None if part.crawl_date is None else f"{_DATE} = '{part.crawl_date}'"
        uri = f"{self._root}/{kind}"
        if not files:
            table = self._table(kind)
            if table is not None:
                table.delete(predicate, commit_properties=commit)
            return 0
        write_deltalake(
            uri,
            _rows_of(data, part, files),
            mode="overwrite",
            predicate=predicate,
            partition_by=None if predicate is None else [_DATE],
            # Later versions of this program may have more columns.
            schema_mode="merge",
            storage_options=self._options,
            writer_properties=WriterProperties(compression="ZSTD"),
            commit_properties=commit,
        )
        reached("copy.table")
        return sum(published_file(data, file.name).stat().st_size for file in files)

    def _has(self, kind: str, part: Part, files: Sequence[LocalFile]) -> bool:
        """Whether the table's last commit of the part is of these files: who died did not come to say so."""
        table = self._table(kind)
        if table is None:
            return False
        wanted = _metadata_of(part, files)
        commits = (commit for commit in table.history(_RECENT) if commit.get(_DAY) == wanted[_DAY])
        newest: Mapping[str, Any] = next(commits, {})
        return newest.get(_CONTENT) == wanted[_CONTENT]

    def _vacuumed(self, kind: str) -> list[str]:
        table, hours = self._table(kind), int(_RETENTION.total_seconds() // 3600)
        if table is None or not table.vacuum(hours):
            return []
        return table.vacuum(hours, dry_run=False)

    def _table(self, kind: str) -> DeltaTable | None:
        uri = f"{self._root}/{kind}"
        if not DeltaTable.is_deltatable(uri, self._options):
            return None
        return DeltaTable(uri, storage_options=self._options)


def _rows_of(data: Path, part: Part, files: Sequence[LocalFile]) -> pa.RecordBatchReader:
    """The rows of published files, some at a time, with the keys of their folders as columns."""
    schema = _schema_of(data, part, files)
    batches = (batch for file in files for batch in _batches_of(data, part, file, schema))
    return pa.RecordBatchReader.from_batches(schema, batches)


def _schema_of(data: Path, part: Part, files: Sequence[LocalFile]) -> pa.Schema:
    """What all files have together. Anything may be null: later versions may leave columns out."""
    schemas = [pq.read_schema(published_file(data, file.name)) for file in files]
    fields = {field.name: pa.field(field.name, field.type) for schema in schemas for field in schema}
    if files[0].kind == VIDEOS:
        fields.setdefault(REGION, pa.field(REGION, pa.string()))
    if part.crawl_date is not None:
        fields[_DATE] = pa.field(_DATE, pa.date32())
    return pa.schema([*fields.values()])


def _batches_of(data: Path, part: Part, file: LocalFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    keys = {
        REGION: region_of(PurePosixPath(file.name).parent.name),
        _DATE: part.crawl_date and date.fromisoformat(part.crawl_date),
    }
    with pq.ParquetFile(published_file(data, file.name)) as parquet:
        for batch in parquet.iter_batches(_BATCH_ROWS, use_threads=False):
            columns = [
                batch.column(field.name).cast(field.type)
                if field.name in batch.schema.names
                else pa.repeat(pa.scalar(keys.get(field.name), field.type), len(batch))
                for field in schema
            ]
            yield pa.record_batch(columns, schema=schema)


def _metadata_of(part: Part, files: Sequence[LocalFile]) -> dict[str, str]:
    """What a commit says of itself: the run that published the files, their date, and their fingerprint."""
    content = Part(part.name, tuple(files)).fingerprint
    runs = sorted({run_of(Path(file.name)) for file in files})
    return {_RUN: ", ".join(runs), _DAY: part.name, _CONTENT: content}


def _options_of(place: Place) -> dict[str, str]:
    """Where the storage is, as deltalake has it; who may use it is taken from the environment."""
    options = {}
    if place.endpoint is not None:
        options["endpoint"] = place.endpoint
        options["allow_http"] = str(place.endpoint.startswith("http://")).lower()
    if place.region is not None:
        options["region"] = place.region
    return options
