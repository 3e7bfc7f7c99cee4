"""Pinned snapshots: the earlier files that rows are carried from, verified before they are used."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

from crawler.history.reader import reading
from crawler.store import files
from crawler.store.digests import as_text, of_kinds, published_digests, read_digests, verified
from crawler.store.failpoints import reached
from crawler.store.journal import Journal
from crawler.store.layout import (
    SNAPSHOT_KINDS,
    JournalFiles,
    Layout,
    half_made,
    pinned_digests,
    pinned_file,
    published_file,
    run_of,
)


class NoDigestsError(Exception):
    """A snapshot whose files cannot be verified: no digests of them are kept."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One snapshot's files under second names, with their digests."""

    folder: Path
    day: date

    def check(self, kind: str) -> tuple[dict[Path, str], list[str]]:
        """Verify the files of `VIDEOS` or `SELLERS`; returns those that are right, and what is wrong.

        The files are sorted, each with its digest. Those that are in no list are not looked at: they were not
        published by us.
        """
        try:
            digests = read_digests(pinned_digests(self.folder), self.day)
        except (OSError, ValueError) as error:
            return {}, [f"{self.folder} is missing or damaged: {error}"]
        of_kind = of_kinds({kind}, dict(sorted(digests.items())))
        return verified(of_kind, partial(pinned_file, self.folder))


def pinned(journal: Journal, data: Path, day: date, known: Mapping[str, str] | None = None) -> Pin | None:
    """A snapshot's files as they were when the journal first asked; None where there is none.

    `known` are the files' digests, where they are not to be those that were kept. Raises `NoDigestsError`
    or `UnreadableError` where the snapshot cannot be used, and `OutputError` where it cannot be pinned.
    """
    folder = JournalFiles(journal.path).pin(day)
    if folder.is_dir():
        return Pin(folder, day)
    if not all(Layout(data).snapshot(kind, day).is_dir() for kind in SNAPSHOT_KINDS):
        return None
    with reading(f"the digests of {day}"):
        digests = of_kinds(SNAPSHOT_KINDS, published_digests(data, day) if known is None else known)
    if {name.partition("/")[0] for name in digests} != set(SNAPSHOT_KINDS):
        raise NoDigestsError
    half = half_made(folder)
    with files.output_errors(str(folder)):
        shutil.rmtree(half, ignore_errors=True)
        files.make_private_folder(folder.parent)
        for name in digests:
            target = pinned_file(half, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            files.link_if_there(published_file(data, name), target)
        pinned_digests(half).write_text(as_text(digests))
        files.fsync_tree(half)
        reached("pins.built")
        half.rename(folder)
        files.fsync(folder.parent)
        files.fsync(folder.parent.parent)
    return Pin(folder, day)


def intact_files(data: Path, day: date, runs: Collection[str], kind: str) -> dict[Path, str]:
    """The right files of `VIDEOS` or `SELLERS` that these runs published for a date, with their digests.

    Raises `UnreadableError` where the digests cannot be read.
    """
    with reading(f"the digests of {day}"):
        digests = of_kinds({kind}, published_digests(data, day))
    own = {name: digest for name, digest in digests.items() if run_of(Path(name)) in runs}
    return verified(own, partial(published_file, data))[0]
