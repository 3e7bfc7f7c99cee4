"""Taking over the snapshot of a date whose journal is lost: its rows are kept, and not paid for again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.history.pins import UNREADABLE, pinned
from crawler.models.errors import InputError
from crawler.models.seller import SellerStatus, StopReason
from crawler.store.digests import damage_of_published, digests_of_date
from crawler.store.files import output_errors
from crawler.store.journal import Journal, PublishedSeller
from crawler.store.layout import SELLERS, SNAPSHOT_KINDS, VIDEOS, Layout, parquet_files
from crawler.store.schema import SELLER_SCHEMA, SORTING

_NEEDED = ("seller_id", "status", "stop_reason", "pages", "videos", "credits")
_BATCH = 65_536
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
        told = sum(pc.sum(table["videos"]).as_py() or 0 for table in snapshot._tables(("videos",)))
        if told != snapshot.rows:
            raise snapshot._unusable(f"sellers/ tells of {told} rows, videos/ has {snapshot.rows}")
        return snapshot

    @property
    def rows(self) -> int:
        """How many rows it has."""
        try:
            return sum(pq.read_metadata(path).num_rows for path in self._files(VIDEOS))
        except UNREADABLE as error:
            raise self._unusable(error) from None

    @property
    def sorting(self) -> str:
        """What its pages were sorted by, and which way; empty where that is not known."""
        try:
            told = [pq.read_metadata(path).metadata or {} for path in self._files(SELLERS)]
        except UNREADABLE as error:
            raise self._unusable(error) from None
        return told[0].get(SORTING.encode(), b"").decode() if told else ""

    def with_rows(self) -> Iterator[pa.Array[Any]]:
        """IDs of the sellers that have rows."""
        for table in self._tables(("seller_id", "videos")):
            yield table.filter(pc.field("videos") > 0)["seller_id"].combine_chunks()

    def take_over(self, journal: Journal) -> None:
        """Pin its files beside a new journal, which then publishes its rows as they are."""
        with output_errors(f"the snapshot of {self.day}"):
            digests = digests_of_date(self.data, self.day)
        pinned(journal, self.data, self.day, digests)
        # Its files are named after the run that published them: the journal may replace them.
        runs = {path.stem for path in self._files(VIDEOS)}
        journal.take_over(self._sellers(), publishing=" ".join(sorted(runs)))

    def _sellers(self) -> Iterator[PublishedSeller]:
        for table in self._tables():
            for row in table.to_pylist():
                if row["pages"] or row["videos"]:
                    yield _seller(row, self.day)

    def _tables(self, names: tuple[str, ...] = ()) -> Iterator[pa.Table]:
        try:
            for path in self._files(SELLERS):
                file = pq.ParquetFile(path)
                lacking = set(_NEEDED) - set(file.schema_arrow.names)
                if lacking:
                    raise self._unusable(f"{path.name} lacks the columns {sorted(lacking)}")
                for batch in file.iter_batches(_BATCH, columns=list(names) or None):
                    yield pa.Table.from_batches([batch])
        except UNREADABLE as error:
            raise self._unusable(error) from None

    def _files(self, kind: str) -> list[Path]:
        return parquet_files(Layout(self.data).snapshot(kind, self.day))

    def _unusable(self, reason: object) -> InputError:
        folders = " and ".join(str(Layout(self.data).snapshot(kind, self.day)) for kind in SNAPSHOT_KINDS)
        return InputError(
            f"the snapshot of {self.day} cannot be read ({reason}), and the journal that it was built from "
            f"is gone: restore {folders} from a copy, or move both away to crawl the date from its start"
        )


def _seller(row: dict[str, Any], day: date) -> PublishedSeller:
    names = [field.name for field in SELLER_SCHEMA]
    known: dict[str, Any] = {name: row.get(name) for name in names}
    # A seller whose crawl failed kept the rows of the one before.
    kept = known["kept_status"]
    status = kept or known["status"]
    return PublishedSeller(
        seller_id=str(known["seller_id"]),
        final=not kept and (status == SellerStatus.COMPLETE or known["stop_reason"] in _FINAL),
        status=status,
        stop_reason=None if kept else known["stop_reason"],
        pages=known["pages"],
        credits=known["credits"],
        error=None if kept else known["error"],
        first=_milliseconds(known["first_crawled_at"]),
        last=_milliseconds(known["last_crawled_at"]),
        run_id=known["run_id"],
        rows=known["videos"] - (known["carried"] or 0),
        overlap=known["overlap"] or 0,
        drift=known["drift"] or 0,
        source=day.isoformat(),
        videos=known["videos"],
    )


def _milliseconds(moment: Any) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)
