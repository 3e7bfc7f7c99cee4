"""Building a snapshot, and what it may replace: read this before you change when a run publishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler import events
from crawler.history.carried import PinnedRows
from crawler.history.reader import SnapshotFiles, UnreadableError, columns_of
from crawler.models.errors import CarriedRowsLostError
from crawler.nightly.night import Night, Notes
from crawler.nightly.world import World
from crawler.sellers.listing import missing
from crawler.store.files import output_errors, write_whole
from crawler.store.journal import Journal
from crawler.store.layout import SELLERS, VIDEOS, JournalFiles
from crawler.store.schema import SELLER_SCHEMA
from crawler.store.segments import SegmentWriter
from crawler.store.snapshot import RowCounts, SnapshotPlan

_BUILDS = 4
"""Attempts to build a snapshot: each but the last may find damage in a file that rows are carried from."""
_WITH_PAGES = columns_of(SELLER_SCHEMA, "seller_id", "pages")
_IDS = columns_of(SELLER_SCHEMA, "seller_id")
_SLICE = 65_536
_CHECKSUM_BYTES = 4


def build(
    world: World, segments: SegmentWriter, plan: Callable[[], SnapshotPlan], on_lost: Callable[[], object]
) -> RowCounts:
    """Build and publish a snapshot; where carried rows are lost, `on_lost` is called, and it is tried again.

    Raises `OutputError`; the earlier snapshot is then whole and still there.
    """
    # Noted first: the run's files tell that this journal was published.
    journal = segments.journal
    journal.note(publishing=f"{journal.meta('publishing') or ''} {plan().run_id}")
    for _ in range(_BUILDS - 1):
        try:
            return world.publish(segments, plan())
        except CarriedRowsLostError:
            on_lost()
    return world.publish(segments, plan())


def leave_out_lost(journal: Journal, plan: SnapshotPlan, notes: list[str]) -> None:
    """Publish without the rows that can no longer be carried, where no run asks for their sellers again."""
    if lost := PinnedRows(journal, plan.data, plan.crawl_date).lost:
        journal.carried.give_up(lost)
        notes.append(f"rows of {len(lost)} sellers can no longer be carried, and are not published")


def give_up_lost(
    night: Night, journal: Journal, notes: Notes, then: str = "the next run of this date reads them in full"
) -> int:
    """Let sellers go on whose rows can no longer be carried; returns how many.

    `then` says in the note what becomes of them.
    """
    carried = PinnedRows(journal, night.data, night.crawl_date)
    for damage in carried.damages:
        notes.add(events.CARRIED_ROWS_DAMAGED(damage=damage))
    if carried.kept:
        notes.add(events.CARRIED_ROWS_KEPT(sellers=len(carried.kept), crawl_date=night.crawl_date))
    lost = carried.lost
    if lost:
        journal.carried.give_up(lost)
        others = len(lost) - sum(night.listed.contains(lost))
        rest = f" ({others} of them are not in the list and keep their first page only)" if others else ""
        notes.add(
            events.CARRIED_ROWS_LOST(sellers=len(lost), then_words=then, not_listed=others, rest_words=rest)
        )
    return len(lost)


class ReplaceGuard:
    """Which sellers a journal must have ended before it may replace a snapshot that it did not build.

    Those of the list that it was begun with, and those that the snapshot has pages of. They are kept beside
    the journal.
    """

    def __init__(self, journal: Journal, data: Path, crawl_date: date) -> None:
        self._journal = journal
        self._data, self._crawl_date = data, crawl_date
        self._path = JournalFiles(journal.path).required_sellers

    @property
    def is_ours(self) -> bool:
        """Whether what is published, if anything is, was built from this journal."""
        runs = (self._journal.meta("publishing") or "").split()
        published = self._files(VIDEOS).runs
        return not published or not published.isdisjoint(runs)

    def disown(self) -> None:
        """Take what is published for another journal's, since this one is to lose some of its pages."""
        self._journal.note(publishing="")

    def record_required_sellers(self, listed: pa.Array[Any]) -> None:
        """Note once which sellers must end: those listed, and those that the snapshot has pages of."""
        if self.is_ours or self._required() is not None:
            return
        others = pc.unique(missing(self._published(), slices(listed)))
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"seller_id": pa.chunked_array([listed, others])}), sink)
        content = bytes(sink.getvalue())
        with output_errors(str(self._path)):
            write_whole(self._path, content + crc32(content).to_bytes(_CHECKSUM_BYTES), private=True)

    def _required(self) -> pa.Array[Any] | None:
        """The sellers that were noted; None where none were, or the file is damaged."""
        with output_errors(str(self._path)), suppress(FileNotFoundError):
            whole = self._path.read_bytes()
            content, checksum = whole[:-_CHECKSUM_BYTES], whole[-_CHECKSUM_BYTES:]
            if crc32(content) == int.from_bytes(checksum):
                return pq.ParquetFile(pa.BufferReader(content)).read()["seller_id"].combine_chunks()
        return None

    def may_replace(self, listed: pa.Array[Any]) -> bool:
        """Whether this journal may publish."""
        if self.is_ours:
            return True
        wanted, required = [listed], self._required()
        wanted += [] if required is None else [required]
        return not any(len(missing(ids, self._journal.sellers.settled())) for ids in wanted)

    def _files(self, kind: str) -> SnapshotFiles:
        return SnapshotFiles.published(self._data, kind, self._crawl_date)

    def _published(self) -> pa.Array[Any]:
        """The sellers that the snapshot has pages of, or rows of where `sellers/` cannot be read."""
        chunks: list[pa.Array[Any]] = [pa.array([], pa.string())]
        for file in self._files(SELLERS).each():
            try:
                table = file.table(_WITH_PAGES)
                chunks += table.filter(pc.field("pages") > 0)["seller_id"].chunks
            except UnreadableError:
                chunks += self._with_videos()
        return pa.concat_arrays(chunks)

    def _with_videos(self) -> Iterator[pa.Array[Any]]:
        """The sellers that `videos/` has rows of, as far as it can be read."""
        for file in self._files(VIDEOS).each():
            with suppress(UnreadableError):
                for rows in file.batches(_IDS):
                    yield pc.unique(rows["seller_id"].combine_chunks())


def slices(ids: pa.Array[Any]) -> Iterator[pa.Array[Any]]:
    """Some IDs of an array at a time."""
    for start in range(0, len(ids), _SLICE):
        yield ids.slice(start, _SLICE)
