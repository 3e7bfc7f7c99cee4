"""Segments made anew from the raw pages that were kept beside them: a journal's rows are read once more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.store import journal_sql as sql
from crawler.store.checksums import with_checksum
from crawler.store.failpoints import reached
from crawler.store.files import fsync, link_if_there, output_errors
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles, segment_pages
from crawler.store.raw_pages import pages_of_journal, stored_pages
from crawler.store.records import Segment, StoredPage
from crawler.store.segment_file import (
    free_segment_name,
    intact_batches,
    intact_lines,
    page_of_line,
    write_segment,
)

Blocks = Iterator[tuple[pa.Table, list[bytes]]]
RowReader = Callable[[list[StoredPage]], Blocks]


@dataclass(slots=True)
class SegmentsAnew:
    """A journal whose rows were read anew; `undo` gives it back those that it had.

    `pages` were read, `kept` have the rows that they had since their answers are not there, `lost` says why
    where that is damage.
    """

    journal: Journal
    pages: int = 0
    kept: int = 0
    lost: list[str] = field(default_factory=list)
    _replaced: list[tuple[Segment, Segment]] = field(default_factory=list)

    @classmethod
    def read(cls, journal: Journal, read_rows: RowReader) -> SegmentsAnew:
        """Read the rows of every raw page of a journal anew; each page must be in a segment.

        Raises `OutputError`; then nothing has changed.
        """
        anew = cls(journal)
        folder = JournalFiles(journal.path).segments
        with output_errors(f"a segment below {folder}"):
            anew._replaced.extend(anew._read_segments(read_rows))
            fsync(folder)
        reached("rebuild.read")
        anew._replace(anew._replaced)
        reached("rebuild.adopted")
        return anew

    def undo(self) -> None:
        """Let the journal have the rows that it had. Raises `OutputError`."""
        self._replace((new, old) for old, new in self._replaced)

    def _replace(self, pairs: Iterable[tuple[Segment, Segment]]) -> None:
        with self.journal.changing() as db:
            for old, new in pairs:
                db.execute(sql.DELETE_SEGMENT, (old.name,))
                db.execute(sql.INSERT_SEGMENT, with_checksum(new))

    def _read_segments(self, read_rows: RowReader) -> Iterator[tuple[Segment, Segment]]:
        for segment in self.journal.segments():
            tables = [*pages_of_journal(self.journal, segment.name, self.lost)]
            pages = [page for table in tables for page in stored_pages(table)]
            known = self.journal.pages_between(segment.first_seq, segment.last_seq)
            pages = [page for page in pages if page.seq in known]
            self.pages += len(pages)
            self.kept += len(known) - len(pages)
            if pages:
                yield segment, self._written(segment, pages, read_rows(pages))

    def _written(self, segment: Segment, pages: list[StoredPage], read: Blocks) -> Segment:
        """The segment with the rows that were read anew, and those of its other pages as they are."""
        folder = JournalFiles(self.journal.path).segments
        seqs = pa.array([page.seq for page in pages], pa.int64())
        keys = {(page.seller_id, page.page_num) for page in pages}
        blocks = [*read]
        old = [pa.Table.from_batches([batch]) for batch in intact_batches(folder, segment)]
        others = [table.filter(pc.invert(pc.is_in(table["seq"], value_set=seqs))) for table in old]
        lines = [line for line in intact_lines(folder, segment) if page_of_line(line) not in keys]
        rows: Any = pa.concat_tables([*(table for table, _ in blocks), *others])
        if any(map(len, others)):
            rows = rows.sort_by("seller_id")
        lines += chain.from_iterable(new for _, new in blocks)
        name = free_segment_name(self.journal, segment)
        rejected, pieces = write_segment(folder, name, [(rows, lines)])
        link_if_there(segment_pages(folder, segment.name), segment_pages(folder, name))
        return Segment(name, segment.first_seq, segment.last_seq, rejected, pieces)
