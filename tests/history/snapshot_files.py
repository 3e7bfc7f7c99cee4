"""Published snapshots made of a few values, for tests of what compares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crawler.history.reader import SnapshotFiles
from crawler.models.api import COUNT_COLUMNS
from crawler.store.layout import SELLERS, VIDEOS, Layout
from crawler.store.schema import REGION_FILE_SCHEMA, SELLER_SCHEMA, SORTING, region_folder

HOUR = 3_600_000
DAY = 24 * HOUR
START = 20_000 * DAY
"""Midnight of the first night, in epoch milliseconds."""

FIRST_DATE = date(2024, 10, 4)


@dataclass(frozen=True)
class Video:
    """A row of `videos/`; all its counters are `views`, and times are epoch milliseconds.

    `position` is its place in its seller's list, as the reading of `run_id` has it.
    """

    video_id: str
    views: int | None
    at: int
    created: int | None = 0
    region: str | None = "MY"
    carried_from: date | None = None
    position: int | None = None
    run_id: str = ""

    def row(self, seller_id: str) -> dict[str, Any]:
        row = {"seller_id": seller_id, "video_id": self.video_id, "create_time": self.created}
        counters = dict.fromkeys(COUNT_COLUMNS, self.views)
        row |= {"position": self.position, "run_id": self.run_id}
        return row | counters | {"crawled_at": self.at, "carried_from": self.carried_from}


@dataclass(frozen=True)
class Seller:
    """A row of `sellers/` with its videos; read at `at`, or never where that is None."""

    seller_id: str
    videos: Sequence[Video] = ()
    at: int | None = None
    status: str = "complete"
    drift: int | None = 0
    carried: int | None = 0
    kept_status: str | None = None
    run_id: str = ""
    stretches: str | None = None

    @property
    def has_pages(self) -> bool:
        """Whether a page of it is published, received or carried."""
        return bool(self.row()["pages"]) or self.stretches is not None

    def row(self) -> dict[str, Any]:
        times = [video.at for video in self.videos if video.carried_from is None]
        times += [] if self.at is None else [self.at]
        return {
            "seller_id": self.seller_id,
            "status": self.status,
            "pages": int(bool(times)),
            "videos": len(self.videos),
            "credits": 1,
            "first_crawled_at": min(times, default=None),
            "last_crawled_at": max(times, default=None),
            "carried": self.carried,
            "drift": self.drift,
            "kept_status": self.kept_status,
            "run_id": self.run_id,
            "stretches": self.stretches,
        }


def publish(
    data: Path,
    day: date,
    sellers: Sequence[Seller],
    run_id: str = "run",
    groups: int = 3,
    sorting: str = "",
) -> None:
    """Write the files of a snapshot in place of those of its date, in row groups of a few rows."""
    layout = Layout(data)
    for kind in (VIDEOS, SELLERS):
        for path in SnapshotFiles.published(data, kind, day).paths:
            path.unlink()
    read = sorted((s for s in sellers if s.has_pages), key=lambda seller: seller.seller_id)
    pending = [seller for seller in sellers if not seller.has_pages]
    rows = [seller.row() for seller in (*read, *pending)]
    of_sellers = SELLER_SCHEMA.with_metadata({SORTING: sorting})
    _write(layout.snapshot(SELLERS, day) / f"{run_id}.parquet", of_sellers, rows, groups)
    by_folder: dict[str, list[dict[str, Any]]] = {str(region_folder(None)): []}
    for seller in sorted(sellers, key=lambda seller: seller.seller_id):
        for video in seller.videos:
            by_folder.setdefault(str(region_folder(video.region)), []).append(video.row(seller.seller_id))
    for folder, videos in by_folder.items():
        path = layout.snapshot(VIDEOS, day) / folder / f"{run_id}.parquet"
        _write(path, REGION_FILE_SCHEMA, videos, groups)


def _write(path: Path, schema: pa.Schema, rows: list[dict[str, Any]], groups: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [pa.array([row.get(each.name) for row in rows], each.type) for each in schema]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), path, row_group_size=groups)
