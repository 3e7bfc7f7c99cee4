"""`crawler verify`: what is damaged, missing or foreign is found; nothing is where all is well."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import DATE, SMALL, Night, stand_in
from old_nights import FIRST_OLD, publish_nights

from crawler.history.whole_files import Verified
from crawler.nightly import verifying
from crawler.simulator.server import Simulator, SimulatorOptions
from crawler.store.lock import hold_lock

Begin = Callable[[SimulatorOptions], tuple[Night, Simulator]]
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Old nights, some of them compacted, and two that were crawled, the last of them cut off."""
    folder = tmp_path_factory.mktemp("verify")
    with stand_in(SimulatorOptions(SMALL)) as simulator:
        job = Night(folder, simulator.url)
        source = job.sellers(simulator.catalogue.seller_ids(6))
        publish_nights(job.data, FIRST_OLD, 60, sellers=2, videos=5)
        assert job.call("compact").returncode == 0
        environ = {"CRAWLER_OUTPUT_KEEP_RAW": "true"}
        for day, budget in (("2026-11-22", "1000"), (DATE, "4")):
            words = ("run", str(source), "--crawl-date", day, "--qps", "1000", "--budget", budget)
            assert job.call(*words, **environ).returncode in {0, 3}
        return job.data


@pytest.fixture(autouse=True)
def _looks_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crawler.history.verifying._PAUSE_S", 0.0)


@pytest.fixture
def data(crawled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(crawled, tmp_path / "data"))


def found(data: Path) -> list[tuple[str, str]]:
    return [(each.kind.value, each.path) for each in verifying.verify(data).findings]


def flip(data: Path, pattern: str) -> str:
    """Flip a bit in the middle of a file; returns its name."""
    path = next(iter(sorted(data.glob(pattern))))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path.relative_to(data).as_posix()


def test_nothing_is_found_where_all_is_well(data: Path) -> None:
    done = verifying.verify(data)
    assert (done.findings, done.notes) == ([], [])
    paths = [path for path in data.rglob("*.parquet") if not path.is_relative_to(data / "state")]
    assert done.files == len(paths)
    assert done.bytes == sum(path.stat().st_size for path in paths)
    assert done.rows == sum(pq.read_metadata(path).num_rows for path in paths)
    assert (done.databases, done.nights) == (3, 62)


@pytest.mark.parametrize(
    "pattern",
    ["videos/*/*", "sellers/*/*", f"changes/crawl_date={DATE}/*", "raw/*/*", "archive/*/*", "nights/*"],
)
def test_a_flipped_bit_of_any_published_file_is_found(data: Path, pattern: str) -> None:
    assert found_after(data, lambda: flip(data, pattern))


def found_after(data: Path, change: Callable[[], str]) -> bool:
    name = change()
    return found(data) == [("damaged", name)]


def test_pages_are_read_where_no_digest_was_kept(data: Path) -> None:
    shutil.rmtree(data / "state" / "published" / f"crawl_date={DATE}")
    assert found(data) == []
    path = next((data / "videos" / f"crawl_date={DATE}").iterdir())
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)
    assert found(data) == [("damaged", path.relative_to(data).as_posix())]


def test_what_is_gone_is_missing(data: Path) -> None:
    day = "crawl_date=2026-11-22"
    gone = ["archive/*/*", f"changes/{day}/*", f"raw/crawl_date={DATE}/*", f"videos/{day}/*"]
    names = []
    for pattern in gone:
        path = next(iter(sorted(data.glob(pattern))))
        path.unlink()
        names.append(path.relative_to(data).as_posix())
    shutil.rmtree(data / "nights")
    assert sorted(found(data)) == sorted(("missing", name) for name in (*names, "nights"))


def test_a_ledger_that_is_gone_is_missing(data: Path) -> None:
    for path in (data / "state").glob("ledger.sqlite*"):
        path.unlink()
    assert found(data) == [("missing", "state/ledger.sqlite")]
    shutil.rmtree(data / "state/journal")
    assert ("missing", "state/ledger.sqlite") in found(data)


def test_a_night_of_which_nothing_is_left_is_missed(data: Path) -> None:
    for folder in data.glob("*/crawl_date=2026-11-22"):
        shutil.rmtree(folder)
    shutil.rmtree(data / "state" / "published" / "crawl_date=2026-11-22")
    assert found(data) == [("missing", "sellers/crawl_date=2026-11-22")]


def test_what_nobody_published_is_foreign(data: Path) -> None:
    day = data / "videos" / f"crawl_date={DATE}"
    own = next(day.iterdir())
    shutil.copy(own, day / "copy.parquet")
    shutil.copy(own, day / ".hidden.parquet")
    (data / "videos" / "notes.txt").write_text("mine")
    (data / "archive" / "old.parquet").symlink_to(own)
    (data / "sellers" / "crawl_date=2026-13-45").mkdir()
    assert sorted(found(data)) == [
        ("foreign", "archive/old.parquet"),
        ("foreign", f"videos/crawl_date={DATE}/.hidden.parquet"),
        ("foreign", f"videos/crawl_date={DATE}/copy.parquet"),
        ("foreign", "videos/notes.txt"),
    ]


def test_a_file_of_other_columns_is_foreign(data: Path) -> None:
    path = next((data / "sellers" / f"crawl_date={DATE}").iterdir())
    shutil.rmtree(data / "state" / "published" / f"crawl_date={DATE}")
    rows = pq.ParquetFile(path).read()
    pq.write_table(rows.append_column("rank", pa.array(range(len(rows)))), path)
    assert found(data) == [("foreign", path.relative_to(data).as_posix())]


def test_a_month_with_rows_of_other_nights_is_damaged(data: Path) -> None:
    path = next(iter(sorted(data.glob("archive/*/*"))))
    shutil.rmtree(data / "state" / "published" / path.parent.name)
    file = pq.ParquetFile(path)
    rows, metadata = (
        file.read(),
        {k: v for k, v in (file.metadata.metadata or {}).items() if k != b"ARROW:schema"},
    )
    pq.write_table(rows.slice(1).replace_schema_metadata(metadata), path)
    assert found(data) == [("damaged", path.relative_to(data).as_posix())]


DAMAGES: list[tuple[str, str]] = [
    ("ledger.sqlite", "UPDATE run SET reserved = 999 WHERE rowid = 1"),
    (f"journal/{DATE}.1.sqlite", "UPDATE page SET row_count = 3 WHERE seq = 1"),
    (f"journal/{DATE}.1.sqlite", "UPDATE seller SET status = 'failed'"),
]


@pytest.mark.parametrize(("name", "change"), DAMAGES)
def test_rows_of_the_databases_are_compared_with_their_checksums(data: Path, name: str, change: str) -> None:
    with closing(sqlite3.connect(data / "state" / name)) as db:
        db.execute(change)
        db.commit()
    assert found(data) == [("damaged", f"state/{name}")]


def test_segments_and_files_that_are_no_databases_are_told(data: Path) -> None:
    name = flip(data, f"state/journal/{DATE}.1.segments/*.arrow")
    (data / "state" / "ledger.sqlite").write_bytes(b"rubbish" * 1000)
    assert found(data) == [("damaged", "state/ledger.sqlite"), ("damaged", f"state/journal/{DATE}.1.sqlite")]
    assert Path(name).name in str(verifying.verify(data).findings[-1].reason)


def test_it_changes_nothing_and_exits_with_eight_or_nought(night: Begin, crawled: Path) -> None:
    job, _ = night(SimulatorOptions(SMALL))
    shutil.copytree(crawled, job.data)
    before = {path: path.stat().st_mtime_ns for path in job.data.rglob("*.*") if "-shm" not in path.name}
    done = job.call("verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("62 nights: ")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    flip(job.data, "videos/*/*")
    done = job.call("verify", "--json")
    assert (done.returncode, "1 findings" in done.stderr) == (8, True)
    document: dict[str, Any] = orjson.loads(done.stdout)
    assert [each["kind"] for each in document["findings"]] == ["damaged"]
    assert job.call("verify", "--data", "elsewhere").returncode == 2


def test_beside_a_run_its_journal_is_left_out_and_exchanges_are_no_damage(
    night: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crawler.history.verifying._PAUSE_S", 0.5)
    job, simulator = night(SimulatorOptions(SMALL))
    source = job.sellers(simulator.catalogue.seller_ids(4))
    job.run(source)
    seen: list[Verified] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            seen.append(verifying.verify(job.data))

    reader = threading.Thread(target=look)
    reader.start()
    for _ in range(4):
        job.run(source, "--fresh")
    ended.set()
    reader.join()
    assert [done.findings for done in seen if done.findings] == []
    assert len(seen) > 2
    with hold_lock(job.data, "another"):
        assert verifying.verify(job.data).notes
