"""What `archive/` has: months, their nights, and whether they are as they were written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from crawler.models.night import month_of
from crawler.store.digests import damage_of, digest_of, of_kinds, published_digests, read_list
from crawler.store.layout import VIDEOS, Layout, digests_files, parquet_files, published_file

NIGHTS = "crawler.nights"
"""The metadata key of a file of `archive/` that holds its nights: JSON, crawl date to `ArchivedNight`."""
FAULTS = (pa.ArrowException, OSError, LookupError, ValueError, TypeError)
"""What reading a damaged file may raise."""


@dataclass(frozen=True, slots=True)
class ArchivedNight:
    """A night in a month's file: its rows, and the digests of the files of `videos/` that they come from."""

    rows: int
    files: Mapping[str, str]


def month_file(data: Path, month: str) -> Path | None:
    """The published file of a month; None where it has none."""
    return next(iter(parquet_files(Layout(data).month(month))), None)


def nights_in(path: Path) -> dict[date, ArchivedNight]:
    """The nights in a month's file. Raises one of `FAULTS` where it cannot be read."""
    noted = orjson.loads((pq.read_metadata(path).metadata or {}).get(NIGHTS.encode(), b"no nights are noted"))
    return {date.fromisoformat(day): ArchivedNight(**night) for day, night in noted.items()}


def file_of_archived(data: Path, day: date) -> Path | None:
    """The month's file that has a night which `videos/` has not, or cannot be read; None for others."""
    path = month_file(data, month_of(day))
    if path is None or parquet_files(Layout(data).snapshot(VIDEOS, day)):
        return None
    try:
        return path if day in nights_in(path) else None
    except FAULTS:
        return path


def names_in(data: Path, day: date) -> set[str]:
    """The files of a night in `videos/`, by their paths below the data folder."""
    return {path.relative_to(data).as_posix() for path in parquet_files(Layout(data).snapshot(VIDEOS, day))}


def has_file(data: Path, day: date, name: str, digest: str) -> bool:
    """Whether a night's rows in `archive/` come from this file of `videos/`."""
    path = month_file(data, month_of(day))
    try:
        night = None if path is None else nights_in(path).get(day)
    except FAULTS:
        return False
    return night is not None and night.files.get(name) == digest


def night_digests(data: Path, day: date) -> dict[str, str]:
    """The digests of a night's files in `videos/`. Raises `ValueError` where one is damaged, or `OSError`."""
    listed = of_kinds({VIDEOS}, published_digests(data, day))
    for name, digest in listed.items():
        _require_right(published_file(data, name), digest, name)
    names = names_in(data, day)
    return {name: listed.get(name) or digest_of(published_file(data, name)) for name in names}


def has_digests(data: Path, day: date) -> bool:
    """Whether files of a night in `videos/` have digests. Raises `ValueError` or `OSError`."""
    return bool(of_kinds({VIDEOS}, published_digests(data, day)))


def require_intact(data: Path, month: str, path: Path) -> None:
    """Raise `ValueError` where a month's file is not as its digest says, or `OSError`."""
    name = path.relative_to(data).as_posix()
    for listed in digests_files(Layout(data).month_digests(month)):
        if (digest := read_list(listed).get(name)) is not None:
            _require_right(path, digest, name)


def _require_right(path: Path, digest: str, name: str) -> None:
    if (damage := damage_of(path, digest, name)) is not None:
        raise ValueError(f"{damage}: restore it from a backup, then compact again")
