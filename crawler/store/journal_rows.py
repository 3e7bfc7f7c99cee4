"""Records as rows of the journal's tables, and bodies compressed: open it to change what a page keeps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from zlib import crc32

import pyarrow as pa

from crawler.models.page import Page, PageNotes, last_id_hash
from crawler.models.seller import Ending
from crawler.store import journal_sql as sql
from crawler.store.checksums import page_checksum, with_checksum
from crawler.store.records import Record, StoredPage

_JOINED_BYTES = 1024 * 1024
_CODEC = pa.Codec("lz4")


def compressed(joined: bytes) -> tuple[bytes, int]:
    """Joined bodies as they are stored, and the checksum of that."""
    blob = _CODEC.compress(joined, asbytes=True)
    return blob, crc32(blob)


def decompressed(blob: bytes, size: int) -> bytes:
    """Stored bodies of `size` bytes."""
    return _CODEC.decompress(blob, size, asbytes=True)


def joined_bodies(bodies: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, int, bytes]]:
    """Bodies one after another, with the first and the last one's `seq`: alike, they compress well."""
    waiting: list[bytes] = []
    size = first = last = 0
    for last, body in bodies:
        first = first if waiting else last
        waiting.append(body)
        size += len(body)
        if size >= _JOINED_BYTES:
            yield first, last, b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield first, last, b"".join(waiting)


def page_row(seq: int, record: Record, page: Page) -> tuple[object, ...]:
    """A page as a row of the table `page`."""
    return with_checksum(
        (
            seq,
            page.seller_id,
            page.page_num,
            page.row_count or 0,
            page.fingerprint,
            page.received_at,
            page.request_id,
            record.run_id,
            record.credits,
            len(page.body),
            _as_stored(page.total),
            None if page.last_value is None else _as_stored(page.last_value),
            last_id_hash(page),
            page.rejected,
            page_checksum(page.seller_id, page.page_num, page.body),
        )
    )


def _as_stored(value: float) -> float:
    """A real number as SQLite gives it back: it knows no negative zero."""
    return float(value) + 0.0


def write_notes(db: sqlite3.Connection, seller_id: str, notes: PageNotes) -> None:
    """Keep, in a transaction that is open, what a page said beyond its rows."""
    gaps = [with_checksum((seller_id, *gap, 0)) for gap in notes.gaps]
    db.executemany(sql.SET_GAP, gaps)
    if notes.repaired_beyond is not None:
        db.execute(sql.REPAIR_GAPS, (seller_id, notes.repaired_beyond))
    if notes.match is not None:
        source, videos, _ = notes.match
        db.execute(sql.SET_MATCH, with_checksum((seller_id, source.isoformat(), videos)))


def add_costs(db: sqlite3.Connection, credit: Iterable[tuple[str, int]]) -> None:
    """Note, in a transaction that is open, what sellers cost beside their pages."""
    db.executemany(sql.ADD_COST, [with_checksum(item) for item in credit if item[1]])


def stored_page(seq: int, record: Record, page: Page) -> StoredPage:
    """A page as segments are built from it."""
    return StoredPage(
        seq, page.seller_id, page.page_num, page.received_at, page.request_id, record.run_id, page.body
    )


def ending_row(record: Record, ending: Ending) -> tuple[object, ...]:
    """How a seller ended as a row of the table `seller`."""
    return with_checksum(
        (
            record.seller_id,
            ending.status,
            ending.stop_reason,
            ending.error,
            int(ending.retriable),
            record.run_id,
        )
    )
