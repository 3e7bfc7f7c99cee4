"""What is of no more use, and its removal: run folders and journals by age, and what was left behind."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from crawler.store.files import remove
from crawler.store.layout import (
    DIGESTED_KINDS,
    JournalFiles,
    Layout,
    cut_off_files,
    dated_digests,
    half_made_pins,
    journals_below,
    left_by_journals,
)

RUN = "run"


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that is of no more use: its paths in the order in which they are to go."""

    kind: str
    paths: tuple[Path, ...]

    @property
    def bytes(self) -> int:
        """The bytes that removing it frees; a file that has another name as well frees none."""
        return sum(map(_bytes_of, self.paths))


def prune(data: Path, keep_days: int, unfinished: Mapping[str, Collection[str]]) -> None:
    """Remove run folders and finished journals older than `keep_days`; what cannot be removed stays.

    The ledger and the snapshots stay for ever, and so do journals and runs of unfinished crawl dates;
    `unfinished` are these dates, each with the IDs of its runs.
    """
    removed((*outworn(data, keep_days, unfinished), *left_behind(data)))


def outworn(data: Path, keep_days: int, unfinished: Mapping[str, Collection[str]]) -> Iterator[Leftover]:
    """Run folders and journals of finished crawl dates that are older than `keep_days`."""
    oldest = time.time() - timedelta(days=keep_days).total_seconds()
    # Whoever decides on a night that is held back reads its report.
    needed = set[str]().union(*unfinished.values())
    for run in sorted(Layout(data).runs.glob("*")):
        if run.name not in needed and run.is_dir() and run.stat().st_mtime < oldest:
            yield Leftover(RUN, (run,))
    for journal in sorted(journals_below(Layout(data).journals)):
        files = JournalFiles(journal)
        if files.crawl_date not in unfinished and journal.stat().st_mtime < oldest:
            # The journal first: one that had lost its segments could not be published, nor known to be
            # incomplete.
            beside = (p for p in (files.segments, files.carried, files.attempts) if p.exists())
            yield Leftover("journal", (*files.databases(), *beside))


def left_behind(data: Path) -> Iterator[Leftover]:
    """Segments, logs of workers and pins whose journal is gone, and pins that were never finished."""
    folder = Layout(data).journals
    for path in sorted((*left_by_journals(folder), *half_made_pins(folder))):
        yield Leftover("segments or pins without a journal", (path,))


def cut_off(data: Path) -> Iterator[Leftover]:
    """What killed runs left half-built or half-written, while nobody writes."""
    layout = Layout(data)
    for path in sorted(layout.staging.glob("*")):
        yield Leftover("staging", (path,))
    for path in sorted(cut_off_files(layout.state)):
        yield Leftover("half-written file", (path,))


def ownerless_digests(data: Path) -> Iterator[Leftover]:
    """Digests of snapshots that are gone."""
    layout = Layout(data)
    for day, path in sorted(dated_digests(data)):
        if not any(os.path.lexists(layout.snapshot(kind, day)) for kind in DIGESTED_KINDS):
            yield Leftover("digests of a snapshot that is gone", (path,))


def removed(leftovers: Iterable[Leftover]) -> list[Path]:
    """Remove them; returns the paths that could not be removed."""
    stuck = []
    for path in (path for leftover in leftovers for path in leftover.paths):
        with suppress(OSError):
            remove(path)
        if os.path.lexists(path):
            stuck.append(path)
    return stuck


def _bytes_of(path: Path) -> int:
    if not path.is_dir() or path.is_symlink():
        return _size_of(path)
    return sum(_size_of(Path(folder, name)) for folder, _, names in os.walk(path) for name in names)


def _size_of(path: Path) -> int:
    try:
        found = path.lstat()
    except OSError:
        return 0
    return found.st_size if found.st_nlink == 1 else 0
