"""Pinned snapshots: the earlier files that rows are carried from, verified before they are used."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa

from crawler.store.digests import KINDS, as_text, damage_of, partition_of, published_digests, read_digests
from crawler.store.failpoints import reached
from crawler.store.files import fsync_folder, fsync_tree, make_private_folder, told_as_output_error
from crawler.store.journal import Journal

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
