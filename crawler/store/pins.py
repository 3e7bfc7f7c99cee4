"""Pinned snapshots: the earlier files that rows are carried from, verified before they are used."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.models.errors import CarriedRowsLostError
from crawler.store.digests import KINDS, as_text, damage_of, partition_of, published_digests, read_digests
from crawler.store.failpoints import reached
from crawler.store.files import fsync_folder, fsync_tree, make_private_folder, told_as_output_error
from crawler.store.journal import Journal, SellerSummary
from crawler.store.schema import NO_REGION, SEGMENT_SCHEMA, VIDEO_SCHEMA

UNREADABLE = (pa.ArrowException, OSError, LookupError, ValueError)
"""What reading a damaged file may raise."""

_DIGESTS = "digests.sha256"


class NoDigestsError(Exception):
    """A snapshot whose files cannot be verified: no digests of them are kept."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One snapshot's files under second names, with their digests."""

    folder: Path
    day: date

    def check(self, kind: str) -> tuple[list[Path], list[str]]:
        """The files of `videos` or `sellers` that are as they were published, and what is wrong with others.

        Files that are in no list are not looked at: they were not published by us.
        """
        try:
            digests = read_digests(self.folder / _DIGESTS, self.day)
        except (OSError, ValueError) as error:
            return [], [f"{self.folder} is missing or damaged: {error}"]
        own = {name: digest for name, digest in digests.items() if name.startswith(f"{kind}/")}
        damages = {_place(self.folder, n): damage_of(_place(self.folder, n), d, n) for n, d in own.items()}
        return (
            sorted(path for path, damage in damages.items() if damage is None),
            [damage for damage in damages.values() if damage is not None],
        )


class Carried:
    """The rows that a journal's sellers take from pinned snapshots, or are compared with.

    All files are verified here: `damages` says what is wrong with them, `lost` names the sellers whose
    rows can no longer be carried. Files that are damaged are not read: what the journal has published for
    its own `crawl_date` before is used instead, for the sellers that are `kept` by that.
    """

    def __init__(self, journal: Journal, data: Path, crawl_date: date) -> None:
        self._pins = {day: Pin(pin_of(journal, day), day) for day in journal.matched_days()}
        self._good: dict[date, list[Path]] = {}
        self.damages: list[str] = []
        self.lost: list[str] = []
        self.kept: dict[str, int] = {}
        self._published: dict[Path, str] = {}
        taken_over: list[str] = []
        for day, pin in self._pins.items():
            self._good[day], damages = pin.check("videos")
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

    def require_unchanged(self) -> None:
        """Raise `CarriedRowsLostError` where a file has changed since it was verified."""
        for day, pin in self._pins.items():
            good, damages = pin.check("videos")
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
                data / name: digest
                for name, digest in published_digests(data, day).items()
                if Path(name).stem in ours and damage_of(data / name, digest, name) is None
            }
            videos = {
                path: digest for path, digest in good.items() if path.parent.parent.parent.name == KINDS[0]
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


def pinned(journal: Journal, data: Path, day: date, known: Mapping[str, str] | None = None) -> Pin | None:
    """A snapshot's files as they were when the journal first asked; None where there is none.

    `known` are the files' digests, where they are not to be those that were kept. Raises `NoDigestsError`,
    `OSError` or `ValueError` where the snapshot cannot be used, and `OutputError` where it cannot be pinned.
    """
    folder = pin_of(journal, day)
    if folder.is_dir():
        return Pin(folder, day)
    partition = partition_of(day)
    if not all((data / kind / partition).is_dir() for kind in KINDS):
        return None
    digests = published_digests(data, day) if known is None else known
    if {name.partition("/")[0] for name in digests} != set(KINDS):
        raise NoDigestsError
    half = folder.with_name(f".{partition}")
    with told_as_output_error(str(folder)):
        shutil.rmtree(half, ignore_errors=True)
        make_private_folder(folder.parent)
        for name in digests:
            target = _place(half, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(data / name, target)
        (half / _DIGESTS).write_text(as_text(digests))
        fsync_tree(half)
        reached("pins.built")
        half.rename(folder)
        fsync_folder(folder.parent)
        fsync_folder(folder.parent.parent)
    return Pin(folder, day)


def pin_of(journal: Journal, day: date) -> Path:
    """Where a snapshot is pinned that a journal may carry rows from."""
    return journal.path.with_suffix(".carried") / partition_of(day)


def _place(pin: Path, name: str) -> Path:
    """A published file's place in a pin, which leaves out the partition."""
    kind, _, *rest = Path(name).parts
    return pin.joinpath(kind, *rest)


def _link(source: Path, target: Path) -> None:
    """The same file under a second name, where the file system can; else a copy.

    What is no file, or cannot be read, is left out: whoever verifies the pin finds it missing.
    """
    try:
        real = source.resolve(strict=True)
        if not real.is_file():
            return
        real.open("rb").close()
    except (OSError, RuntimeError):
        return
    with suppress(OSError):
        os.link(real, target)
        return
    with suppress(FileNotFoundError):
        shutil.copy2(real, target)


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
        region = path.parent.name if path.parent.name.startswith("region=") else NO_REGION
        added: tuple[tuple[str, Any], ...] = (("folder", region), ("seq", 0))
        for name, value in added:
            field = SEGMENT_SCHEMA.field(name)
            rows = rows.append_column(field, pa.repeat(pa.scalar(value, field.type), len(rows)))
        yield rows
