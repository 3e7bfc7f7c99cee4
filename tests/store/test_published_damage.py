"""Published files that were damaged: an earlier snapshot's damage costs the carrying of its sellers only."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from evenings import (
    ALL,
    STILL,
    ask_for_region_folders,
    crawl,
    evening,
    ids_of,
    on,
    rows_of,
    sellers_of,
    truth,
    values,
)

from crawler.engine.seller import Policies
from crawler.history.carried import PinnedRows
from crawler.history.carrying import CarryMatcher, CarryRule, digest_of
from crawler.history.pins import Pin
from crawler.history.snapshots import History
from crawler.history.unchanged import UnchangedSellers
from crawler.models.api import SortField
from crawler.models.errors import CarriedRowsLostError
from crawler.models.page import Match, Page, PageNotes
from crawler.models.seller import Ending, SellerStatus, StopReason
from crawler.simulator.catalogue import Catalogue
from crawler.store.journal import Journal
from crawler.store.layout import SNAPSHOT_KINDS, JournalFiles
from crawler.store.records import Record

FIRST = date(2026, 11, 20)
RULE = CarryRule(date(2026, 11, 21), 7, 0.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one night's snapshot; not to be changed."""
    folder = tmp_path_factory.mktemp("base")
    # Of a night in several files damage costs one of them.
    ask_for_region_folders(folder)
    crawl(folder, ids_of(60), 0)
    return folder


def copy_of(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path, dirs_exist_ok=True))


def published(folder: Path, kind: str, day: int = 0) -> list[Path]:
    return sorted((folder / "data" / kind / f"crawl_date={on(day)}").rglob("*.parquet"))


def flip(path: Path, at: int, bit: int = 1) -> None:
    """Flip a bit in place, as a disk would: other names of the file see it too."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bit]))


def first_page(seller_id: str) -> Page:
    body = orjson.dumps({"code": 0, "data": Catalogue(STILL).page(seller_id, 1, 1, 1, 10)})
    return Page(seller_id, 1, body, 10, 0, 0, "r")


def matcher_of(journal: Journal, data: Path) -> CarryMatcher:
    return CarryMatcher(journal, data, RULE, "views desc")


def match_of(matcher: CarryMatcher, seller_id: str) -> Match | None:
    policies = Policies(known_first_page=matcher.known_first_page, digest_of=digest_of)
    return policies.match(first_page(seller_id))


@pytest.mark.long
def test_no_flipped_bit_of_a_published_file_changes_a_row_that_is_carried(base: Path, tmp_path: Path) -> None:
    data = copy_of(base, tmp_path) / "data"
    sizes = Counter(row["seller_id"] for row in rows_of(tmp_path, 0))
    deep = [seller_id for seller_id, videos in sizes.items() if videos > 10][:8]
    rng = random.Random(7)
    with Journal(tmp_path / "j.sqlite") as journal:
        matcher_of(journal, data)
        carried = Ending(SellerStatus.COMPLETE, StopReason.CARRIED)
        notes = [PageNotes(match=Match(FIRST, sizes[seller_id], carried=True)) for seller_id in deep]
        noted = zip(deep, notes, strict=True)
        journal.write([Record(s, "run", 1, first_page(s), carried, note) for s, note in noted])

        def read() -> tuple[list[str], pa.Table]:
            found = PinnedRows(journal, data, RULE.crawl_date)
            kept = [seller_id for seller_id in deep if seller_id not in found.lost]
            return found.lost, found.rows({FIRST: kept}).sort_by([("video_id", "ascending")])

        lost, whole = read()
        assert not lost
        assert len(whole) == sum(map(sizes.__getitem__, deep))
        costs = 0
        for path in [*published(tmp_path, "videos"), *published(tmp_path, "sellers")]:
            size = path.stat().st_size
            places = [rng.randrange(size) for _ in range(15)] + [
                size - rng.randrange(1, 900) for _ in range(15)
            ]
            for at in {0, size - 1, *places}:
                flip(path, at, bit := 1 << rng.randrange(8))
                pin = Pin(JournalFiles(journal.path).pin(FIRST), FIRST)
                assert sum(len(pin.check(kind)[1]) for kind in SNAPSHOT_KINDS) == 1, (path, at)
                flip(path, at, bit)
            for at in places[::15]:
                flip(path, at, 1)
                lost, rows = read()
                matcher = matcher_of(journal, data)
                assert matcher.warnings, (path, at)
                own: Any = pc.field("seller_id").isin(pa.array(lost, pa.string()))
                assert rows.equals(whole.filter(~own)), (path, at)
                matches = [match_of(matcher, seller_id) for seller_id in deep]
                assert {m.rows for m in matches if m} <= {
                    sizes[s] for s, m in zip(deep, matches, strict=True) if m
                }
                costs += len(lost)
                flip(path, at, 1)
        assert costs
        assert read()[0] == []


def _replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


HARMS: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "no footer": lambda path: os.truncate(path, path.stat().st_size - 8),
    "no parquet": lambda path: path.write_bytes(b"rubbish"),
    "foreign parquet": lambda path: pq.write_table(pa.table({"a": [1]}), path),
    "gone": Path.unlink,
    "folder": lambda path: _replace(path, Path.mkdir),
    "dangling link": lambda path: _replace(path, lambda p: p.symlink_to("nowhere")),
    "pipe": lambda path: _replace(path, os.mkfifo),
}


@pytest.mark.parametrize("kind", ["videos", "sellers"])
@pytest.mark.parametrize("harm", HARMS)
def test_whatever_is_at_a_published_file_s_place_costs_its_rows_only(
    base: Path, tmp_path: Path, harm: str, kind: str
) -> None:
    data = copy_of(base, tmp_path) / "data"
    ids = [s for s, row in sellers_of(tmp_path, 0).items() if row["videos"] > 10]
    path = published(tmp_path, kind)[0]
    hit = {row["seller_id"] for row in pq.ParquetFile(path).read(["seller_id"]).to_pylist()}
    HARMS[harm](path)
    with Journal(tmp_path / "j.sqlite") as journal:
        matcher = matcher_of(journal, data)
        matched = {seller_id for seller_id in ids if match_of(matcher, seller_id) is not None}
    assert not matched & hit
    assert any(f"{path.parent.name}/{path.name}" in warning for warning in matcher.warnings)
    if kind == "videos":
        assert matched == set(ids) - hit
    history = History(data, RULE.crawl_date)
    history.page_values(SortField.VIEWS)
    history.videos(pa.array(ids), is_end_certain=True)
    history.videos(pa.array(ids))
    UnchangedSellers(history, "views desc", compares=True).may_carry(RULE)
    assert harm == "gone" or all(str(path) in warning for warning in history.warnings)
    assert harm == "gone" or history.warnings


def test_a_snapshot_without_digests_is_not_carried_and_said_so(base: Path, tmp_path: Path) -> None:
    data = copy_of(base, tmp_path) / "data"
    shutil.rmtree(data / "state")
    with Journal(tmp_path / "j.sqlite") as journal:
        matcher = matcher_of(journal, data)
        assert all(match_of(matcher, seller_id) is None for seller_id in ids_of(60))
    (warning,) = matcher.warnings
    assert on(0) in warning
    assert "no digests" in warning


def test_a_file_that_changes_while_it_is_published_from_is_noticed(base: Path, tmp_path: Path) -> None:
    data = copy_of(base, tmp_path) / "data"
    path = published(tmp_path, "videos")[0]
    (deep, *_) = [s for s, row in sellers_of(tmp_path, 0).items() if row["videos"] > 10]
    with Journal(tmp_path / "j.sqlite") as journal:
        matcher_of(journal, data)
        notes = PageNotes(match=Match(FIRST, sellers_of(tmp_path, 0)[deep]["videos"], carried=True))
        carried = Ending(SellerStatus.COMPLETE, StopReason.CARRIED)
        journal.write([Record(deep, "run", 1, first_page(deep), carried, notes)])
        rows = PinnedRows(journal, data, RULE.crawl_date)
        rows.require_unchanged()
        # Another name or time is no other content.
        os.utime(path, (1, 1))
        rows.require_unchanged()
        flip(path, path.stat().st_size // 2)
        with pytest.raises(CarriedRowsLostError, match="content has changed"):
            rows.require_unchanged()


def test_a_night_after_damage_reads_what_it_cannot_carry(base: Path, tmp_path: Path) -> None:
    folder, ids = copy_of(base, tmp_path), ids_of(60)
    path = max(published(folder, "videos"), key=lambda p: p.stat().st_size)
    flip(path, path.stat().st_size // 3)
    report = crawl(folder, ids, 1, *ALL, "--strategy", "best-first")
    assert any(path.name in note and path.parent.name in note for note in report["notes"])
    rows = values(rows_of(folder, 1))
    views = {(s, v["video_id"]): v["total_views_cnt"] for s in ids for v in Catalogue(STILL, 1).videos(s)}
    assert {key: row["total_views_cnt"] for key, row in rows.items()} == views
    assert report["sellers"]["complete"] == 60
    pages = sum(len(Catalogue(STILL, 1).videos(s)) // 10 + 1 for s in ids)
    assert report["carry_forward"]["carried"] > 0
    assert report["served"] + report["carry_forward"]["credits_saved"] == pages


def test_rows_that_were_published_are_not_lost_with_the_snapshot_that_they_came_from(
    base: Path, tmp_path: Path
) -> None:
    folder, ids = copy_of(base, tmp_path), ids_of(60)
    cut = crawl(folder, ids, 1, *ALL, "--budget", "90", code=3)
    before = values(rows_of(folder, 1))
    for path in published(folder, "videos"):
        flip(path, path.stat().st_size // 2)
    report = crawl(folder, ids, 1, *ALL, "--budget", "91", code=3)
    after = values(rows_of(folder, 1))
    assert before.items() <= after.items()
    assert report["carry_forward"]["carried"] == cut["carry_forward"]["carried"] > 0
    assert any("keep the carried rows" in note for note in report["notes"])
    for path in published(folder, "videos", 1):
        flip(path, path.stat().st_size // 2)
    report = crawl(folder, ids, 1, *ALL)
    assert report["carry_forward"]["carried"] == 0
    assert values(rows_of(folder, 1)).keys() == truth(ids, 1)


def test_damage_between_the_decision_and_publishing(base: Path, tmp_path: Path) -> None:
    """Nothing wrong is published, the exit code says that something is missing, and the next run has it."""
    folder, ids = copy_of(base, tmp_path), ids_of(60)
    with evening(folder, 1) as (job, simulator):
        source = job.sellers(ids)
        running = job.start(source, "--crawl-date", on(1), *ALL, "--qps", "150")
        while simulator.stats.requests < 60:
            assert running.poll() is None
        for path in published(folder, "videos"):
            flip(path, path.stat().st_size // 2)
        out, _ = running.communicate(timeout=60)
        first = orjson.loads(out)
        spent = simulator.stats.requests
        report = job.run(source, "--crawl-date", on(1), *ALL)
        assert first["exit_code"] == running.returncode == 8
        assert first["published"]
        assert first["sellers"]["partial"] > 0 == first["carry_forward"]["carried"]
        assert report["requests"]["sent"] == simulator.stats.requests - spent > 0
        assert report["sellers"]["complete"] == 60
        assert values(rows_of(folder, 1)).keys() == truth(ids, 1)


@pytest.mark.parametrize("harm", ["flip", "pipe", "dangling partition"])
def test_the_date_s_own_damaged_snapshot_is_built_again_for_nothing(
    base: Path, tmp_path: Path, harm: str
) -> None:
    folder = copy_of(base, tmp_path)
    rows, sellers = rows_of(folder, 0), sellers_of(folder, 0)
    for kind in ("videos", "sellers"):
        path = published(folder, kind)[-1]
        if harm == "dangling partition":
            partition = folder / "data" / kind / f"crawl_date={on(0)}"
            shutil.rmtree(partition)
            partition.symlink_to("nowhere")
        elif harm == "flip":
            flip(path, path.stat().st_size - 20)
        else:
            HARMS[harm](path)
    report = crawl(folder, ids_of(60), 0)
    assert report["served"] == 0
    assert values(rows_of(folder, 0)) == values(rows)
    assert sellers_of(folder, 0).keys() == sellers.keys()
