"""Raw pages: the answers that rows were read from, kept beside these so that they can be read anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.store.checksums import page_checksum
from crawler.store.files import fsync, make_private_file
from crawler.store.journal import Journal
from crawler.store.layout import RAW, JournalFiles, Layout, parquet_files, segment_pages
from crawler.store.records import StoredPage, blocks
from crawler.store.schema import RAW_FILE_SCHEMA, RAW_SCHEMA

_GROUP_BYTES = 1 << 20
"""Bytes of answers in a row group: damage costs one of them."""
_SEQ: pa.Field[Any] = pa.field("seq", pa.int64())
_OF_JOURNAL = RAW_SCHEMA.append(_SEQ)


def write_pages(folder: Path, name: str, pages: Iterable[StoredPage]) -> None:
    """Write the pages of a segment to a private file, which is durable then; its name is not yet."""
    path = segment_pages(folder, name)
    make_private_file(path)
    with _written(path, _OF_JOURNAL) as file:
        for block in blocks(pages, _GROUP_BYTES):
            file.write_table(_table(block))
    fsync(path)


def publish_pages(journal: Journal, path: Path, published: Sequence[Path]) -> list[str]:
    """Write the raw pages of a date's snapshot to one file, if there are any; returns what is lost of them.

    They are those of the crawls that the journal publishes, as far as they were kept. For sellers whose rows
    come from the published snapshot, they are taken from the files `published`.
    """
    lost: list[str] = []
    tables = (table for table in _shown(journal, published, lost) if len(table))
    first = next(tables, None)
    if first is None:
        return lost
    path.parent.mkdir(parents=True)
    with _written(path, RAW_FILE_SCHEMA) as file:
        file.write_table(first)
        for table in tables:
            file.write_table(table)
    return lost


def published_raw(data: Path, day: date) -> list[Path]:
    """The files of a date's raw pages."""
    return parquet_files(Layout(data).snapshot(RAW, day))


def pages_of_journal(journal: Journal, name: str, lost: list[str]) -> Iterator[pa.Table]:
    """The raw pages of a journal's segment that are intact, some at a time; none where none were kept."""
    path = segment_pages(JournalFiles(journal.path).segments, name)
    if path.exists():
        yield from intact_pages(path, lost, _OF_JOURNAL)


def intact_pages(path: Path, lost: list[str], schema: pa.Schema = RAW_SCHEMA) -> Iterator[pa.Table]:
    """The pages of a file that are intact by their checksums; `lost` gets a sentence for each damage."""
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        lost.append(f"{path} cannot be read: {error}")
        return
    with file:
        for number in range(file.num_row_groups):
            rows = _intact_group(file, number, schema)
            whole = file.metadata.row_group(number).num_rows
            if len(rows) < whole:
                lost.append(f"{path}: {whole - len(rows)} of its {file.metadata.num_rows} pages are damaged")
            yield rows


def stored_pages(rows: pa.Table) -> list[StoredPage]:
    """Pages of a segment as they were when it was written."""
    names = ("seq", "seller_id", "page_num", "crawled_at", "request_id", "run_id")
    values = [rows[name].cast(pa.int64()) if name == "crawled_at" else rows[name] for name in names]
    columns = [column.to_pylist() for column in values]
    bodies = (str(answer).encode() for answer in rows["answer"].to_pylist())
    return [StoredPage._make(page) for page in zip(*columns, bodies, strict=True)]


def _intact_group(file: pq.ParquetFile, number: int, schema: pa.Schema) -> pa.Table:
    """The pages of a row group whose checksums are right."""
    try:
        rows = file.read_row_group(number, use_threads=False).select(schema.names).cast(schema)
        names = ("seller_id", "page_num", "answer", "checksum")
        pages: Any = zip(*(rows[name].to_pylist() for name in names), strict=True)
        intact = [
            page_checksum(seller, number, text.encode()) == known for seller, number, text, known in pages
        ]
    except (pa.ArrowException, OSError, LookupError, UnicodeError, AttributeError):
        return schema.empty_table()
    return rows if all(intact) else rows.filter(pa.array(intact, pa.bool_()))


def _shown(journal: Journal, published: Sequence[Path], lost: list[str]) -> Iterator[pa.Table]:
    """The raw pages of what is published, some at a time; those of an earlier snapshot are older."""
    taken_over = [c.seller.seller_id for c, _ in journal.previous.all() if c.seller.is_published]
    if taken_over:
        ids = pa.array(taken_over, pa.string())
        for path in published:
            for rows in intact_pages(path, lost):
                yield rows.filter(pc.is_in(rows["seller_id"], value_set=ids))
    for segment in journal.segments():
        for rows in pages_of_journal(journal, segment.name, lost):
            if len(rows):
                yield rows.filter(_are_shown(journal, rows["seq"].to_pylist())).select(RAW_SCHEMA.names)


def _are_shown(journal: Journal, numbers: list[Any]) -> pa.Array[Any]:
    """Whether each page, by its number, is of the crawl of its seller that is published; they ascend."""
    sellers = journal.pages_between(numbers[0], numbers[-1])
    if journal.previous.has_renewed:
        is_shown = journal.previous.is_shown
        sellers = {number: seller for number, seller in sellers.items() if is_shown(seller, number)}
    return pa.array([number in sellers for number in numbers], pa.bool_())


def _table(pages: list[StoredPage]) -> pa.Table:
    known: dict[str, Any] = dict(zip(StoredPage._fields, zip(*pages, strict=True), strict=True))
    known["crawled_at"], known["answer"] = known["received_at"], known["body"]
    known["checksum"] = [page_checksum(page.seller_id, page.page_num, page.body) for page in pages]
    arrays = [pa.array(known[field.name], field.type) for field in _OF_JOURNAL]
    return pa.Table.from_arrays(arrays, schema=_OF_JOURNAL)


def _written(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    repeated: Any = ["seller_id", "run_id"]
    # Of answers they would be whole ones.
    with_statistics: Any = [name for name in schema.names if name != "answer"]
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=repeated,
        write_statistics=with_statistics,
        write_page_checksum=True,
    )
