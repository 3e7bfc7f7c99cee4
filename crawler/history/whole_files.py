"""Published files read to their end, and what is found wrong with them: open it to look closer at a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pyarrow.parquet as pq

from crawler.models.night import month_of
from crawler.store.digests import damage_of
from crawler.store.layout import CHANGES, RAW, SELLERS, VIDEOS
from crawler.store.months import FAULTS, nights_in
from crawler.store.parts import counted
from crawler.store.schema import (
    CHANGES_SCHEMA,
    NIGHTS_SCHEMA,
    RAW_SCHEMA,
    SNAPSHOT_DATE,
    SUMMED_SELLER_SCHEMA,
    VIDEO_SCHEMA,
)

_SCHEMAS = {VIDEOS: VIDEO_SCHEMA, SELLERS: SUMMED_SELLER_SCHEMA, CHANGES: CHANGES_SCHEMA, RAW: RAW_SCHEMA}


class FindingKind(StrEnum):
    """What is wrong with a file."""

    DAMAGED = "damaged"
    MISSING = "missing"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Finding:
    """A file, or a folder, and what is wrong with it; `path` is below the data folder."""

    kind: FindingKind
    path: str
    reason: str


@dataclass(slots=True)
class Verified:
    """What was read, and what was found; notes say what was left out."""

    nights: int = 0
    files: int = 0
    bytes: int = 0
    rows: int = 0
    databases: int = 0
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_whole(done: Verified, data: Path, path: Path, kind: str, digest: str | None) -> Iterator[Finding]:
    """Read a file of one of the published folders: as a whole by its digest, and each of its pages."""
    name = path.relative_to(data).as_posix()
    done.files += 1
    try:
        done.bytes += path.stat().st_size
        if digest is not None and (damage := damage_of(path, digest, "it")) is not None:
            yield Finding(FindingKind.DAMAGED, name, damage)
            return
        file = pq.ParquetFile(path, page_checksum_verification=True)
        known = {each.name: each.type for each in _SCHEMAS.get(kind, NIGHTS_SCHEMA)}
        odd = [each.name for each in file.schema_arrow if known.get(each.name) != each.type]
        odd += [
            name
            for name in ("seller_id", "crawl_date")
            if name in known and name not in file.schema_arrow.names
        ]
        if odd:
            reason = f"its columns are not those of {kind}/: {', '.join(odd)}"
            yield Finding(FindingKind.FOREIGN, name, reason)
        done.rows += sum(batch.num_rows for batch in file.iter_batches())
    except FAULTS as error:
        yield Finding(FindingKind.DAMAGED, name, " ".join(str(error).split()))


def nights_of_month(data: Path, month: str, path: Path) -> Iterator[Finding]:
    """Whether a month's file has the rows of the nights that it names, and of no others."""
    name = path.relative_to(data).as_posix()
    try:
        expected = {day: night.rows for day, night in nights_in(path).items()}
        found = Counter(dict.fromkeys(expected, 0))
        for batch in pq.ParquetFile(path).iter_batches(columns=[SNAPSHOT_DATE]):
            found.update(counted(batch.column(0)))
    except FAULTS as error:
        yield Finding(FindingKind.DAMAGED, name, str(error))
        return
    if found != expected or any(month_of(day) != month for day in found):
        yield Finding(FindingKind.DAMAGED, name, "its rows are not those of the nights that it names")
