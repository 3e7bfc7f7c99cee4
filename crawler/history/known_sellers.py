"""What history says of a night's possible canaries: open it to change what they are known again by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.carrying import FIRST_PAGE_SCHEMA, first_pages
from crawler.history.reader import SnapshotFiles, UnreadableError, columns_of, published_dates
from crawler.rules.canaries import Canary
from crawler.store.layout import SELLERS, VIDEOS
from crawler.store.schema import REGION, SELLER_SCHEMA, VIDEO_SCHEMA

_NIGHTS = 7
_READ = columns_of(SELLER_SCHEMA, "seller_id", "pages", "videos", "last_crawled_at")
_REGIONS = columns_of(VIDEO_SCHEMA, "seller_id", REGION)


@dataclass(frozen=True, slots=True)
class KnownSellers:
    """Sellers as the newest snapshots up to a date have them; a snapshot that cannot be read has none."""

    data: Path
    upto: date

    def canaries(self, seller_ids: Sequence[str]) -> dict[str, Canary]:
        """Those of some sellers that had videos when they were last read; their `figures` are not known."""
        left = pa.array(seller_ids, pa.string())
        found: dict[str, Canary] = {}
        for day in self._days:
            with suppress(UnreadableError):
                read = self._read(day, left)
                with_videos = read.filter(pc.field("videos") > 0)
                regions = self._regions(day, with_videos["seller_id"].combine_chunks())
                left = left.filter(pc.invert(pc.is_in(left, value_set=read["seller_id"].combine_chunks())))
                for seller in with_videos.to_pylist():
                    seller_id = seller["seller_id"]
                    region, at = regions.get(seller_id, ""), seller["last_crawled_at"]
                    read_at = at.timestamp() if at is not None else 0.0
                    found[seller_id] = Canary(seller_id, region, seller["videos"], None, read_at)
            if not len(left):
                break
        return found

    def figures(self, seller_ids: Sequence[str], sorting: str) -> dict[str, int]:
        """The digest of each seller's first page in the newest snapshot that has one, sorted as given."""
        left, found = set(seller_ids), dict[str, int]()
        for day in self._days:
            if not left:
                break
            with suppress(UnreadableError):
                read = self._read(day, pa.array(sorted(left), pa.string()))["seller_id"].combine_chunks()
                if SnapshotFiles.published(self.data, SELLERS, day).sorting == sorting:
                    videos = SnapshotFiles.published(self.data, VIDEOS, day)
                    found |= first_pages(videos.rows_of(read, FIRST_PAGE_SCHEMA))
                left -= set(read.to_pylist())
        return found

    @property
    def _days(self) -> list[date]:
        return list(islice((day for day in published_dates(self.data) if day <= self.upto), _NIGHTS))

    def _read(self, day: date, ids: pa.Array[Any]) -> pa.Table:
        """The sellers of a snapshot that are among `ids` and have pages."""
        is_meant: Any = pc.field("seller_id").isin(ids) & (pc.field("pages") > 0)
        files = SnapshotFiles.published(self.data, SELLERS, day)
        batches = files.batches(_READ, frozenset({"last_crawled_at"}))
        return pa.concat_tables([_READ.empty_table(), *(rows.filter(is_meant) for rows in batches)])

    def _regions(self, day: date, ids: pa.Array[Any]) -> dict[str, str]:
        """The region that each seller has most of its rows in."""
        counted: dict[str, Counter[str]] = {}
        for rows in SnapshotFiles.published(self.data, VIDEOS, day).rows_of(ids, _REGIONS):
            for found in rows.group_by(_REGIONS.names).aggregate([([], "count_all")]).to_pylist():
                in_region = {found[REGION] or "": found["count_all"]}
                counted.setdefault(found["seller_id"], Counter()).update(in_region)
        return {seller_id: regions.most_common(1)[0][0] for seller_id, regions in counted.items()}
