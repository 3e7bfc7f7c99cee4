"""A journal's rows part by part, each of a size that memory can hold, however many there are in all.

The segments overlap each other, so each is read once and cut at the parts' borders. A part is a range of
sellers; one that is larger than that is a single seller, and never held whole either.
"""

from __future__ import annotations

import shutil
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.errors import OutputError
from crawler.store.carrying import Carried
from crawler.store.files import told_as_output_error
from crawler.store.journal import Journal, SellerSummary
from crawler.store.schema import SEGMENT_SCHEMA
from crawler.store.segments import segment_files

_PART_BYTES = 24 * 1024 * 1024
_PART_SELLERS = 16_384
_BATCH_ROWS = 8192
_OF_ONE_SELLER = ["video_id", "position", "seq"]

_Way = Literal["ascending", "descending"]


class _Part(NamedTuple):
    """Sellers up to `last`, and how many bytes of JSON they had."""

    last: str
    size: int


def deduplicated(journal: Journal, folder: Path) -> Iterator[tuple[list[SellerSummary], Iterator[pa.Table]]]:
    """Range after range of sellers, with tables of their rows: of each video the one received last.

    Rows come by seller and position. `folder` is made for what lies between, and removed in the end.
    """
    parts = list(_parts(journal.sizes()))
    lasts = [part.last for part in parts]
    with told_as_output_error(str(folder)):
        folder.mkdir(parents=True)
        _distribute(segment_files(journal, "parquet"), lasts, folder)
    by_part = groupby(journal.summaries(), lambda seller: bisect_left(lasts, seller.seller_id))
    formerly = Carried(journal)
    for number, group in by_part:
        sellers, path = list(group), _file(folder, number)
        with told_as_output_error(str(folder)):
            _carry(formerly, sellers, path)
        yield sellers, _tables(path, parts[number].size)
        # What is left of a part in the allocator adds up otherwise.
        pa.default_memory_pool().release_unused()
    shutil.rmtree(folder)


def by_source(sellers: Iterable[SellerSummary]) -> dict[date, list[str]]:
    """Sellers by the snapshot that they matched."""
    found: dict[date, list[str]] = {}
    for seller in sellers:
        if seller.matched is not None:
            found.setdefault(seller.matched, []).append(seller.seller_id)
    return found


def append_rows(path: Path, rows: pa.Table) -> None:
    """Append rows to a file, as one Arrow stream after another."""
    # zstd would save a third of the room, and takes three times as long for pieces as small as these.
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with path.open("ab") as file, pa.ipc.new_stream(file, rows.schema, options=options) as stream:
        stream.write_table(rows)


def stored_rows(path: Path, fields: Sequence[int] = ()) -> Iterator[pa.RecordBatch]:
    """What was appended, in that order; of all columns, or those with these numbers."""
    if not path.exists():
        return
    end = path.stat().st_size
    options = pa.ipc.IpcReadOptions(included_fields=list(fields), use_threads=False)
    with pa.OSFile(str(path), "rb") as file:
        while file.tell() < end:
            yield from pa.ipc.open_stream(file, options=options)


def _parts(sizes: Iterable[tuple[str, int]]) -> Iterator[_Part]:
    last, total, count = "", 0, 0
    for seller_id, size in sizes:
        if count and (total + size > _PART_BYTES or count >= _PART_SELLERS):
            yield _Part(last, total)
            total = count = 0
        last, total, count = seller_id, total + size, count + 1
    if count:
        yield _Part(last, total)


def _file(folder: Path, part: int) -> Path:
    return folder / f"{part}.arrows"


def _distribute(segments: Iterable[Path], lasts: list[str], folder: Path) -> None:
    for segment in segments:
        for batch in pq.ParquetFile(segment, pre_buffer=False).iter_batches(_BATCH_ROWS, use_threads=False):
            sellers: list[Any] = batch["seller_id"].to_pylist()
            start = 0
            while start < len(sellers):
                part = bisect_left(lasts, sellers[start])
                end = bisect_right(sellers, lasts[part], start)
                append_rows(_file(folder, part), pa.Table.from_batches([batch.slice(start, end - start)]))
                start = end


def _carry(formerly: Carried, sellers: Iterable[SellerSummary], path: Path) -> None:
    """Add the rows to a part that its sellers take from earlier snapshots."""
    carried = [seller for seller in sellers if seller.is_carried]
    missing = sum(seller.matched_videos for seller in carried)
    for rows in formerly.pieces(by_source(carried)):
        missing -= len(rows)
        append_rows(path, rows)
    if missing:
        raise OutputError(f"{missing} rows that were to be carried from earlier snapshots are gone")


def _tables(path: Path, size: int) -> Iterator[pa.Table]:
    """A part's rows, deduplicated, in tables of a part's size."""
    if size <= _PART_BYTES:
        rows = pa.Table.from_batches(stored_rows(path), SEGMENT_SCHEMA)
        yield rows.take(_newest(rows, ["seller_id"]))
    else:
        yield from _tables_of_one(path, -(-size // _PART_BYTES))
    path.unlink(missing_ok=True)


def _tables_of_one(path: Path, count: int) -> Iterator[pa.Table]:
    """One seller's rows in `count` tables: only what tells which rows stay is held of all of them."""
    schema = pa.schema([SEGMENT_SCHEMA.field(name) for name in _OF_ONE_SELLER])
    fields = [SEGMENT_SCHEMA.get_field_index(name) for name in _OF_ONE_SELLER]
    batches = (batch.select(_OF_ONE_SELLER) for batch in stored_rows(path, fields))
    numbers = _newest(pa.Table.from_batches(batches, schema), [])
    step = max(1, -(-len(numbers) // count))
    for start in range(0, max(1, len(numbers)), step):
        yield _gathered(path, numbers.slice(start, step))


def _gathered(path: Path, numbers: pa.Array[Any]) -> pa.Table:
    """The rows of one seller that have these numbers."""
    found, first = [], 0
    for batch in stored_rows(path):
        own: Any = pc.subtract(numbers, pa.scalar(first))
        inside = pc.and_(pc.greater_equal(own, pa.scalar(0)), pc.less(own, pa.scalar(len(batch))))
        found.append(batch.take(own.filter(inside)))
        first += len(batch)
    return pa.Table.from_batches(found, SEGMENT_SCHEMA).sort_by(_up(["position", "video_id"]))


def _newest(rows: pa.Table, sellers: list[str]) -> pa.Array[Any]:
    """Numbers of the rows received last of each video, by seller and position.

    `sellers` names the column that tells the sellers apart, where there are several.
    """
    video = [*sellers, "video_id"]
    late_first: list[tuple[str, _Way]] = [("seq", "descending"), ("position", "descending")]
    newest_first = pc.sort_indices(rows, sort_keys=[*_up(video), *late_first])
    changed: Any = _changes(rows[video[0]].take(newest_first))
    for name in video[1:]:
        changed = pc.or_(changed, _changes(rows[name].take(newest_first)))
    kept = newest_first.filter(changed)
    places = rows.select([*video, "position"]).take(kept)
    by_place = pc.sort_indices(places, sort_keys=_up([*sellers, "position", "video_id"]))
    return pc.cast(kept.take(by_place), pa.int64())


def _up(names: Iterable[str]) -> list[tuple[str, _Way]]:
    return [(name, "ascending") for name in names]


def _changes(values: pa.ChunkedArray[Any]) -> pa.Array[Any]:
    """Whether each value differs from the one before it."""
    array = values.combine_chunks()
    if not len(array):
        return pa.array([], pa.bool_())
    return pa.concat_arrays([pa.array([True]), pc.not_equal(array.slice(1), array.slice(0, len(array) - 1))])
