"""The journal of one crawl date: pages are written and read here; its other parts are its attributes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self
from zlib import crc32

import pyarrow as pa

from crawler.models.errors import InputError
from crawler.models.page import NO_NOTES, Page, PageNotes, last_id_hash
from crawler.models.seller import Ending
from crawler.store import journal_sql as sql
from crawler.store.checksums import page_checksum, with_checksum
from crawler.store.failpoints import reached
from crawler.store.journal_database import JournalDatabase
from crawler.store.journal_sellers import CarriedSellers, JournalReader, SellerStates
from crawler.store.previous_crawls import PreviousCrawls
from crawler.store.records import Record, Segment, StoredPage, blocks
from crawler.store.sqlite import damaged

_JOINED_BYTES = 1024 * 1024
"""Bodies of a commit that are compressed together: they are alike."""
_CODEC = pa.Codec("lz4")
NOTHING: Mapping[str, str] = MappingProxyType({})


class Journal(JournalDatabase):
    """One SQLite file for a crawl date and generation; used by one thread at a time.

    `guard` is called before anything is written by a path beside it, and raises where that must not be.
    Raises `OutputError` where it cannot be written, `InputError` where it is of a format that is not read.
    """

    last_seq: int
    """How many pages were received so far."""

    def __init__(self, path: Path, *, survive_power_loss: bool = True, only_read: bool = False) -> None:
        super().__init__(path, survive_power_loss=survive_power_loss, only_read=only_read)
        self.guard: Callable[[], None] = lambda: None
        self.sellers = SellerStates(self)
        self.carried = CarriedSellers(self)
        self.previous = PreviousCrawls(self)
        self.reader = JournalReader(self, self.previous)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.connection.close()

    def write(self, records: Iterable[Record], noted: Mapping[str, str] = NOTHING) -> list[StoredPage]:
        """Write a group of records: all are durable on return, or none is. Returns their pages as stored.

        Values are `noted` with them.
        """
        records = list(records)
        pages = [(r, r.page) for r in records if r.page is not None]
        numbered = list(enumerate(pages, start=self.last_seq + 1))
        page_rows = [_page_row(seq, record, page) for seq, (record, page) in numbered]
        stored = [_stored_page(seq, record, page) for seq, (record, page) in numbered]
        bodies = [
            body_row(some[0].seq, some[-1].seq, b"".join(page.body for page in some))
            for some in blocks(stored, _JOINED_BYTES)
        ]
        endings = [_ending_row(r, r.ending) for r in records if r.ending is not None]
        costs = [with_checksum((r.seller_id, r.credits)) for r in records if r.page is None and r.credits]
        with_notes = [r for r in records if r.notes is not NO_NOTES]
        reached("commit.begin")
        with self.changing() as db:
            db.executemany(sql.INSERT_PAGE, page_rows)
            db.executemany(sql.INSERT_BODY, bodies)
            db.executemany(sql.END_SELLER, endings)
            db.executemany(sql.ADD_COST, costs)
            for record in with_notes:
                _write_notes(db, record.seller_id, record.notes)
            if noted:
                self.set_meta(noted)
            reached("commit.written")
        reached("commit.durable")
        self.last_seq += len(stored)
        return stored

    def waiting(self) -> Iterator[StoredPage]:
        """Pages that are in no segment, in the order received; the journal may be written meanwhile."""
        db, last = self.connection, self.one(sql.LAST_SEGMENT)
        while body := db.execute(sql.NEXT_BODY, (last,)).fetchone():
            pages = db.execute(sql.PAGES_OF_BODY, (last, body[0])).fetchall()
            joined = decompressed(body[1], sum(page[-1] for page in pages))
            begin = 0
            for *page, size in pages:
                yield StoredPage._make([*page, joined[begin : begin + size]])
                begin += size
            last = body[0]

    def pages_between(self, first: int, last: int) -> dict[int, str]:
        """The seller of each page that is known between two numbers, by its number."""
        return dict(self.connection.execute(sql.PAGES_BETWEEN, {"first": first, "last": last}).fetchall())

    def adopt(self, segment: Segment) -> None:
        """Let a durable segment take the place of its pages' bodies."""
        with self.changing() as db:
            db.execute(sql.INSERT_SEGMENT, with_checksum(segment))
            db.execute(sql.DELETE_BODIES, (segment.last_seq,))

    def segments(self) -> list[Segment]:
        """Every segment, the oldest first."""
        return [Segment(*row) for row in self.connection.execute(sql.SEGMENTS)]

    @property
    def has_pages(self) -> bool:
        """Whether any page was received."""
        return self.last_seq > 0

    def note(self, **values: str) -> None:
        """Note values beside the pages, durably."""
        with self.changing():
            self.set_meta(values)

    def require(self, **expected: str) -> None:
        """Hold a resumed crawl to the sorting that its pages were asked for with.

        Raises `InputError` where that is another one, `OutputError` where damage left it unknown.
        """
        for name, value in expected.items() if self.has_pages else ():
            found = self.meta(name)
            if found is None:
                raise damaged(self.path, f"{name} of its pages is lost")
            if found != value:
                raise InputError(
                    f"this crawl date was begun with {name} {found}, not {value}: their pages do not fit "
                    f"together; use --{name} {found}, or crawl the date anew with --fresh"
                )
        self.note(**expected)


def body_row(first_seq: int, last_seq: int, joined: bytes) -> tuple[int, int, int, bytes, int]:
    """Joined bodies as a row of the table `body`."""
    blob = _CODEC.compress(joined, asbytes=True)
    return last_seq, first_seq, len(joined), blob, crc32(blob)


def decompressed(blob: bytes, size: int) -> bytes:
    """Stored bodies of `size` bytes."""
    return _CODEC.decompress(blob, size, asbytes=True)


def add_costs(db: sqlite3.Connection, credit: Iterable[tuple[str, int]]) -> None:
    """Note, in a transaction that is open, what sellers cost beside their pages."""
    db.executemany(sql.ADD_COST, [with_checksum(item) for item in credit if item[1]])


def _stored_page(seq: int, record: Record, page: Page) -> StoredPage:
    received = (page.seller_id, page.page_num, page.received_at, page.request_id)
    return StoredPage(seq, *received, record.run_id, page.body)


def _page_row(seq: int, record: Record, page: Page) -> tuple[object, ...]:
    received = (seq, page.seller_id, page.page_num, page.row_count or 0, page.fingerprint, page.received_at)
    asked = (page.request_id, record.run_id, record.credits, len(page.body))
    # SQLite knows no negative zero.
    last_value = None if page.last_value is None else page.last_value + 0.0
    values = (page.total + 0.0, last_value, last_id_hash(page), page.rejected)
    checksum = page_checksum(page.seller_id, page.page_num, page.body)
    return with_checksum((*received, *asked, *values, checksum))


def _ending_row(record: Record, ending: Ending) -> tuple[object, ...]:
    known = (ending.status, ending.stop_reason, ending.error, int(ending.retriable))
    return with_checksum((record.seller_id, *known, record.run_id))


def _write_notes(db: sqlite3.Connection, seller_id: str, notes: PageNotes) -> None:
    db.executemany(sql.SET_GAP, [with_checksum((seller_id, *gap, 0)) for gap in notes.gaps])
    if notes.repaired_beyond is not None:
        db.execute(sql.REPAIR_GAPS, (seller_id, notes.repaired_beyond))
    if notes.match is not None:
        source, videos, _ = notes.match
        db.execute(sql.SET_MATCH, with_checksum((seller_id, source.isoformat(), videos)))
