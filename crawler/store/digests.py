"""Digests of published files: kept when a snapshot is published, compared before its rows are used again.

Each snapshot has one list under `state/published/crawl_date=…/`, in the format of `sha256sum`, with paths
below the data folder. It covers whole files: Parquet's page checksums leave out footers and page headers.
While a file is written anew under its own name, the list has two digests of it, and either is right.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from datetime import date
from hashlib import file_digest
from pathlib import Path, PurePosixPath

from crawler.store.files import output_errors, write_whole
from crawler.store.layout import (
    DIGESTED_KINDS,
    PUBLISHED_KINDS,
    Layout,
    digests_file,
    digests_files,
    parquet_files,
    partition_of,
    published_file,
)

_ALGORITHM = "sha256"
_HEX_DIGITS = 64


def digests_of(root: Path, day: date) -> dict[str, str]:
    """The digest of each Parquet file of a date, by its path below `root`. Raises `OSError`."""
    paths = sorted(
        path for kind in DIGESTED_KINDS for path in parquet_files(Layout(root).snapshot(kind, day))
    )
    return {path.relative_to(root).as_posix(): digest_of(path) for path in paths}


def keep_digests(data: Path, day: date, run_id: str, digests: Mapping[str, str]) -> None:
    """Keep the digests of what a run is about to publish, beside those of what is published."""
    path = digests_file(_folder(data, day), run_id)
    with output_errors(str(path)):
        write_whole(path, as_text(digests).encode(), private=True)


def forget_previous_digests(data: Path, day: date, run_id: str) -> None:
    """Remove the lists of a date's snapshots that this run's snapshot has replaced."""
    for path in digests_files(_folder(data, day)):
        if path.stem != run_id:
            path.unlink(missing_ok=True)


def published_digests(data: Path, day: date) -> dict[str, str]:
    """The files of a date's published snapshot with their digests; empty where no list was kept.

    `videos/` and `sellers/` may be of two runs, where one was killed between the two exchanges. Raises
    `OSError` or `ValueError` where a list cannot be read.
    """
    lists = [read_digests(path, day) for path in digests_files(_folder(data, day))]
    found: dict[str, str] = {}
    for kind in DIGESTED_KINDS:
        of_kind = [of_kinds({kind}, listed) for listed in lists]
        live = [some for some in of_kind if any(published_file(data, path).exists() for path in some)]
        found |= (live or of_kind or [{}])[-1]
    return found


def read_digests(path: Path, day: date) -> dict[str, str]:
    """A list of digests by path. Raises `OSError`, or `ValueError` where the list is damaged."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        digest, _, name = line.partition("  ")
        parts = PurePosixPath(name).parts
        # Links are made by these names: a damaged one must not lead elsewhere.
        is_of_day = parts[:2] in {(kind, partition_of(day)) for kind in DIGESTED_KINDS}
        if len(digest) != _HEX_DIGITS or not is_of_day or ".." in parts:
            raise ValueError(f"{path} is damaged")
        found[name] = f"{found[name]} {digest}" if name in found else digest
    return found


def read_list(path: Path) -> dict[str, str]:
    """A list of digests of files of no date. Raises `OSError`, or `ValueError` where it is no text."""
    lines = (line.partition("  ") for line in path.read_text().splitlines())
    return {name: digest for digest, _, name in lines}


def amend_digests(data: Path, day: date, digests: Mapping[str, str], *, keep_old: bool) -> None:
    """Note other digests of published files in the list that names any of them, if one does.

    `keep_old`: what the list has is right as well. Raises `OSError`, or `ValueError` where a list is damaged.
    """
    for path in digests_files(_folder(data, day)):
        listed = read_digests(path, day)
        if listed.keys() & digests.keys():
            amended = {
                name: f"{listed[name]} {digest}" if keep_old and name in listed else digest
                for name, digest in digests.items()
            }
            write_whole(path, as_text(listed | amended).encode(), private=True)


def drop_digests(data: Path, day: date, names: Container[str]) -> None:
    """Forget the digests of files of a date that are gone. Raises as `amend_digests` does."""
    for path in digests_files(_folder(data, day)):
        listed = read_digests(path, day)
        kept = {name: digest for name, digest in listed.items() if name not in names}
        if kept != listed:
            write_whole(path, as_text(kept).encode(), private=True)


def settle_digests(data: Path, day: date) -> None:
    """Keep of two digests of a file the one that is right, where writing it anew was cut off.

    Raises as `amend_digests` does.
    """
    for path in digests_files(_folder(data, day)):
        listed = read_digests(path, day)
        doubtful = {name: published_file(data, name) for name, digest in listed.items() if " " in digest}
        right = {
            name: digest_of(file)
            for name, file in doubtful.items()
            if damage_of(file, listed[name], name) is None
        }
        if right:
            write_whole(path, as_text(listed | right).encode(), private=True)


def as_text(digests: Mapping[str, str]) -> str:
    """A list of digests as `sha256sum --check` reads it."""
    return "".join(f"{each}  {name}\n" for name, digest in digests.items() for each in digest.split())


def damage_of(path: Path, digest: str, name: str) -> str | None:
    """What is wrong with a published file, as a sentence that calls it `name`; None where nothing is."""
    try:
        if not path.is_file():
            return f"{name} is missing or is no file"
        if digest_of(path) in digest.split():
            return None
    except OSError as error:
        return f"{name} cannot be read: {error.strerror or error}"
    return f"{name} is damaged and cannot be read: its content has changed since it was published"


def of_kinds(kinds: Container[str], digests: Mapping[str, str]) -> dict[str, str]:
    """The digests of the files of some kinds."""
    return {name: digest for name, digest in digests.items() if name.partition("/")[0] in kinds}


def verified(digests: Mapping[str, str], path_of: Callable[[str], Path]) -> tuple[dict[Path, str], list[str]]:
    """Verify files; returns those that are right, each with its digest, and what is wrong with the others."""
    damages = {name: damage_of(path_of(name), digest, name) for name, digest in digests.items()}
    good = {path_of(name): digest for name, digest in digests.items() if damages[name] is None}
    return good, [damage for damage in damages.values() if damage is not None]


def stamp_of(path: Path) -> tuple[int, ...] | None:
    """What differs once a file was written, replaced or linked; None where nothing can be seen there.

    A verified file whose stamp is the same need not be read again to see that nobody has changed it.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def damage_of_published(data: Path, day: date, kinds: Container[str] = PUBLISHED_KINDS) -> str | None:
    """The first damage of a date's published files; None where there is none, or no list to compare with."""
    try:
        digests = of_kinds(kinds, published_digests(data, day))
    except (OSError, ValueError) as error:
        return str(error)
    paths = {published_file(data, name): digest for name, digest in digests.items()}
    found = (damage_of(path, digest, str(path)) for path, digest in paths.items())
    return next(filter(None, found), None)


def _folder(data: Path, day: date) -> Path:
    return Layout(data).digests / partition_of(day)


def digest_of(path: Path) -> str:
    """The digest of a file. Raises `OSError`."""
    with path.open("rb") as file:
        return file_digest(file, _ALGORITHM).hexdigest()
