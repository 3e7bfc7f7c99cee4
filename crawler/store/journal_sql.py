"""The journal's tables and all statements on them, by name: open it to change what is asked of SQLite.

Names in the file are older than the words of this program: `seam` is a gap, `mended` repaired, `outlay` a
cost, `least` a page's last value, `edge` the hash of its last ID, `bound` the value of what may be missing.
They stay, so that a date that an earlier build began can be gone on with.
"""

# ruff: noqa: S608 - a statement is only put into another one of this module

from __future__ import annotations

from crawler.store.sqlite import Format

FORMAT = 7
_OLDEST_FORMAT = 5
"""The first format that is brought up to the present one; earlier ones are refused with the way out."""
_FROM_6 = "DROP VIEW known"
_UPGRADES = {
    5: f"""ALTER TABLE body ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
        UPDATE body SET checksum = blob_checksum(lz4); {_FROM_6}""",
    6: _FROM_6,
}
_PAGE_COLUMNS = """
    seq INTEGER PRIMARY KEY, seller_id TEXT NOT NULL, page_num INTEGER NOT NULL, row_count INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL, received_at INTEGER NOT NULL, request_id TEXT NOT NULL,
    run_id TEXT NOT NULL, credits INTEGER NOT NULL, size INTEGER NOT NULL, total REAL NOT NULL, least REAL,
    edge INTEGER NOT NULL, rejected INTEGER NOT NULL, body_checksum INTEGER NOT NULL,
    checksum INTEGER NOT NULL
"""
# The last column of each table is the checksum of the others in their order.
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS page ({_PAGE_COLUMNS});
CREATE TABLE IF NOT EXISTS body (
    seq INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, size INTEGER NOT NULL, lz4 BLOB NOT NULL,
    checksum INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS segment (
    name TEXT PRIMARY KEY, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, rejected INTEGER NOT NULL,
    pieces TEXT NOT NULL, checksum INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS outlay (
    seller_id TEXT PRIMARY KEY, credits INTEGER NOT NULL, checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seller (
    seller_id TEXT PRIMARY KEY, status TEXT NOT NULL, stop_reason TEXT NOT NULL, error TEXT,
    retriable INTEGER NOT NULL, run_id TEXT NOT NULL, checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seam (
    seller_id TEXT NOT NULL, page_num INTEGER NOT NULL, overlap INTEGER NOT NULL, mended INTEGER NOT NULL,
    checksum INTEGER NOT NULL, PRIMARY KEY (seller_id, page_num)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS matched (
    seller_id TEXT PRIMARY KEY, source TEXT NOT NULL, videos INTEGER NOT NULL, checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS base (
    seller_id TEXT PRIMARY KEY, source TEXT NOT NULL, videos INTEGER NOT NULL, since TEXT,
    stretches TEXT NOT NULL, rates TEXT NOT NULL, checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS anew (
    seller_id TEXT PRIMARY KEY, seq INTEGER NOT NULL, credits INTEGER NOT NULL, checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS former (
    seller_id TEXT PRIMARY KEY, batch INTEGER NOT NULL, final INTEGER NOT NULL, snapshot INTEGER NOT NULL,
    after INTEGER NOT NULL, status TEXT NOT NULL, stop_reason TEXT, pages INTEGER NOT NULL,
    credits INTEGER NOT NULL, error TEXT, first INTEGER, last INTEGER, run_id TEXT, rows INTEGER NOT NULL,
    size INTEGER NOT NULL, bound REAL, overlap INTEGER NOT NULL, drift INTEGER NOT NULL, source TEXT,
    videos INTEGER NOT NULL, checksum INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS former_page ({_PAGE_COLUMNS});
CREATE INDEX IF NOT EXISTS former_page_of_seller ON former_page (seller_id);
CREATE VIEW IF NOT EXISTS known AS
    SELECT seller_id FROM seller UNION SELECT seller_id FROM page UNION SELECT seller_id FROM outlay
    UNION SELECT seller_id FROM former UNION SELECT seller_id FROM base
"""

DATABASE = Format(FORMAT, _SCHEMA, _UPGRADES, oldest=_OLDEST_FORMAT)

# Made when it is first asked for: while pages come, it would cost each of them more than it does in one go.
INDEX_PAGES_BY_SELLER = "CREATE INDEX IF NOT EXISTS page_of_seller ON page (seller_id)"

# A page that was dropped for damage must not have its number used again.
LAST_SEQ = """SELECT max(
    (SELECT coalesce(max(seq), 0) FROM page),
    (SELECT coalesce(max(seq), 0) FROM body),
    (SELECT coalesce(max(last_seq), 0) FROM segment)
)"""

SELLERS_TO_REOPEN = """
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

# Rows that are carried are kept until their seller is read to its end, or cannot be.
END_SELLER = """
INSERT INTO seller VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (seller_id) DO UPDATE SET
    status = excluded.status, stop_reason = excluded.stop_reason, error = excluded.error,
    retriable = excluded.retriable, run_id = excluded.run_id, checksum = excluded.checksum
    WHERE seller.stop_reason != 'carried' OR excluded.status != 'partial'
"""

ADD_COST = """
INSERT INTO outlay VALUES (?, ?, ?) ON CONFLICT (seller_id) DO UPDATE SET
    credits = credits + excluded.credits,
    checksum = row_checksum(seller_id, credits + excluded.credits)
"""

_SUMMARIES = """
SELECT seller_id, seller.status, seller.stop_reason, coalesce(p.pages, 0) AS pages,
    coalesce(outlay.credits, 0) + coalesce(p.credits, 0) AS credits, seller.error, p.first, p.last,
    coalesce(p.run_id, seller.run_id) AS run_id, coalesce(p.rows, 0) AS rows, coalesce(p.size, 0) AS size,
    p.max_remaining_value, coalesce(s.overlap, 0) AS overlap, coalesce(s.drift, 0) AS drift,
    matched.source, coalesce(matched.videos, 0) AS videos, coalesce(p.deepest, 0) + 1 AS missing,
    coalesce(anew.seq, 0) AS after, coalesce(anew.credits, 0) AS earlier, p.gaps,
    base.source AS base_source, base.videos AS base_videos, base.stretches, base.rates
FROM {sellers}
LEFT JOIN base USING (seller_id)
LEFT JOIN seller USING (seller_id)
LEFT JOIN outlay USING (seller_id)
LEFT JOIN matched USING (seller_id)
LEFT JOIN anew USING (seller_id)
LEFT JOIN (SELECT seller_id, sum(overlap) AS overlap, sum(NOT mended) AS drift
    FROM seam GROUP BY seller_id) AS s USING (seller_id)
LEFT JOIN (SELECT seller_id, count(*) AS pages, sum(credits) AS credits,
    min(received_at) AS first, max(received_at) AS last, max(run_id) AS run_id,
    sum(row_count) AS rows, sum(size) AS size,
    CASE WHEN count(least) = count(*) THEN min(least) END AS max_remaining_value,
    max(page_num) AS deepest, max(page_num) > count(DISTINCT page_num) AS gaps
    FROM page {pages} GROUP BY seller_id) AS p USING (seller_id)
ORDER BY seller_id"""

ALL_SUMMARIES = _SUMMARIES.format(sellers="known", pages="")

_OF_CRAWL = ("page", "seller", "outlay", "seam", "matched")
"""The tables that hold a seller's crawl under way."""

# `listed` are the sellers to crawl anew; those of them that have no previous crawl yet are `moved`.
_OF_MOVED = _SUMMARIES.format(sellers="moved", pages="WHERE seller_id IN (SELECT seller_id FROM moved)")
_MOVE = """INSERT INTO former
    SELECT seller_id, :batch, 0, 0, after,
        coalesce(status, CASE WHEN pages THEN 'partial' ELSE 'pending' END), stop_reason, pages, credits,
        error, first, last, run_id, rows, size, CASE WHEN NOT gaps THEN max_remaining_value END, overlap,
        drift, source, videos, 0
    FROM ({})"""
RENEW = (
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
    *(f"DELETE FROM {table} WHERE seller_id IN (SELECT seller_id FROM moved)" for table in _OF_CRAWL),
    """INSERT OR IGNORE INTO former
        SELECT seller_id, :batch, 0, 0, 0, 'pending', NULL, 0, 0, NULL, NULL, NULL, NULL, 0, 0, NULL, 0, 0,
            NULL, 0, 0
        FROM listed""",
)

# `listed` are sellers whose crawl under way is not believed: it counts as spent, and is forgotten. Rows in
# segments are hidden by their number.
FORGET = (
    """INSERT OR REPLACE INTO anew SELECT seller_id, :last_seq, spent,
            row_checksum(seller_id, :last_seq, spent) FROM
        (SELECT seller_id, coalesce(anew.credits, 0) + coalesce(outlay.credits, 0)
                + coalesce((SELECT sum(credits) FROM page WHERE page.seller_id = listed.seller_id), 0)
                AS spent
        FROM listed LEFT JOIN anew USING (seller_id) LEFT JOIN outlay USING (seller_id))""",
    *(f"DELETE FROM {table} WHERE seller_id IN (SELECT seller_id FROM listed)" for table in _OF_CRAWL),
    # They stay known: the rows of sellers that are not would be published.
    "INSERT OR REPLACE INTO outlay SELECT seller_id, 0, row_checksum(seller_id, 0) FROM listed",
)

FORGET_PREVIOUS = "DELETE FROM former WHERE seller_id IN (SELECT seller_id FROM listed)"
DELETE_PREVIOUS_PAGES = "DELETE FROM former_page WHERE seller_id NOT IN (SELECT seller_id FROM former)"

REPLACE_PREVIOUS = (
    """UPDATE former SET batch = :failed, checksum = 0 WHERE batch > 0 AND batch NOT IN
        (SELECT batch FROM former LEFT JOIN seller USING (seller_id) WHERE seller.seller_id IS NULL)""",
    """UPDATE former SET batch = :failed, checksum = 0
        WHERE batch = :taken AND seller_id IN (SELECT seller_id FROM seller)""",
    # A crawl that brought nothing takes the place of none.
    """DELETE FROM former WHERE batch = :failed AND (pages = 0 OR seller_id IN
        (SELECT seller_id FROM seller WHERE status = 'complete' OR (status = 'partial'
            AND EXISTS (SELECT 1 FROM page WHERE page.seller_id = seller.seller_id))))""",
    DELETE_PREVIOUS_PAGES,
)

TAKE_OVER = """INSERT OR IGNORE INTO former VALUES (:seller_id, :batch, :final, 1, 0, :status, :stop_reason,
    :pages, :own_credits, :error, :first_crawled_at, :last_crawled_at, :run_id, :rows, 0, NULL, :overlap,
    :drift, :source, :matched_videos, 0)"""
READ_SPAN = "SELECT count(*), min(received_at), max(received_at) FROM page WHERE seller_id = ?"

# Follows each change of that table.
SET_PREVIOUS_CHECKSUMS = """UPDATE former SET checksum = row_checksum(
        seller_id, batch, final, snapshot, after, status, stop_reason, pages, credits, error, first, last,
        run_id, rows, size, bound, overlap, drift, source, videos)
    WHERE checksum = 0"""

COUNT_PREVIOUS_PAGES = """UPDATE former SET status = 'partial', stop_reason = NULL, bound = NULL,
        checksum = 0, (pages, rows) = (SELECT count(*), coalesce(sum(row_count), 0) FROM former_page
            WHERE former_page.seller_id = former.seller_id)
    WHERE seller_id = ?"""

INSERT_PAGE = f"INSERT INTO page VALUES ({', '.join('?' * 16)})"
INSERT_BODY = "INSERT INTO body VALUES (?, ?, ?, ?, ?)"
INSERT_SEGMENT = "INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?)"
DELETE_SEGMENT = "DELETE FROM segment WHERE name = ?"
DELETE_BODIES = "DELETE FROM body WHERE seq <= ?"
SEGMENTS = "SELECT name, first_seq, last_seq, rejected, pieces FROM segment ORDER BY last_seq"
LAST_SEGMENT = "SELECT coalesce(max(last_seq), 0) FROM segment"
NEXT_BODY = "SELECT seq, lz4 FROM body WHERE seq > ? ORDER BY seq LIMIT 1"
PAGES_OF_BODY = """SELECT seq, seller_id, page_num, received_at, request_id, run_id, size FROM page
    WHERE seq > ? AND seq <= ? ORDER BY seq"""

META = "SELECT name, value, checksum FROM meta WHERE name = ?"
FORGET_META = "DELETE FROM meta WHERE name = ?"
SET_META = "INSERT OR REPLACE INTO meta VALUES (?, ?, ?)"
SET_GAP = "INSERT OR REPLACE INTO seam VALUES (?, ?, ?, ?, ?)"
REPAIR_GAPS = """UPDATE seam SET mended = 1, checksum = row_checksum(seller_id, page_num, overlap, 1)
    WHERE seller_id = ? AND page_num > ?"""
GAPS_OF_SELLER = "SELECT page_num, overlap FROM seam WHERE seller_id = ? AND NOT mended"
SELLERS_WITH_GAPS = "SELECT seller_id FROM seam WHERE NOT mended"
COMPLETE_WITH_GAPS = """SELECT DISTINCT seller_id FROM seam JOIN seller USING (seller_id)
    WHERE status = 'complete' AND NOT mended"""
FINGERPRINTS = "SELECT page_num, fingerprint FROM page WHERE seller_id = ? ORDER BY seq DESC"
LAST_VALUES = "SELECT page_num, least FROM page WHERE seller_id = ? ORDER BY page_num"
COUNT_PAGES = "SELECT COUNT(*) FROM page WHERE seller_id = ?"
HAS_ENDED = "SELECT EXISTS (SELECT 1 FROM seller WHERE seller_id = ?)"
PAGE_NUMBERS = tuple(
    f"SELECT seq, page_num FROM {table} WHERE seller_id = ?" for table in ("page", "former_page")
)
ANSWERED_AFTER = "SELECT DISTINCT seller_id FROM page WHERE seq > :after"
FIRST_PAGES_AFTER = """SELECT seq, seller_id, row_count - rejected, fingerprint, received_at FROM page
    WHERE seq > ? AND page_num = 1 ORDER BY seq"""
ANY_ENDED = "SELECT EXISTS (SELECT 1 FROM seller)"
REOPEN = "DELETE FROM seller WHERE seller_id = ?"
SETTLED = """SELECT seller_id FROM seller WHERE NOT (status = 'failed' AND retriable)
    UNION SELECT seller_id FROM former WHERE final"""
REFUSED = "SELECT seller_id FROM seller WHERE status = 'failed' AND NOT retriable"
ANSWERED = "SELECT seller_id FROM seller UNION SELECT seller_id FROM page"
KNOWN = "SELECT seller_id FROM known"
NOT_CARRIED = """SELECT seller_id FROM seller WHERE stop_reason != 'carried'
    UNION SELECT seller_id FROM former WHERE final"""
ENDED = "SELECT seller_id FROM seller UNION SELECT seller_id FROM former WHERE final"
BEGUN = """SELECT seller_id, page_num, row_count, fingerprint, total, least, edge, rejected, max(seq)
    FROM page LEFT JOIN seller USING (seller_id)
    WHERE seller.seller_id IS NULL OR (:carried AND seller.stop_reason = 'carried')
    GROUP BY seller_id, page_num ORDER BY seller_id, page_num"""

SET_MATCH = "INSERT OR REPLACE INTO matched VALUES (?, ?, ?, ?)"
MATCHED_DAYS = """SELECT source FROM matched UNION SELECT source FROM base
    UNION SELECT source FROM former WHERE snapshot OR stop_reason = 'carried'"""
CARRIED_OF_DAY = """SELECT seller_id, videos FROM matched JOIN seller USING (seller_id)
    WHERE stop_reason = 'carried' AND source = :day
    UNION SELECT seller_id, videos FROM base LEFT JOIN seller USING (seller_id)
    WHERE source = :day AND (coalesce(status, '') != 'complete'
        OR seller_id IN (SELECT seller_id FROM former WHERE NOT snapshot))
    UNION SELECT seller_id, videos FROM former
    WHERE (snapshot OR stop_reason = 'carried') AND source = :day"""
ANY_BASE = """SELECT EXISTS (SELECT 1 FROM base
    WHERE seller_id NOT IN (SELECT seller_id FROM former WHERE snapshot))"""
COUNT_BASES = "SELECT count(*) FROM base"
MEAN_PAGES = """SELECT avg(pages) FROM (SELECT count(DISTINCT page_num) AS pages FROM page
    WHERE page_num <= :most GROUP BY seller_id HAVING min(page_num) = 1)"""
WITH_BASE = "SELECT seller_id FROM base"
BASES = "SELECT seller_id, source, videos, stretches, rates FROM base"
ADD_BASE = "INSERT OR IGNORE INTO base VALUES (?, ?, ?, ?, ?, ?, ?)"
BASES_SINCE = "SELECT seller_id, since FROM base WHERE since IS NOT NULL"
# A page some of whose rows were rejected counts as full: it ends no list.
STRETCH_PAGES, PREVIOUS_STRETCH_PAGES = (
    f"""SELECT page_num, CASE WHEN rejected THEN max(row_count, :size) ELSE row_count END, max(seq)
    FROM {table} WHERE seller_id = :seller_id GROUP BY page_num"""
    for table in ("page", "former_page")
)
GIVE_UP_CARRIED = (
    "DELETE FROM base WHERE seller_id = ?",
    "DELETE FROM seller WHERE seller_id = ? AND stop_reason = 'carried'",
    "DELETE FROM former WHERE seller_id = ? AND (snapshot OR stop_reason = 'carried')",
)

CREDITS = """SELECT coalesce(sum(credits), 0) FROM
    (SELECT credits FROM page UNION ALL SELECT credits FROM outlay UNION ALL SELECT credits FROM anew)"""
LAST_RECEIVED = "SELECT coalesce(max(received_at), -1) FROM page"
LONGEST_PAGES = (
    "SELECT coalesce(max(row_count), 0) FROM page",
    "SELECT coalesce(max(row_count), 0) FROM former_page",
)
SHORT_FIRST_PAGES = """SELECT coalesce(sum(first < :size), 0), count(*) FROM
    (SELECT max(CASE page_num WHEN 1 THEN row_count END) AS first,
        max(CASE page_num WHEN 2 THEN row_count END) AS second
    FROM page WHERE page_num <= 2 GROUP BY seller_id) WHERE first > 0 AND second > 0"""
# Later pages of a single video may be alike by chance.
_OWN_PAGES = "FROM page WHERE row_count > rejected AND (page_num = 1 OR row_count > 1)"
_OF_SEVERAL = f"SELECT fingerprint {_OWN_PAGES} GROUP BY fingerprint HAVING min(seller_id) < max(seller_id)"
WITH_SHARED_PAGES = f"SELECT DISTINCT seller_id {_OWN_PAGES} AND fingerprint IN ({_OF_SEVERAL})"
# On most nights there are none, and then the sellers need not be looked for.
SHARED_PAGES = f"""SELECT
    CASE WHEN EXISTS ({_OF_SEVERAL}) THEN (SELECT count(*) FROM ({WITH_SHARED_PAGES})) ELSE 0 END,
    (SELECT count(DISTINCT seller_id) FROM page WHERE page_num = 1 AND row_count > rejected)"""
PAGE_SIZES = """SELECT seller_id, page_num, max(row_count) FROM
    (SELECT seller_id, page_num, row_count FROM page
    WHERE seller_id > :after AND seller_id <= :last
        AND NOT (:shown AND seller_id IN (SELECT seller_id FROM former))
    UNION ALL SELECT seller_id, page_num, row_count FROM former_page
    WHERE :shown AND seller_id > :after AND seller_id <= :last)
    GROUP BY seller_id, page_num ORDER BY seller_id, page_num"""

ANY_HIDDEN = "SELECT EXISTS (SELECT 1 FROM former WHERE batch > 0)"
HIDDEN = "SELECT seller_id FROM former WHERE batch > 0"
PAGES_BETWEEN = " UNION ALL ".join(
    f"SELECT seq, seller_id FROM {table} WHERE seq BETWEEN :first AND :last"
    for table in ("page", "former_page")
)
LAST_SHOWN_SEQ = f"SELECT coalesce(max(seq), 0) FROM page WHERE seller_id NOT IN ({HIDDEN})"
ENDINGS_SHOWN = f"""SELECT status, stop_reason, count(*) FROM seller WHERE seller_id NOT IN ({HIDDEN})
    GROUP BY status, stop_reason"""
COSTS_SHOWN = f"SELECT coalesce(sum(credits), 0) FROM outlay WHERE seller_id NOT IN ({HIDDEN})"
PREVIOUS_BATCHES = """SELECT batch, count(*), sum(pages) FROM former WHERE batch <= 0
    GROUP BY batch ORDER BY batch"""
PREVIOUS_CRAWLS = """SELECT seller_id, status, stop_reason, pages, credits, error, first, last, run_id, rows,
    size, bound, overlap, drift, source, videos, pages + 1, after,
    (SELECT max(seq) FROM former_page WHERE former_page.seller_id = former.seller_id), snapshot, batch, final
    FROM former ORDER BY seller_id"""
NEWEST_BATCH = "SELECT max(0, coalesce(max(batch), 0)) FROM former"
ANY_RENEWED = "SELECT EXISTS (SELECT 1 FROM anew) OR EXISTS (SELECT 1 FROM former)"
SHOWN_RANGE = """SELECT (SELECT seq FROM anew WHERE seller_id = :id),
    (SELECT after FROM former WHERE seller_id = :id)"""
KEEP_COST = "INSERT OR IGNORE INTO anew VALUES (?, ?, ?, ?)"
SELLER_OF_PREVIOUS_PAGE = "SELECT seller_id FROM former_page WHERE seq = ?"
DELETE_PREVIOUS_PAGE = "DELETE FROM former_page WHERE seq = ?"
