"""Rows of pinned snapshots: those that a journal's sellers carry, or are compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.carrying import COMPARED, joined
from crawler.history.pins import Pin, intact_files
from crawler.history.reader import SnapshotFiles, UnreadableError, columns_of
from crawler.models.errors import CarriedRowsLostError
from crawler.store.digests import damage_of, stamp_of
from crawler.store.journal import Journal
from crawler.store.layout import SELLERS, VIDEOS, JournalFiles, Layout, parquet_files
from crawler.store.parts import Audit, by_source, rows_by_seller
from crawler.store.records import SellerSummary
from crawler.store.schema import (
    EITHER_FORM_SCHEMA,
    REGION,
    SEGMENT_SCHEMA,
    SELLER_SCHEMA,
    VIDEO_SCHEMA,
    folders_of,
)

_SOURCES = columns_of(VIDEO_SCHEMA, "seller_id", "carried_from")
_CARRIED = columns_of(SELLER_SCHEMA, "seller_id", "carried")


class PinnedRows:
    """The rows that a journal's sellers take from pinned snapshots, or are compared with.

    All files are verified here: `damages` says what is wrong with them, `lost` names the sellers whose
    rows can no longer be carried. Files that are damaged are not read: what the journal has published for
    its own `crawl_date` before is used instead, for the sellers that are `kept` by that.
    """

    def __init__(self, journal: Journal, data: Path, crawl_date: date) -> None:
        pins = [Pin(JournalFiles(journal.path).pin(day), day) for day in journal.carried.matched_days()]
        own_videos = Layout(data).snapshot(VIDEOS, crawl_date)
        folders = [*(pin.folder for pin in pins), own_videos]
        self._since = Since.of(journal.carried.since())
        # Before the files are verified: one that is changed meanwhile must have another stamp in the end.
        self._stamps = {path: stamp_of(path) for folder in folders for path in parquet_files(folder)}
        self._verified: dict[Path, str] = {}
        self._good: dict[date, SnapshotFiles] = {}
        self._own = SnapshotFiles(())
        self.damages: list[str] = []
        self.lost: list[str] = []
        self.kept: dict[str, int] = {}
        taken_over: list[str] = []
        for pin in pins:
            good, damages = pin.check(VIDEOS)
            self._verified |= good
            self._good[pin.day] = SnapshotFiles(tuple(good))
            self.damages += damages
            if damages:
                lost = taken_over if pin.day == crawl_date else self.lost
                lost.extend(self._short(pin.day, journal.carried.of_day(pin.day)))
        if self.lost:
            self._keep(journal, data, crawl_date)
        self.lost += taken_over

    def rows(self, sellers: dict[date, list[str]]) -> pa.Table:
        """Rows of sellers, by the snapshot that they are in; each with the date it was crawled for."""
        return pa.concat_tables([SEGMENT_SCHEMA.empty_table(), *self.pieces(sellers)])

    def pieces(self, sellers: dict[date, list[str]], *, carried: bool = True) -> Iterator[pa.Table]:
        """The same some rows at a time; without `carried` none gets a date that it did not have.

        Raises `CarriedRowsLostError` where a file cannot be read.
        """
        kept = self.kept if carried else {}
        sources: list[tuple[SnapshotFiles, date | None, list[str]]] = [
            (self._good[day], day, [seller_id for seller_id in ids if seller_id not in kept])
            for day, ids in sellers.items()
            if day in self._good
        ]
        of_kept = [seller_id for ids in sellers.values() for seller_id in ids if seller_id in kept]
        for files, day, ids in [*sources, (self._own, None, of_kept)]:
            for file in files.each():
                try:
                    yield from _segment_rows(file, day, ids, self._since, carried=carried)
                except UnreadableError as error:
                    raise CarriedRowsLostError(f"a file to carry from cannot be read: {error}") from None

    def expected(self, seller: SellerSummary) -> int:
        """How many rows `pieces` has of a seller that is carried."""
        return self.kept.get(seller.seller_id, seller.matched_videos)

    def audit(self, sellers: list[SellerSummary], crawled: pa.Table) -> Audit:
        """Compare sellers' rows, as they were crawled, with those of the snapshots, where these are whole."""
        earlier = self.rows(by_source(sellers))
        found = rows_by_seller(earlier)
        whole = [s.seller_id for s in sellers if found[s.seller_id] == s.matched_videos]
        inside = pc.field("seller_id").isin(pa.array(whole, pa.string()))
        return _compared(len(whole), crawled.filter(inside), earlier.filter(inside))

    def require_unchanged(self) -> None:
        """Raise `CarriedRowsLostError` where a file has changed since it was verified.

        Only a file with another stamp is read again.
        """
        for path, digest in self._verified.items():
            if stamp_of(path) != self._stamps.get(path):
                damage = damage_of(path, digest, str(path))
                if damage is not None:
                    raise CarriedRowsLostError(damage)

    def _keep(self, journal: Journal, data: Path, day: date) -> None:
        """Find the lost sellers of which the date's own snapshot has every row that was carried."""
        runs = (journal.meta("publishing") or "").split()
        found = Counter[str]()
        with suppress(UnreadableError):
            videos, sellers = (intact_files(data, day, runs, kind) for kind in (VIDEOS, SELLERS))
            carried = _carried_rows(SnapshotFiles(tuple(sellers)), self.lost)
            own = SnapshotFiles(tuple(videos))
            for rows in own.rows_of(_sorted(self.lost), _SOURCES):
                found.update(rows_by_seller(rows.filter(pc.is_valid(rows["carried_from"]))))
            self.kept = {s: rows for s, rows in carried.items() if rows and found[s] == rows}
            self.lost = [seller_id for seller_id in self.lost if seller_id not in self.kept]
            if self.kept:
                self._own = own
                self._verified |= videos

    def _short(self, day: date, expected: dict[str, int]) -> list[str]:
        """The sellers of whose rows some are in no good file."""
        found = Counter[str]()
        for file in self._good[day].each():
            with suppress(UnreadableError):
                for rows in file.rows_of(_sorted(expected), _SOURCES):
                    found.update(rows_by_seller(self._since.kept(rows, day)))
        return [seller_id for seller_id, videos in expected.items() if found[seller_id] != videos]


@dataclass(frozen=True, slots=True)
class Since:
    """Sellers of which only rows are taken that were crawled for a date, or a later one."""

    ids: pa.Array[Any]
    dates: pa.Array[Any]

    @classmethod
    def of(cls, since: Mapping[str, date]) -> Since:
        """Those of a mapping from seller to date."""
        return cls(pa.array([*since], pa.string()), pa.array(since.values(), pa.date32()))

    def kept(self, rows: pa.Table, day: date | None) -> pa.Table:
        """The rows, of a snapshot of `day`, that are taken."""
        if not len(self.ids) or day is None:
            return rows
        crawled_for: Any = pc.coalesce(rows["carried_from"], pa.scalar(day, pa.date32()))
        place: Any = pc.index_in(rows["seller_id"], value_set=self.ids)
        since: Any = pc.take(self.dates, place)
        return rows.filter(pc.fill_null(pc.greater_equal(crawled_for, since), True))


def _compared(sellers: int, crawled: pa.Table, earlier: pa.Table) -> Audit:
    """Compare the rows of so many sellers, as crawled and as carrying would have had them."""
    key, whole = ("seller_id", "video_id"), ("seller_id", *COMPARED)
    was_there = pc.is_in(joined(crawled, key), value_set=joined(earlier, key))
    same = pc.is_in(joined(crawled, whole), value_set=joined(earlier, whole))
    is_there = pc.is_in(joined(earlier, key), value_set=joined(crawled, key))
    changed = crawled.filter(pc.and_not(was_there, same))["seller_id"]
    missed = crawled.filter(pc.invert(was_there))["seller_id"]
    gone = earlier.filter(pc.invert(is_there))["seller_id"]
    chunks = [*changed.chunks, *missed.chunks, *gone.chunks]
    wrong = len(pc.unique(pa.chunked_array(chunks, pa.string())))
    return Audit(sellers, wrong, len(changed), len(missed), len(gone))


def _sorted(sellers: Iterable[str]) -> pa.Array[Any]:
    return pa.array(sorted(sellers), pa.string())


def _carried_rows(files: SnapshotFiles, sellers: list[str]) -> dict[str, int]:
    """How many rows were carried of some sellers, as `sellers/` has it."""
    found: dict[str, int] = {}
    wanted = pc.field("seller_id").isin(pa.array(sellers, pa.string()))
    for rows in files.batches(_CARRIED):
        own = rows.filter(wanted)
        counts = zip(own["seller_id"].to_pylist(), own["carried"].to_pylist(), strict=True)
        found |= {str(seller_id): carried or 0 for seller_id, carried in counts}
    return found


def _segment_rows(
    file: SnapshotFiles, day: date | None, sellers: list[str], since: Since, *, carried: bool
) -> Iterator[pa.Table]:
    """Rows of sellers in one file, as a segment would have them; without a day those that were carried.

    Without `carried` they keep the date that they have.
    """
    place = EITHER_FORM_SCHEMA.get_field_index("carried_from")
    for read in file.rows_of(_sorted(sellers), EITHER_FORM_SCHEMA):
        rows = since.kept(read, day)
        if carried and day is None:
            rows = rows.filter(pc.is_valid(rows["carried_from"]))
        if carried:
            crawled_for: Any = pc.coalesce(rows["carried_from"], pa.scalar(day, pa.date32()))
            rows = rows.set_column(place, EITHER_FORM_SCHEMA.field(place), crawled_for)
        own: dict[str, Any] = {
            "folder": folders_of(rows[REGION]),
            "seq": pa.repeat(pa.scalar(0, pa.int64()), len(rows)),
        }
        columns = [own[name] if name in own else rows[name] for name in SEGMENT_SCHEMA.names]
        yield pa.Table.from_arrays(columns, schema=SEGMENT_SCHEMA)
