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
from crawler.store.months import file_of_archived
from crawler.store.records import Attempt, SellerSummary
from crawler.store.schema import SELLER_SCHEMA

_NEEDED = columns_of(SELLER_SCHEMA, "seller_id", "status", "stop_reason", "pages", "videos", "credits")
_FINAL = {StopReason.MAX_PAGES, StopReason.MIN_VALUE, StopReason.TOP}


@dataclass(frozen=True, slots=True)
class PublishedDate:
    """The published snapshot of a date, as its files are; `sorting` as `SnapshotFiles` has it.

    Raises `InputError` where they cannot be read or do not belong together.
    """

    data: Path
    day: date
    sorting: str

    @classmethod
    def found(cls, data: Path, day: date) -> PublishedDate | None:
        """The snapshot of a date; None where the date has no rows."""
        require_not_archived(data, day)
        with _usable(data, day):
            rows = SnapshotFiles.published(data, VIDEOS, day).row_count
            if not rows:
                return None
            damage = damage_of_published(data, day, SNAPSHOT_KINDS)
            if damage is not None:
                raise UnreadableError(damage)
            snapshot = cls(data, day, SnapshotFiles.published(data, SELLERS, day).sorting)
            of_sellers = sum(pc.sum(table["videos"]).as_py() or 0 for table in snapshot._sellers(_NEEDED))
            if of_sellers != rows:
                raise UnreadableError(f"sellers/ has {of_sellers} rows in all, videos/ has {rows}")
        return snapshot

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
        runs = SnapshotFiles.published(self.data, VIDEOS, self.day).runs
        rows = (row for table in self._sellers(SELLER_SCHEMA) for row in table.to_pylist())
        sellers = (_seller(row, self.day) for row in rows if row["pages"] or row["videos"])
        journal.previous.take_over(sellers, self.day, publishing=" ".join(sorted(runs)))

    def _sellers(self, schema: pa.Schema) -> Iterator[pa.Table]:
        with _usable(self.data, self.day):
            optional = frozenset(schema.names) - set(_NEEDED.names)
            yield from SnapshotFiles.published(self.data, SELLERS, self.day).batches(schema, optional)


def sellers_of(data: Path, day: date) -> Iterator[SellerSummary]:
    """Every seller of a published snapshot, as it is there. Raises `UnreadableError`."""
    optional = frozenset(SELLER_SCHEMA.names) - set(_NEEDED.names)
    for table in SnapshotFiles.published(data, SELLERS, day).batches(SELLER_SCHEMA, optional):
        for row in table.to_pylist():
            seller, _ = _seller(row, day)
            if row["kept_status"]:
                reason = None if row["stop_reason"] is None else StopReason(row["stop_reason"])
                seller = seller._replace(attempt=Attempt(SellerStatus(row["status"]), reason, row["error"]))
            yield seller


def require_not_archived(data: Path, day: date) -> None:
    """Raise `InputError` where the rows of a date are in `archive/` alone."""
    if (month := file_of_archived(data, day)) is not None:
        raise InputError(
            f"crawl date {day} was compacted and can be crawled no more: nothing was sent; "
            f"its rows are in {month}"
        )


@contextmanager
def _usable(data: Path, day: date) -> Iterator[None]:
    """Raise `InputError` with the way out where a snapshot cannot be read."""
    try:
        yield
    except UnreadableError as error:
        folders = " and ".join(str(Layout(data).snapshot(kind, day)) for kind in SNAPSHOT_KINDS)
        raise InputError(
            f"the snapshot of {day} cannot be read ({error}), and the journal that it was built from is "
            f"gone: restore {folders} from a copy, or move both away to crawl the date from its start"
        ) from None


def _seller(row: dict[str, Any], day: date) -> tuple[SellerSummary, bool]:
    """A seller of the snapshot, and whether it needs no further page."""
    # A seller whose crawl failed kept the rows of the one before.
    kept = row["kept_status"]
    status, reason = (kept, None) if kept else (row["status"], row["stop_reason"])
    is_final = not kept and (status == SellerStatus.COMPLETE or reason in _FINAL)
    summary = SellerSummary(
        seller_id=str(row["seller_id"]),
        status=SellerStatus(status),
        stop_reason=None if reason is None else StopReason(reason),
        pages=row["pages"],
        credits=row["credits"],
        error=None if kept else row["error"],
        first_crawled_at=_milliseconds(row["first_crawled_at"]),
        last_crawled_at=_milliseconds(row["last_crawled_at"]),
        run_id=row["run_id"],
        rows=row["videos"] - (row["carried"] or 0),
        size=0,
        max_remaining_value=None,
        overlap=row["overlap"] or 0,
        drift=row["drift"] or 0,
        matched=day,
        matched_videos=row["videos"],
        missing=row["pages"] + 1,
        other_credits=row["other_credits"] or 0,
    )
    return summary.with_ages(row["stretches"], row["expected_drift"] or 0.0), is_final


def _milliseconds(moment: Any) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)
