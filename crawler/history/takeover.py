"""Taking over the snapshot of a date whose journal is lost: its rows are kept, and not paid for again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.pins import pinned
from crawler.history.reader import SnapshotFiles, UnreadableError, columns_of
from crawler.models.errors import InputError
from crawler.models.seller import SellerStatus, StopReason
from crawler.store.digests import damage_of_published, digests_of
from crawler.store.files import output_errors
from crawler.store.journal import Journal
from crawler.store.layout import SELLERS, SNAPSHOT_KINDS, VIDEOS, Layout
from crawler.store.records import PublishedSeller
from crawler.store.schema import SELLER_SCHEMA

_NEEDED = columns_of(SELLER_SCHEMA, "seller_id", "status", "stop_reason", "pages", "videos", "credits")
_FINAL = {StopReason.MAX_PAGES, StopReason.MIN_VALUE, StopReason.TOP}


@dataclass(frozen=True, slots=True)
class PublishedDate:
    """The published snapshot of a date, as its files are.

    Raises `InputError` where they cannot be read or do not belong together.
    """

    data: Path
    day: date

    @classmethod
    def found(cls, data: Path, day: date) -> PublishedDate | None:
        """The snapshot of a date; None where the date has no rows."""
        snapshot = cls(data, day)
        if not snapshot.rows:
            return None
        damage = damage_of_published(data, day)
        if damage is not None:
            raise snapshot._unusable(damage)
        rows = sum(pc.sum(table["videos"]).as_py() or 0 for table in snapshot._sellers(_NEEDED))
        if rows != snapshot.rows:
            raise snapshot._unusable(f"sellers/ has {rows} rows in all, videos/ has {snapshot.rows}")
        return snapshot

    @property
    def rows(self) -> int:
        """How many rows it has."""
        with self._usable():
            return self._files(VIDEOS).row_count

    @property
    def sorting(self) -> str:
        """What its pages were sorted by, and which way; empty where that is not known."""
        with self._usable():
            return self._files(SELLERS).sorting

    def with_rows(self) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers that have rows."""
        for table in self._sellers(_NEEDED):
            yield table.filter(pc.field("videos") > 0)["seller_id"].combine_chunks()

    def take_over(self, journal: Journal) -> None:
        """Pin its files beside a new journal, which then publishes its rows as they are."""
        with output_errors(f"the snapshot of {self.day}"):
            digests = digests_of(self.data, self.day)
        pinned(journal, self.data, self.day, digests)
        # Its files are named after the run that published them: the journal may replace them.
        runs = {path.stem for path in self._files(VIDEOS).paths}
        journal.previous.take_over(self._published_sellers(), publishing=" ".join(sorted(runs)))

    def _published_sellers(self) -> Iterator[PublishedSeller]:
        for table in self._sellers(SELLER_SCHEMA):
            for row in table.to_pylist():
                if row["pages"] or row["videos"]:
                    yield _seller(row, self.day)

    def _sellers(self, schema: pa.Schema) -> Iterator[pa.Table]:
        with self._usable():
            yield from self._files(SELLERS).batches(schema, frozenset(schema.names) - set(_NEEDED.names))

    def _files(self, kind: str) -> SnapshotFiles:
        return SnapshotFiles.published(self.data, kind, self.day)

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except UnreadableError as error:
            raise self._unusable(error) from None

    def _unusable(self, reason: object) -> InputError:
        folders = " and ".join(str(Layout(self.data).snapshot(kind, self.day)) for kind in SNAPSHOT_KINDS)
        return InputError(
            f"the snapshot of {self.day} cannot be read ({reason}), and the journal that it was built from "
            f"is gone: restore {folders} from a copy, or move both away to crawl the date from its start"
        )


def _seller(row: dict[str, Any], day: date) -> PublishedSeller:
    # A seller whose crawl failed kept the rows of the one before.
    kept = row["kept_status"]
    status = kept or row["status"]
    return PublishedSeller(
        seller_id=str(row["seller_id"]),
        final=not kept and (status == SellerStatus.COMPLETE or row["stop_reason"] in _FINAL),
        status=status,
        stop_reason=None if kept else row["stop_reason"],
        pages=row["pages"],
        credits=row["credits"],
        error=None if kept else row["error"],
        first=_milliseconds(row["first_crawled_at"]),
        last=_milliseconds(row["last_crawled_at"]),
        run_id=row["run_id"],
        rows=row["videos"] - (row["carried"] or 0),
        overlap=row["overlap"] or 0,
        drift=row["drift"] or 0,
        source=day.isoformat(),
        videos=row["videos"],
    )


def _milliseconds(moment: Any) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)
