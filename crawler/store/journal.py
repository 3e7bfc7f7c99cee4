"""The journal of one crawl date: pages are written and read here; its other parts are its attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

from crawler.models.page import NO_NOTES
from crawler.store import journal_sql as sql
from crawler.store.checksums import with_checksum
from crawler.store.failpoints import reached
from crawler.store.former_crawls import FormerCrawls
from crawler.store.journal_database import JournalDatabase
from crawler.store.journal_meta import read_meta, require_meta, write_meta
from crawler.store.journal_reader import JournalReader
from crawler.store.journal_rows import (
    compressed,
    decompressed,
    ending_row,
    joined_bodies,
    page_row,
    stored_page,
    write_notes,
)
from crawler.store.records import Record, Segment, StoredPage
from crawler.store.seller_states import CarriedSellers, SellerStates


class Journal:
    """One SQLite file for a crawl date and generation; used by one thread at a time.

    `guard` is called before anything is written by a path beside it, and raises where that must not be.

    Raises `OutputError` where it cannot be written, `InputError` where it is of a format that is not read.
    """

    def __init__(self, path: Path, *, survive_power_loss: bool = True, only_read: bool = False) -> None:
        self.path = path
        self.database = JournalDatabase(path, survive_power_loss=survive_power_loss, only_read=only_read)
        self.guard: Callable[[], None] = lambda: None
        self.sellers = SellerStates(self.database)
        self.carried = CarriedSellers(self.database)
        self.former = FormerCrawls(self.database)
        self.reader = JournalReader(self.database, self.former)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.database.connection.close()

    def write(self, records: Iterable[Record]) -> list[StoredPage]:
        """Write a group of records: all are durable when this returns, or none is there.

        Returns their pages as stored.
        """
        records = list(records)
        pages = [(r, r.page) for r in records if r.page is not None]
        numbered = list(enumerate(pages, start=self.database.last_seq + 1))
        endings = [ending_row(r, r.ending) for r in records if r.ending is not None]
        bodies = [
            (last, first, len(joined), *compressed(joined))
            for first, last, joined in joined_bodies((seq, page.body) for seq, (_, page) in numbered)
        ]
        costs = [with_checksum((r.seller_id, r.credits)) for r in records if r.page is None and r.credits]
        noted = [r for r in records if r.notes is not NO_NOTES]
        reached("commit.begin")
        with self.database.changing() as db:
            db.executemany(sql.INSERT_PAGE, [page_row(seq, record, page) for seq, (record, page) in numbered])
            db.executemany(sql.INSERT_BODY, bodies)
            db.executemany(sql.END_SELLER, endings)
            db.executemany(sql.ADD_COST, costs)
            for record in noted:
                write_notes(db, record.seller_id, record.notes)
            reached("commit.written")
        reached("commit.durable")
        self.database.last_seq += len(numbered)
        return [stored_page(seq, record, page) for seq, (record, page) in numbered]

    def waiting(self) -> Iterator[StoredPage]:
        """Pages that are in no segment, in the order received; the journal may be written meanwhile."""
        db, last = self.database.connection, self.database.one(sql.LAST_SEGMENT)
        while body := db.execute(sql.NEXT_BODY, (last,)).fetchone():
            pages = db.execute(sql.PAGES_OF_BODY, (last, body[0])).fetchall()
            joined = decompressed(body[1], sum(page[-1] for page in pages))
            begin = 0
            for *page, size in pages:
                yield StoredPage._make([*page, joined[begin : begin + size]])
                begin += size
            last = body[0]

    def adopt(self, segment: Segment) -> None:
        """Let a durable segment take the place of its pages' bodies."""
        with self.database.changing() as db:
            db.execute(sql.INSERT_SEGMENT, with_checksum(segment))
            db.execute(sql.DELETE_BODIES, (segment.last_seq,))

    def segments(self) -> list[Segment]:
        """Every segment, the oldest first."""
        return [Segment(*row) for row in self.database.connection.execute(sql.SEGMENTS)]

    @property
    def last_seq(self) -> int:
        """How many pages were received so far."""
        return self.database.last_seq

    @property
    def has_pages(self) -> bool:
        """Whether any page was received."""
        return self.database.last_seq > 0

    def meta(self, name: str) -> str | None:
        """A value noted beside the pages; None where there is none, or damage left none."""
        return read_meta(self.database, name)

    def note(self, **values: str) -> None:
        """Note values beside the pages, durably."""
        with self.database.changing() as db:
            write_meta(db, values)

    def require(self, **expected: str) -> None:
        """Hold a resumed crawl to the sorting that its pages were asked for with.

        Raises `InputError` where that is another one, `OutputError` where damage left it unknown.
        """
        require_meta(self.database, expected)
        self.note(**expected)
