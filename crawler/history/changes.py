"""What moved in a snapshot: compares it with what is published, writes its `changes/` and its `sellers/`.

Open it to change what a comparison returns, or how its files are written; `change_kinds.py` has the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.history.change_kinds import ChangeKind, Rules
from crawler.history.compared_parts import ComparedParts, Part
from crawler.history.compared_sellers import Judging
from crawler.history.earlier import DamagedSnapshotError, EarlierSnapshot, NightSpan, earlier_snapshots
from crawler.history.measuring import Measuring
from crawler.history.reader import SnapshotFiles
from crawler.history.seller_sums import SUMMED
from crawler.store.parts import counted
from crawler.store.schema import CHANGES_FILE_SCHEMA, OUTDATED_BY, RESTS_ON, RUN, SELLER_FILE_SCHEMA

_ROW_GROUP = 32_768
_FEW_VALUES: Any = ["seller_id", "region", "kind"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found: rows of `changes/` by kind, and the sums of the gains of `sellers/` by column.

    `rests_on` has the run of each snapshot that decided about a row. `warnings` names those that are damaged.
    """

    counts: Mapping[str, int]
    gains: Mapping[str, float]
    rests_on: Mapping[date, str]
    warnings: tuple[str, ...] = ()


def compare(
    data: Path,
    day: date,
    videos: SnapshotFiles,
    sellers: SnapshotFiles,
    changes_file: Path,
    sellers_file: Path,
    run_id: str,
    window: timedelta,
    lag: timedelta,
    judge: Callable[[Measuring], Mapping[str, str]] | None = None,
) -> Comparison:
    """Compare a date's snapshot, `videos` and `sellers`, with those of the other dates that `data` has.

    Writes its changes, and its sellers with the sums. `judge` gets what its sellers add up to, beside their
    last readings of the same sorting, and returns further metadata. Earlier snapshots that are damaged are
    left out. Raises `UnreadableError` where the snapshot itself is damaged.
    """
    rules = Rules(*(each // timedelta(milliseconds=1) for each in (window, lag)))
    # Where all is carried, rows may leave all the same.
    night = NightSpan.of(day, sellers)
    described = {key: value for key, value in sellers.metadata.items() if key != OUTDATED_BY}
    judging = None if judge is None else Judging(sellers.sorting)
    damaged: dict[date, str] = {}
    while True:
        try:
            # A date's own snapshot is only judged beside.
            left_out = {*damaged, *([] if judging else [day])}
            earlier = earlier_snapshots(data, night.first - rules.window, night.last, left_out)
            found, measuring = _Found(), Measuring()
            with (
                _GroupWriter(changes_file, CHANGES_FILE_SCHEMA, _FEW_VALUES) as changes,
                _GroupWriter(sellers_file, SELLER_FILE_SCHEMA, True) as summed,
            ):
                for part in ComparedParts(night, videos, sellers, earlier, rules, judging):
                    found.add(part, earlier)
                    if part.figures is not None:
                        measuring.add(part.figures)
                    changes.write(part.changes)
                    summed.write(part.sellers)
                rests_on = {day.isoformat(): run for day, run in sorted(found.rests_on.items())}
                changes.describe({RUN: run_id, RESTS_ON: orjson.dumps(rests_on).decode()})
                summed.describe(described if judge is None else {**described, **judge(measuring)})
            return found.result(tuple(damaged.values()))
        except DamagedSnapshotError as error:
            # Parts that were compared with it may have rested on rows that cannot be trusted.
            damaged[error.day] = str(error)


@dataclass(slots=True)
class _Found:
    """What the parts add up to."""

    counts: Counter[str] = field(default_factory=Counter)
    gains: Counter[str] = field(default_factory=Counter)
    rests_on: dict[date, str] = field(default_factory=dict)

    def add(self, part: Part, earlier: list[EarlierSnapshot]) -> None:
        """Add a part."""
        numbers: list[Any] = part.sources.drop_null().to_pylist()
        for number in numbers:
            self.rests_on[earlier[number].day] = earlier[number].run_id
        self.counts.update(counted(part.changes["kind"]))
        for name in SUMMED:
            self.gains[f"{name}_gain"] += pc.sum(part.sellers[f"{name}_gain"]).as_py() or 0

    def result(self, warnings: tuple[str, ...]) -> Comparison:
        """The whole."""
        counts = {kind.value: self.counts[kind.value] for kind in ChangeKind}
        return Comparison(counts, dict(self.gains), dict(sorted(self.rests_on.items())), warnings)


class _GroupWriter:
    """Writes a Parquet file in row groups of one size, whatever it is given at a time; a context manager."""

    def __init__(self, path: Path, schema: pa.Schema, use_dictionary: Any) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=use_dictionary)
        self._waiting: list[pa.Table] = []
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._writer.close()

    def write(self, rows: pa.Table) -> None:
        """Add rows; they are written once they fill a row group."""
        self._waiting.append(rows)
        self._count += len(rows)
        if self._count >= _ROW_GROUP:
            self._flush()

    def describe(self, metadata: dict[str, str]) -> None:
        """Add to the file's metadata."""
        self._writer.add_key_value_metadata(metadata)

    def _flush(self) -> None:
        if self._count:
            self._writer.write_table(pa.concat_tables(self._waiting))
        self._waiting, self._count = [], 0
