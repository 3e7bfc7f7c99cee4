"""What the journal keeps of a night that is held back: why, and which sellers are to be asked again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any, Self

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crawler.models.errors import CrawlerError
from crawler.store.files import output_errors, write_whole
from crawler.store.journal import Journal
from crawler.store.layout import JournalFiles, Layout

_NOTE = "held"
_ACCEPTED = "accepted"
_IS_TO_RECHECK = "is_suspect"
CANARIES = "canaries"
"""Under which the journal has whom a run asks first, to find out whether its answers can be believed."""


@dataclass(frozen=True, slots=True)
class Held:
    """A night that is held back: the run that found it implausible, and a sentence for each reason.

    `exit_code` is what that run would have ended with otherwise, `stop_reason` why sellers are unfinished.
    `differed` are sellers that some later run was answered otherwise for, but too few to believe it.
    `shown_by` says by what of a seller's rows its reasons are seen, as `Verdict` does; empty: by any figure.
    The first sellers `to_recheck`, as many as `hits`, show one each by itself; 0: it is not known which do.
    """

    run_id: str
    reasons: list[str]
    exit_code: int
    stop_reason: str | None
    sellers: int
    complete: int
    failed: int
    differed: list[str] = field(default_factory=list)
    shown_by: list[str] = field(default_factory=list)
    hits: int = 0

    @classmethod
    def of(cls, journal: Journal) -> Self | None:
        """What a journal has noted; None where its night is not held back."""
        text = journal.meta(_NOTE)
        return cls(**orjson.loads(text)) if text else None

    def note(self, journal: Journal, to_recheck: Iterable[pa.Array[Any]], pending: pa.Array[Any]) -> None:
        """Hold a night back. `to_recheck` are to be asked again, `pending` are listed and not known to it."""
        ids = pa.chunked_array([*to_recheck], pa.string()).unique()
        sellers = pa.chunked_array([ids, pending], pa.string())
        is_to_recheck = pa.array([True] * len(ids) + [False] * len(pending))
        sink, path = pa.BufferOutputStream(), JournalFiles(journal.path).held_sellers
        pq.write_table(pa.table({"seller_id": sellers, _IS_TO_RECHECK: is_to_recheck}), sink)
        with output_errors(str(path)):
            write_whole(path, memoryview(sink.getvalue()), private=True)
        self.write(journal)

    def remember(self, journal: Journal, differed: Iterable[str]) -> None:
        """Note for which sellers a later run was answered otherwise."""
        replace(self, differed=sorted(differed)).write(journal)

    def write(self, journal: Journal) -> None:
        """Write it as it is."""
        journal.note(**{_NOTE: orjson.dumps(asdict(self)).decode()})


def held_of(data: Path, day: date) -> Held | None:
    """What the journal of a date has noted, if it has one that can be read; nothing is changed."""
    path = Layout(data).latest_journal(day)
    if path.exists():
        with suppress(CrawlerError, sqlite3.Error, ValueError), Journal(path, only_read=True) as journal:
            return Held.of(journal)
    return None


def accept(journal: Journal) -> None:
    """Note that a person believes the answers of a date: no run of it is held back, but for a fresh crawl."""
    journal.note(**{_ACCEPTED: "yes"})


def is_accepted(journal: Journal) -> bool:
    """Whether a person has accepted the date."""
    return bool(journal.meta(_ACCEPTED))


def forget_accepted(journal: Journal) -> None:
    """Judge the date again."""
    if is_accepted(journal):
        journal.note(**{_ACCEPTED: ""})


def release(journal: Journal) -> None:
    """Note that the night is no longer held back, and that none of its answers are to be forgotten."""
    if journal.meta(_NOTE):
        journal.note(**{_NOTE: "", CANARIES: ""})
        JournalFiles(journal.path).held_sellers.unlink(missing_ok=True)


def to_recheck(journal: Journal) -> pa.Array[Any]:
    """The sellers whose answers made the night implausible."""
    return _read(journal, is_to_recheck=True)


def pending(journal: Journal) -> pa.Array[Any]:
    """The listed sellers of which the journal knew nothing when the night was held back."""
    return _read(journal, is_to_recheck=False)


def _read(journal: Journal, *, is_to_recheck: bool) -> pa.Array[Any]:
    """Sellers of the list; none where it is missing or damaged, which costs the asking again alone."""
    path = JournalFiles(journal.path).held_sellers
    try:
        rows = pq.ParquetFile(path).read()
        wanted = pc.equal(rows[_IS_TO_RECHECK], pa.scalar(is_to_recheck))
        return rows.filter(wanted)["seller_id"].combine_chunks()
    except (pa.ArrowException, OSError, LookupError):
        return pa.array([], pa.string())
