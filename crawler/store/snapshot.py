"""The snapshot of a crawl date: built beside the dataset from the journal alone, exchanged in whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.errors import OutputError
from crawler.models import PAGE_SIZE, SellerStatus, StopReason
from crawler.store.carrying import Audit, Carried
from crawler.store.failpoints import reached
from crawler.store.files import fsync_folder, fsync_tree, swap_in, told_as_output_error
from crawler.store.journal import Journal, SellerSummary
from crawler.store.schema import NO_REGION, SEGMENT_SCHEMA, SELLER_SCHEMA, SORTING, VIDEO_SCHEMA
from crawler.store.segments import segment_files

ROW_GROUP = 131_072
NOBODY: pa.Array[Any] = pa.array([], pa.string())
_RANGE_BYTES = 32 * 1024 * 1024
_RANGE_SELLERS = 65_536
_ROW_BYTES = 600


@dataclass(slots=True)
class RowCounts:
    """Rows that the snapshot was built from: `received` + `carried` = `duplicate` + `rejected` + `written`.

    `carried` come from earlier snapshots, of `carried_sellers`, which saved `saved` credits. `certain` are
    worth more than anything that may be missing.
    """

    received: int = 0
    duplicate: int = 0
    rejected: int = 0
    written: int = 0
    carried: int = 0
    certain: int = 0
    carried_sellers: int = 0
    saved: int = 0
    audit: Audit = field(default_factory=Audit)


@dataclass(frozen=True, slots=True)
class SnapshotPlan:
    """What to build and where.

    `pending` holds listed sellers that the journal does not know, `stop_reason` says why. `certain` is
    the column and the value above which no video is missing.
    """

    data: Path
    run_id: str
    crawl_date: date
    pending: pa.Array[Any]
    stop_reason: StopReason | None
    certain: tuple[str, float] | None = None


def publish(journal: Journal, plan: SnapshotPlan) -> RowCounts:
    """Build the date's snapshot and put it in place of the former one: `videos/` first, then `sellers/`.

    Every page must be in a segment. Raises `OutputError`; the former snapshot then stands whole.
    """
    reached("publish.begin")
    staging = staging_folder(plan.data) / plan.run_id
    partition = f"crawl_date={plan.crawl_date.isoformat()}"
    with told_as_output_error(f"the snapshot under {plan.data}"):
        videos, sellers = staging / "videos" / partition, staging / "sellers" / partition
        for folder in (videos, sellers, staging / "spill"):
            folder.mkdir(parents=True)
        counts = _build(journal, plan, staging / "spill", videos, sellers)
        _collect_rejects(journal, plan.data / "runs" / plan.run_id)
        shutil.rmtree(staging / "spill")
        reached("publish.staged")
        fsync_tree(staging)
        reached("publish.synced")
        swap_in(videos, plan.data / "videos" / partition)
        reached("publish.videos")
        swap_in(sellers, plan.data / "sellers" / partition)
        reached("publish.sellers")
        fsync_folder(plan.data)
        shutil.rmtree(staging)
    journal.note(published_mark=journal.mark(), published_rows=orjson.dumps(asdict(counts)).decode())
    reached("publish.noted")
    return counts


def staging_folder(data: Path) -> Path:
    """Where snapshots are built: outside the dataset, on its file system."""
    return data / "state" / "staging"


def clean_staging(data: Path) -> None:
    """Remove what a killed run left half-built."""
    folder = staging_folder(data)
    with told_as_output_error(str(folder)):
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        else:
            folder.unlink(missing_ok=True)


def _build(journal: Journal, plan: SnapshotPlan, spill: Path, videos: Path, sellers: Path) -> RowCounts:
    """Read the segments in ranges of sellers, so that memory holds one range and one row group."""
    counts = RowCounts(rejected=sum(segment.rejected for segment in journal.segments()))
    spilled = _Spill(spill)
    formerly = Carried(journal)
    with pq.ParquetWriter(sellers / f"{plan.run_id}.parquet", SELLER_SCHEMA, compression="zstd") as writer:
        writer.add_key_value_metadata({SORTING: f"{journal.meta('sort')} {journal.meta('order')}"})
        for of_range, rows in deduplicated(journal):
            spilled.add(rows)
            counts.received += sum(seller.rows for seller in of_range)
            counts.written += rows.num_rows
            counts.certain += _count_above(rows, plan.certain)
            writer.write_table(_seller_table(of_range, rows, plan.stop_reason))
            _count_carried(counts, of_range, rows, formerly)
        for start in range(0, len(plan.pending), ROW_GROUP):
            writer.write_table(_pending_table(plan.pending.slice(start, ROW_GROUP), plan.stop_reason))
    counts.duplicate = counts.received + counts.carried - counts.rejected - counts.written
    spilled.write(videos, plan.run_id)
    return counts


def deduplicated(journal: Journal) -> Iterator[tuple[list[SellerSummary], pa.Table]]:
    """Range after range of sellers, with their rows: of each video the one received last."""
    import pyarrow.dataset as ds  # noqa: PLC0415 - a run with nothing to publish needs none

    paths = [str(path) for path in segment_files(journal, "parquet")]
    source, formerly = ds.dataset(paths, schema=SEGMENT_SCHEMA, format="parquet"), Carried(journal)
    for of_range in _ranges(journal.summaries()):
        rows = [_rows_of(source, of_range), _carried(formerly, of_range)]
        yield of_range, _newest(pa.concat_tables(rows))


def _carried(formerly: Carried, sellers: list[SellerSummary]) -> pa.Table:
    carried = [seller for seller in sellers if seller.is_carried]
    rows = formerly.rows(_by_source(carried))
    wanted = sum(seller.matched_videos for seller in carried)
    if len(rows) != wanted:
        raise OutputError(
            f"{wanted - len(rows)} rows that were to be carried from earlier snapshots are gone"
        )
    return rows


def _by_source(sellers: Iterable[SellerSummary]) -> dict[date, list[str]]:
    found: dict[date, list[str]] = {}
    for seller in sellers:
        if seller.matched is not None:
            found.setdefault(seller.matched, []).append(seller.seller_id)
    return found


def _count_carried(
    counts: RowCounts, sellers: list[SellerSummary], rows: pa.Table, formerly: Carried
) -> None:
    """Count what was carried, and compare sellers that might have been but were crawled in full."""
    carried = [seller for seller in sellers if seller.is_carried]
    counts.carried_sellers += len(carried)
    counts.carried += len(rows) - rows["carried_from"].null_count
    counts.saved += sum(seller.matched_videos // PAGE_SIZE for seller in carried)
    complete = [s for s in sellers if s.status is SellerStatus.COMPLETE and not s.is_carried]
    audited = [seller for seller in complete if seller.matched and formerly.has(seller.matched)]
    if audited:
        ids = pa.array([seller.seller_id for seller in audited], pa.string())
        crawled = rows.filter(pc.is_in(rows["seller_id"], value_set=ids))
        counts.audit.compare(len(audited), crawled, formerly.rows(_by_source(audited)))


def _ranges(sellers: Iterator[SellerSummary]) -> Iterator[list[SellerSummary]]:
    """Sellers in their order, as many at a time as fit in memory with all their rows."""
    waiting: list[SellerSummary] = []
    size = 0
    for seller in sellers:
        waiting.append(seller)
        size += seller.size + seller.matched_videos * _ROW_BYTES
        if size >= _RANGE_BYTES or len(waiting) >= _RANGE_SELLERS:
            yield waiting
            waiting, size = [], 0
    if waiting:
        yield waiting


def _rows_of(source: Any, sellers: list[SellerSummary]) -> pa.Table:
    seller_id = pc.field("seller_id")
    inside = (seller_id >= sellers[0].seller_id) & (seller_id <= sellers[-1].seller_id)
    rows: pa.Table = source.to_table(filter=inside)
    return rows


def _newest(rows: pa.Table) -> pa.Table:
    """The row received last of each video, by seller and position."""
    if rows.num_rows == 0:
        return rows
    newest_first = pc.sort_indices(
        rows,
        sort_keys=[
            ("seller_id", "ascending"),
            ("video_id", "ascending"),
            ("seq", "descending"),
            ("position", "descending"),
        ],
    )
    changes = [_changes(rows[name].take(newest_first)) for name in ("seller_id", "video_id")]
    kept = rows.take(newest_first.filter(pc.or_(*changes)))
    return kept.sort_by([(name, "ascending") for name in ("seller_id", "position", "video_id")])


def _count_above(rows: pa.Table, certain: tuple[str, float] | None) -> int:
    if certain is None:
        return 0
    column, above = certain
    return rows.filter(pc.field(column) > above).num_rows


def _changes(values: pa.ChunkedArray[Any]) -> pa.Array[Any]:
    """Whether each value differs from the one before it."""
    array = values.combine_chunks()
    return pa.concat_arrays([pa.array([True]), pc.not_equal(array.slice(1), array.slice(0, len(array) - 1))])


def _seller_table(sellers: list[SellerSummary], rows: pa.Table, reason: StopReason | None) -> pa.Table:
    videos, carried = _rows_by_seller(rows), _rows_by_seller(rows.filter(pc.is_valid(rows["carried_from"])))
    told = [
        (
            *(*s[:2], s.stop_reason or reason, s.pages, videos.get(s.seller_id, 0), *s[4:9]),
            *(carried.get(s.seller_id, 0), s.overlap, s.drift),
        )
        for s in sellers
    ]
    columns = zip(*told, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SELLER_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SELLER_SCHEMA)


def _rows_by_seller(rows: pa.Table) -> dict[Any, Any]:
    counted = pc.value_counts(rows["seller_id"])
    return dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))


def _pending_table(sellers: pa.Array[Any], reason: StopReason | None) -> pa.Table:
    known = {
        "seller_id": sellers,
        "status": pa.repeat(pa.scalar(SellerStatus.PENDING.value), len(sellers)),
        "stop_reason": pa.repeat(pa.scalar(reason, pa.string()), len(sellers)),
        **{
            name: pa.repeat(pa.scalar(0, pa.int64()), len(sellers))
            for name in ("pages", "videos", "credits", "carried", "overlap", "drift")
        },
    }
    arrays = [known.get(field.name, pa.nulls(len(sellers), field.type)) for field in SELLER_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SELLER_SCHEMA)


class _Spill:
    """Rows in seller order in, one sorted Parquet file for each region out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Path] = {}

    def add(self, rows: pa.Table) -> None:
        """Append each region's rows to its file, as one Arrow stream after another."""
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        for region in map(str, pc.unique(rows["folder"]).to_pylist()):
            path = self._files.setdefault(region, self._folder / f"{len(self._files)}.arrows")
            of_region = rows.filter(pc.field("folder") == region).select(VIDEO_SCHEMA.names)
            with path.open("ab") as file, pa.ipc.new_stream(file, VIDEO_SCHEMA, options=options) as stream:
                stream.write_table(of_region)

    def write(self, folder: Path, run_id: str) -> None:
        """Write each region's file below `folder`; a snapshot without rows gets one empty file."""
        regions: dict[str, Path | None] = {**self._files} or {NO_REGION: None}
        for region, spilled in regions.items():
            target = folder / region
            target.mkdir()
            with pq.ParquetWriter(target / f"{run_id}.parquet", VIDEO_SCHEMA, compression="zstd") as writer:
                for group in _row_groups(spilled):
                    writer.write_table(group, row_group_size=ROW_GROUP)
            if spilled is not None:
                spilled.unlink()


def _row_groups(spilled: Path | None) -> Iterator[pa.Table]:
    """The spilled rows in tables of a row group's size."""
    waiting: list[pa.RecordBatch] = []
    for batch in _batches(spilled):
        waiting.append(batch)
        while sum(b.num_rows for b in waiting) >= ROW_GROUP:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, ROW_GROUP)
            waiting = table.slice(ROW_GROUP).to_batches()
    if waiting or spilled is None:
        yield pa.Table.from_batches(waiting, VIDEO_SCHEMA)


def _batches(spilled: Path | None) -> Iterator[pa.RecordBatch]:
    if spilled is None:
        return
    end = spilled.stat().st_size
    with pa.OSFile(str(spilled), "rb") as file:
        while file.tell() < end:
            yield from pa.ipc.open_stream(file)


def _collect_rejects(journal: Journal, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parts: Iterable[Path] = segment_files(journal, "jsonl")
    for number, part in enumerate(parts):
        with part.open("rb") as rejected, (folder / "rejects.jsonl").open("ab" if number else "wb") as told:
            shutil.copyfileobj(rejected, told)
    fsync_tree(folder)
