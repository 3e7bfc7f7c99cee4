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
import pyarrow.parquet as pq

from crawler.history.audit import compare
from crawler.history.pins import UNREADABLE, Pin
from crawler.models.errors import CarriedRowsLostError
from crawler.store.carried import Audit
from crawler.store.digests import damage_of, published_digests
from crawler.store.journal import Journal, SellerSummary
from crawler.store.layout import REGION_KEY, VIDEOS, JournalFiles, published_file
from crawler.store.parts import by_source
from crawler.store.schema import NO_REGION, SEGMENT_SCHEMA, VIDEO_SCHEMA


class PinnedRows:
    """The rows that a journal's sellers take from pinned snapshots, or are compared with.

    All files are verified here: `damages` says what is wrong with them, `lost` names the sellers whose
    rows can no longer be carried. Files that are damaged are not read: what the journal has published for
    its own `crawl_date` before is used instead, for the sellers that are `kept` by that.
    """

    def __init__(self, journal: Journal, data: Path, crawl_date: date) -> None:
        self._pins = {day: Pin(JournalFiles(journal.path).pin(day), day) for day in journal.matched_days()}
        self._good: dict[date, list[Path]] = {}
        self.damages: list[str] = []
        self.lost: list[str] = []
        self.kept: dict[str, int] = {}
        self._published: dict[Path, str] = {}
        taken_over: list[str] = []
        for day, pin in self._pins.items():
            self._good[day], damages = pin.check(VIDEOS)
            if damages:
                self.damages += damages
                lost = self._short(day, journal.carried_of(day))
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
        pinned_files = [
            (path, day, [seller_id for seller_id in ids if seller_id not in kept])
            for day, ids in sellers.items()
            for path in self._good.get(day, ())
        ]
        for path, day, ids in [*pinned_files, *((path, None, of_kept) for path in self._published)]:
            try:
                yield from _rows_of_file(path, day, ids, carried=carried)
            except UNREADABLE as error:
                raise CarriedRowsLostError(f"{path} cannot be read: {error}") from None

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
        with suppress(*UNREADABLE):
            good = {
                published_file(data, name): digest
                for name, digest in published_digests(data, day).items()
                if Path(name).stem in ours and damage_of(published_file(data, name), digest, name) is None
            }
            videos = {
                path: digest for path, digest in good.items() if path.parent.parent.parent.name == VIDEOS
            }
            carried = _carried_rows([path for path in good if path not in videos], self.lost)
            for path in videos:
                for rows in _batches_of_file(path, ["seller_id", "carried_from"], self.lost):
                    found.update(_rows_by_seller(rows.filter(pc.is_valid(rows["carried_from"]))))
            self.kept = {s: rows for s, rows in carried.items() if rows and found[s] == rows}
            self._published = videos if self.kept else {}
            self.lost = [seller_id for seller_id in self.lost if seller_id not in self.kept]

    def _short(self, day: date, expected: dict[str, int]) -> list[str]:
        """The sellers of whose rows some are in no good file."""
        found = Counter[str]()
        for path in self._good[day] if expected else ():
            with suppress(*UNREADABLE):
                for rows in _batches_of_file(path, ["seller_id"], list(expected)):
                    found.update(_rows_by_seller(rows))
        return [seller_id for seller_id, videos in expected.items() if found[seller_id] != videos]


def _rows_by_seller(rows: pa.Table) -> dict[Any, Any]:
    counted: Any = pc.value_counts(rows["seller_id"])
    return dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))


def _carried_rows(paths: list[Path], sellers: list[str]) -> dict[str, int]:
    """How many rows were carried of some sellers, as `sellers/` has it."""
    found: dict[str, int] = {}
    wanted = pc.field("seller_id").isin(pa.array(sellers, pa.string()))
    for path in paths:
        rows = pq.ParquetFile(path).read(["seller_id", "carried"]).filter(wanted)
        told = zip(rows["seller_id"].to_pylist(), rows["carried"].to_pylist(), strict=True)
        found |= {str(seller_id): carried or 0 for seller_id, carried in told}
    return found


def _batches_of_file(path: Path, names: list[str] | None, sellers: Iterable[str]) -> Iterator[pa.Table]:
    """Rows of some sellers in a file, batch by batch, with all columns or those named."""
    import pyarrow.dataset as ds  # noqa: PLC0415 - heavy, and most runs carry nothing

    ids = sorted(sellers)
    if not ids:
        return
    seller_id = pc.field("seller_id")
    inside: Any = (seller_id >= ids[0]) & (seller_id <= ids[-1]) & seller_id.isin(pa.array(ids, pa.string()))
    source = ds.dataset(str(path), schema=VIDEO_SCHEMA, format="parquet")
    for batch in source.to_batches(columns=names, filter=inside, batch_readahead=1, use_threads=False):
        yield pa.Table.from_batches([batch])


def _rows_of_file(path: Path, day: date | None, sellers: list[str], *, carried: bool) -> Iterator[pa.Table]:
    """Rows of sellers in a file, as a segment would have them; without a day those that were carried.

    Without `carried` they keep the date that they have.
    """
    for batch in _batches_of_file(path, None, sellers):
        rows = batch.cast(VIDEO_SCHEMA)
        if carried and day is None:
            rows = rows.filter(pc.is_valid(rows["carried_from"]))
        if carried:
            crawled_for: Any = pc.coalesce(rows["carried_from"], pa.scalar(day, pa.date32()))
            place = VIDEO_SCHEMA.get_field_index("carried_from")
            rows = rows.set_column(place, VIDEO_SCHEMA.field(place), crawled_for)
        region = path.parent.name if path.parent.name.startswith(REGION_KEY) else NO_REGION
        added: tuple[tuple[str, Any], ...] = (("folder", region), ("seq", 0))
        for name, value in added:
            field = SEGMENT_SCHEMA.field(name)
            rows = rows.append_column(field, pa.repeat(pa.scalar(value, field.type), len(rows)))
        yield rows
