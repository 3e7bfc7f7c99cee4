"""`crawler compact`: months in the place of nights; no reader ever misses a night, and no row changes."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import SMALL, Night
from launcher import LAUNCHER
from old_nights import DAY, publish_night, publish_nights, rows_of, run_of
from steps import COMPACT_STEPS

from crawler.history.archiving import Source, write_month
from crawler.history.reader import SnapshotFiles, UnreadableError
from crawler.models.errors import DataLockedError, InputError
from crawler.nightly import month_making
from crawler.nightly.compacting import Compacted, compact
from crawler.nightly.world import World
from crawler.options import Settings
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.layout import VIDEOS
from crawler.store.lock import compact_lock, exchange_lock
from crawler.store.months import nights_in
from crawler.store.schema import VIDEO_FILE_SCHEMA

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
FIRST = date(2026, 5, 1)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
READ = """
    WITH kept AS (SELECT * FROM read_parquet('{data}/videos/*/*.parquet', hive_partitioning = false)),
    archived AS (SELECT * FROM read_parquet('{data}/archive/*/*.parquet', hive_partitioning = false))
    SELECT snapshot_date, count(*), count(DISTINCT (seller_id, video_id)), sum(total_views_cnt) FROM (
        SELECT * FROM kept UNION ALL BY NAME
        SELECT * FROM archived WHERE snapshot_date NOT IN (SELECT DISTINCT snapshot_date FROM kept)
    ) GROUP BY 1 ORDER BY 1
"""


def done(data: Path, *, now: datetime = NOW, is_dry: bool = False, **days: Any) -> Compacted:
    settings = Settings()
    settings = replace(settings, run=replace(settings.run, data=data))
    return compact(settings, World(now=lambda: now), is_dry=is_dry, **days)


def all_rows(data: Path) -> list[dict[str, Any]]:
    """Every row of `videos/` and `archive/`, by night, seller and video."""
    paths = [*data.glob("videos/*/*.parquet"), *data.glob("archive/*/*.parquet")]
    rows = pa.concat_tables(pq.ParquetFile(path).read() for path in paths)
    assert rows.schema.equals(VIDEO_FILE_SCHEMA)
    order: Any = [(name, "ascending") for name in ("snapshot_date", "seller_id", "video_id")]
    return rows.sort_by(order).to_pylist()


def months(data: Path) -> list[str]:
    return sorted(path.parent.name for path in data.glob("archive/*/*.parquet"))


def require_right_digests(data: Path) -> None:
    """Each published file has a digest, which is right, and each digest a file."""
    listed: dict[str, str] = {}
    for path in (data / "state" / "published").glob("*/*.sha256"):
        listed |= {line[66:]: line[:64] for line in path.read_text().splitlines()}
    there = {
        str(path.relative_to(data))
        for kind in ("videos", "sellers", "archive")
        for path in (data / kind).rglob("*.parquet")
    }
    assert listed.keys() == there
    for name, digest in listed.items():
        assert sha256((data / name).read_bytes()).hexdigest() == digest


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four whole months of nights and some days."""
    data = tmp_path_factory.mktemp("nights") / "data"
    publish_nights(data, FIRST, 130)
    (data / "state").chmod(0o700)
    return data


@pytest.fixture(autouse=True)
def _readers_list_both_folders_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crawler.store.archive.LISTING_SECONDS", 0.1)


@pytest.fixture
def data(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "data"))


def test_old_months_are_one_file_each_with_the_same_rows(data: Path) -> None:
    before = all_rows(data)
    planned = done(data, is_dry=True)
    assert (months(data), len(list(data.glob("videos/*")))) == ([], 130)
    found = done(data)
    assert [month.month for month in found.months] == ["2026-05", "2026-06", "2026-07"]
    assert [m.nights for m in planned.months] == [m.nights for m in found.months]
    assert (found.failed, found.notes) == ({}, [])
    assert months(data) == ["month=2026-05", "month=2026-06", "month=2026-07"]
    assert min(path.name for path in data.glob("videos/*")) == "crawl_date=2026-08-01"
    assert all_rows(data) == before
    for path in data.glob("archive/*/*.parquet"):
        rows = pq.ParquetFile(path).read(["seller_id", "video_id", "snapshot_date"]).to_pylist()
        assert rows == sorted(rows, key=lambda row: (row["seller_id"], row["video_id"], row["snapshot_date"]))
        assert sum(night.rows for night in nights_in(path).values()) == len(rows)
    require_right_digests(data)
    assert not (data / "state" / "compacting").exists()
    assert done(data).months == []


def test_too_young_an_age_is_refused(data: Path) -> None:
    tried: list[dict[str, Any]] = [{"older_than": 89}, {"keep": 89}, {"older_than": 120, "keep": 119}]
    for days in tried:
        with pytest.raises(InputError, match="or more"):
            done(data, **days)
    assert [month.month for month in done(data, older_than=150).months] == ["2026-05"]


def test_a_night_that_was_caught_up_lately_is_young(data: Path) -> None:
    shutil.rmtree(data / "videos" / "crawl_date=2026-05-03")
    shutil.rmtree(data / "sellers" / "crawl_date=2026-05-03")
    late = [row | {"crawled_at": NOW - 20 * DAY, "late": True} for row in rows_of(date(2026, 5, 3), 2, 5)]
    publish_night(data, date(2026, 5, 3), late)
    assert [month.month for month in done(data).months] == ["2026-06", "2026-07"]
    assert done(data, now=NOW + 80 * DAY).months[0].month == "2026-05"


def test_a_night_that_is_published_again_takes_the_place_of_its_archived_rows(data: Path) -> None:
    done(data)
    day = date(2026, 5, 3)
    shutil.rmtree(data / "sellers" / "crawl_date=2026-05-03")
    again = [row | {"total_views_cnt": 7, "run_id": "again"} for row in rows_of(day, 2, 5)]
    publish_night(data, day, again, "again")
    done(data)
    rows = [row for row in all_rows(data) if row["snapshot_date"] == day]
    assert {row["run_id"] for row in rows} == {"again"}
    assert len(rows) == len(again)
    assert len(nights_in(next(data.glob("archive/month=2026-05/*")))) == 31


def test_thinning_keeps_a_night_a_week_and_drops_the_rest_from_both(data: Path) -> None:
    before = all_rows(data)
    done(data, older_than=150)
    found = done(data, keep=100)
    left = {row["snapshot_date"] for row in all_rows(data)}
    # 100 days before 2026-11-23 is 2026-08-15; the first week of May has no Monday
    sundays = {date(2026, 5, 3) + 7 * DAY * n for n in range(13)}
    young = {FIRST + DAY * n for n in range(130) if FIRST + DAY * n >= date(2026, 8, 1)}
    assert left == sundays | young
    assert all_rows(data) == [row for row in before if row["snapshot_date"] in left]
    assert sum(len(month.dropped) for month in found.months) == 92 - 13
    require_right_digests(data)
    assert done(data, keep=100).months == []


@pytest.mark.parametrize("where", ["night", "archive", "sellers", "rows"])
def test_damage_costs_its_month_alone(data: Path, where: str) -> None:
    if where == "archive":
        done(data, older_than=150)
        publish_again = rows_of(date(2026, 5, 3), 2, 5)
        shutil.rmtree(data / "sellers" / "crawl_date=2026-05-03")
        publish_night(data, date(2026, 5, 3), publish_again, "again")
    if where == "rows":
        # of another night, by a person who copied files about, and by digests that say nothing of it
        source, target = (data / "videos" / f"crawl_date=2026-05-{day}" for day in ("04", "05"))
        for path in target.iterdir():
            shutil.copy(source / f"{run_of(date(2026, 5, 4))}.parquet", path)
        shutil.rmtree(data / "state" / "published" / "crawl_date=2026-05-05")
    else:
        pattern = {
            "night": "videos/crawl_date=2026-05-09/*",
            "archive": "archive/*/*",
            "sellers": "sellers/crawl_date=2026-05-09/*",
        }
        (path,) = data.glob(pattern[where])
        content = bytearray(path.read_bytes())
        content[-20 if where == "sellers" else len(content) // 2] ^= 1
        path.write_bytes(content)
    names = sorted(path.name for path in data.glob("videos/*") if path.name < "crawl_date=2026-06")
    found = done(data)
    assert list(found.failed) == ["2026-05"]
    assert [month.month for month in found.months] == ["2026-06", "2026-07"]
    assert sorted(path.name for path in data.glob("videos/*") if path.name < "crawl_date=2026-06") == names
    if where != "archive":
        assert "month=2026-05" not in months(data)


def test_a_file_that_does_not_have_the_rows_of_its_nights_is_never_put_in_place(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a library, a disk or a bug does between reading and writing."""
    names = sorted(path.name for path in data.glob("videos/*"))
    real = pq.ParquetWriter.write_table

    def change(writer: Any, rows: pa.Table, *rest: Any) -> None:
        place = rows.schema.get_field_index("total_digg_cnt")
        other = pc.add(
            rows["total_digg_cnt"], pc.equal(rows["video_id"], rows["video_id"][3]).cast(pa.int64())
        )
        real(writer, rows.set_column(place, rows.schema.field(place), other), *rest)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", change)
    found = done(data)
    assert set(found.failed) == {"2026-05", "2026-06", "2026-07"}
    assert all("has other rows" in reason for reason in found.failed.values())
    assert (months(data), sorted(path.name for path in data.glob("videos/*"))) == ([], names)


def test_a_seller_of_many_rows_is_merged_piece_by_piece(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crawler.history.archiving._PIECE_ROWS", 150)
    monkeypatch.setattr("crawler.history.ordered_rows._PART_ROWS", 100)
    days = [FIRST + DAY * n for n in range(12)]
    sources = [Source(SnapshotFiles.published(data, VIDEOS, day), [day]) for day in days]
    write_month(tmp_path / "month.parquet", sources, {day: {} for day in days})
    rows = pq.ParquetFile(tmp_path / "month.parquet").read()
    assert rows.equals(
        rows.sort_by([("seller_id", "ascending"), ("video_id", "ascending"), ("snapshot_date", "ascending")])
    )
    assert rows.num_rows == sum(source.files.row_count for source in sources)
    with pytest.raises(UnreadableError, match="another date"):
        write_month(tmp_path / "x.parquet", [Source(sources[0].files, [days[1]])], {})


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(
            step, marks=() if step in {"compact.exchanged", "compact.withdrawn"} else pytest.mark.long
        )
        for step in COMPACT_STEPS
    ],
)
def test_a_kill_at_any_step_loses_nothing_and_is_gone_on_with(data: Path, step: str) -> None:
    before = all_rows(data)
    environ = {"CRAWLER_DATA": str(data), "PATH": ""}
    words = ["compact", "--older-than", "90"]
    job = LAUNCHER.start(words, environ, data.parent, at=f"{step}:2")
    _, err = job.communicate()
    assert job.returncode == -signal.SIGKILL, err
    seen = duckdb.connect().execute(READ.format(data=data)).fetchall() if months(data) else None
    if step in {"compact.written", "compact.withdrawn"}:
        tidied = LAUNCHER.start(["gc", "--json"], environ, data.parent)
        assert "month half-made" in tidied.communicate()[0]
        assert not (data / "state" / "compacting").exists()
    again = LAUNCHER.start(words, environ, data.parent)
    assert (again.communicate()[1], again.returncode) == ("", 0)
    assert all_rows(data) == before
    assert len(months(data)) >= 3
    after = duckdb.connect().execute(READ.format(data=data)).fetchall()
    assert seen in (None, after)
    require_right_digests(data)
    assert not (data / "state" / "compacting").exists()


class Reader(threading.Thread):
    """Counts each night over and over, as views do; `expected` is what each night has, ever."""

    def __init__(self, data: Path) -> None:
        super().__init__()
        self._query = READ.format(data=data)
        self.expected = duckdb.connect().execute(self._query).fetchall()
        self.reads, self.missed, self.wrong = 0, 0, list[Any]()
        self.stopped = threading.Event()

    def run(self) -> None:
        connection = duckdb.connect()
        while not self.stopped.is_set():
            try:
                found = connection.execute(self._query).fetchall()
            except duckdb.IOException:
                self.missed += 1
                continue
            self.reads += 1
            if found != self.expected:
                self.wrong.append(set(found) ^ set(self.expected))


def test_readers_in_a_loop_find_each_night_once_while_months_are_made(data: Path) -> None:
    done(data, older_than=170)
    reader = Reader(data)
    reader.start()
    done(data)
    reader.stopped.set()
    reader.join()
    assert not reader.wrong, reader.wrong[:1]
    assert reader.reads > 10
    assert len(months(data)) == 3


def test_one_compacts_at_a_time_and_no_run_is_waited_for(data: Path) -> None:
    with compact_lock(data), pytest.raises(DataLockedError):
        done(data)
    # a run that exchanges files holds this for an instant
    held = exchange_lock(data)
    held.__enter__()
    threading.Timer(1.0, lambda: held.__exit__(None, None, None)).start()
    assert len(done(data).months) == 3


def test_a_night_that_is_published_anew_meanwhile_stays_in_videos(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = date(2026, 5, 3)
    real = write_month

    def write(*words: Any) -> None:
        real(*words)
        folder = data / "videos" / f"crawl_date={day}"
        if folder.exists() and "again" not in {path.stem for path in folder.iterdir()}:
            shutil.rmtree(folder)
            shutil.rmtree(data / "sellers" / f"crawl_date={day}")
            publish_night(data, day, rows_of(day, 1, 3), "again")

    monkeypatch.setattr(month_making, "write_month", write)
    found = done(data)
    assert found.notes == [f"{day}: published anew meanwhile, and still in videos/"]
    assert [path.name for path in data.glob("videos/crawl_date=2026-05*/*")] == ["again.parquet"]
    counted = duckdb.connect().execute(READ.format(data=data)).fetchall()
    assert {row[0]: row[1] for row in counted}[day] == len(rows_of(day, 1, 3))


@pytest.mark.usefixtures("data")
def test_beside_a_crawl_and_what_a_run_makes_of_archived_nights(night: Begin) -> None:
    """The lock of the data folder is held all the while; an archived date is not crawled again."""
    job, simulator = night(SimulatorOptions(SMALL, latency=0.05))
    source = job.sellers(simulator.catalogue.seller_ids(12))
    run = job.start(source, "--qps", "3")
    while simulator.stats.requests < 3:
        assert run.poll() is None
    compacted = job.call("compact", "--json")
    assert compacted.returncode == 0, compacted.stderr
    assert run.poll() is None
    assert len(orjson.loads(compacted.stdout)["months"]) >= 3
    assert orjson.loads(run.communicate()[0])["exit_code"] == 0
    refused = job.run(source, "--crawl-date", "2026-05-03", "--fresh", code=2)["stderr"]
    assert "was compacted and can be crawled no more" in refused
    assert job.call("changes", "--rebuild").returncode == 0
    assert job.call("plan", str(source)).returncode == 0
    copy = job.folder / "copy"
    assert job.call("backup", str(copy)).returncode == 0
    assert all_rows(copy) == all_rows(job.data)
