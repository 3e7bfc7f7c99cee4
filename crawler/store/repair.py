"""Repair of a journal before a run goes on with it: damage costs the pages that it hit, and no others."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import pyarrow as pa
import pyarrow.compute as pc

from crawler.store.checksums import (
    corrected,
    page_checksum,
    row_checksum,
    with_bit_flipped_back,
    with_checksum,
)
from crawler.store.files import fsync, link_if_there, make_private_folder, output_errors
from crawler.store.journal import Journal, add_costs, body_row, decompressed
from crawler.store.layout import JournalFiles, segment_pages
from crawler.store.records import Segment
from crawler.store.schema import SEGMENT_SCHEMA
from crawler.store.segment_file import (
    free_segment_name,
    intact_batches,
    intact_lines,
    is_intact,
    page_of_line,
    write_segment,
)
from crawler.store.sqlite import damaged as database_damaged
from crawler.store.sqlite import database_errors, transaction

_OF_PREVIOUS_CRAWLS = ("anew", "former", "former_page")
"""Without one of these rows it is not known which of a seller's crawls are to be published."""
CHECKED_TABLES = (
    "meta",
    "segment",
    "page",
    "outlay",
    "seller",
    "seam",
    "matched",
    "base",
    *_OF_PREVIOUS_CRAWLS,
)
"""The tables whose rows have checksums; each begins with the columns of its key."""
_MAX_JOINED_BYTES = 1 << 30
"""Bytes of a commit's bodies at most, for their number may itself be damaged."""
_MAX_SEQ = 1 << 62
_MAX_PAGE_CREDITS = 1000
"""What a page can have cost; a larger number in a damaged row is part of the damage."""

# Which sellers a page is missing of, where its row does not say so: those that have ended though their
# pages have a gap, or lack the page that ended them.
_WITHOUT_THEIR_END = """
SELECT seller.seller_id FROM seller LEFT JOIN (
    SELECT seller_id, max(page_num) > count(DISTINCT page_num) AS gap, min(row_count) AS fewest,
        count(*) > count(DISTINCT fingerprint) AS repeats
    FROM page GROUP BY seller_id) AS p USING (seller_id)
WHERE p.gap
    OR (p.gap IS NULL AND status != 'failed')
    OR (stop_reason = 'short_page' AND p.fewest >= 10)
    OR (stop_reason = 'empty_page' AND p.fewest > 0)
    OR (stop_reason = 'repeated_page' AND NOT p.repeats)
    OR (stop_reason = 'carried' AND seller_id NOT IN (SELECT seller_id FROM matched))
"""


@dataclass(slots=True)
class Repairs:
    """What was done: `pages` are asked for again, and so is how `sellers` ended; `corrected` cost nothing."""

    pages: int = 0
    sellers: int = 0
    corrected: int = 0
    rewritten: int = 0
    others: int = 0

    def __str__(self) -> str:
        """What to say of it in a report; empty where nothing was damaged."""
        said = (
            (self.pages, "{} stored pages were damaged or lost: they are asked for again"),
            (self.sellers, "how {} sellers ended was damaged: they are gone on with"),
            (self.corrected, "{} damaged records were corrected by their checksums"),
            (self.rewritten, "{} damaged files of rows were written again from what is intact"),
            (self.others, "{} damaged records were removed that no row depends on"),
        )
        return "; ".join(words.format(number) for number, words in said if number)


class _Page(NamedTuple):
    seq: int
    seller_id: str
    page_num: int
    row_count: int
    credits: int
    size: int
    body_checksum: int

    @property
    def key(self) -> tuple[str, int]:
        return self.seller_id, self.page_num


@dataclass(slots=True)
class _Damage:
    """What was found: pages by `seq` that are lost, and sellers whose ending is no longer certain.

    `credits` is what the pages cost; `doubtful` is the same where the seller's ID may itself be damaged.
    """

    journal: Journal
    folder: Path
    repairs: Repairs = field(default_factory=Repairs)
    pages: set[int] = field(default_factory=set)
    sellers: set[str] = field(default_factory=set)
    credits: Counter[str] = field(default_factory=Counter)
    doubtful: Counter[str] = field(default_factory=Counter)
    has_unknown_sellers: bool = False

    @property
    def db(self) -> sqlite3.Connection:
        return self.journal.connection

    def add(self, pages: Iterable[_Page]) -> None:
        for page in pages:
            if page.seq not in self.pages:
                self.pages.add(page.seq)
                self.sellers.add(page.seller_id)
                self.credits[page.seller_id] += page.credits

    def stored_pages(self, first: int, last: int) -> list[_Page]:
        """The pages that the journal knows, by `seq`; the cost of those of previous crawls is elsewhere."""
        query = """SELECT seq, seller_id, page_num, row_count, credits, size, body_checksum FROM page
            WHERE seq BETWEEN :first AND :last
            UNION ALL SELECT seq, seller_id, page_num, row_count, 0, size, body_checksum FROM former_page
            WHERE seq BETWEEN :first AND :last ORDER BY seq"""
        return [_Page(*row) for row in self.db.execute(query, {"first": first, "last": last})]


def repair(journal: Journal) -> Repairs:
    """Check all that a journal and its segments hold, and remove or correct what is damaged.

    Sellers of which a page was removed go on where it is missing. Raises `OutputError` where the journal's
    structure is damaged, or a file cannot be read for want of permission.
    """
    damage = _Damage(journal, JournalFiles(journal.path).segments)
    with database_errors(journal.path), output_errors(f"a segment below {damage.folder}"):
        damaged_rows = {table: _damaged_rows(damage.db, table) for table in CHECKED_TABLES}
        if any(damaged_rows.values()):
            _correct(damage, damaged_rows)
        rebuilt, bodies = _check_segments(damage), _check_bodies(damage)
        if damage.pages or damage.has_unknown_sellers or rebuilt or bodies:
            _store(damage, rebuilt, bodies)
    damage.repairs.pages, damage.repairs.rewritten = len(damage.pages), len(rebuilt)
    return damage.repairs


def _damaged_rows(db: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    query = f"SELECT * FROM {table}"  # noqa: S608 - one of our tables
    try:
        return [row for row in db.execute(query) if row_checksum(row[:-1]) != row[-1]]
    except sqlite3.OperationalError:
        # A text is no UTF-8 any more.
        db.text_factory = lambda text: text.decode(errors="surrogateescape")
        return [row for row in db.execute(query) if row_checksum(row[:-1]) != row[-1]]
    finally:
        db.text_factory = str


def _correct(damage: _Damage, damaged: dict[str, list[tuple[Any, ...]]]) -> None:
    """Correct the damaged rows that can be, and remove the others."""
    with transaction(damage.db) as db:
        for table, rows in damaged.items():
            for row in rows:
                _delete(db, table, row)
                better = corrected(row)
                if better is not None and _insert(db, table, better):
                    damage.repairs.corrected += 1
                elif table in _OF_PREVIOUS_CRAWLS:
                    raise database_damaged(damage.journal.path, f"table {table}, {row[0]}")
                else:
                    _note_removed(damage, table, row)


def _delete(db: sqlite3.Connection, table: str, row: tuple[Any, ...]) -> None:
    keys = [key for (key,) in db.execute("SELECT name FROM pragma_table_info(?) WHERE pk", (table,))]
    values = [v.encode(errors="surrogateescape") if isinstance(v, str) else v for v in row[: len(keys)]]
    wanted = " AND ".join(
        f"{key} IS CAST(? AS TEXT)" if isinstance(value, bytes) else f"{key} IS ?"
        for key, value in zip(keys, values, strict=True)
    )
    db.execute(f"DELETE FROM {table} WHERE {wanted}", values)  # noqa: S608 - one of our tables


def _insert(db: sqlite3.Connection, table: str, row: tuple[Any, ...]) -> bool:
    with suppress(sqlite3.Error, UnicodeError):
        marks = ", ".join("?" * len(row))
        db.execute(f"INSERT INTO {table} VALUES ({marks})", row)  # noqa: S608 - one of our tables
        return True
    return False


def _note_removed(damage: _Damage, table: str, row: tuple[Any, ...]) -> None:
    """Note what follows from a row that is gone."""
    if table in {"page", "seller", "matched"}:
        # A carried seller whose match is gone has no rows beyond its first page.
        damage.has_unknown_sellers = True
    if table == "page":
        seq, seller_id, credit = row[0], row[1], row[8]
        damage.pages.add(seq)
        if isinstance(seller_id, str) and isinstance(credit, int) and 0 < credit < _MAX_PAGE_CREDITS:
            damage.doubtful[seller_id] += credit
    elif table == "seller":
        damage.repairs.sellers += 1
    elif table != "segment":
        damage.repairs.others += 1


def _check_segments(damage: _Damage) -> list[tuple[Segment, Segment]]:
    """Find pages that no segment and no body has whole; returns damaged segments with their new versions."""
    covered = 0
    damaged: list[tuple[Segment, list[_Page]]] = []
    for segment in damage.journal.segments():
        damage.add(damage.stored_pages(covered + 1, segment.first_seq - 1))
        covered = max(covered, segment.last_seq)
        is_whole = is_intact(damage.folder, segment)
        if is_whole and not any(segment.first_seq <= seq <= segment.last_seq for seq in damage.pages):
            continue
        pages = damage.stored_pages(segment.first_seq, segment.last_seq)
        if not is_whole:
            damage.add(_incomplete(damage.folder, segment, pages))
        damaged.append((segment, pages))
    for first, last in damage.db.execute("SELECT first_seq, seq FROM body ORDER BY seq").fetchall():
        damage.add(damage.stored_pages(covered + 1, first - 1))
        covered = max(covered, last)
    damage.add(damage.stored_pages(covered + 1, _MAX_SEQ))
    return [(segment, _rebuilt(damage, segment, pages)) for segment, pages in damaged]


def _incomplete(folder: Path, segment: Segment, pages: list[_Page]) -> list[_Page]:
    """The pages of which the intact pieces of a segment do not have every row."""
    expected, found = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    for page in pages:
        expected[page.key] += page.row_count
    for batch in intact_batches(folder, segment):
        keys: Any = zip(batch["seller_id"].to_pylist(), batch["page_num"].to_pylist(), strict=True)
        found.update(keys)
    found.update(map(page_of_line, intact_lines(folder, segment)))
    return [page for page in pages if found[page.key] != expected[page.key]]


def _rebuilt(damage: _Damage, segment: Segment, pages: list[_Page]) -> Segment:
    """Write what is intact of a segment to a new one."""
    folder = damage.folder
    make_private_folder(folder)
    name = free_segment_name(damage.journal, segment)
    kept = {page.seq: page.key for page in pages if page.seq not in damage.pages}
    keys, seqs = set(kept.values()), pa.array(list(kept), pa.int64())
    lines = [line for line in intact_lines(folder, segment) if page_of_line(line) in keys]
    tables = (pa.Table.from_batches([batch]) for batch in intact_batches(folder, segment))
    rows = ((table.filter(pc.is_in(table["seq"], value_set=seqs)), list[bytes]()) for table in tables)
    rejected, pieces = write_segment(folder, name, chain(rows, [(SEGMENT_SCHEMA.empty_table(), lines)]))
    link_if_there(segment_pages(folder, segment.name), segment_pages(folder, name))
    fsync(folder)
    return Segment(name, segment.first_seq, segment.last_seq, rejected, pieces)


def _check_bodies(damage: _Damage) -> dict[int, tuple[Any, ...] | None]:
    """Find the pages whose bodies are damaged; returns the new rows of such bodies, None for nothing left."""
    new_rows: dict[int, tuple[Any, ...] | None] = {}
    last = max((segment.last_seq for segment in damage.journal.segments()), default=0)
    query = "SELECT seq, size, lz4, checksum FROM body ORDER BY seq"
    for seq, size, stored, checksum in damage.db.execute(query).fetchall():
        blob = _corrected_blob(stored, checksum)
        pages = damage.stored_pages(last + 1, seq)
        is_whole = not any(last < lost <= seq for lost in damage.pages)
        last = seq
        expected = sum(page.size for page in pages)
        joined = _decompressed(blob, [expected, size] if is_whole else [size])
        intact = _intact_bodies(joined, pages, 0 if is_whole else len(joined) - expected)
        damage.add(page for page in pages if page.seq not in intact)
        damage.repairs.corrected += blob is not stored
        if blob is not stored or not is_whole or len(intact) < len(pages) or len(joined) != expected:
            joined = b"".join(intact.values())
            new_rows[seq] = body_row(min(intact), max(intact), joined) if intact else None
    return new_rows


def _corrected_blob(blob: Any, checksum: Any) -> Any:
    """A body with its one flipped bit flipped back, or else as it is; its pages are checked later."""
    if not isinstance(blob, bytes) or not isinstance(checksum, int) or crc32(blob) == checksum:
        return blob
    return with_bit_flipped_back(blob, checksum) or blob


def _decompressed(blob: Any, sizes: list[Any]) -> bytes:
    """The joined bodies, of the first size that they can be decompressed to; empty where there is none."""
    for size in sizes:
        if isinstance(size, int) and 0 <= size <= _MAX_JOINED_BYTES:
            with suppress(pa.ArrowException, OSError, TypeError, ValueError, OverflowError, MemoryError):
                return decompressed(blob, size)
    return b""


def _intact_bodies(joined: bytes, pages: list[_Page], shift: int) -> dict[int, bytes]:
    """The bodies that have their page's checksum, at their place or, behind a gap, `shift` bytes further."""
    intact: dict[int, bytes] = {}
    begin = 0
    for page in pages:
        for place in (begin, max(0, begin + shift)):
            body = joined[place : place + page.size]
            if page_checksum(*page.key, body) == page.body_checksum:
                intact[page.seq] = body
                break
        begin += page.size
    return intact


def _store(
    damage: _Damage, rebuilt: list[tuple[Segment, Segment]], bodies: dict[int, tuple[Any, ...] | None]
) -> None:
    """Remove what is lost in one transaction: its sellers then go on where a page is missing."""
    with transaction(damage.db) as db:
        db.executemany("DELETE FROM page WHERE seq = ?", [(seq,) for seq in damage.pages])
        damage.journal.previous.lose_pages(damage.pages)
        for seq, row in bodies.items():
            db.execute("DELETE FROM body WHERE seq = ?", (seq,))
            if row is not None:
                db.execute("INSERT INTO body VALUES (?, ?, ?, ?, ?)", row)
        for old, new in rebuilt:
            db.execute("DELETE FROM segment WHERE name = ?", (old.name,))
            db.execute("INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?)", with_checksum(new))
        if damage.has_unknown_sellers:
            damage.sellers.update(seller_id for (seller_id,) in db.execute(_WITHOUT_THEIR_END).fetchall())
        for seller_id, credit in damage.doubtful.items():
            if db.execute("SELECT 1 FROM known WHERE seller_id = ?", (seller_id,)).fetchone():
                damage.sellers.add(seller_id)
                damage.credits[seller_id] += credit
        add_costs(db, damage.credits.items())
        db.executemany("DELETE FROM seller WHERE seller_id = ?", [(seller,) for seller in damage.sellers])
        if damage.sellers or damage.has_unknown_sellers:
            # What is published may hold more: it stays until all that is missing was asked for again.
            db.execute("DELETE FROM meta WHERE name IN ('publishing', 'published_mark')")
