"""Which `changes/` are missing, damaged or out of date, and the marks in `sellers/` that say so.

Open it to change when changes must be made anew, or how older `sellers/` files get missing columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import orjson
import pyarrow.parquet as pq

from crawler.history.reader import SnapshotFiles, UnreadableError, published_dates, reading
from crawler.store.digests import damage_of, published_digests, settle_digests
from crawler.store.files import output_errors, remove
from crawler.store.layout import CHANGES, SELLERS
from crawler.store.rewriting import Rewriting
from crawler.store.schema import OUTDATED_BY, RESTS_ON, RUN, SELLER_FILE_SCHEMA, SUMMED_SELLER_SCHEMA

_OPTIONAL = frozenset(SUMMED_SELLER_SCHEMA.names) - {"seller_id", "status"}


def add_columns(rewriting: Rewriting) -> list[str]:
    """Write `sellers/` files anew that lack columns, which are null then; returns what is wrong with others.

    Raises `OutputError` where they cannot be written.
    """
    data = rewriting.data
    notes: list[str] = []
    for day in published_dates(data):
        try:
            with reading(f"the digests of {day}"):
                settle_digests(data, day)
            for file in SnapshotFiles.published(data, SELLERS, day).each():
                if file.columns < set(SUMMED_SELLER_SCHEMA.names):
                    _rewrite(rewriting, day, file, {})
        except UnreadableError as error:
            notes.append(f"sellers/ of {day} keeps its columns: {error}")
    return notes


class NewSnapshot(NamedTuple):
    """A snapshot that is about to be published; `window` is how far back later ones look for observations."""

    day: date
    run_id: str
    sellers: SnapshotFiles
    window: timedelta


def mark_later(rewriting: Rewriting, new: NewSnapshot) -> None:
    """Mark the dates whose changes may be others once a new snapshot is published.

    They were compared with the one that it replaces, or were read after it, within the window. Raises
    `OutputError`.
    """
    span = new.sellers.read_span
    for other in published_dates(rewriting.data):
        if other != new.day:
            # One that cannot be read has no changes that anybody could rely on.
            with suppress(UnreadableError):
                _mark(rewriting, other, new, span)


def _mark(rewriting: Rewriting, other: date, new: NewSnapshot, span: tuple[int, int] | None) -> None:
    changes, sellers = (SnapshotFiles.published(rewriting.data, kind, other) for kind in (CHANGES, SELLERS))
    day, marks = new.day.isoformat(), outdated_by(sellers)
    if not changes.paths or day in marks:
        return
    read = sellers.read_span
    follows = False
    if span is not None and read is not None:
        oldest = read[0] - new.window // timedelta(milliseconds=1)
        follows = span[0] < read[1] and oldest <= span[1]
    if follows or day in rests_on(changes):
        marks[day] = new.run_id
        for file in sellers.each():
            _rewrite(rewriting, other, file, {OUTDATED_BY: orjson.dumps(marks).decode()})


def outdated_by(sellers: SnapshotFiles) -> dict[str, str]:
    """The snapshots by which a date's changes are marked as out of date: crawl date to run ID."""
    return _as_mapping(sellers, OUTDATED_BY)


def rests_on(changes: SnapshotFiles) -> dict[str, str]:
    """The snapshots that a date's changes were compared with: crawl date to run ID."""
    return _as_mapping(changes, RESTS_ON)


def replaced(data: Path, compared: Mapping[str, str]) -> set[str]:
    """The crawl dates, of those that changes rest on, of which another run's snapshot is published now."""
    now = {day: SnapshotFiles.published(data, SELLERS, date.fromisoformat(day)).runs for day in compared}
    # What was removed cannot be compared with any more, but was there.
    return {day for day, run_id in compared.items() if now[day] and run_id not in now[day]}


def outdated_dates(data: Path, run_id: str | None = None) -> list[date]:
    """The dates whose changes are marked as out of date, oldest first; those by what a run has published."""
    found = []
    for day in sorted(published_dates(data)):
        with suppress(UnreadableError):
            runs = outdated_by(SnapshotFiles.published(data, SELLERS, day)).values()
            if run_id in runs or (runs and run_id is None):
                found.append(day)
    return found


def are_current(data: Path, day: date) -> bool:
    """Whether a date has changes that are whole, its snapshot's own, and compared with what is there now."""
    try:
        changes, sellers = (SnapshotFiles.published(data, kind, day) for kind in (CHANGES, SELLERS))
        if {changes.metadata.get(RUN)} != sellers.runs or outdated_by(sellers):
            return False
        if replaced(data, rests_on(changes)):
            return False
        require_intact(data, day, changes)
    except (UnreadableError, ValueError):
        return False
    return True


def require_intact(data: Path, day: date, files: SnapshotFiles) -> None:
    """Raise `UnreadableError` where published files of a date are not as their digests say."""
    with reading(f"the digests of {day}"):
        digests = published_digests(data, day)
    for path in files.paths:
        name = path.relative_to(data).as_posix()
        damage = damage_of(path, digests[name], name) if name in digests else None
        if damage is not None:
            raise UnreadableError(damage)


def _rewrite(rewriting: Rewriting, day: date, file: SnapshotFiles, metadata: dict[str, str]) -> None:
    """Write a `sellers/` file anew with all columns, and with more metadata."""
    require_intact(rewriting.data, day, file)
    with output_errors(f"sellers/ of {day} under {rewriting.data}"):
        remove(rewriting.staged.folder)
        target = rewriting.staged.snapshot(SELLERS, day) / file.paths[0].name
        target.parent.mkdir(parents=True)
        with pq.ParquetWriter(target, SELLER_FILE_SCHEMA, compression="zstd") as writer:
            writer.add_key_value_metadata(file.metadata | metadata)
            for rows in file.batches(SUMMED_SELLER_SCHEMA, _OPTIONAL):
                writer.write_table(rows)
    rewriting.put_in_place(day)


def _as_mapping(files: SnapshotFiles, key: str) -> dict[str, str]:
    with reading(f"the metadata of {', '.join(map(str, files.paths))}"):
        return {str(day): str(run_id) for day, run_id in orjson.loads(files.metadata.get(key, "{}")).items()}
