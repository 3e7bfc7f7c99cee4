"""A data folder of many nights that nobody crawled: videos whose counts grow, and a few that come and go."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crawler.models.api import COUNT_COLUMNS
from crawler.store.digests import digests_of, keep_digests
from crawler.store.layout import SELLERS, VIDEOS, Layout, parquet_file
from crawler.store.row_groups import video_writer
from crawler.store.schema import SUMMED_SELLER_SCHEMA, VIDEO_FILE_SCHEMA

DAY = timedelta(days=1)
FIRST_OLD = date(2026, 5, 1)
Row = dict[str, Any]


def run_of(day: date) -> str:
    return f"{day:%Y%m%d}T021000Z-00000000"


def rows_of(day: date, sellers: int, videos: int) -> list[Row]:
    """A night's rows by seller and position; the positions of videos change from night to night."""
    at, rows = datetime.combine(day, time(2, 10), UTC), []
    for seller in range(sellers):
        there = [n for n in range(videos) if (n + day.toordinal()) % 11]
        there.sort(key=lambda n: (n * 7 + day.toordinal()) % 13)
        for position, n in enumerate(there, 1):
            row: Row = {
                "seller_id": f"7{seller:05}",
                "video_id": f"70{(n * 7919) % 100_003:06}{seller:05}",
                "user_id": f"u{seller}",
                "nick_name": f"shop {seller}",
                "video_desc": f"video {n} of {seller}",
                "region": ("MY", "GB", None)[n % 3],
                "create_time": datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=n),
                "page_num": (position - 1) // 10 + 1,
                "position": position,
                "crawled_at": at + timedelta(seconds=position),
                "run_id": run_of(day),
                "request_id": f"r{position}",
                "snapshot_date": day,
                "late": False,
            }
            rows.append(row | {c: n * 100 + day.toordinal() - 739_000 for c in COUNT_COLUMNS})
    return rows


def publish_night(data: Path, day: date, rows: list[Row], run_id: str = "") -> None:
    """Publish a night as a run would leave it, with its digests."""
    run_id, layout = run_id or run_of(day), Layout(data)
    videos, sellers = (parquet_file(layout.snapshot(kind, day), run_id) for kind in (VIDEOS, SELLERS))
    for path in (videos, sellers):
        path.parent.mkdir(parents=True)
    with video_writer(videos, VIDEO_FILE_SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=VIDEO_FILE_SCHEMA))
    counted: dict[str, Row] = {}
    for row in rows:
        own = counted.setdefault(
            row["seller_id"],
            {"seller_id": row["seller_id"], "status": "complete", "pages": 1, "videos": 0, "run_id": run_id},
        )
        own["videos"] += 1
        own["first_crawled_at"] = own["last_crawled_at"] = row["crawled_at"]
    pq.write_table(pa.Table.from_pylist([*counted.values()], schema=SUMMED_SELLER_SCHEMA), sellers)
    keep_digests(data, day, run_id, digests_of(data, day))


def publish_nights(data: Path, first: date, nights: int, sellers: int = 3, videos: int = 20) -> list[date]:
    """Publish a night for each of so many days."""
    days = [first + DAY * n for n in range(nights)]
    for day in days:
        publish_night(data, day, rows_of(day, sellers, videos))
    return days
