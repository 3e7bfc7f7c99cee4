"""A journal with damage that SQLite does not see: only what was hit is asked for again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path
from random import Random

import orjson
import pytest
from conftest import DATE
from damage import BLOCK, damage

from crawler.api.columns import read_batch
from crawler.models.errors import OutputError
from crawler.models.page import Page
from crawler.models.seller import Ending, SellerStatus, StopReason
from crawler.store.journal import Journal
from crawler.store.ledger import Ledger
from crawler.store.parts import deduplicated
from crawler.store.records import Record
from crawler.store.segments import SegmentWriter
from crawler.store.sqlite import unread_commits

SELLERS = ("7001", "7002", "7003")
PAGES = 4
"""Pages a seller; the last one is short, and one row of each page is no row."""


def body(seller_id: str, page_num: int) -> bytes:
    rows: list[object] = [
        {"seller_id": seller_id, "video_id": f"{seller_id}-{page_num}-{n}", "total_views_cnt": n}
        for n in range(9 if page_num < PAGES else 3)
    ]
    return orjson.dumps({"code": 0, "data": [*rows, "no row"]})


def record(seller_id: str, page_num: int) -> Record:
    content = body(seller_id, page_num)
    count = len(orjson.loads(content)["data"])
    page = Page(seller_id, page_num, content, count, hash((seller_id, page_num)), 5, "r", 36.0, 8.0)
    ending = Ending(SellerStatus.COMPLETE, StopReason.SHORT_PAGE) if page_num == PAGES else None
    return Record(seller_id, "run", 1, page, ending)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of which half is in a segment and half in bodies, as a killed run leaves it."""
    path = tmp_path / "state" / "journal" / f"{DATE}.1.sqlite"
    with Journal(path) as journal:
        journal.note(sort="views", order="desc")
        staging = SegmentWriter(journal, read_batch)
        for page_num in range(1, PAGES + 1):
            staging.write([record(seller, page_num) for seller in SELLERS])
            if page_num == 2:
                staging.flush()
        journal.write([Record("7009", "run", 2, None, None)])
    return path


def change(path: Path, query: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(query)
        db.commit()


def repaired(path: Path) -> tuple[str, set[tuple[str, int]], int]:
    """What a repair says, the pages that the journal lacks then, and the credits that it knows of.

    Every row of the pages that it has must be right, and a second repair finds nothing.
    """
    everything = {(seller, page_num) for seller in SELLERS for page_num in range(1, PAGES + 1)}
    with Journal(path) as journal:
        staging = SegmentWriter(journal, read_batch)
        said = str(staging.repairs)
        pages = set(journal.connection.execute("SELECT seller_id, page_num FROM page"))
        ended = {seller for ids in journal.sellers.ended() for seller in ids.to_pylist()}
        assert not {seller for seller, _ in everything - pages} & ended
        staging.flush()
        found = {
            (str(row["seller_id"]), str(row["video_id"]), row["total_views_cnt"])
            for _, pieces in deduplicated(journal, path.with_name("between"))
            for piece in pieces
            for row in piece.columns(["seller_id", "video_id", "total_views_cnt"]).to_pylist()
        }
        assert not str(SegmentWriter(journal, read_batch).repairs)
        credit = journal.reader.credits()
    wanted = {
        (seller, row["video_id"], row["total_views_cnt"])
        for seller, page_num in pages
        for row in orjson.loads(body(seller, page_num))["data"]
        if isinstance(row, dict)
    }
    assert found == wanted
    assert pages <= everything
    return said, everything - pages, credit


CREDITS = len(SELLERS) * PAGES + 2


@pytest.mark.parametrize(
    ("query", "missing", "credit"),
    [
        pytest.param("UPDATE body SET lz4 = zeroblob(length(lz4)) WHERE seq = 9", 3, CREDITS, id="body"),
        pytest.param(
            "UPDATE body SET lz4 = CAST(substr(lz4, 1, 40) || char(unicode(substr(lz4, 41, 1)) + 1) AS BLOB)",
            6,
            CREDITS,
            id="cut bodies",
        ),
        pytest.param("UPDATE body SET seq = 8 WHERE seq = 9", 1, CREDITS, id="place of a body"),
        pytest.param("UPDATE body SET size = 7, first_seq = 1", 0, CREDITS, id="size of a body"),
        pytest.param(
            "UPDATE body SET size = -1, lz4 = zeroblob(length(lz4)) WHERE seq = 9", 3, CREDITS, id="no size"
        ),
        pytest.param("DELETE FROM body WHERE seq = 12", 3, CREDITS, id="lost body"),
        pytest.param("UPDATE page SET page_num = page_num + 8 WHERE seq = 2", 0, CREDITS, id="page, one bit"),
        pytest.param("UPDATE page SET least = least + 1024 WHERE seq = 11", 0, CREDITS, id="real, one bit"),
        pytest.param(
            "UPDATE page SET seller_id = 'nobody' WHERE seq = 2", 1, CREDITS - 1, id="page in segment"
        ),
        pytest.param(
            "UPDATE page SET seller_id = 'nobody', credits = 1000 WHERE seq = 2", 1, CREDITS - 1, id="credits"
        ),
        pytest.param("UPDATE page SET size = 77 WHERE seq = 8", 1, CREDITS, id="page in body"),
        pytest.param("UPDATE page SET row_count = 7777777 WHERE seq = 12", 1, CREDITS, id="last page"),
        pytest.param("UPDATE page SET request_id = CAST(x'ff00ff' AS TEXT)", 12, CREDITS, id="no text"),
        pytest.param("UPDATE segment SET pieces = 'x'", 6, CREDITS, id="segment"),
        pytest.param("DELETE FROM segment", 6, CREDITS, id="lost segment"),
        pytest.param("UPDATE seller SET status = 'partial'", 0, CREDITS, id="seller"),
        pytest.param("UPDATE outlay SET credits = 18", 0, CREDITS, id="outlay, one bit"),
        pytest.param("UPDATE outlay SET credits = 77777", 0, CREDITS - 2, id="outlay"),
        pytest.param("UPDATE meta SET value = 'viewr' WHERE name = 'sort'", 0, CREDITS, id="meta, one bit"),
        pytest.param(
            "INSERT INTO meta SELECT 'sorv', value, checksum FROM meta WHERE name = 'sort'",
            0,
            CREDITS,
            id="a row that is there already",
        ),
    ],
)
def test_what_is_damaged_is_corrected_or_missing(path: Path, query: str, missing: int, credit: int) -> None:
    change(path, query)
    said, lacking, known = repaired(path)
    assert (len(lacking), known) == (missing, credit)
    assert (f"{missing} stored pages were damaged or lost" in said) is (missing > 0)
    assert said or query.startswith("UPDATE body SET size")
    with Journal(path) as journal:
        assert journal.meta("sort") == "views"


@pytest.mark.parametrize("kind", ["arrow", "jsonl"])
def test_of_a_segment_only_what_was_hit_is_missing(path: Path, kind: str) -> None:
    (file,) = path.with_suffix(".segments").glob(f"*.{kind}")
    folder, rng = path.with_suffix(".segments"), Random(kind)
    database, whole = path.read_bytes(), {other: other.read_bytes() for other in folder.iterdir()}
    for harm in ("bit", "bit", "bit", "zeros", "cut", "gone"):
        damage(file, harm, rng)
        said, lacking, credit = repaired(path)
        assert "written again" in said
        assert len(lacking) in ({0} if harm == "bit" else {0, 6})
        assert credit == CREDITS
        for stale in folder.iterdir():
            stale.unlink()
        path.write_bytes(database)
        for other, content in whole.items():
            other.write_bytes(content)


def test_a_lost_sorting_stops_the_run_with_the_way_out(path: Path) -> None:
    change(path, "UPDATE meta SET value = 'nothing at all' WHERE name = 'sort'")
    with Journal(path) as journal, pytest.raises(OutputError, match=r"sort of its pages is lost.*--fresh"):
        journal.require(sort="views", order="desc")


@pytest.mark.parametrize("harm", ["schema", "page", "no database"])
def test_damage_of_the_structure_names_the_file_and_the_way_out(path: Path, harm: str) -> None:
    content = bytearray(path.read_bytes())
    if harm == "schema":
        place = content.index(b"fingerprint")
        content[place] ^= 1
    elif harm == "page":
        content[-BLOCK:] = bytes(BLOCK)
    else:
        content[:16] = b"no database here"
    path.write_bytes(content)
    with pytest.raises(OutputError, match=rf"{path} is damaged .*restore it from a copy, or .*--fresh"):
        Journal(path)


def test_a_ledger_with_one_flipped_bit_is_corrected(tmp_path: Path) -> None:
    day = date.fromisoformat(DATE)
    with Ledger(tmp_path) as ledger:
        ledger.begin("r", day, f"{DATE}T00:00:00.000Z")
        ledger.reserve("r", day, None, lambda _left: 300)
        path = ledger.path
    for query in ("UPDATE run SET reserved = reserved - 256", "UPDATE lease SET credits = credits - 256"):
        change(path, query)
        with Ledger(tmp_path) as ledger:
            assert ledger.spent_for(day) == ledger.spent_since(day) == 300
    change(path, "UPDATE run SET crawl_date = '2020-01-01'")
    with pytest.raises(OutputError, match=r"ledger.sqlite is damaged .* mv "):
        Ledger(tmp_path)


def test_commits_that_a_damaged_log_hides_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with Journal(path) as journal:
        journal.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for page_num in range(1, PAGES + 1):
            journal.write([record("7001", page_num)])
        log = bytearray(path.with_name("j.sqlite-wal").read_bytes())
        assert unread_commits(path) == 0
    whole = path.with_name("copy.sqlite-wal")
    for place, unread in ((20, PAGES), (32 + 24 + 9, PAGES), (len(log) - 9, 1)):
        harmed = bytearray(log)
        harmed[place] ^= 1
        whole.write_bytes(harmed)
        assert unread_commits(path.with_name("copy.sqlite")) == unread
    for size in (0, 77):
        harmed = bytearray(log)
        harmed[8:12] = size.to_bytes(4)
        whole.write_bytes(harmed)
        assert unread_commits(path.with_name("copy.sqlite")) == 1, "no page has this size"
    whole.write_bytes(log[:20])
    assert unread_commits(path.with_name("copy.sqlite")) == 0
    whole.write_bytes(log[: len(log) - 9])
    assert unread_commits(path.with_name("copy.sqlite")) == 0
    assert unread_commits(path.with_name("none.sqlite")) == 0


def test_what_is_left_of_a_log_s_earlier_round_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    with Journal(path) as journal:
        for page_num in range(1, PAGES):
            journal.write([record("7001", page_num)])
        journal.connection.execute("PRAGMA wal_checkpoint(RESTART)")
        journal.write([record("7001", PAGES)])
        assert unread_commits(path) == 0


def test_without_one_of_these_rows_it_is_not_known_which_crawl_is_published(path: Path) -> None:
    change(path, "INSERT INTO anew VALUES ('7001', 5, 1, 77777)")
    with Journal(path) as journal, pytest.raises(OutputError, match=r"damaged \(table anew, 7001\)"):
        SegmentWriter(journal, read_batch)


def test_one_flipped_bit_of_a_body_costs_nothing(path: Path) -> None:
    rng = Random(3)
    with closing(sqlite3.connect(path)) as db:
        for seq, blob in db.execute("SELECT seq, lz4 FROM body").fetchall():
            flipped = bytearray(blob)
            flipped[rng.randrange(len(blob))] ^= 1 << rng.randrange(8)
            db.execute("UPDATE body SET lz4 = ? WHERE seq = ?", (bytes(flipped), seq))
        db.commit()
    assert repaired(path) == ("2 damaged records were corrected by their checksums", set(), CREDITS)
