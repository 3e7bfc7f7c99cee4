"""Rows of pinned snapshots: those that a journal's sellers carry, or are compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.audit import compare
from crawler.history.pins import Pin, intact_files
from crawler.history.reader import SnapshotFiles, UnreadableError, columns_of
from crawler.models.errors import CarriedRowsLostError
from crawler.store.carried import Audit
from crawler.store.digests import damage_of
from crawler.store.journal import Journal
from crawler.store.layout import REGION_KEY, VIDEOS, JournalFiles
from crawler.store.parts import by_source
from crawler.store.records import SellerSummary
from crawler.store.schema import NO_REGION, SEGMENT_SCHEMA, SELLER_SCHEMA, VIDEO_SCHEMA

_SELLER_ID = columns_of(VIDEO_SCHEMA, "seller_id")
_SOURCES = columns_of(VIDEO_SCHEMA, "seller_id", "carried_from")
_CARRIED = columns_of(SELLER_SCHEMA, "seller_id", "carried")
_SEGMENT_FIELDS = (SEGMENT_SCHEMA.field("folder"), SEGMENT_SCHEMA.field("seq"))


class PinnedRows:
    """The rows that a journal's sellers take from pinned snapshots, or are compared with.

    All files are verified here: `damages` says what is wrong with them, `lost` names the sellers whose
    rows can no longer be carried. Files that are damaged are not read: what the journal has published for
    its own `crawl_date` before is used instead, for the sellers that are `kept` by that.
    """

    def __init__(self, journal: Journal, data: Path, crawl_date: date) -> None:
        self._pins = {
            day: Pin(JournalFiles(journal.path).pin(day), day) for day in journal.carried.matched_days()
        }
        self._good: dict[date, SnapshotFiles] = {}
        self.damages: list[str] = []
        self.lost: list[str] = []
        self.kept: dict[str, int] = {}
        self._published: dict[Path, str] = {}
        taken_over: list[str] = []
        for day, pin in self._pins.items():
            self._good[day], damages = pin.check(VIDEOS)
            if damages:
                self.damages += damages
                lost = self._short(day, journal.carried.of_day(day))
                if day == crawl_date:
                    taken_over += lost
                else:
                    self.lost += lost
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
        of_kept = [seller_id for ids in sellers.values() for seller_id in ids if seller_id in kept]
        pinned_files: list[tuple[SnapshotFiles, date | None, list[str]]] = [
            (self._good[day], day, [seller_id for seller_id in ids if seller_id not in kept])
            for day, ids in sellers.items()
            if day in self._good
        ]
        for files, day, ids in [*pinned_files, (SnapshotFiles(tuple(self._published)), None, of_kept)]:
            for file in files.each():
                try:
                    yield from _segment_rows(file, day, ids, carried=carried)
                except UnreadableError as error:
                    raise CarriedRowsLostError(f"a file to carry from cannot be read: {error}") from None

    def expected(self, seller: SellerSummary) -> int:
        """How many rows `pieces` has of a seller that is carried."""
        return self.kept.get(seller.seller_id, seller.matched_videos)

    def audit(self, sellers: list[SellerSummary], crawled: pa.Table) -> Audit:
        """Compare sellers' rows, as they were crawled, with those of the snapshots, where these are whole."""
        earlier = self.rows(by_source(sellers))
        found = _rows_by_seller(earlier)
        whole = [s.seller_id for s in sellers if found.get(s.seller_id) == s.matched_videos]
        inside: Any = pc.field("seller_id").isin(pa.array(whole, pa.string()))
        return compare(len(whole), crawled.filter(inside), earlier.filter(inside))

    def require_unchanged(self) -> None:
        """Raise `CarriedRowsLostError` where a file has changed since it was verified."""
        for day, pin in self._pins.items():
            good, damages = pin.check(VIDEOS)
            if good != self._good[day]:
                raise CarriedRowsLostError("; ".join(damages))
        for path, digest in self._published.items():
            damage = damage_of(path, digest, str(path))
            if damage is not None:
                raise CarriedRowsLostError(damage)

    def _keep(self, journal: Journal, data: Path, day: date) -> None:
        """Find the lost sellers of which the date's own snapshot has every row that was carried."""
        ours = (journal.meta("publishing") or "").split()
        found = Counter[str]()
        with suppress(UnreadableError):
            good = intact_files(data, day, ours)
            videos = {
                path: digest for path, digest in good.items() if path.parent.parent.parent.name == VIDEOS
            }
            carried = _carried_rows(tuple(path for path in good if path not in videos), self.lost)
            for rows in SnapshotFiles(tuple(videos)).rows_of(_sorted(self.lost), _SOURCES):
                found.update(_rows_by_seller(rows.filter(pc.is_valid(rows["carried_from"]))))
            self.kept = {s: rows for s, rows in carried.items() if rows and found[s] == rows}
            self._published = videos if self.kept else {}
            self.lost = [seller_id for seller_id in self.lost if seller_id not in self.kept]

    def _short(self, day: date, expected: dict[str, int]) -> list[str]:
        """The sellers of whose rows some are in no good file."""
        found = Counter[str]()
        for file in self._good[day].each():
            with suppress(UnreadableError):
                for rows in file.rows_of(_sorted(expected), _SELLER_ID):
                    found.update(_rows_by_seller(rows))
        return [seller_id for seller_id, videos in expected.items() if found[seller_id] != videos]


def _rows_by_seller(rows: pa.Table) -> dict[Any, Any]:
    counted: Any = pc.value_counts(rows["seller_id"])
    return dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))


def _sorted(sellers: Iterable[str]) -> pa.Array[Any]:
    return pa.array(sorted(sellers), pa.string())


def _carried_rows(paths: tuple[Path, ...], sellers: list[str]) -> dict[str, int]:
    """How many rows were carried of some sellers, as `sellers/` has it."""
    found: dict[str, int] = {}
    wanted = pc.field("seller_id").isin(pa.array(sellers, pa.string()))
    for rows in SnapshotFiles(paths).batches(_CARRIED):
        own = rows.filter(wanted)
        counts = zip(own["seller_id"].to_pylist(), own["carried"].to_pylist(), strict=True)
        found |= {str(seller_id): carried or 0 for seller_id, carried in counts}
    return found


def _segment_rows(
    file: SnapshotFiles, day: date | None, sellers: list[str], *, carried: bool
) -> Iterator[pa.Table]:
    """Rows of sellers in one file, as a segment would have them; without a day those that were carried.

    Without `carried` they keep the date that they have.
    """
    folder = file.paths[0].parent.name
    region = folder if folder.startswith(REGION_KEY) else NO_REGION
    for read in file.rows_of(_sorted(sellers)):
        rows = read
        if carried and day is None:
            rows = rows.filter(pc.is_valid(rows["carried_from"]))
        if carried:
            crawled_for: Any = pc.coalesce(rows["carried_from"], pa.scalar(day, pa.date32()))
            place = VIDEO_SCHEMA.get_field_index("carried_from")
            rows = rows.set_column(place, VIDEO_SCHEMA.field(place), crawled_for)
        count, (folder_field, seq_field) = len(rows), _SEGMENT_FIELDS
        rows = rows.append_column(folder_field, pa.repeat(pa.scalar(region, folder_field.type), count))
        yield rows.append_column(seq_field, pa.repeat(pa.scalar(0, seq_field.type), count))
