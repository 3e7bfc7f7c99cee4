"""Segments: the journal's pages as rows in Parquet, so that their bodies can go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from crawler.errors import InputError
from crawler.models import API_COLUMNS, PAGE_SIZE, PageRows, Reject
from crawler.store.failpoints import reached
from crawler.store.files import fsync_file, fsync_folder, told_as_output_error
from crawler.store.journal import Journal, Record, Segment, StoredPage
from crawler.store.schema import NO_REGION, SEGMENT_SCHEMA, region_folder

SEGMENT_PAGES = 32_768
SEGMENT_BYTES = 24 * 1024 * 1024
"""Bodies that wait at most, in JSON: either bound closes a segment."""

_BATCH_ROWS = 8192
_ROW_GROUP = 2048

RowReader = Callable[[str, bytes], PageRows]


class Staging:
    """Writes the journal, and moves its pages into a segment whenever many of them wait.

    What it holds in memory is always what the journal holds as bodies. Used by one thread at a time.
    """

    def __init__(self, journal: Journal, read_rows: RowReader, *, segment_pages: int = SEGMENT_PAGES) -> None:
        self.journal = journal
        self._read_rows = read_rows
        self._segment_pages = segment_pages
        self._clear()
        require_segments(journal)
        self._remove_strays()
        self._take(journal.waiting())

    def write(self, records: Iterable[Record]) -> None:
        """Write a group of records: all are durable when this returns, or none is there."""
        self._take(self.journal.write(records))

    def flush(self) -> None:
        """Move every page that waits into a segment. Raises `OutputError`; the bodies then stay."""
        if self._last_seq == 0:
            return
        reached("segment.begin")
        folder = segment_folder(self.journal.path)
        name = f"{self._last_seq:012}"
        with told_as_output_error(f"a segment below {folder}"):
            folder.mkdir(exist_ok=True)
            self._write_parquet(folder / f"{name}.parquet")
            if self._rejects:
                (folder / f"{name}.jsonl").write_bytes(b"".join(self._rejects))
                fsync_file(folder / f"{name}.jsonl")
            fsync_folder(folder)
            fsync_folder(folder.parent)
        reached("segment.written")
        self.journal.adopt(Segment(name, self._last_seq, len(self._rejects)))
        reached("segment.adopted")
        self._clear()
        pa.default_memory_pool().release_unused()

    def _clear(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._columns: dict[str, list[Any]] = {name: [] for name in SEGMENT_SCHEMA.names}
        self._rejects: list[bytes] = []
        self._pages = self._bytes = self._last_seq = 0

    def _remove_strays(self) -> None:
        """Remove files that a crash left before the journal knew of them."""
        known = {segment.name for segment in self.journal.segments()}
        folder = segment_folder(self.journal.path)
        with told_as_output_error(str(folder)):
            for path in folder.glob("*"):
                if path.stem not in known and path.is_file():
                    path.unlink()

    def _take(self, pages: Iterable[StoredPage]) -> None:
        for page in pages:
            self._add(page)
            if self._pages >= self._segment_pages or self._bytes >= SEGMENT_BYTES:
                self.flush()

    def _add(self, page: StoredPage) -> None:
        rows = self._read_rows(page.seller_id, page.body)
        columns = self._columns
        for name, *_ in API_COLUMNS:
            if name != "region":
                columns[name] += rows.values[name]
        for region, extra in zip(rows.values["region"], rows.values["extra"], strict=True):
            folder = region_folder(region)
            columns["folder"].append(folder or NO_REGION)
            columns["extra"].append(extra if folder else _with_region(extra, region))
        columns["position"] += [(page.page_num - 1) * PAGE_SIZE + place for place in rows.places]
        of_page = {
            "seller_id": page.seller_id,
            "page_num": page.page_num,
            "crawled_at": page.received_at,
            "run_id": page.run_id,
            "request_id": page.request_id,
            "carried_from": None,
            "seq": page.seq,
        }
        for name, value in of_page.items():
            columns[name] += [value] * len(rows.places)
        self._rejects += [_reject_line(page, reject) for reject in rows.rejects]
        self._pages += 1
        self._bytes += len(page.body)
        self._last_seq = page.seq
        if len(columns["seq"]) >= _BATCH_ROWS:
            self._close_batch()

    def _close_batch(self) -> None:
        arrays = [pa.array(self._columns[field.name], field.type) for field in SEGMENT_SCHEMA]
        self._batches.append(pa.RecordBatch.from_arrays(arrays, schema=SEGMENT_SCHEMA))
        for values in self._columns.values():
            values.clear()

    def _write_parquet(self, path: Path) -> None:
        self._close_batch()
        table = pa.Table.from_batches(self._batches, SEGMENT_SCHEMA).sort_by("seller_id")
        pq.write_table(
            table,
            path,
            row_group_size=_ROW_GROUP,
            compression="zstd",
            compression_level=1,
            write_statistics=["seller_id"],
        )
        fsync_file(path)


def segment_folder(journal: Path) -> Path:
    """Where the segments of a journal lie."""
    return journal.with_suffix(".segments")


def segment_files(journal: Journal, ending: str) -> list[Path]:
    """The journal's segment files with this ending (`parquet` or `jsonl`), the oldest first."""
    folder = segment_folder(journal.path)
    return [
        folder / f"{segment.name}.{ending}"
        for segment in journal.segments()
        if ending == "parquet" or segment.rejected
    ]


def require_segments(journal: Journal) -> None:
    """Raise `InputError` where a segment is missing or damaged: what was paid for could not be published."""
    for ending, opened in (("parquet", pq.read_metadata), ("jsonl", Path.stat)):
        for path in segment_files(journal, ending):
            try:
                opened(path)
            except (OSError, pa.ArrowException) as error:
                raise InputError(
                    f"{path} is missing or damaged ({error}): restore it, or pay for the crawl date again "
                    "with --fresh"
                ) from None


def _reject_line(page: StoredPage, reject: Reject) -> bytes:
    told = {
        "seller_id": page.seller_id,
        "page_num": page.page_num,
        "place": reject.place,
        "reason": reject.reason,
        "row": reject.row,
    }
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)


def _with_region(extra: str | None, region: str) -> str:
    return orjson.dumps({**(orjson.loads(extra) if extra else {}), "region": region}).decode()
