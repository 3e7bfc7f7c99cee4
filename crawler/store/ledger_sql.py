"""The ledger's tables and its longer statements, by name: open it to change what is counted, and for when."""

from __future__ import annotations

from crawler.store.sqlite import Format

FORMAT = 5
_SCHEMA = """
CREATE TABLE IF NOT EXISTS run (
    run_id TEXT PRIMARY KEY, crawl_date TEXT NOT NULL, started_at TEXT NOT NULL,
    reserved INTEGER NOT NULL DEFAULT 0, finished_at TEXT, exit_code INTEGER,
    checksum INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS run_of_date ON run (crawl_date);
CREATE TABLE IF NOT EXISTS lease (
    run_id TEXT NOT NULL, day TEXT NOT NULL, credits INTEGER NOT NULL, checksum INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, day)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lease_of_day ON lease (day);
CREATE TABLE IF NOT EXISTS key_lease (
    run_id TEXT NOT NULL, day TEXT NOT NULL, key TEXT NOT NULL, credits INTEGER NOT NULL,
    checksum INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (run_id, day, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lease_of_key ON key_lease (key, day);
CREATE TABLE IF NOT EXISTS outcome (
    run_id TEXT PRIMARY KEY, rows INTEGER, sellers INTEGER, complete INTEGER, failed INTEGER, refused INTEGER,
    facts TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS closed (crawl_date TEXT PRIMARY KEY, closed_at TEXT NOT NULL) WITHOUT ROWID;
-- format 1 had no leases: a run's credits count for the day on which it began
INSERT INTO lease
    SELECT run_id, substr(started_at, 1, 10), reserved,
        row_checksum(run_id, substr(started_at, 1, 10), reserved) FROM run
    WHERE reserved > 0 AND run_id NOT IN (SELECT run_id FROM lease)
"""

CHECK_RUN = (
    "UPDATE run SET checksum = row_checksum(run_id, crawl_date, started_at, reserved, finished_at, exit_code)"
)
_CHECKED_RUNS = f"ALTER TABLE run ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;{CHECK_RUN}"
_CHECKED_LEASES = """
ALTER TABLE lease ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
UPDATE lease SET checksum = row_checksum(run_id, day, credits)
"""
# Of format 2 some have outcomes already.
_FACTS = """
CREATE TABLE IF NOT EXISTS outcome (
    run_id TEXT PRIMARY KEY, rows INTEGER, sellers INTEGER, complete INTEGER, failed INTEGER, refused INTEGER
) WITHOUT ROWID;
ALTER TABLE outcome ADD COLUMN facts TEXT
"""
_UPGRADES = {
    1: f"{_CHECKED_RUNS};{_FACTS}",
    2: f"{_CHECKED_RUNS};{_CHECKED_LEASES};{_FACTS}",
    3: _FACTS,
}
DATABASE = Format(FORMAT, _SCHEMA, _UPGRADES)

# Never an earlier day than one that is there: a clock that was set back over a month's border would
# otherwise charge the month that is over, and leave the new one its whole budget. Days that lie far ahead
# come of a clock that was wrong, and hold nothing up.
_LEASED_TODAY = """
WITH clock (day) AS (SELECT coalesce(:day, substr(started_at, 1, 10)) FROM run WHERE run_id = :run_id),
    latest (day) AS (SELECT max(
        clock.day,
        coalesce((SELECT max(day) FROM lease WHERE day <= date(clock.day, :far)), '')
    ) FROM clock)
"""
ADD_LEASE = f"""
{_LEASED_TODAY}
INSERT INTO lease
    SELECT :run_id, latest.day, :credits, row_checksum(:run_id, latest.day, :credits) FROM latest WHERE true
ON CONFLICT (run_id, day) DO UPDATE SET
    credits = credits + excluded.credits,
    checksum = row_checksum(run_id, day, credits + excluded.credits)
"""  # noqa: S608 - our own words
# The part of it that is for a key with a name: after `ADD_LEASE`, and so for the same day.
ADD_KEY_LEASE = f"""
{_LEASED_TODAY}
INSERT INTO key_lease
    SELECT :run_id, latest.day, :key, :credits, row_checksum(:run_id, latest.day, :key, :credits)
    FROM latest WHERE true
ON CONFLICT (run_id, day, key) DO UPDATE SET
    credits = credits + excluded.credits,
    checksum = row_checksum(run_id, day, key, credits + excluded.credits)
"""  # noqa: S608 - as above

# The order of the runs, other than the clock, never goes back: what was leased for a day far ahead belongs
# to a month that no earlier month's run came after.
_SINCE = """day >= :since AND (day <= :far OR run.rowid >= coalesce(
    (SELECT max(run.rowid) FROM lease JOIN run USING (run_id) WHERE day < :since), 0))
"""
SPENT_SINCE = f"""
SELECT coalesce(sum(credits), 0) FROM lease LEFT JOIN run USING (run_id) WHERE {_SINCE}
"""  # noqa: S608 - as above
KEY_SPENT_SINCE = f"""
SELECT coalesce(sum(credits), 0) FROM key_lease LEFT JOIN run USING (run_id) WHERE key = :key AND {_SINCE}
"""  # noqa: S608 - as above

LOWER_LEASE = """
UPDATE lease SET credits = credits - :back, checksum = row_checksum(run_id, day, credits - :back)
    WHERE run_id = :run_id AND day = :day
"""

SET_OUTCOME = """
UPDATE outcome
    SET rows = :rows, sellers = :sellers, complete = :complete, failed = :failed, refused = :refused
    WHERE run_id = :run_id
"""
RUNS = """
SELECT run_id, crawl_date, started_at, reserved, finished_at, exit_code,
        rows, sellers, complete, failed, refused, facts
    FROM run LEFT JOIN outcome USING (run_id) ORDER BY run.rowid DESC
"""

# A run keeps its place among the others.
CORRECT_ROW = {
    "run": """UPDATE run SET (run_id, crawl_date, started_at, reserved, finished_at, exit_code, checksum) =
        (?, ?, ?, ?, ?, ?, ?) WHERE run_id = ?""",
    "lease": """UPDATE lease SET (run_id, day, credits, checksum) = (?, ?, ?, ?)
        WHERE run_id = ? AND day = ?""",
    "key_lease": """UPDATE key_lease SET (run_id, day, key, credits, checksum) = (?, ?, ?, ?, ?)
        WHERE run_id = ? AND day = ? AND key = ?""",
}
