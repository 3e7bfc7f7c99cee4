"""The journal of one crawl date: every page received, and how every seller ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from math import inf
from pathlib import Path
from typing import Any, NamedTuple, Self
from zlib import crc32

import pyarrow as pa

from crawler.models.api import MAX_PAGE_NUM, PAGE_SIZE
from crawler.models.choices import StopRule
from crawler.models.errors import InputError
from crawler.models.page import NO_NOTES, Gap, Page, PageNotes, last_id_hash
from crawler.models.seller import Ending, SellerProgress, SellerStatus, StopReason
from crawler.store.checksums import corrected, page_checksum, with_checksum
from crawler.store.failpoints import reached
from crawler.store.sqlite import damaged, database_errors, open_database, read_database, transaction

FORMAT = 6
_OLDEST = 5
"""The first format that is brought up to the present one; earlier ones are refused with the way out."""

_UPGRADES = {
    5: """ALTER TABLE body ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
        UPDATE body SET checksum = blob_checksum(lz4)"""
}
_JOINED_BYTES = 1024 * 1024
_PAGE_COLUMNS = """
    seq INTEGER PRIMARY KEY,
    seller_id TEXT NOT NULL,
    page_num INTEGER NOT NULL,
    row_count INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    credits INTEGER NOT NULL,
    size INTEGER NOT NULL,
    total REAL NOT NULL,
    least REAL,
    edge INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    body_checksum INTEGER NOT NULL,
    checksum INTEGER NOT NULL"""
# The last column of each table is the checksum of the others in their order.
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS page ({page_columns}
);
CREATE TABLE IF NOT EXISTS body (
    seq INTEGER PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    size INTEGER NOT NULL,
    lz4 BLOB NOT NULL,
    checksum INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS segment (
    name TEXT PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    pieces TEXT NOT NULL,
    checksum INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS outlay (
    seller_id TEXT PRIMARY KEY,
    credits INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seller (
    seller_id TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    stop_reason TEXT NOT NULL,
    error TEXT,
    retriable INTEGER NOT NULL,
    run_id TEXT NOT NULL,
    checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seam (
    seller_id TEXT NOT NULL,
    page_num INTEGER NOT NULL,
    overlap INTEGER NOT NULL,
    mended INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (seller_id, page_num)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS matched (
    seller_id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    videos INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS anew (
    seller_id TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    credits INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS former (
    seller_id TEXT PRIMARY KEY,
    batch INTEGER NOT NULL,
    final INTEGER NOT NULL,
    snapshot INTEGER NOT NULL,
    after INTEGER NOT NULL,
    status TEXT NOT NULL,
    stop_reason TEXT,
    pages INTEGER NOT NULL,
    credits INTEGER NOT NULL,
    error TEXT,
    first INTEGER,
    last INTEGER,
    run_id TEXT,
    rows INTEGER NOT NULL,
    size INTEGER NOT NULL,
    bound REAL,
    overlap INTEGER NOT NULL,
    drift INTEGER NOT NULL,
    source TEXT,
    videos INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS former_page ({page_columns}
);
CREATE INDEX IF NOT EXISTS former_page_of_seller ON former_page (seller_id);
CREATE VIEW IF NOT EXISTS known AS
    SELECT seller_id FROM seller UNION SELECT seller_id FROM page UNION SELECT seller_id FROM outlay
    UNION SELECT seller_id FROM former
"""
_SCHEMA = _TABLES.replace("{page_columns}", _PAGE_COLUMNS)

FAILED_BATCH, TAKEN_BATCH = 0, -1
"""See `Former`; numbers from 1 are those of `--fresh` crawls that have not ended."""

# Made when it is first asked for: while pages come, it would cost each of them more than it does in one go.
_PAGES_BY_SELLER = "CREATE INDEX IF NOT EXISTS page_of_seller ON page (seller_id)"

# A page that was dropped for damage must not have its number used again.
_LAST_SEQ = """SELECT max(
    (SELECT coalesce(max(seq), 0) FROM page),
    (SELECT coalesce(max(seq), 0) FROM body),
    (SELECT coalesce(max(last_seq), 0) FROM segment)
)"""

_REOPENED = """
SELECT seller_id FROM seller WHERE (status = 'failed' AND (retriable OR :retry_refused))
    OR (stop_reason = 'max_pages' AND :max_pages > (SELECT count(DISTINCT page_num) FROM page
        WHERE page.seller_id = seller.seller_id AND page_num <= :max_pages))
    OR stop_reason = 'top'
    OR (stop_reason = 'min_value' AND (:min_value IS NULL OR :min_value <= (SELECT min(worth) FROM
        (SELECT min(least) AS worth, page_num, row_number() OVER (ORDER BY page_num) AS place FROM page
            WHERE page.seller_id = seller.seller_id GROUP BY page_num)
        WHERE place = page_num)))
    OR (stop_reason = 'short_page' AND :stop = 'empty')
"""

# Rows that are carried stand until their seller is read to its end, or cannot be.
_ENDED = """
INSERT INTO seller VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (seller_id) DO UPDATE SET
    status = excluded.status, stop_reason = excluded.stop_reason, error = excluded.error,
    retriable = excluded.retriable, run_id = excluded.run_id, checksum = excluded.checksum
    WHERE seller.stop_reason != 'carried' OR excluded.status != 'partial'
"""

_OUTLAY = """
INSERT INTO outlay VALUES (?, ?, ?) ON CONFLICT (seller_id) DO UPDATE SET
    credits = credits + excluded.credits,
    checksum = row_checksum(seller_id, credits + excluded.credits)
"""


_SUMMARIES = """
SELECT seller_id, seller.status, seller.stop_reason, coalesce(p.pages, 0) AS pages,
    coalesce(outlay.credits, 0) + coalesce(p.credits, 0) AS credits, seller.error, p.first, p.last,
    coalesce(p.run_id, seller.run_id) AS run_id, coalesce(p.rows, 0) AS rows, coalesce(p.size, 0) AS size,
    p.bound AS bound, coalesce(s.overlap, 0) AS overlap, coalesce(s.drift, 0) AS drift,
    matched.source AS source, coalesce(matched.videos, 0) AS videos, coalesce(p.deepest, 0) + 1 AS missing,
    coalesce(anew.seq, 0) AS after, coalesce(anew.credits, 0) AS earlier, p.gaps AS gaps
FROM {sellers}
LEFT JOIN seller USING (seller_id)
LEFT JOIN outlay USING (seller_id)
LEFT JOIN matched USING (seller_id)
LEFT JOIN anew USING (seller_id)
LEFT JOIN (SELECT seller_id, sum(overlap) AS overlap, sum(NOT mended) AS drift
    FROM seam GROUP BY seller_id) AS s USING (seller_id)
LEFT JOIN (SELECT seller_id, count(*) AS pages, sum(credits) AS credits,
    min(received_at) AS first, max(received_at) AS last, max(run_id) AS run_id,
    sum(row_count) AS rows, sum(size) AS size,
    CASE WHEN count(least) = count(*) THEN min(least) END AS bound,
    max(page_num) AS deepest, max(page_num) > count(DISTINCT page_num) AS gaps
    FROM page {pages} GROUP BY seller_id) AS p USING (seller_id)
ORDER BY seller_id"""

# `listed` are the sellers to crawl anew; those of them that have no former crawl yet are `moved`.
_OF_MOVED = _SUMMARIES.format(sellers="moved", pages="WHERE seller_id IN (SELECT seller_id FROM moved)")
_MOVE = """INSERT INTO former
    SELECT seller_id, :batch, 0, 0, after,
        coalesce(status, CASE WHEN pages THEN 'partial' ELSE 'pending' END), stop_reason, pages, credits,
        error, first, last, run_id, rows, size, CASE WHEN NOT gaps THEN bound END, overlap, drift, source,
        videos, 0
    FROM ({})"""
_RENEW = (
    """INSERT INTO moved SELECT seller_id FROM listed
        WHERE seller_id NOT IN (SELECT seller_id FROM former) AND (seller_id IN (SELECT seller_id FROM seller)
            OR EXISTS (SELECT 1 FROM page WHERE page.seller_id = listed.seller_id))""",
    """DELETE FROM seller WHERE status = 'failed' AND seller_id IN (SELECT seller_id FROM former)
        AND seller_id IN (SELECT seller_id FROM listed)""",
    """UPDATE former SET batch = :batch, final = 0, checksum = 0
        WHERE seller_id IN (SELECT seller_id FROM listed)""",
    _MOVE.format(_OF_MOVED),
    """INSERT OR REPLACE INTO anew
        SELECT seller_id, :last_seq, spent, row_checksum(seller_id, :last_seq, spent) FROM
            (SELECT seller_id, former.credits + coalesce(anew.credits, 0) AS spent
            FROM moved JOIN former USING (seller_id) LEFT JOIN anew USING (seller_id))""",
    "INSERT INTO former_page SELECT * FROM page WHERE seller_id IN (SELECT seller_id FROM moved)",
    "DELETE FROM page WHERE seller_id IN (SELECT seller_id FROM moved)",
    "DELETE FROM seller WHERE seller_id IN (SELECT seller_id FROM moved)",
    "DELETE FROM outlay WHERE seller_id IN (SELECT seller_id FROM moved)",
    "DELETE FROM seam WHERE seller_id IN (SELECT seller_id FROM moved)",
    "DELETE FROM matched WHERE seller_id IN (SELECT seller_id FROM moved)",
    """INSERT OR IGNORE INTO former
        SELECT seller_id, :batch, 0, 0, 0, 'pending', NULL, 0, 0, NULL, NULL, NULL, NULL, 0, 0, NULL, 0, 0,
            NULL, 0, 0
        FROM listed""",
)

_REPLACE_FORMER = (
    """UPDATE former SET batch = :failed, checksum = 0 WHERE batch > 0 AND batch NOT IN
        (SELECT batch FROM former LEFT JOIN seller USING (seller_id) WHERE seller.seller_id IS NULL)""",
    """UPDATE former SET batch = :failed, checksum = 0
        WHERE batch = :taken AND seller_id IN (SELECT seller_id FROM seller)""",
    # A crawl that brought nothing takes the place of none.
    """DELETE FROM former WHERE batch = :failed AND (pages = 0 OR seller_id IN
        (SELECT seller_id FROM seller WHERE status = 'complete' OR (status = 'partial'
            AND EXISTS (SELECT 1 FROM page WHERE page.seller_id = seller.seller_id))))""",
    "DELETE FROM former_page WHERE seller_id NOT IN (SELECT seller_id FROM former)",
)

_TAKE_OVER = """INSERT OR IGNORE INTO former VALUES (:seller_id, :batch, :final, 1, 0, :status, :stop_reason,
    :pages, :credits, :error, :first, :last, :run_id, :rows, 0, NULL, :overlap,
    :drift, :source, :videos, 0)"""


_PAGES = ("page", "former_page")

# Follows each change of that table.
_CHECK_FORMER = """UPDATE former SET checksum = row_checksum(seller_id, batch, final, snapshot, after, status,
        stop_reason, pages, credits, error, first, last, run_id, rows, size, bound, overlap, drift, source,
        videos)
    WHERE checksum = 0"""

_LOSE_FORMER_PAGES = """UPDATE former SET status = 'partial', stop_reason = NULL, bound = NULL, checksum = 0,
        (pages, rows) = (SELECT count(*), coalesce(sum(row_count), 0) FROM former_page
            WHERE former_page.seller_id = former.seller_id)
    WHERE seller_id = ?"""


class Record(NamedTuple):
    """What one group commit writes for one seller: a page, an ending, both, or only what it cost."""

    seller_id: str
    run_id: str
    credits: int
    page: Page | None
    ending: Ending | None
    notes: PageNotes = NO_NOTES


class StoredPage(NamedTuple):
    """A page as segments are built from it; `seq` counts pages in the order received."""

    seq: int
    seller_id: str
    page_num: int
    received_at: int
    request_id: str
    run_id: str
    body: bytes


class Segment(NamedTuple):
    """A file that holds the rows of the pages `first_seq` to `last_seq`, and how many rows it had to reject.

    `pieces` are the checksums of its parts, as `segment_file` writes and reads them.
    """

    name: str
    first_seq: int
    last_seq: int
    rejected: int
    pieces: str


class SellerSummary(NamedTuple):
    """A seller as the journal knows it: times in epoch milliseconds, `size` in bytes of JSON.

    No video that its pages do not hold is worth more than `bound`, by what the API sorts by; None where
    that is not known. `overlap`: rows that came again on the next page, as the list moved. `drift`: seams
    that were not mended. `matched`: the snapshot with the same first page, and how many videos it has.
    `missing`: the first page that was not received.

    Its pages are those received after the page `after`, up to the page `upto` where that is set. `credits`
    counts all that was spent on the seller for this date, `other_credits` what of it went to other crawls of
    the seller. `is_published`: its rows are those of the date's snapshot as it was published, from `matched`.
    `former`: the crawl whose rows are published in place of this one's. `attempt`: how the crawl that was to
    replace these rows has gone.
    """

    seller_id: str
    status: SellerStatus
    stop_reason: StopReason | None
    pages: int
    credits: int
    error: str | None
    first_crawled_at: int | None
    last_crawled_at: int | None
    run_id: str | None
    rows: int
    size: int
    bound: float | None
    overlap: int
    drift: int
    matched: date | None
    matched_videos: int
    missing: int
    after: int = 0
    upto: int | None = None
    other_credits: int = 0
    is_published: bool = False
    former: Former | None = None
    attempt: Attempt | None = None

    @property
    def is_carried(self) -> bool:
        """Whether its rows beyond the first page are those of the snapshot that it matched."""
        return self.stop_reason is StopReason.CARRIED and not self.is_published

    @property
    def is_renewing(self) -> bool:
        """Whether `--fresh` goes on with this crawl of the seller, since it has not succeeded yet."""
        return self.former is not None and self.former.batch >= FAILED_BATCH

    @property
    def shown(self) -> SellerSummary:
        """The crawl of the seller whose rows are to be published."""
        if self.former is None:
            return self
        kept, batch = self.former
        kept = kept._replace(credits=self.credits, other_credits=self.credits - kept.credits)
        failed = batch == FAILED_BATCH
        return kept._replace(attempt=Attempt(self.status, self.stop_reason, self.error)) if failed else kept


class Former(NamedTuple):
    """A crawl of a seller that another one is to replace, together with all others of its `batch`.

    In `FAILED_BATCH` are the sellers whose new crawl failed, in `TAKEN_BATCH` those that were taken over
    from the date's snapshot: of these each is replaced by itself.
    """

    seller: SellerSummary
    batch: int


class Attempt(NamedTuple):
    """How the crawl of a seller has gone that was to replace its published rows."""

    status: SellerStatus
    stop_reason: StopReason | None
    error: str | None


class PublishedSeller(NamedTuple):
    """A seller of the date's snapshot, of which the journal is lost; `final`: it needs no further page."""

    seller_id: str
    final: bool
    status: str
    stop_reason: str | None
    pages: int
    credits: int
    error: str | None
    first: int | None
    last: int | None
    run_id: str | None
    rows: int
    overlap: int
    drift: int
    source: str
    videos: int


class Journal:
    """One SQLite file for a crawl date and generation; used by one thread at a time.

    `guard` is called before anything is written by a path beside it, and raises where that must not be.

    Raises `OutputError` where it cannot be written, `InputError` where it is of a newer format.
    """

    def __init__(self, path: Path, *, survive_power_loss: bool = True, only_read: bool = False) -> None:
        self.path = path
        reading = read_database(path, FORMAT) if only_read else None
        self._db = reading or open_database(
            path,
            _SCHEMA,
            FORMAT,
            oldest=_OLDEST,
            upgrades=_UPGRADES,
            survive_power_loss=survive_power_loss,
        )
        self.guard: Callable[[], None] = lambda: None
        self._codec = pa.Codec("lz4")
        self._is_sorted = only_read
        self._last_seq = self._one(_LAST_SEQ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was written is durable already."""
        self._db.close()

    def write(self, records: Iterable[Record]) -> list[StoredPage]:
        """Write a group of records: all are durable when this returns, or none is there.

        Returns their pages as stored.
        """
        records = list(records)
        pages = [(r, r.page) for r in records if r.page is not None]
        numbered = list(enumerate(pages, start=self._last_seq + 1))
        endings = [_ending_row(r, r.ending) for r in records if r.ending is not None]
        bodies = [
            (last, first, len(joined), *self.compressed(joined))
            for first, last, joined in _joined((seq, page.body) for seq, (_, page) in numbered)
        ]
        outlays = [with_checksum((r.seller_id, r.credits)) for r in records if r.page is None and r.credits]
        noted = [r for r in records if r.notes is not NO_NOTES]
        reached("commit.begin")
        with database_errors(self.path), transaction(self._db) as db:
            db.executemany(
                "INSERT INTO page VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [_page_row(seq, record, page) for seq, (record, page) in numbered],
            )
            db.executemany("INSERT INTO body VALUES (?, ?, ?, ?, ?)", bodies)
            db.executemany(_ENDED, endings)
            db.executemany(_OUTLAY, outlays)
            for record in noted:
                _write_notes(db, record.seller_id, record.notes)
            reached("commit.written")
        reached("commit.durable")
        self._last_seq += len(numbered)
        return [_stored(seq, record, page) for seq, (record, page) in numbered]

    @property
    def db(self) -> sqlite3.Connection:
        """The database, for whoever checks and repairs it."""
        return self._db

    def compressed(self, joined: bytes) -> tuple[bytes, int]:
        """Joined bodies as they are stored, and the checksum of that."""
        blob = self._codec.compress(joined, asbytes=True)
        return blob, crc32(blob)

    def decompressed(self, blob: bytes, size: int) -> bytes:
        """Stored bodies of `size` bytes."""
        return self._codec.decompress(blob, size, asbytes=True)

    def add_outlays(self, credit: Iterable[tuple[str, int]]) -> None:
        """Note, in a transaction that is open, what sellers cost beside their pages."""
        self._db.executemany(_OUTLAY, [with_checksum(item) for item in credit if item[1]])

    def waiting(self) -> Iterator[StoredPage]:
        """Pages that are in no segment, in the order received; the journal may be written meanwhile."""
        query = """SELECT seq, seller_id, page_num, received_at, request_id, run_id, size FROM page
            WHERE seq > ? AND seq <= ? ORDER BY seq"""
        next_body = "SELECT seq, lz4 FROM body WHERE seq > ? ORDER BY seq LIMIT 1"
        last = self._one("SELECT coalesce(max(last_seq), 0) FROM segment")
        while body := self._db.execute(next_body, (last,)).fetchone():
            pages = self._db.execute(query, (last, body[0])).fetchall()
            joined = self.decompressed(body[1], sum(page[-1] for page in pages))
            begin = 0
            for *page, size in pages:
                yield StoredPage._make([*page, joined[begin : begin + size]])
                begin += size
            last = body[0]

    def adopt(self, segment: Segment) -> None:
        """Let a durable segment stand for its pages' bodies."""
        with database_errors(self.path), transaction(self._db) as db:
            db.execute("INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?)", with_checksum(segment))
            db.execute("DELETE FROM body WHERE seq <= ?", (segment.last_seq,))

    def segments(self) -> list[Segment]:
        """Every segment, the oldest first."""
        query = "SELECT name, first_seq, last_seq, rejected, pieces FROM segment ORDER BY last_seq"
        return [Segment(*row) for row in self._db.execute(query)]

    @property
    def last_seq(self) -> int:
        """How many pages were received so far."""
        return self._last_seq

    @property
    def has_pages(self) -> bool:
        """Whether any page was received."""
        return self._last_seq > 0

    @property
    def has_endings(self) -> bool:
        """Whether any seller has ended."""
        return bool(self._one("SELECT EXISTS (SELECT 1 FROM seller)"))

    def meta(self, name: str) -> str | None:
        """A value noted beside the pages; None where there is none, or damage left none."""
        row = self._db.execute("SELECT name, value, checksum FROM meta WHERE name = ?", (name,)).fetchone()
        intact = None if row is None else corrected(row)
        return None if intact is None or intact[0] != name else str(intact[1])

    def note(self, **values: str) -> None:
        """Note values beside the pages, durably."""
        with database_errors(self.path), transaction(self._db) as db:
            db.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?, ?)",
                [with_checksum(item) for item in values.items()],
            )

    def require(self, **expected: str) -> None:
        """Hold a resumed crawl to what its pages were asked for with.

        Raises `InputError` where sorting, order or page size differ from the first run's, `OutputError` where
        damage left it unknown.
        """
        for name, value in expected.items():
            found = self.meta(name)
            if found is None and self.has_pages:
                raise damaged(self.path, f"{name} of its pages is lost")
            if found is not None and found != value and self.has_pages:
                raise InputError(
                    f"this crawl date was begun with {name} {found}, not {value}: their pages do not fit "
                    f"together; use --{name} {found}, or crawl the date anew with --fresh"
                )
        self.note(**expected)

    def reopen(
        self,
        listed: Callable[[list[str]], list[bool]],
        *,
        retry_refused: bool = False,
        max_pages: int = MAX_PAGE_NUM,
        min_value: float | None = None,
        stop: StopRule = StopRule.SHORT,
    ) -> None:
        """Let listed sellers go on that ended for a reason that no longer holds.

        Those that hid nothing of the best K always do: the next run may want another K, and asking the
        journal again costs nothing.
        """
        told = {
            "retry_refused": retry_refused,
            "max_pages": max_pages,
            "min_value": min_value,
            "stop": stop,
        }
        self._sort_pages()
        # All are found before any is changed: a query may miss what is deleted under it.
        ended = list(self._ids(_REOPENED, told))
        with database_errors(self.path), transaction(self._db) as db:
            ids: list[Any]
            for ids in (some.to_pylist() for some in ended):
                open_again = [(i,) for i, inside in zip(ids, listed(ids), strict=True) if inside]
                db.executemany("DELETE FROM seller WHERE seller_id = ?", open_again)

    def credits(self) -> int:
        """Credits that are known to have been spent on this generation."""
        return self._one(
            "SELECT coalesce(sum(credits), 0) FROM "
            "(SELECT credits FROM page UNION ALL SELECT credits FROM outlay "
            "UNION ALL SELECT credits FROM anew)"
        )

    @property
    def last_received(self) -> str | None:
        """When the last page came, as an ISO time; None where there is no page."""
        found = self._one("SELECT coalesce(max(received_at), -1) FROM page")
        return None if found < 0 else datetime.fromtimestamp(found / 1000, UTC).isoformat()

    def settled(self) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers that have ended, and that no later run of itself tries again."""
        return self._ids(
            "SELECT seller_id FROM seller WHERE NOT (status = 'failed' AND retriable) "
            "UNION SELECT seller_id FROM former WHERE final"
        )

    def refused(self) -> Iterator[pa.Array[Any]]:
        """IDs of the failed sellers that only `retry_refused` opens again."""
        return self._ids("SELECT seller_id FROM seller WHERE status = 'failed' AND NOT retriable")

    def answered(self) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers that have a page or have ended."""
        return self._ids("SELECT seller_id FROM seller UNION SELECT seller_id FROM page")

    def known(self) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers that `summaries` tells of: those, and any that cost something."""
        return self._ids("SELECT seller_id FROM known")

    def ended(self) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers that need no further page."""
        return self._ids("SELECT seller_id FROM seller UNION SELECT seller_id FROM former WHERE final")

    def begun(self, *, carried: bool = False) -> Iterator[SellerProgress]:
        """Sellers with pages that have not ended, ready to go on; also those that are `carried`.

        Of a page that was received twice, the later reading counts.
        """
        self._sort_pages()
        query = """SELECT seller_id, page_num, row_count, fingerprint, total, least, edge, rejected, max(seq)
            FROM page LEFT JOIN seller USING (seller_id)
            WHERE seller.seller_id IS NULL OR (:carried AND seller.stop_reason = 'carried')
            GROUP BY seller_id, page_num ORDER BY seller_id, page_num"""
        drifted = {row[0] for row in self._db.execute("SELECT seller_id FROM seam WHERE NOT mended")}
        progress: SellerProgress | None = None
        rows = self._db.execute(query, {"carried": carried})
        for seller_id, page_num, row_count, fingerprint, total, least, edge, rejected, _ in rows:
            if progress is None or progress.seller_id != seller_id:
                if progress is not None:
                    yield progress
                progress = SellerProgress(seller_id, drifted=seller_id in drifted)
            page = Page(
                seller_id,
                page_num,
                b"",
                row_count,
                fingerprint,
                0,
                "",
                total,
                least,
                stored_last_id_hash=edge,
                rejected=rejected,
            )
            if page_num == progress.next_page:
                progress.received(page)
            else:
                progress.held = {**(progress.held or {}), page_num: page}
        if progress is not None:
            yield progress

    def drifted(self, seller_id: str) -> tuple[list[Gap], dict[int, int]]:
        """The seams of a seller that are not mended, and the fingerprint of each of its pages."""
        self._sort_pages()
        seams = self._db.execute(
            "SELECT page_num, overlap FROM seam WHERE seller_id = ? AND NOT mended", (seller_id,)
        )
        pages = "SELECT page_num, fingerprint FROM page WHERE seller_id = ? ORDER BY seq"
        return [Gap(*row) for row in seams], dict(self._db.execute(pages, (seller_id,)).fetchall())

    def to_mend(self) -> list[str]:
        """Sellers that are complete, but for seams that are not mended."""
        query = """SELECT DISTINCT seller_id FROM seam JOIN seller USING (seller_id)
            WHERE status = 'complete' AND NOT mended"""
        return [row[0] for row in self._db.execute(query)]

    def matched_days(self) -> list[date]:
        """The crawl dates of the snapshots that sellers are carried from or compared with."""
        query = """SELECT source FROM matched
            UNION SELECT source FROM former WHERE snapshot OR stop_reason = 'carried'"""
        return [date.fromisoformat(row[0]) for row in self._db.execute(query)]

    def carried_of(self, day: date) -> dict[str, int]:
        """The sellers that are carried from a snapshot, and how many videos each has there."""
        query = """SELECT seller_id, videos FROM matched JOIN seller USING (seller_id)
            WHERE stop_reason = 'carried' AND source = :day
            UNION SELECT seller_id, videos FROM former
            WHERE (snapshot OR stop_reason = 'carried') AND source = :day"""
        return dict(self._db.execute(query, {"day": day.isoformat()}).fetchall())

    def give_up_carrying(self, ids: Iterable[str]) -> None:
        """Let sellers go on that were carried."""
        of_seller = "DELETE FROM seller WHERE seller_id = ? AND stop_reason = 'carried'"
        of_former = "DELETE FROM former WHERE seller_id = ? AND (snapshot OR stop_reason = 'carried')"
        lost = [(seller_id,) for seller_id in ids]
        with database_errors(self.path), transaction(self._db) as db:
            db.executemany(of_seller, lost)
            db.executemany(of_former, lost)

    def summaries(self) -> Iterator[SellerSummary]:
        """Every seller that the journal knows, by seller_id, as it is being crawled."""
        self._sort_pages()
        formers = self._formers()
        former = next(formers, None)
        for *told, after, earlier, gaps in self._db.execute(_SUMMARIES.format(sellers="known", pages="")):
            summary = _summary(told)
            summary = self._up_to_gap(summary) if gaps else summary
            summary = summary._replace(after=after, credits=summary.credits + earlier, other_credits=earlier)
            if former is not None and former[0].seller.seller_id == summary.seller_id:
                (kept, is_final), former = former, next(formers, None)
                kept = kept._replace(seller=kept.seller._replace(upto=after))
                summary = summary._replace(former=kept)
                summary = summary.shown if is_final else summary
            yield summary

    def _formers(self) -> Iterator[tuple[Former, bool]]:
        """The sellers of which a former crawl is published, by seller_id, and whether that one is final."""
        query = """SELECT seller_id, status, stop_reason, pages, credits, error, first, last, run_id, rows,
            size, bound, overlap, drift, source, videos, pages + 1, after, snapshot, batch, final
            FROM former ORDER BY seller_id"""
        for *told, after, snapshot, batch, final in self._db.execute(query):
            seller = _summary(told)._replace(after=after, is_published=bool(snapshot))
            yield Former(seller, batch), bool(final)

    def renew(self, listed: Iterable[pa.Array[Any]]) -> None:
        """Crawl sellers anew: each is published as it is until all of them have ended.

        Every page must be in a segment. A seller whose new crawl has not succeeded yet goes on with that.
        """
        self._sort_pages()
        with database_errors(self.path), transaction(self._db) as db:
            for name in ("listed", "moved"):
                db.execute(f"CREATE TEMP TABLE {name} (seller_id TEXT PRIMARY KEY) WITHOUT ROWID")
            for ids in listed:
                db.executemany("INSERT INTO listed VALUES (?)", ((i,) for i in ids.to_pylist()))
            is_published = self.meta("published_mark") == self.mark()
            newest = self._one("SELECT max(0, coalesce(max(batch), 0)) FROM former")
            told = {"batch": newest + 1, "last_seq": self._last_seq}
            for statement in _RENEW:
                db.execute(statement, told)
            db.execute(_CHECK_FORMER)
            if is_published:
                mark = with_checksum(("published_mark", self.mark()))
                db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", mark)
            for name in ("listed", "moved"):
                db.execute(f"DROP TABLE {name}")

    def replace_former(self) -> None:
        """Let crawls that have ended take the place of the former ones; where one failed, those stay."""
        with database_errors(self.path), transaction(self._db) as db:
            for statement in _REPLACE_FORMER:
                db.execute(statement, {"failed": FAILED_BATCH, "taken": TAKEN_BATCH})
            db.execute(_CHECK_FORMER)

    def take_over(self, sellers: Iterable[PublishedSeller], **facts: str) -> None:
        """Know sellers of the date's snapshot whose pages are in no journal; note facts beside them."""
        with database_errors(self.path), transaction(self._db) as db:
            for seller in sellers:
                db.execute(_TAKE_OVER, {**seller._asdict(), "batch": TAKEN_BATCH})
                spent = with_checksum((seller.seller_id, 0, seller.credits))
                db.execute("INSERT OR IGNORE INTO anew VALUES (?, ?, ?, ?)", spent)
            db.execute(_CHECK_FORMER)
            rows = [with_checksum(item) for item in facts.items()]
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", rows)

    def lose_former_pages(self, pages: Iterable[int]) -> None:
        """Forget, in a transaction that is open, damaged pages of former crawls."""
        for seq in pages:
            row = self._db.execute("SELECT seller_id FROM former_page WHERE seq = ?", (seq,)).fetchone()
            if row is not None:
                self._db.execute("DELETE FROM former_page WHERE seq = ?", (seq,))
                self._db.execute(_LOSE_FORMER_PAGES, row)
        self._db.execute(_CHECK_FORMER)

    def hidden(self) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers whose new crawl is published only when all that began with it have ended."""
        return self._ids("SELECT seller_id FROM former WHERE batch > 0")

    @property
    def has_renewed(self) -> bool:
        """Whether any seller was crawled anew, so that segments hold rows that are not published."""
        return bool(self._one("SELECT EXISTS (SELECT 1 FROM anew) OR EXISTS (SELECT 1 FROM former)"))

    def is_shown(self, seller_id: str, last_seq: int) -> bool:
        """Whether rows of a seller in the segment up to `last_seq` are of the crawl that is published."""
        query = """SELECT (SELECT seq FROM anew WHERE seller_id = :id),
            (SELECT after FROM former WHERE seller_id = :id)"""
        begun, after = self._db.execute(query, {"id": seller_id}).fetchone()
        begun = begun or 0
        return last_seq > begun if after is None else after < last_seq <= begun

    @property
    def has_long_pages(self) -> bool:
        """Whether the API sent more rows on some page than a page is to have."""
        longest = (self._one(f"SELECT coalesce(max(row_count), 0) FROM {table}") for table in _PAGES)  # noqa: S608 - our names
        return max(longest) > PAGE_SIZE

    def page_sizes(self, after: str, last: str, *, shown: bool = False) -> Iterator[tuple[str, int, int]]:
        """Seller, number and rows of each page of the sellers above `after`, up to `last`, in that order.

        Of a seller the crawl under way counts, or with `shown` the one that is to be published; of a page
        that was received more than once, the longest reading.
        """
        self._sort_pages()
        query = """SELECT seller_id, page_num, max(row_count) FROM
            (SELECT seller_id, page_num, row_count FROM page
            WHERE seller_id > :after AND seller_id <= :last
                AND NOT (:shown AND seller_id IN (SELECT seller_id FROM former))
            UNION ALL SELECT seller_id, page_num, row_count FROM former_page
            WHERE :shown AND seller_id > :after AND seller_id <= :last)
            GROUP BY seller_id, page_num ORDER BY seller_id, page_num"""
        yield from self._db.execute(query, {"after": after, "last": last, "shown": shown})

    def _up_to_gap(self, seller: SellerSummary) -> SellerSummary:
        """A seller whose pages have gaps: only those before the first one bound what is missing."""
        query = "SELECT page_num, least FROM page WHERE seller_id = ? ORDER BY page_num"
        bound: float | None = inf
        wanted = 1
        for page_num, least in self._db.execute(query, (seller.seller_id,)):
            if page_num > wanted:
                break
            bound = None if bound is None or least is None else min(bound, least)
            wanted = page_num + 1
        return seller._replace(bound=bound if wanted > 1 else None, missing=wanted)

    def mark(self) -> str:
        """Tells one state of what is to be published from another: equal marks, equal snapshot."""
        last_seq = self._last_seq
        if self._one("SELECT EXISTS (SELECT 1 FROM former WHERE batch > 0)"):
            last_seq = self._one(
                "SELECT coalesce(max(seq), 0) FROM page "
                "WHERE seller_id NOT IN (SELECT seller_id FROM former WHERE batch > 0)"
            )
        sellers = self._db.execute(
            "SELECT status, stop_reason, count(*) FROM seller "
            "WHERE seller_id NOT IN (SELECT seller_id FROM former WHERE batch > 0) "
            "GROUP BY status, stop_reason"
        ).fetchall()
        outlay = self._one(
            "SELECT coalesce(sum(credits), 0) FROM outlay "
            "WHERE seller_id NOT IN (SELECT seller_id FROM former WHERE batch > 0)"
        )
        formers = self._db.execute(
            "SELECT batch, count(*), sum(pages) FROM former WHERE batch <= 0 GROUP BY batch ORDER BY batch"
        ).fetchall()
        return f"{last_seq} {outlay} {sorted(sellers)}" + (f" {formers}" if formers else "")

    def _sort_pages(self) -> None:
        if not self._is_sorted and self.has_pages:
            with database_errors(self.path):
                self._db.execute(_PAGES_BY_SELLER)
            self._is_sorted = True

    def _one(self, query: str) -> int:
        with database_errors(self.path):
            return int(self._db.execute(query).fetchone()[0])

    def _ids(self, query: str, told: Mapping[str, Any] | None = None) -> Iterator[pa.Array[Any]]:
        """A query's first column, some rows at a time."""
        cursor = self._db.execute(query, told or {})
        while rows := cursor.fetchmany(65_536):
            yield pa.array([row[0] for row in rows], pa.string())


def _summary(told: Sequence[Any]) -> SellerSummary:
    seller_id, status, reason, *rest, source, videos, missing = told
    begun = SellerStatus.PARTIAL if rest[0] else SellerStatus.PENDING
    known = begun if status is None else SellerStatus(status)
    stopped = None if reason is None else StopReason(reason)
    matched = None if source is None else date.fromisoformat(source)
    values: list[Any] = [seller_id, known, stopped, *rest, matched, videos, missing]
    return SellerSummary(*values)


def _joined(bodies: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, int, bytes]]:
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


def _page_row(seq: int, record: Record, page: Page) -> tuple[object, ...]:
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


def _write_notes(db: sqlite3.Connection, seller_id: str, notes: PageNotes) -> None:
    seams = [with_checksum((seller_id, *seam, 0)) for seam in notes.gaps]
    db.executemany("INSERT OR REPLACE INTO seam VALUES (?, ?, ?, ?, ?)", seams)
    if notes.repaired_beyond is not None:
        query = """UPDATE seam SET mended = 1, checksum = row_checksum(seller_id, page_num, overlap, 1)
            WHERE seller_id = ? AND page_num > ?"""
        db.execute(query, (seller_id, notes.repaired_beyond))
    if notes.match is not None:
        source, videos, _ = notes.match
        match = with_checksum((seller_id, source.isoformat(), videos))
        db.execute("INSERT OR REPLACE INTO matched VALUES (?, ?, ?, ?)", match)


def _stored(seq: int, record: Record, page: Page) -> StoredPage:
    return StoredPage(
        seq, page.seller_id, page.page_num, page.received_at, page.request_id, record.run_id, page.body
    )


def _ending_row(record: Record, ending: Ending) -> tuple[object, ...]:
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
