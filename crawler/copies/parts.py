"""What there is to copy: the published files, in the parts that are replaced as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from hashlib import sha256
from pathlib import Path

from crawler.store.digests import damage_of, digest_of, digests_of, of_kinds, published_digests
from crawler.store.layout import (
    CHANGES,
    PUBLISHED_KINDS,
    UNDATED_KINDS,
    VIDEOS,
    Layout,
    dated_folders,
    parquet_files,
    published_file,
)

Files = Callable[[], Iterator["LocalFile"]]


class DamagedFileError(Exception):
    """A published file is damaged here: it must not be copied."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A published file: its path below the data folder, and its SHA-256."""

    name: str
    sha256: str

    @property
    def kind(self) -> str:
        """The folder of the dataset that it is in, such as `videos`."""
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Part:
    """What is replaced as a whole: a crawl date's files, or those of a folder that has no dates.

    `name` is the date, or the folder. `fingerprint` differs wherever a file or its content does.
    """

    name: str
    files: tuple[LocalFile, ...]
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        """Make the fingerprint."""
        text = "".join(f"{file.sha256}  {file.name}\n" for file in sorted(self.files, key=lambda f: f.name))
        object.__setattr__(self, "fingerprint", sha256(text.encode()).hexdigest())

    @property
    def crawl_date(self) -> str | None:
        """The crawl date; None where the files are of none."""
        return None if self.name in UNDATED_KINDS else self.name


def published_parts(data: Path) -> tuple[list[Part], list[str]]:
    """What is published under a data folder, the newest date first; and what is damaged, which is left out.

    The files of a date are known by its list of digests; only where there is none are they read.
    """
    parts, damages = [], []
    for name, files in (*_dated(data), *_undated(data)):
        try:
            part = Part(name, tuple(files()))
        except (OSError, ValueError) as error:
            damages.append(f"{name}: {error}")
            continue
        if part.files:
            parts.append(part)
    return parts, damages


def damage_in(data: Path, part: Part) -> str | None:
    """What is wrong with the first damaged file of a part; None where all is as it was published."""
    found = (damage_of(published_file(data, file.name), file.sha256, file.name) for file in part.files)
    return next(filter(None, found), None)


def _dated(data: Path) -> Iterator[tuple[str, Files]]:
    for day, _ in sorted(dated_folders(data, VIDEOS), reverse=True):
        yield day.isoformat(), partial(_files_of_date, data, day)


def _undated(data: Path) -> Iterator[tuple[str, Files]]:
    for kind in UNDATED_KINDS:
        yield kind, partial(_files_of_folder, data, kind)


def _files_of_date(data: Path, day: date) -> Iterator[LocalFile]:
    digests = published_digests(data, day) or digests_of(data, day)
    for name, digest in of_kinds(PUBLISHED_KINDS, digests).items():
        path = published_file(data, name)
        if path.exists():
            yield LocalFile(name, digest if " " not in digest else digest_of(path))
        elif not name.startswith(f"{CHANGES}/"):
            raise ValueError(f"{name} is missing")


def _files_of_folder(data: Path, kind: str) -> Iterator[LocalFile]:
    for path in parquet_files(Layout(data).kind(kind)):
        yield LocalFile(path.relative_to(data).as_posix(), digest_of(path))
