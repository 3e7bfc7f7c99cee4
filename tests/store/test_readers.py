"""What readers find: the contract's columns and types, in DuckDB, Polars, pandas and pyarrow alike."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import duckdb
import orjson
import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from calls import assert_linear
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.api.columns import read_batch
from crawler.api.rows import read_rows
from crawler.history.carried import PinnedRows
from crawler.history.cursor import SellerCursor
from crawler.history.reader import SnapshotFiles
from crawler.models.errors import CarriedRowsLostError
from crawler.models.page import Match, Page, PageNotes
from crawler.models.seller import Ending, SellerStatus, StopReason, StopRule
from crawler.rules.paging import PagingRule, Step
from crawler.store import failpoints, parts, region_files, row_groups, segment_file, video_file
from crawler.store.journal import Journal
from crawler.store.layout import VIDEOS
from crawler.store.publishing import clean_staging, publish
from crawler.store.records import Record
from crawler.store.schema import REGION_FILE_SCHEMA, SEGMENT_SCHEMA, VIDEO_FILE_SCHEMA, VIDEO_SCHEMA
from crawler.store.segments import SegmentWriter
from crawler.store.snapshot import RowCounts, SnapshotPlan

DATE = date(2026, 11, 23)
COLUMNS = (
    *("seller_id", "video_id", "user_id", "nick_name", "video_desc", "avatar", "reflow_cover", "create_time"),
    *("total_views_cnt", "total_digg_cnt", "total_comments_cnt", "total_shares_cnt", "total_video_sale_cnt"),
    *("total_video_sale_gmv_amt", "page_num", "position", "crawled_at", "run_id", "request_id"),
    *("carried_from", "extra", "region", "snapshot_date", "late"),
)


def page(seller: str, number: int, rows: list[Any]) -> Page:
    body = orjson.dumps({"code": 0, "data": rows})
    return Page(seller, number, body, len(rows), number, 1_700_000_000_000 + number, f"r{number}")


def queried(query: str) -> list[Any]:
    result = duckdb.sql(query)
    assert result is not None
    return result.fetchall()


def published(
    data: Path,
    pages: list[Page],
    run_id: str = "run1",
    segment_pages: int = 4,
    wait: Callable[[float], None] = lambda _seconds: None,
    *,
    by_region: bool = False,
) -> RowCounts:
    with Journal(data / "state" / "journal.sqlite") as journal:
        ending = Ending(SellerStatus.COMPLETE, StopReason.SHORT_PAGE)
        staging = SegmentWriter(journal, read_batch, segment_pages=segment_pages)
        staging.write([Record(p.seller_id, run_id, 1, p, ending) for p in pages])
        staging.flush()
        assert not list(journal.waiting())
        pending = pa.array(["99"], pa.string())
        plan = SnapshotPlan(data, run_id, DATE, pending, None, has_region_folders=by_region)
        return publish(journal, plan, PinnedRows(journal, data, DATE), wait)


def row(video: str, **more: Any) -> dict[str, Any]:
    return {"video_id": video, "region": "MY", "total_views_cnt": 5, "create_time": "1662218112", **more}


@pytest.fixture(params=[False, True], ids=["a file a night", "region folders"])
def by_region(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def data(tmp_path: Path, by_region: bool) -> Path:
    odd = [
        row("1", total_views_cnt="12", total_video_sale_gmv_amt="2627.73"),
        row("2", total_views_cnt="many", brand_new={"a": [1]}, region="../../x"),
        row("3", region=""),
        row("4", region="Ж" * 300),
        row("5", total_digg_cnt=2**64 - 1, region=None),
        {"region": "MY"},
        "no row",
        row("6", create_time=1662218112, seller_id=["other"], region="S G"),
    ]
    pages = [page("7", 1, odd), page("8", 1, [row("1", nick_name="\x00é🔖")])]
    published(tmp_path, pages, by_region=by_region)
    return tmp_path


def test_columns_types_and_order(data: Path, by_region: bool) -> None:
    assert tuple(VIDEO_SCHEMA.names) == COLUMNS
    wanted = REGION_FILE_SCHEMA if by_region else VIDEO_FILE_SCHEMA
    for path in (data / "videos").rglob("*.parquet"):
        schema = pq.ParquetFile(path).schema_arrow
        assert schema.equals(wanted)
        assert schema.field("create_time").type == pa.timestamp("ms", tz="UTC")
        assert schema.field("page_num").type == pa.int32()
        assert schema.field("carried_from").type == pa.date32()


def test_every_reader_finds_the_same_rows(data: Path, by_region: bool) -> None:
    root = data / "videos"
    arrow = ds.dataset(root, format="parquet", partitioning=ds.partitioning(flavor="hive")).to_table()
    scan = f"read_parquet('{root}/**/*.parquet', hive_partitioning=true)"
    duck = queried(f"SELECT video_id, region, typeof(create_time), crawl_date FROM {scan}")
    assert {(r[2], str(r[3])) for r in duck} == {("TIMESTAMP WITH TIME ZONE", "2026-11-23")}
    polars = pl.scan_parquet(str(root)).collect()
    # pandas' own default cannot join a null partition with others: a limit of its Arrow dictionaries.
    pandas = pd.read_parquet(root, partitioning=ds.partitioning(flavor="hive"))
    assert len(arrow) == len(duck) == len(polars) == len(pandas) == 7
    regions = sorted(str(r) for r in arrow["region"].to_pylist())
    longest = "None" if by_region else "Ж" * 300
    assert regions == sorted(["../../x", "MY", "MY", "None", "None", longest, "S G"])
    assert sorted(str(r) for r in polars["region"].to_list()) == regions
    found = {(r["seller_id"], r["video_id"]): r for r in arrow.to_pylist()}
    assert found["7", "1"]["total_views_cnt"] == 12
    assert found["7", "1"]["total_video_sale_gmv_amt"] == 2627.73
    assert orjson.loads(found["7", "2"]["extra"]) == {"brand_new": {"a": [1]}, "total_views_cnt": "many"}
    in_extra = found["7", "4"]["extra"]
    assert (orjson.loads(in_extra) == {"region": "Ж" * 300}) if by_region else in_extra is None
    assert orjson.loads(found["7", "6"]["extra"]) == {"seller_id": ["other"]}
    assert not (data / "x").exists()


def test_rejects_are_kept_as_received(data: Path) -> None:
    lines = (data / "runs" / "run1" / "rejects.jsonl").read_bytes().splitlines()
    assert [orjson.loads(line)["row"] for line in lines] == [{"region": "MY"}, "no row"]


def test_sellers_and_pending(data: Path) -> None:
    (path,) = (data / "sellers").rglob("*.parquet")
    rows = {r["seller_id"]: r for r in pq.ParquetFile(path).read().to_pylist()}
    assert rows["7"]["videos"] == 6
    assert (rows["99"]["status"], rows["99"]["pages"]) == ("pending", 0)


def test_the_row_received_last_is_kept(tmp_path: Path) -> None:
    first = [row(str(n), total_views_cnt=1) for n in range(10)]
    counts = published(
        tmp_path, [page("7", 1, first), page("7", 2, [row("9", total_views_cnt=2), row("10")])]
    )
    rows = ds.dataset(tmp_path / "videos", format="parquet").to_table().to_pylist()
    moved = next(r for r in rows if r["video_id"] == "9")
    assert (moved["total_views_cnt"], moved["page_num"], moved["position"]) == (2, 2, 11)
    assert (counts.received, counts.duplicate, counts.written) == (12, 1, 11)
    assert [r["position"] for r in rows] == sorted(r["position"] for r in rows)


def test_rows_of_pages_that_are_too_long_have_positions_of_their_own(tmp_path: Path) -> None:
    """Page 1 has two rows too many, so page 2 begins later; page 4 follows a gap."""
    sizes = {1: 12, 2: 10, 4: 1}
    pages = [page("7", n, [row(f"{n}-{place}") for place in range(size)]) for n, size in sizes.items()]
    published(tmp_path, [*pages, page("8", 1, [row("1")])])
    found = ds.dataset(tmp_path / "videos", format="parquet").to_table().to_pylist()
    assert [r["position"] for r in found if r["seller_id"] == "7"] == [*range(1, 23), 31]
    assert [r["position"] for r in found if r["seller_id"] == "8"] == [1]


class LostRows:
    """An earlier snapshot that should have rows, and has none."""

    damages: ClassVar[list[str]] = []
    lost: ClassVar[list[str]] = []

    def pieces(self, _sellers: object, *, carried: bool = True) -> Iterator[pa.Table]:
        assert carried
        yield VIDEO_SCHEMA.empty_table()

    def expected(self, seller: Any) -> int:
        return int(seller.matched_videos)


def test_rows_that_are_not_in_their_snapshot_are_lost(tmp_path: Path) -> None:
    ending = Ending(SellerStatus.COMPLETE, StopReason.CARRIED)
    notes = PageNotes(match=Match(DATE, 3, carried=True))
    lost: Any = LostRows()
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.write([Record("7", "run", 1, page("7", 1, [row("1")]), ending, notes)])
        with pytest.raises(CarriedRowsLostError, match="3 rows to be taken from earlier snapshots"):
            [list(pieces) for _, pieces in parts.deduplicated(journal, tmp_path / "between", lost)]


def test_a_second_publish_replaces_the_whole_date(tmp_path: Path) -> None:
    published(tmp_path, [page("7", 1, [row("1")])])
    published(tmp_path, [page("8", 1, [row("2", region="SG")])], "run2")
    files = [p.relative_to(tmp_path).as_posix() for p in (tmp_path / "videos").rglob("*.parquet")]
    assert files == [f"videos/crawl_date={DATE}/run2.parquet"]
    assert not list((tmp_path / "state" / "staging").iterdir())


def test_a_reader_that_lists_regions_before_the_exchange_misses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever lists the regions before an exchange and their files after it sees the whole new snapshot."""
    live = tmp_path / "videos" / f"crawl_date={DATE}"
    published(tmp_path, [page("7", 1, [row("1")])], by_region=True)
    listed: list[Path] = []
    earlier: list[Any] = []

    def read(step: str) -> None:
        if step == "publish.announced":
            listed.extend(live.iterdir())
            earlier.extend(queried(f"SELECT video_id FROM read_parquet('{live}/*/*.parquet')"))

    monkeypatch.setattr(failpoints, "on_reach", read)
    pages = [page("8", 1, [row("2", region="SG"), row("3", region=None)])]
    published(tmp_path, pages, "run2", by_region=True)
    files = sorted(path for region in listed for path in region.glob("*.parquet"))
    assert files == sorted(live.rglob("*.parquet"))
    assert len(files) == 3
    assert earlier == [("1",)]


def test_what_was_replaced_stays_for_a_moment_and_a_first_snapshot_waits_for_nobody(tmp_path: Path) -> None:
    """A reader that has opened a folder right before the exchange still finds its files."""
    waits: list[tuple[float, list[str]]] = []

    def wait(seconds: float) -> None:
        left = (tmp_path / "state" / "staging").rglob("videos/**/*.parquet")
        waits.append((seconds, [path.name for path in left]))

    for number in range(1, 3):
        pages = [page("7", number, [row(str(number))])]
        published(tmp_path, pages, f"run{number}", wait=wait, by_region=True)
    assert waits == [(0.05, ["run1.parquet"])]


def test_what_was_announced_by_a_killed_run_is_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the exchange, a run leaves the previous snapshot's rows under the previous run's name."""
    published(tmp_path, [page("7", 1, [row("1")])], by_region=True)

    def die(step: str) -> None:
        if step == "publish.announced":
            raise KeyboardInterrupt

    pages = [page("8", 1, [row("2", region="SG")])]
    monkeypatch.setattr(failpoints, "on_reach", die)
    with pytest.raises(KeyboardInterrupt):
        published(tmp_path, pages, "run2", by_region=True)
    monkeypatch.undo()
    left = list((tmp_path / "videos").rglob("*.parquet"))
    assert [path.name for path in left] == ["run1.parquet"] * 2
    assert ds.dataset(left, format="parquet").to_table()["video_id"].to_pylist() == ["1"]
    clean_staging(tmp_path)
    waits: list[float] = []
    published(tmp_path, pages, "run2", wait=waits.append, by_region=True)
    assert {path.name for path in (tmp_path / "videos").rglob("*.parquet")} == {"run2.parquet"}
    assert waits == [0.05]


def test_a_date_without_rows_can_be_queried(tmp_path: Path, by_region: bool) -> None:
    published(tmp_path, [page("7", 1, [])], by_region=by_region)
    glob = f"{tmp_path}/videos/**/*.parquet"
    assert queried(f"SELECT count(*) FROM read_parquet('{glob}', hive_partitioning=true)") == [(0,)]


@pytest.mark.parametrize("least_group", [10, 10_000])
def test_rows_keep_their_order_whether_written_early_or_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least_group: int
) -> None:
    """Where memory is short, a region's rows are written early or put aside, and none changes its place."""
    monkeypatch.setattr(parts, "_PART_SELLERS", 3)
    monkeypatch.setattr(region_files, "ROW_GROUP", 30)
    monkeypatch.setattr(region_files, "_HELD_BYTES", 5000)
    monkeypatch.setattr(region_files, "_MIN_GROUP_ROWS", least_group)
    pages = [
        page(str(s), 1, [row(f"{s}-{n}", region="MY" if n % 3 else "SG") for n in range(9)])
        for s in range(40)
    ]
    published(tmp_path, pages, by_region=True)
    for path in (tmp_path / "videos").rglob("*.parquet"):
        keys = [(r["seller_id"], r["position"]) for r in pq.ParquetFile(path).read().to_pylist()]
        assert len(keys) == 40 * (6 if path.parent.name == "region=MY" else 3)
        assert keys == sorted(keys)
        groups = pq.ParquetFile(path).metadata
        assert {groups.row_group(n).num_rows for n in range(groups.num_row_groups - 1)} <= {*range(10, 31)}


@settings(max_examples=60, deadline=None)
@given(
    received=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.lists(st.integers(0, 6), max_size=4)), max_size=14
    ),
    segment_pages=st.integers(1, 5),
    sellers_at_once=st.integers(1, 3),
    bytes_at_once=st.sampled_from([1, 900, 3000, 1_000_000]),
    batch_rows=st.sampled_from([1, 3, 1280]),
    most_held=st.sampled_from([0, 2, 64]),
    merged=st.integers(1, 4),
    sorted_batches=st.integers(1, 3),
    held_bytes=st.sampled_from([1, 700, 1_000_000]),
    least_group=st.sampled_from([1, 4, 8192]),
    most_open=st.integers(0, 2),
    rows_a_group=st.sampled_from([1, 7, 32_768]),
    by_region=st.booleans(),
)
def test_what_is_published_is_the_last_of_each_video(
    received: list[tuple[int, int, list[int]]],
    segment_pages: int,
    sellers_at_once: int,
    bytes_at_once: int,
    batch_rows: int,
    most_held: int,
    merged: int,
    sorted_batches: int,
    held_bytes: int,
    least_group: int,
    most_open: int,
    rows_a_group: int,
    by_region: bool,
) -> None:
    """However rows are cut on their way, each video's last one is published, and nothing else."""
    pages = [
        page(
            str(seller),
            number,
            [row(str(v), nick_name=f"{n}-{place}", region=f"R{v % 3}") for place, v in enumerate(videos)],
        )
        for n, (seller, number, videos) in enumerate(received)
    ]
    last = {
        (str(seller), str(video)): f"{n}-{place}"
        for n, (seller, _, videos) in enumerate(received)
        for place, video in enumerate(videos)
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(parts, "_PART_SELLERS", sellers_at_once),
        mock.patch.object(parts, "_PART_BYTES", bytes_at_once),
        mock.patch.object(segment_file, "_BATCH_ROWS", batch_rows),
        mock.patch.object(segment_file, "_MAX_UNMERGED", most_held),
        mock.patch.object(segment_file, "_MERGED", merged),
        mock.patch.object(segment_file, "_RANGE", sorted_batches),
        mock.patch.object(region_files, "_HELD_BYTES", held_bytes),
        mock.patch.object(region_files, "_MIN_GROUP_ROWS", least_group),
        mock.patch.object(region_files, "_MAX_OPEN_FILES", most_open),
        mock.patch.object(row_groups, "ROW_GROUP", rows_a_group),
    ):
        counts = published(Path(folder), pages, segment_pages=segment_pages, by_region=by_region)
        rows = ds.dataset(Path(folder, "videos"), format="parquet").to_table().to_pylist()
        (sellers,) = Path(folder, "sellers").rglob("*.parquet")
        videos_by_seller = {r["seller_id"]: r["videos"] for r in pq.ParquetFile(sellers).read().to_pylist()}
    assert {(r["seller_id"], r["video_id"]): r["nick_name"] for r in rows} == last
    assert counts.written == len(rows) == len(last)
    assert counts.duplicate == sum(len(videos) for *_, videos in received) - len(last)
    assert videos_by_seller == {"99": 0, **{str(s): sum(k[0] == str(s) for k in last) for s, *_ in received}}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
rows_of_a_page = st.lists(
    st.dictionaries(st.sampled_from([*COLUMNS, "region", "new"]), json_values, max_size=8) | json_values,
    max_size=10,
)


@settings(max_examples=60, deadline=None)
@given(rows=rows_of_a_page)
def test_no_row_is_lost_and_every_value_fits(rows: list[Any]) -> None:
    try:
        body = orjson.dumps({"data": rows})
    except orjson.JSONEncodeError:
        return
    result = read_rows("7", body)
    assert len(result.places) + len(result.rejects) == len(rows)
    for field in VIDEO_SCHEMA:
        column = result.values.get(field.name)  # noqa: PD011 - no data frame
        assert column is None or len(pa.array(column, field.type)) == len(result.places)


@settings(deadline=None)
@given(total=st.integers(0, 300), stop=st.sampled_from(StopRule), max_pages=st.integers(1, 40))
def test_a_seller_costs_its_full_pages_and_one_more(total: int, stop: StopRule, max_pages: int) -> None:
    from crawler.models.seller import SellerProgress  # noqa: PLC0415

    rule, seller, step = PagingRule(stop, max_pages), SellerProgress("7"), None
    while not isinstance(step, Ending):
        start = (seller.next_page - 1) * 10
        rows = list(range(start, min(start + 10, total)))
        answer = Page("7", seller.next_page, b"", len(rows), hash(tuple(rows)), 0, "")
        step = rule.after(seller, answer)
        assert step is not Step.ASK_AGAIN
        seller.received(answer)
    whole = total // 10 + 1 if stop is StopRule.SHORT else -(-total // 10) + 1
    assert seller.pages == min(whole, max_pages)
    assert (step.status is SellerStatus.COMPLETE) == (whole <= max_pages)


def test_a_region_of_many_small_pieces_is_written_without_weighing_each_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A region with few rows in each of a great night's parts costs time by its rows, not their square."""
    monkeypatch.setattr(region_files, "_HELD_BYTES", 500)
    rows = pa.Table.from_pylist([{"folder": "region=MY"}] * 2, SEGMENT_SCHEMA)
    some = parts.PartRows(rows, pa.array([0, 1]))

    def written(pieces: int) -> Callable[[], None]:
        folder = tmp_path / str(pieces)
        aside = folder / "aside"
        aside.mkdir(parents=True)

        def write() -> None:
            with region_files.RegionFiles(folder, "run1", aside) as regions:
                for _ in range(pieces):
                    regions.add(some)

        return write

    assert_linear(written, 300)
    assert pq.read_metadata(tmp_path / "600" / "region=MY" / "run1.parquet").num_rows == 1200


def test_long_rows_make_smaller_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "_GROUP_BYTES", 20_000)
    pages = [page(str(s), 1, [row(f"{s}-{n}", video_desc="x" * 900) for n in range(9)]) for s in range(12)]
    monkeypatch.setattr(parts, "_PART_SELLERS", 2)
    published(tmp_path, pages)
    (path,) = (tmp_path / "videos").rglob("*.parquet")
    assert pq.ParquetFile(path).metadata.num_row_groups == 3
    assert len(pq.ParquetFile(path).read()) == 9 * 12
    assert not list((tmp_path / "state" / "staging").iterdir())


def test_a_range_of_sellers_weighs_its_own_rows_and_no_batch_is_heavy(tmp_path: Path) -> None:
    """Of each segment a range holds its own rows, not the batch around them, however long rows are."""
    with Journal(tmp_path / "journal.sqlite") as journal:
        staging = SegmentWriter(journal, read_batch, segment_pages=1000)
        long = [row(str(n), nick_name=f"{n:09}" * 1000) for n in range(10)]
        staging.write([Record(s, "run1", 1, page(s, 1, long), None) for s in map(str, range(1000, 1060))])
        staging.flush()
        rows = segment_file.SegmentRows(journal, tmp_path)
        (few,) = rows.between("1004", "1005")
        assert few["seller_id"].to_pylist() == ["1005"] * 10
        assert few.get_total_buffer_size() < 2 * few.nbytes
        batches = list(rows.between("", "1060"))
        assert sum(map(len, batches)) == 600
        assert max(batch.nbytes for batch in batches) < 1.2 * 2**20


def test_a_night_beyond_the_size_of_a_file_has_further_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_groups, "ROW_GROUP", 10)
    monkeypatch.setattr(video_file, "_MAX_FILE_BYTES", 5000)
    pages = [page(f"{s:02}", 1, [row(f"{s}-{n}") for n in range(9)]) for s in range(12)]
    published(tmp_path, pages)
    paths = sorted((tmp_path / "videos").rglob("*.parquet"))
    assert len(paths) > 2
    assert {"run1.parquet", "run1.2.parquet"} < {path.name for path in paths}
    files = SnapshotFiles.published(tmp_path, VIDEOS, DATE)
    assert files.runs == {"run1"}
    found = [r["video_id"] for rows in files.batches(VIDEO_SCHEMA) for r in rows.to_pylist()]
    assert sorted(found) == sorted(f"{s}-{n}" for s in range(12) for n in range(9))
    cursor = SellerCursor(files, VIDEO_SCHEMA, frozenset())
    assert [len(cursor.rows(f"{s:02}", f"{s + 2:02}")) for s in range(0, 12, 3)] == [27] * 4
    monkeypatch.undo()
    published(tmp_path, pages[:1], "run2")
    assert [path.name for path in (tmp_path / "videos").rglob("*.parquet")] == ["run2.parquet"]
