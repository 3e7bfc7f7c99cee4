"""The snapshot of a crawl date: built beside the dataset from the journal alone, exchanged in whole."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from crawler.models import API_COLUMNS, PAGE_SIZE, PageRows, SellerStatus, StopReason
from crawler.store.files import fsync_folder, fsync_tree, swap_in, told_as_output_error
from crawler.store.journal import Journal, SellerSummary, StoredPage

ROW_GROUP = 131_072
NO_REGION = "__HIVE_DEFAULT_PARTITION__"
_BUFFERED_ROWS = 65_536
_LONGEST_NAME = 255
_KINDS: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "seconds": pa.timestamp("ms", tz="UTC"),
}

_VIDEO_FIELDS: list[pa.Field[Any]] = [
    pa.field("seller_id", pa.string()),
    *(pa.field(c.name, _KINDS[c.kind]) for c in API_COLUMNS if c.name != "region"),
    pa.field("page_num", pa.int32()),
    pa.field("position", pa.int64()),
    pa.field("crawled_at", pa.timestamp("ms", tz="UTC")),
    pa.field("run_id", pa.string()),
    pa.field("request_id", pa.string()),
    pa.field("carried_from", pa.date32()),
    pa.field("extra", pa.string()),
]
VIDEO_SCHEMA = pa.schema(_VIDEO_FIELDS)
"""The dataset's columns in their order; `crawl_date` and `region` are in the path."""

_SELLER_FIELDS: list[pa.Field[Any]] = [
    pa.field("seller_id", pa.string()),
    pa.field("status", pa.string()),
    pa.field("stop_reason", pa.string()),
    pa.field("pages", pa.int64()),
    pa.field("videos", pa.int64()),
    pa.field("credits", pa.int64()),
    pa.field("error", pa.string()),
    pa.field("first_crawled_at", pa.timestamp("ms", tz="UTC")),
    pa.field("last_crawled_at", pa.timestamp("ms", tz="UTC")),
    pa.field("run_id", pa.string()),
]
SELLER_SCHEMA = pa.schema(_SELLER_FIELDS)

RowReader = Callable[[str, bytes], PageRows]


@dataclass(slots=True)
class RowCounts:
    """Rows that the snapshot was built from: `received` = `duplicate` + `rejected` + `written`."""

    received: int = 0
    duplicate: int = 0
    rejected: int = 0
    written: int = 0


@dataclass(frozen=True, slots=True)
class SnapshotPlan:
    """What to build and where; `pending` are listed sellers without a page, `stop_reason` why."""

    data: Path
    run_id: str
    crawl_date: date
    pending: Iterable[str]
    stop_reason: StopReason | None


def publish(journal: Journal, read_rows: RowReader, plan: SnapshotPlan) -> RowCounts:
    """Build the date's snapshot and put it in place of the former one: `videos/` first, then `sellers/`.

    Raises `OutputError`; the former snapshot then stands whole.
    """
    staging = staging_folder(plan.data) / plan.run_id
    partition = f"crawl_date={plan.crawl_date.isoformat()}"
    with told_as_output_error(f"the snapshot under {plan.data}"):
        videos, sellers = staging / "videos" / partition, staging / "sellers" / partition
        rejects = plan.data / "runs" / plan.run_id / "rejects.jsonl"
        for folder in (videos, sellers, staging / "spill", rejects.parent):
            folder.mkdir(parents=True)
        with rejects.open("wb") as rejected:
            builder = _VideoBuilder(staging / "spill", read_rows, rejected)
            per_seller = builder.add_all(journal.pages())
            builder.write(videos, plan.run_id)
        if not builder.counts.rejected:
            rejects.unlink()
        _write_sellers(sellers / f"{plan.run_id}.parquet", _sellers(journal.summaries(), per_seller, plan))
        fsync_tree(staging)
        swap_in(videos, plan.data / "videos" / partition)
        swap_in(sellers, plan.data / "sellers" / partition)
        fsync_folder(plan.data)
        shutil.rmtree(staging)
    journal.note(
        published_mark=journal.mark(),
        published_rows=orjson.dumps(asdict(builder.counts)).decode(),
    )
    return builder.counts


def staging_folder(data: Path) -> Path:
    """Where snapshots are built: outside the dataset, on its file system."""
    return data / "state" / "staging"


def clean_staging(data: Path) -> None:
    """Remove what a killed run left half-built."""
    folder = staging_folder(data)
    if folder.exists():
        with told_as_output_error(str(folder)):
            shutil.rmtree(folder)


def region_folder(region: str | None) -> str | None:
    """The partition folder of a region, or None where the value fits no folder name.

    Every byte but letters, digits and `_.-~` is percent-encoded, so no value can leave its folder.
    """
    if not region:
        return f"region={NO_REGION}"
    name = f"region={quote(region, safe='')}"
    fits = len(name) <= _LONGEST_NAME and region != NO_REGION and "\0" not in region
    return name if fits else None


class _VideoBuilder:
    """Rows in seller order in, one sorted Parquet file for each region out.

    Rows are spilled by region as they come, so memory holds one seller, a bounded buffer, and one row
    group.
    """

    def __init__(self, spill: Path, read_rows: RowReader, rejected: IO[bytes]) -> None:
        self._spill = spill
        self._read_rows = read_rows
        self._rejected = rejected
        self._buffers: dict[str, dict[str, list[Any]]] = {}
        self._buffered = 0
        self.counts = RowCounts()
        self._files: dict[str, Path] = {}

    def add_all(self, pages: Iterable[StoredPage]) -> Counter[str]:
        """Take every page, sellers in order; returns the number of videos of each seller."""
        videos: Counter[str] = Counter()
        for seller_id, of_seller in groupby(pages, key=lambda page: page.seller_id):
            videos[seller_id] = self._add_seller(of_seller)
            if self._buffered >= _BUFFERED_ROWS:
                self._flush()
        return videos

    def write(self, folder: Path, run_id: str) -> None:
        """Write each region's file below `folder`; a snapshot without rows gets one empty file."""
        self._flush()
        regions: dict[str, Path | None] = {**self._files} or {f"region={NO_REGION}": None}
        for region, spilled in regions.items():
            target = folder / region
            target.mkdir()
            with pq.ParquetWriter(target / f"{run_id}.parquet", VIDEO_SCHEMA, compression="zstd") as writer:
                for group in _row_groups(spilled):
                    writer.write_table(group, row_group_size=ROW_GROUP)

    def _add_seller(self, pages: Iterable[StoredPage]) -> int:
        """Deduplicate one seller by video: the row received last stands."""
        kept: dict[str, tuple[Any, ...]] = {}
        names = (*(c.name for c in API_COLUMNS), "extra")
        for page in pages:
            rows = self._read_rows(page.seller_id, page.body)
            self._reject(page, rows)
            self.counts.received += len(rows.places) + len(rows.rejects)
            columns = zip(*(rows.values[name] for name in names), strict=True)
            for place, values in zip(rows.places, columns, strict=True):
                kept[values[0]] = ((page.page_num - 1) * PAGE_SIZE + place, page, values)
            self.counts.duplicate += len(rows.places)
        self.counts.duplicate -= len(kept)
        self.counts.written += len(kept)
        for position, page, values in sorted(kept.values(), key=lambda row: row[0]):
            self._keep(position, page, dict(zip(names, values, strict=True)))
        return len(kept)

    def _keep(self, position: int, page: StoredPage, row: dict[str, Any]) -> None:
        region = row.pop("region")
        folder = region_folder(region)
        if folder is None:
            folder = f"region={NO_REGION}"
            known = orjson.loads(row["extra"]) if row["extra"] else {}
            row["extra"] = orjson.dumps({**known, "region": region}).decode()
        row.update(
            seller_id=page.seller_id,
            page_num=page.page_num,
            position=position,
            crawled_at=page.received_at,
            run_id=page.run_id,
            request_id=page.request_id,
            carried_from=None,
        )
        buffer = self._buffers.get(folder)
        if buffer is None:
            buffer = self._buffers[folder] = {name: [] for name in VIDEO_SCHEMA.names}
        for name, values in buffer.items():
            values.append(row[name])
        self._buffered += 1

    def _reject(self, page: StoredPage, rows: PageRows) -> None:
        for reject in rows.rejects:
            told = {
                "seller_id": page.seller_id,
                "page_num": page.page_num,
                "place": reject.place,
                "reason": reject.reason,
                "row": reject.row,
            }
            self._rejected.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
        self.counts.rejected += len(rows.rejects)

    def _flush(self) -> None:
        """Append each region's buffer to its spill file, as one Arrow stream after another."""
        for folder, buffer in self._buffers.items():
            path = self._files.setdefault(folder, self._spill / f"{len(self._files)}.arrows")
            batch = pa.record_batch(
                [pa.array(buffer[field.name], field.type) for field in VIDEO_SCHEMA], schema=VIDEO_SCHEMA
            )
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            with path.open("ab") as file, pa.ipc.new_stream(file, VIDEO_SCHEMA, options=options) as stream:
                stream.write_batch(batch)
        self._buffers.clear()
        self._buffered = 0


def _row_groups(spilled: Path | None) -> Iterator[pa.Table]:
    """The spilled rows in tables of a row group's size."""
    waiting: list[pa.RecordBatch] = []
    for batch in _batches(spilled):
        waiting.append(batch)
        if sum(b.num_rows for b in waiting) >= ROW_GROUP:
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


def _sellers(
    known: Iterable[SellerSummary], videos: Counter[str], plan: SnapshotPlan
) -> Iterator[tuple[Any, ...]]:
    for seller in known:
        reason = seller.stop_reason or plan.stop_reason
        yield (*seller[:2], reason, seller.pages, videos[seller.seller_id], *seller[4:])
    for seller_id in plan.pending:
        yield (seller_id, SellerStatus.PENDING, plan.stop_reason, 0, 0, 0, None, None, None, None)


def _write_sellers(path: Path, rows: Iterator[tuple[Any, ...]]) -> None:
    with pq.ParquetWriter(path, SELLER_SCHEMA, compression="zstd") as writer:
        for chunk in _chunks(rows):
            columns = zip(*chunk, strict=True)
            arrays = [pa.array(c, f.type) for c, f in zip(columns, SELLER_SCHEMA, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=SELLER_SCHEMA))


def _chunks(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := [row for _, row in zip(range(ROW_GROUP), rows, strict=False)]:
        yield chunk
