"""With `output.keep_raw` the answers of a date are kept, and its files can be made anew from them."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import DATE, SMALL, Night, stand_in
from launcher import LAUNCHER

from crawler.api.columns import read_batch
from crawler.models.api import COUNT_COLUMNS
from crawler.models.errors import ImplausibleError
from crawler.models.page import RowBatch
from crawler.nightly.rereading import MadeAnew, make_anew
from crawler.nightly.world import World
from crawler.options import RunSettings, Settings
from crawler.simulator.faults import parse_faults
from crawler.simulator.server import SimulatorOptions
from crawler.store import raw_pages
from crawler.store.digests import damage_of_published, published_digests
from crawler.store.layout import DIGESTED_KINDS, RAW
from crawler.store.segments import SegmentWriter

BEFORE = str(date.fromisoformat(DATE) - timedelta(days=1))
KINDS = ("videos", "changes", "raw")
LATE_STEPS = ("staged", "digests", "withdrawn", "videos", "sellers", "changes", "raw")
KEEP = {"CRAWLER_OUTPUT_KEEP_RAW": "true"}


class KeepingNight(Night):
    """A night that keeps its answers."""

    def environ(self) -> dict[str, str]:
        return {**super().environ(), **KEEP}

    def raw(self) -> list[dict[str, Any]]:
        (path,) = (self.data / "raw" / f"crawl_date={DATE}").iterdir()
        rows: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
        return rows


def test_raw_has_each_page_whose_rows_are_published_once(tmp_path: Path) -> None:
    with stand_in(SimulatorOptions(SMALL, faults=parse_faults("odd:0.1,control:0.1"), drift=9)) as simulator:
        job = KeepingNight(tmp_path, simulator.url)
        source = job.sellers(simulator.catalogue.seller_ids(8))
        job.run(source, "--budget", "6", code=3)
        assert len(job.raw()) == 6
        job.run(source)
        ids = simulator.catalogue.seller_ids(8)
        spent = job.run(job.sellers(ids[:4]), "--fresh")["credits"]["spent_for_date"]
        job.run(job.sellers(ids[2:]), "--fresh", "--budget", str(spent + 5), code=3)
    pages = job.raw()
    of_seller = {row["seller_id"]: row["pages"] for row in job.seller_rows().values()}
    assert {s: sum(page["seller_id"] == s for page in pages) for s in of_seller} == of_seller
    found = {
        (page["seller_id"], str(row["video_id"])): (page["run_id"], page["request_id"], page["crawled_at"])
        for page in pages
        for row in orjson.loads(page["answer"])["data"]
    }
    rows = {
        (row["seller_id"], row["video_id"]): (row["run_id"], row["request_id"], row["crawled_at"])
        for row in job.videos()
    }
    assert found == rows
    digests = published_digests(job.data, date.fromisoformat(DATE))
    assert [name for name in digests if name.startswith(f"{RAW}/")]


def test_without_it_nothing_is_kept(tmp_path: Path) -> None:
    with stand_in(SimulatorOptions(SMALL)) as simulator:
        job = KeepingNight(tmp_path, simulator.url)
        source = job.sellers(simulator.catalogue.seller_ids(3))
        job.run(source)
        assert job.raw()
        Night(tmp_path, simulator.url).run(source, "--fresh")
    assert not (job.data / "raw" / f"crawl_date={DATE}").exists()


def spoiled(pages: Sequence[tuple[str, bytes]]) -> RowBatch:
    """The rows with a fault of reading."""
    batch = read_batch(pages)
    place = batch.rows.schema.get_field_index("nick_name")
    names = pc.utf8_upper(batch.rows["nick_name"])
    return RowBatch(batch.rows.set_column(place, batch.rows.schema.field(place), names), batch.rejects)


def without_counts(pages: Sequence[tuple[str, bytes]]) -> RowBatch:
    """The rows with all counts 0, which nobody believes."""
    batch = read_batch(pages)
    rows = batch.rows
    for name in COUNT_COLUMNS:
        place = rows.schema.get_field_index(name)
        zeros = pa.repeat(pa.scalar(0, rows.schema.field(place).type), len(rows))
        rows = rows.set_column(place, rows.schema.field(place), zeros)
    return RowBatch(rows, batch.rejects)


FAULTY = replace(World(), staging=lambda journal, keeps: SegmentWriter(journal, spoiled, keeps_raw=keeps))


@dataclass
class Kept(KeepingNight):
    """A copy of a date with carried, partial and pending sellers, and what is published of it."""

    def __post_init__(self) -> None:
        self.sellers_before = self.seller_rows()
        self.rows_before = self.published()

    def published(self, *kinds: str) -> list[list[dict[str, Any]]]:
        """The rows of the date's videos, changes and answers."""
        folders = (self.data / kind / f"crawl_date={DATE}" for kind in kinds or KINDS)
        of_date = (sorted(folder.rglob("*.parquet")) for folder in folders)
        tables = (pa.concat_tables([pq.ParquetFile(path).read() for path in paths]) for paths in of_date)
        return [sorted(table.to_pylist(), key=repr) for table in tables]

    def names(self) -> list[str]:
        return [path.name for path in sorted(self.data.rglob(f"crawl_date={DATE}/**/*.parquet"))]

    def make_anew(self, world: World | None = None) -> MadeAnew:
        settings = Settings(run=RunSettings(data=self.data))
        return make_anew(settings, date.fromisoformat(DATE), world or World())

    def lose_journal(self, day: str = DATE) -> None:
        """Remove it as it is once it is old."""
        for path in (self.data / "state" / "journal").glob(f"{day}.*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def harm(self, kind: str, place: float, day: str = DATE) -> Path:
        """Damage a published file at a place, from 0 at its begin to 1 at its end."""
        files = (self.data / kind / f"crawl_date={day}").rglob("*.parquet")
        path = max(files, key=lambda file: file.stat().st_size)
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 1
        path.write_bytes(content)
        return path

    def require_same(self) -> None:
        assert self.published() == self.rows_before
        assert self.seller_rows() == self.sellers_before
        assert damage_of_published(self.data, date.fromisoformat(DATE), DIGESTED_KINDS) is None


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    with stand_in(SimulatorOptions(SMALL, day=100)) as simulator:
        ids = simulator.catalogue.seller_ids(12)
        job = KeepingNight(folder, simulator.url)
        job.run(job.sellers(ids[:3]), "--crawl-date", BEFORE)
    options = SimulatorOptions(SMALL, day=100, faults=parse_faults("odd:0.1"), drift=2)
    with stand_in(options) as simulator:
        job = KeepingNight(folder, simulator.url)
        job.run(
            job.sellers(ids), "--carry-forward", "--audit", "0", "--budget", "24", "--workers", "1", code=3
        )
    assert {row["status"] for row in job.seller_rows().values()} == {"complete", "partial", "pending"}
    for name in ("carried", "overlap"):
        assert any(row[name] for row in job.seller_rows().values()), name
    return folder


@pytest.fixture
def kept(crawled: Path, tmp_path: Path) -> Kept:
    shutil.copytree(crawled, tmp_path, dirs_exist_ok=True)
    return Kept(tmp_path, "http://127.0.0.1:9")


@pytest.mark.parametrize("journal", ["journal", "no journal"])
def test_a_date_is_made_anew_from_its_answers(kept: Kept, journal: str) -> None:
    if journal == "no journal":
        kept.lose_journal()
    kept.make_anew(FAULTY)
    assert kept.published()[0] != kept.rows_before[0]
    assert kept.published()[1:] == kept.rows_before[1:]
    made = kept.make_anew()
    assert (made.pages, made.notes) == (len(kept.raw()), [])
    kept.require_same()
    assert len(set(kept.names())) == 1
    assert "rebuild" in kept.names()[0]


@pytest.mark.parametrize("step", ["rebuild.read", "rebuild.adopted", "publish.judged", "publish.videos"])
def test_a_kill_meanwhile_costs_nothing(kept: Kept, step: str) -> None:
    _kill(kept, step)
    kept.make_anew()
    kept.require_same()
    with stand_in(SimulatorOptions(SMALL, day=100)) as simulator:
        job = Night(kept.folder, simulator.url)
        assert job.run(kept.folder / "sellers.csv", "--budget", "24", code=3)["credits"]["spent"] == 0
    kept.require_same()


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(f"publish.{step}", marks=() if step == "sellers" else pytest.mark.long)
        for step in LATE_STEPS
    ],
)
def test_a_kill_without_a_journal_costs_nothing(kept: Kept, step: str) -> None:
    kept.lose_journal()
    _kill(kept, step)
    kept.make_anew()
    kept.require_same()


@pytest.mark.parametrize("journal", ["journal", "no journal"])
def test_implausible_rows_take_the_place_of_none(kept: Kept, journal: str) -> None:
    if journal == "no journal":
        kept.lose_journal()
    world = replace(
        World(), staging=lambda journal, keeps: SegmentWriter(journal, without_counts, keeps_raw=keeps)
    )
    with pytest.raises(ImplausibleError, match="counts are 0"):
        kept.make_anew(world)
    kept.require_same()
    if journal == "journal":
        _publish_again(kept)
        kept.require_same()


def _publish_again(kept: Kept) -> None:
    """Let a run build the date's files from what the journal has."""
    shutil.rmtree(kept.data / "videos" / f"crawl_date={DATE}")
    with stand_in(SimulatorOptions(SMALL, day=100)) as simulator:
        job = Night(kept.folder, simulator.url)
        report = job.run(kept.folder / "sellers.csv", "--budget", "24", code=3)
    assert report["credits"]["spent"] == 0


def _kill(kept: Kept, step: str) -> None:
    words = ["rebuild", "--crawl-date", DATE]
    killed = LAUNCHER.start(words, kept.environ(), kept.folder, at=f"{step}:1")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert kept.published("videos") == kept.rows_before[:1]


def test_damaged_answers_cost_the_rows_of_their_sellers_alone(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.lose_journal()
    monkeypatch.setattr(raw_pages, "_GROUP_BYTES", 4096)
    kept.make_anew()
    kept.require_same()
    kept.harm("raw", 0.4)
    made = kept.make_anew(FAULTY)
    assert 0 < made.pages < 24
    assert "of its 24 pages are damaged" in made.notes[0]
    assert "sellers have the rows that they had" in made.kept_words
    rows = zip(kept.published("videos")[0], kept.rows_before[0], strict=True)
    same = [new["nick_name"] == old["nick_name"] for new, old in rows]
    assert any(same)
    assert not all(same)
    assert kept.seller_rows() == kept.sellers_before


def require_refused(kept: Kept, path: Path, reason: str) -> None:
    """A rebuild fails for a reason, and leaves a file as it is."""
    before = path.read_bytes()
    done = kept.call("rebuild", "--crawl-date", DATE)
    assert done.returncode == 8
    assert reason in done.stderr
    assert path.read_bytes() == before


def test_where_no_answer_is_intact_nothing_is_replaced(kept: Kept) -> None:
    kept.lose_journal()
    path = kept.harm("raw", 0.7)
    require_refused(kept, path, "24 of its 24 pages are damaged")


def test_damaged_answers_of_a_journal_cost_their_pages_rows_read_anew(kept: Kept) -> None:
    (path,) = (kept.data / "state" / "journal").glob(f"{DATE}.*/*.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    made = kept.make_anew(FAULTY)
    assert "24 of its 24 pages are damaged" in made.notes[0]
    assert made.pages == 24, "those of raw/ are whole"
    kept.make_anew()
    assert kept.published() == kept.rows_before
    assert kept.seller_rows() == kept.sellers_before


def test_damaged_rows_are_made_anew(kept: Kept) -> None:
    kept.lose_journal(BEFORE)
    videos = kept.videos()
    kept.harm("videos", 0.5, BEFORE)
    assert kept.call("rebuild", "--crawl-date", BEFORE).returncode == 0
    assert kept.videos() == videos


def test_damaged_rows_that_no_answer_has_are_left_as_they_are(kept: Kept) -> None:
    kept.lose_journal()
    path = kept.harm("videos", 0.5)
    require_refused(kept, path, "rows of 2026-11-23 that cannot be read anew are in files that are damaged")


def test_a_seller_whose_later_crawl_failed_stays_as_it_is(kept: Kept) -> None:
    with stand_in(SimulatorOptions(SMALL, day=100, faults=parse_faults("status=400@2"))) as simulator:
        job = KeepingNight(kept.folder, simulator.url)
        ids = [seller for seller, row in kept.sellers_before.items() if row["status"] == "complete"][-2:]
        job.run(job.sellers(ids), "--fresh", code=4)
    kept = Kept(kept.folder, kept.url)
    assert any(row["kept_status"] for row in kept.sellers_before.values())
    kept.lose_journal()
    kept.make_anew()
    kept.require_same()


def test_what_cannot_be_made_anew_is_refused(kept: Kept) -> None:
    assert kept.call("rebuild", "--crawl-date", "2026-10-01").returncode == 2
    done = kept.call("rebuild", "--crawl-date", DATE)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"crawl date {DATE} is made anew from 24 answers: ")
    kept.lose_journal()
    shutil.rmtree(kept.data / "raw")
    done = kept.call("rebuild", "--crawl-date", DATE)
    assert done.returncode == 2
    assert "only with output.keep_raw" in done.stderr
