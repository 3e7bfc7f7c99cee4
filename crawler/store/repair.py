"""Repair of a journal before a run goes on with it: damage costs the pages that it hit, and no others."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple
from zlib import crc32

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from crawler.store.checksums import (
    corrected,
    page_checksum,
    row_checksum,
    with_bit_flipped_back,
    with_checksum,
)
from crawler.store.files import fsync, make_private_folder, output_errors
from crawler.store.journal import Journal, add_costs, body_row, decompressed
from crawler.store.layout import JournalFiles
from crawler.store.records import Segment
from crawler.store.schema import SEGMENT_SCHEMA
from crawler.store.segment_file import intact_batches, intact_lines, is_intact, write_segment
from crawler.store.sqlite import damaged as database_damaged
from crawler.store.sqlite import database_errors, transaction

_KEYS = {
    "meta": ("name",),
    "segment": ("name",),
    "page": ("seq",),
    "outlay": ("seller_id",),
    "seller": ("seller_id",),
    "seam": ("seller_id", "page_num"),
    "matched": ("seller_id",),
    "anew": ("seller_id",),
    "former": ("seller_id",),
    "former_page": ("seq",),
}
"""The tables whose rows have checksums, and what identifies a row."""

_OF_FORMER_CRAWLS = {"anew", "former", "former_page"}
"""Without one of these rows it is not known which of a seller's crawls are to be published."""

_MAX_JOINED_BYTES = 1 << 30
"""Bytes of a commit's bodies at most, for their number may itself be damaged."""

_MAX_PAGE_CREDITS = 1000
"""What a page can have cost; a larger number in a damaged row is part of the damage."""

# Which sellers a page is missing of, where its row does not say so: those that have ended though their
# pages have a gap, or lack the page that ended them.
_WITHOUT_THEIR_END = """
SELECT seller.seller_id FROM seller LEFT JOIN (
    SELECT seller_id, max(page_num) > count(DISTINCT page_num) AS gap, min(row_count) AS least,
        count(*) > count(DISTINCT fingerprint) AS repeats
    FROM page GROUP BY seller_id) AS p USING (seller_id)
WHERE p.gap
    OR (p.gap IS NULL AND status != 'failed')
    OR (stop_reason = 'short_page' AND p.least >= 10)
    OR (stop_reason = 'empty_page' AND p.least > 0)
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
        said = []
        if self.pages:
            said.append(f"{self.pages} stored pages were damaged or lost: they are asked for again")
        if self.sellers:
            said.append(f"how {self.sellers} sellers ended was damaged: they are gone on with")
        if self.corrected:
            said.append(f"{self.corrected} damaged records were corrected by their checksums")
        if self.rewritten:
            said.append(f"{self.rewritten} damaged files of rows were written again from what is intact")
        if self.others:
            said.append(f"{self.others} damaged records were removed that no row depends on")
        return "; ".join(said)


class _Page(NamedTuple):
    seq: int
    seller_id: str
    page_num: int
    row_count: int
    credits: int
    size: int
    body_checksum: int


@dataclass(slots=True)
class _Lost:
    """What is to be removed: pages by `seq`, and sellers whose ending is no longer certain.

    `credits` is what the pages cost; `doubtful` is the same where the seller's ID may itself be damaged.
    """

    pages: set[int] = field(default_factory=set)
    sellers: set[str] = field(default_factory=set)
    credits: Counter[str] = field(default_factory=Counter)
    doubtful: Counter[str] = field(default_factory=Counter)
    has_unknown_sellers: bool = False

    def add(self, page: _Page) -> None:
        if page.seq not in self.pages:
            self.pages.add(page.seq)
            self.sellers.add(page.seller_id)
            self.credits[page.seller_id] += page.credits


def repair(journal: Journal) -> Repairs:
    """Check all that a journal and its segments hold, and remove or correct what is damaged.

    Sellers of which a page was removed go on where it is missing. Raises `OutputError` where the journal's
    structure is damaged, or a file cannot be read for want of permission.
    """
    repairs, lost = Repairs(), _Lost()
    folder = JournalFiles(journal.path).segments
    with database_errors(journal.path), output_errors(f"a segment below {folder}"):
        damaged = {table: _damaged_rows(journal.database.connection, table) for table in _KEYS}
        if any(damaged.values()):
            _correct(journal, damaged, lost, repairs)
        rebuilt, remains = _check_segments(journal, lost), _check_bodies(journal, lost, repairs)
        if lost.pages or lost.has_unknown_sellers or rebuilt or remains:
            _drop(journal, lost, rebuilt, remains)
        repairs.pages = len(lost.pages)
        repairs.rewritten = len(rebuilt)
    return repairs


def _damaged_rows(db: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    query = f"SELECT * FROM {table}"  # noqa: S608 - one of our tables
    with suppress(sqlite3.OperationalError):
        return [row for row in db.execute(query) if row_checksum(row[:-1]) != row[-1]]
    # A text is no UTF-8 any more.
    with _tolerant(db):
        return [row for row in db.execute(query) if row_checksum(row[:-1]) != row[-1]]


@contextmanager
def _tolerant(db: sqlite3.Connection) -> Iterator[None]:
    db.text_factory = lambda text: text.decode(errors="surrogateescape")
    try:
        yield
    finally:
        db.text_factory = str


def _correct(
    journal: Journal, damaged: dict[str, list[tuple[Any, ...]]], lost: _Lost, repairs: Repairs
) -> None:
    """Correct the damaged rows that can be, and remove the others."""
    with transaction(journal.database.connection) as db:
        for table, rows in damaged.items():
            for row in rows:
                _delete(db, table, row)
                better = corrected(row)
                if better is not None and _insert(db, table, better):
                    repairs.corrected += 1
                elif table in _OF_FORMER_CRAWLS:
                    raise database_damaged(journal.path, f"table {table}, {row[0]}")
                else:
                    _remember(table, row, lost, repairs)


def _delete(db: sqlite3.Connection, table: str, row: tuple[Any, ...]) -> None:
    keys = _KEYS[table]
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


def _remember(table: str, row: tuple[Any, ...], lost: _Lost, repairs: Repairs) -> None:
    """Note what follows from a row that is gone."""
    if table == "page":
        seq, seller_id, credit = row[0], row[1], row[8]
        lost.has_unknown_sellers = True
        lost.pages.add(seq)
        if isinstance(seller_id, str) and isinstance(credit, int) and 0 < credit < _MAX_PAGE_CREDITS:
            lost.doubtful[seller_id] += credit
    elif table == "seller":
        repairs.sellers += 1
        lost.has_unknown_sellers = True
    elif table == "matched":
        # A carried seller without it has no rows beyond its first page.
        lost.has_unknown_sellers = True
        repairs.others += 1
    elif table != "segment":
        repairs.others += 1


def _pages(db: sqlite3.Connection, first: int, last: int) -> list[_Page]:
    # What a former crawl cost is noted beside it.
    query = """SELECT seq, seller_id, page_num, row_count, credits, size, body_checksum FROM page
        WHERE seq BETWEEN :first AND :last
        UNION ALL SELECT seq, seller_id, page_num, row_count, 0, size, body_checksum FROM former_page
        WHERE seq BETWEEN :first AND :last ORDER BY seq"""
    return [_Page(*row) for row in db.execute(query, {"first": first, "last": last})]


def _check_segments(journal: Journal, lost: _Lost) -> list[tuple[Segment, Segment]]:
    """Find the pages that damaged segments have lost; returns those segments, each with its new version.

    Pages that neither a segment nor a body has are lost, too.
    """
    db, covered = journal.database.connection, 0
    damaged: list[tuple[Segment, dict[int, _Page]]] = []
    for segment in journal.segments():
        _add_uncovered(db, covered, segment.first_seq, lost)
        covered = max(covered, segment.last_seq)
        is_whole = is_intact(JournalFiles(journal.path).segments, segment)
        if is_whole and not any(segment.first_seq <= seq <= segment.last_seq for seq in lost.pages):
            continue
        pages = _pages(db, segment.first_seq, segment.last_seq)
        if not is_whole:
            _add_incomplete(journal, segment, pages, lost)
        damaged.append((segment, {page.seq: page for page in pages}))
    for first, last in db.execute("SELECT first_seq, seq FROM body ORDER BY seq").fetchall():
        _add_uncovered(db, covered, first, lost)
        covered = max(covered, last)
    _add_uncovered(db, covered, 1 << 62, lost)
    return [(segment, _rebuilt(journal, segment, pages, lost)) for segment, pages in damaged]


def _add_uncovered(db: sqlite3.Connection, covered: int, first: int, lost: _Lost) -> None:
    """Note the pages between what is covered and the first one that is covered next."""
    if first > covered + 1:
        for page in _pages(db, covered + 1, first - 1):
            lost.add(page)


def _add_incomplete(journal: Journal, segment: Segment, pages: list[_Page], lost: _Lost) -> None:
    """Note the pages of which the intact pieces of a segment do not have every row."""
    expected, found = Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    for page in pages:
        expected[page.seller_id, page.page_num] += page.row_count
    for batch in intact_batches(JournalFiles(journal.path).segments, segment):
        keys: Any = zip(batch["seller_id"].to_pylist(), batch["page_num"].to_pylist(), strict=True)
        found.update(keys)
    for line in intact_lines(JournalFiles(journal.path).segments, segment):
        reject = orjson.loads(line)
        found[reject["seller_id"], reject["page_num"]] += 1
    for page in pages:
        key = (page.seller_id, page.page_num)
        if found[key] != expected[key]:
            lost.add(page)


def _rebuilt(journal: Journal, segment: Segment, pages: dict[int, _Page], lost: _Lost) -> Segment:
    """Write what is intact of a segment to a new one."""
    folder = JournalFiles(journal.path).segments
    make_private_folder(folder)
    kept = [seq for seq in pages if seq not in lost.pages]
    of_pages = {(pages[seq].seller_id, pages[seq].page_num) for seq in kept}
    taken = {path.stem for path in folder.iterdir()} | {known.name for known in journal.segments()}
    name = next(n for n in (f"{segment.last_seq:012}-{number}" for number in count(1)) if n not in taken)
    lines = [
        line
        for line in intact_lines(JournalFiles(journal.path).segments, segment)
        if _page_of(line) in of_pages
    ]
    rejected, pieces = write_segment(folder, name, _kept(journal, segment, kept, lines))
    fsync(folder)
    return Segment(name, segment.first_seq, segment.last_seq, rejected, pieces)


def _page_of(line: bytes) -> tuple[str, int]:
    reject = orjson.loads(line)
    return reject["seller_id"], reject["page_num"]


def _kept(
    journal: Journal, segment: Segment, kept: list[int], lines: list[bytes]
) -> Iterator[tuple[pa.Table, list[bytes]]]:
    wanted = pa.array(kept, pa.int64())
    for batch in intact_batches(JournalFiles(journal.path).segments, segment):
        rows = pa.Table.from_batches([batch])
        inside: Any = pc.is_in(rows["seq"], value_set=wanted)
        yield rows.filter(inside), []
    if lines:
        yield SEGMENT_SCHEMA.empty_table(), lines


class _Body(NamedTuple):
    """A row of the table `body`."""

    seq: int
    first_seq: int
    size: int
    lz4: bytes
    checksum: int

    @classmethod
    def of(cls, bodies: dict[int, bytes]) -> _Body:
        """That with the bodies of some pages, by their `seq`."""
        return cls(*body_row(min(bodies), max(bodies), b"".join(bodies.values())))


def _check_bodies(journal: Journal, lost: _Lost, repairs: Repairs) -> dict[int, _Body | None]:
    """Find the pages whose bodies are damaged; returns what is left of such bodies, None for nothing."""
    remains: dict[int, _Body | None] = {}
    last = max((segment.last_seq for segment in journal.segments()), default=0)
    query = "SELECT seq, size, lz4, checksum FROM body ORDER BY seq"
    for seq, size, stored, checksum in journal.database.connection.execute(query).fetchall():
        blob, is_corrected = _corrected_blob(stored, checksum)
        repairs.corrected += is_corrected
        pages = _pages(journal.database.connection, last + 1, seq)
        gone = [number for number in range(last + 1, seq + 1) if number in lost.pages]
        last = seq
        joined = _decompressed(blob, size, pages, is_whole=not gone)
        intact = _intact_bodies(joined, pages, is_whole=not gone)
        for page in pages:
            if page.seq not in intact:
                lost.add(page)
        if (
            is_corrected
            or gone
            or len(intact) < len(pages)
            or len(joined) != sum(page.size for page in pages)
        ):
            remains[seq] = _Body.of(intact) if intact else None
    return remains


def _corrected_blob(blob: Any, checksum: Any) -> tuple[Any, bool]:
    """A body with its one flipped bit flipped back, and whether that was done; pages are checked later."""
    if not isinstance(blob, bytes) or not isinstance(checksum, int) or crc32(blob) == checksum:
        return blob, False
    better = with_bit_flipped_back(blob, checksum)
    return (blob, False) if better is None else (better, True)


def _decompressed(blob: Any, size: Any, pages: list[_Page], *, is_whole: bool) -> bytes:
    """The joined bodies; empty where they cannot be decompressed."""
    for expected in [sum(page.size for page in pages)] * is_whole + [size]:
        if isinstance(expected, int) and 0 <= expected <= _MAX_JOINED_BYTES:
            with suppress(pa.ArrowException, OSError, TypeError, ValueError, OverflowError, MemoryError):
                return decompressed(blob, expected)
    return b""


def _intact_bodies(joined: bytes, pages: list[_Page], *, is_whole: bool) -> dict[int, bytes]:
    """The bodies that have their page's checksum, looked for from the start, and after a gap from the end."""
    intact: dict[int, bytes] = {}
    begin = 0
    for page in pages:
        body = joined[begin : begin + page.size]
        if page_checksum(page.seller_id, page.page_num, body) == page.body_checksum:
            intact[page.seq] = body
        begin += page.size
    if not is_whole:
        end = len(joined)
        for page in reversed(pages):
            body = joined[max(0, end - page.size) : end]
            if page_checksum(page.seller_id, page.page_num, body) == page.body_checksum:
                intact[page.seq] = body
            end -= page.size
    return {seq: intact[seq] for seq in sorted(intact)}


def _drop(
    journal: Journal,
    lost: _Lost,
    rebuilt: list[tuple[Segment, Segment]],
    remains: dict[int, _Body | None],
) -> None:
    """Remove what is lost in one transaction: its sellers then go on where a page is missing."""
    with transaction(journal.database.connection) as db:
        db.executemany("DELETE FROM page WHERE seq = ?", [(seq,) for seq in lost.pages])
        journal.previous.lose_pages(lost.pages)
        for seq, rest in remains.items():
            if rest is None:
                db.execute("DELETE FROM body WHERE seq = ?", (seq,))
            else:
                query = (
                    "UPDATE body SET seq = ?, first_seq = ?, size = ?, lz4 = ?, checksum = ? WHERE seq = ?"
                )
                db.execute(query, (*rest, seq))
        for old, new in rebuilt:
            db.execute("DELETE FROM segment WHERE name = ?", (old.name,))
            db.execute("INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?)", with_checksum(new))
        if lost.has_unknown_sellers:
            lost.sellers.update(row[0] for row in db.execute(_WITHOUT_THEIR_END).fetchall())
        for seller_id, credit in lost.doubtful.items():
            if db.execute("SELECT 1 FROM known WHERE seller_id = ?", (seller_id,)).fetchone():
                lost.sellers.add(seller_id)
                lost.credits[seller_id] += credit
        add_costs(db, lost.credits.items())
        db.executemany("DELETE FROM seller WHERE seller_id = ?", [(seller,) for seller in lost.sellers])
        if lost.sellers or lost.has_unknown_sellers:
            # What is published may hold more: it stays until all that is missing was asked for again.
            db.execute("DELETE FROM meta WHERE name IN ('publishing', 'published_mark')")
