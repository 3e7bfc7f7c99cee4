"""Segments: the journal's pages as rows, so that their bodies can go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from functools import partial
from operator import attrgetter
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from crawler.models.api import PAGE_SIZE
from crawler.models.errors import OutputError
from crawler.models.page import Reject, RowBatch
from crawler.store.failpoints import reached
from crawler.store.files import fsync, make_private_folder, output_errors
from crawler.store.journal import NOTHING, Journal
from crawler.store.layout import JournalFiles
from crawler.store.raw_pages import write_pages
from crawler.store.records import Record, Segment, StoredPage, blocks
from crawler.store.repair import repair
from crawler.store.schema import SEGMENT_SCHEMA, folders_of
from crawler.store.segment_file import write_segment

SEGMENT_PAGES = 32_768
SEGMENT_BYTES = 16 * 1024 * 1024
"""Bodies that wait at most, in JSON: either limit closes a segment."""
_BLOCK_PAGES = 512
_BLOCK_BYTES = 4 * 1024 * 1024
"""Pages that are read at a time."""
BatchReader = Callable[[Sequence[tuple[str, bytes]]], RowBatch]


class SegmentWriter:
    """Writes the journal, and moves its pages into a segment whenever many of them wait.

    What it holds in memory is always what the journal holds as bodies. Used by one thread at a time; with an
    `executor` (of one thread) segments are written beside further commits, one at a time, and `close` must
    be called. `keeps_raw`: the pages are kept as received beside their rows. `repairs` says what of the
    journal was found damaged at first.
    """

    def __init__(
        self,
        journal: Journal,
        read_batch: BatchReader,
        *,
        segment_pages: int = SEGMENT_PAGES,
        executor: Executor | None = None,
        keeps_raw: bool = False,
    ) -> None:
        self.journal = journal
        self._read_batch = read_batch
        self._segment_pages = segment_pages
        self._executor = executor
        self._keeps_raw = keeps_raw
        self._waiting: list[StoredPage] = []
        self._bytes = 0
        self._begun: tuple[list[StoredPage], Future[Segment]] | None = None
        self.repairs = repair(journal)
        self.remove_strays()
        self._take(journal.waiting())

    def write(self, records: Iterable[Record], noted: Mapping[str, str] = NOTHING) -> None:
        """Write records, and what is noted with them: all is durable when this returns, or none is there."""
        self._take(self.journal.write(records, noted))

    def flush(self) -> None:
        """Move every page that waits into a segment. Raises `OutputError`; the bodies then stay."""
        self._adopt()
        self._begin()
        self._adopt()

    def close(self) -> None:
        """Wait until no segment is being written: the next run may give another one the same name."""
        if self._begun is not None:
            wait([self._begun[1]])

    def _take(self, pages: Iterable[StoredPage]) -> None:
        for page in pages:
            self._waiting.append(page)
            self._bytes += len(page.body)
        if self._begun is not None and self._begun[1].done():
            self._adopt()
        # The journal keeps the bodies of a commit together: a segment ends where a commit does.
        if len(self._waiting) >= self._segment_pages or self._bytes >= SEGMENT_BYTES:
            self._adopt()
            self._begin()

    def _begin(self) -> None:
        """Write the pages that wait to a segment, beside what comes next where there is an executor."""
        if not self._waiting:
            return
        pages, self._waiting, self._bytes = self._waiting, [], 0
        if self._executor is None:
            self._keep(pages, partial(self._write_segment, pages))
        else:
            self._begun = pages, self._executor.submit(self._write_segment, pages)

    def _adopt(self) -> None:
        """Wait for the segment that was begun, if one was. Raises `OutputError`."""
        if self._begun is not None:
            pages, written = self._begun
            self._begun = None
            self._keep(pages, written.result)

    def _keep(self, pages: list[StoredPage], written: Callable[[], Segment]) -> None:
        """Let a segment stand for its pages' bodies; where it could not be written they wait on."""
        try:
            self.journal.adopt(written())
        except OutputError:
            self._waiting = pages + self._waiting
            self._bytes += sum(len(page.body) for page in pages)
            raise
        reached("segment.adopted")

    def _write_segment(self, pages: list[StoredPage]) -> Segment:
        reached("segment.begin")
        self.journal.guard()
        folder = JournalFiles(self.journal.path).segments
        first_seq, last_seq = pages[0].seq, pages[-1].seq
        name = f"{last_seq:012}"
        with output_errors(f"a segment below {folder}"):
            make_private_folder(folder)
            rejected, pieces = write_segment(folder, name, self.read(pages))
            if self._keeps_raw:
                write_pages(folder, name, pages)
            fsync(folder)
            fsync(folder.parent)
        reached("segment.written")
        pa.default_memory_pool().release_unused()
        return Segment(name, first_seq, last_seq, rejected, pieces)

    def remove_strays(self) -> None:
        """Remove files that the journal does not know: of a crash, or of segments that were replaced."""
        known = {segment.name for segment in self.journal.segments()}
        folder = JournalFiles(self.journal.path).segments
        with output_errors(str(folder)):
            for path in folder.glob("*"):
                if path.stem not in known and path.is_file():
                    path.unlink()

    def read(self, pages: list[StoredPage]) -> Iterator[tuple[pa.Table, list[bytes]]]:
        """The rows of some pages by seller, with lines that describe those which could not be kept."""
        # Pages are sorted rather than rows: there are fewer, and they are not copied.
        for block in blocks(sorted(pages, key=attrgetter("seller_id")), _BLOCK_BYTES, _BLOCK_PAGES):
            batch = self._read_batch([(page.seller_id, page.body) for page in block])
            lines = [_reject_line(block[number], reject) for number, reject in batch.rejects]
            yield _segment_table(block, batch.rows), lines


def _segment_table(pages: list[StoredPage], rows: pa.Table) -> pa.Table:
    """The rows of some pages with what their pages know of them."""
    number: Any = rows["page"].combine_chunks()
    known: dict[str, Any] = dict(zip(StoredPage._fields, zip(*pages, strict=True), strict=True))
    known["crawled_at"] = known["received_at"]
    first = [(page_num - 1) * PAGE_SIZE for page_num in known["page_num"]]
    columns: dict[str, Any] = {name: rows[name] for name in rows.column_names}
    columns["folder"] = folders_of(rows["region"])
    columns["position"] = pc.add(rows["place"], pa.array(first, pa.int64()).take(number))
    columns["carried_from"] = pa.nulls(len(rows), pa.date32())
    for name in known.keys() & {*SEGMENT_SCHEMA.names}:
        columns[name] = pa.array(known[name], SEGMENT_SCHEMA.field(name).type).take(number)
    return pa.table([columns[name] for name in SEGMENT_SCHEMA.names], schema=SEGMENT_SCHEMA)


def _reject_line(page: StoredPage, reject: Reject) -> bytes:
    of_page = {"seller_id": page.seller_id, "page_num": page.page_num}
    of_row = {"place": reject.place, "reason": reject.reason, "row": reject.row}
    return orjson.dumps(of_page | of_row, option=orjson.OPT_APPEND_NEWLINE)
