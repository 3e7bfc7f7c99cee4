"""Copies for a backup: databases through their own connection, the other files as they lie."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

from crawler.store.files import fsync, make_private_file, make_private_folder
from crawler.store.layout import DIGESTED_KINDS, JournalFiles, Layout, files_of, is_passing

_FICLONE = 0x40049409
_NO_CLONE = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM}


class SourceChangedError(Exception):
    """A file that was to be copied is no longer there."""


def copy_database(connection: sqlite3.Connection, target: Path) -> None:
    """Write a database as its connection sees it to one file. Raises `OSError` or `sqlite3.Error`."""
    make_private_folder(target.parent)
    make_private_file(target)
    with closing(sqlite3.connect(target, isolation_level=None)) as copy:
        connection.backup(copy)
    fsync(target)


def copy_folder(data: Path, target: Path, own: Mapping[Path, Path], left_out: Path | None) -> tuple[int, int]:
    """Copy a data folder without its lock and what is being built; returns how many files and bytes.

    `own` are copies that a run made of its databases, by the path of each: the logs of its workers are left
    out. `left_out` is a folder that a run is writing. The ledger goes last: it is never older than a page in
    the copy. Raises `OSError` where the copy cannot be written, `SourceChangedError` where a file went
    meanwhile.
    """
    layout = Layout(data)
    skipped = {layout.lock, layout.compact_lock}
    skipped |= {layout.staging, layout.compacting, *filter(None, [left_out])}
    skipped |= {path for database in own for path in files_of(database)}
    # A run takes such logs into its journal and removes them all the while: the copy of that has all but
    # the last second of them.
    skipped |= {JournalFiles(database).attempts for database in own}
    files = [path for path in _files(data, skipped, set()) if not is_passing(path)]
    files.sort(key=files_of(layout.ledger).__contains__)
    size, copies = 0, dict[tuple[int, int], Path]()
    for source, name in (*zip(files, files, strict=True), *((copy, path) for path, copy in own.items())):
        place = target / name.relative_to(data)
        place.parent.mkdir(parents=True, exist_ok=True)
        size += _copy_once(source, place, copies)
    _keep_modes(data, target)
    return len(files) + len(own), size


def published_state(data: Path) -> dict[Path, tuple[int, int, int]]:
    """What differs once anything was published: each file of the dataset and its digests, with a stamp."""
    layout = Layout(data)
    found = {}
    for folder in (*map(layout.kind, DIGESTED_KINDS), layout.digests):
        for path in _files(folder, set(), set()) if folder.is_dir() else ():
            try:
                status = path.stat()
            except OSError:
                continue
            found[path] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def _files(folder: Path, skipped: set[Path], seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Every regular file below a folder; a link counts as what it leads to, each folder once."""
    status = _existing(folder).stat()
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for path in sorted(_existing(folder).iterdir()):
        if path in skipped:
            continue
        if path.is_dir():
            yield from _files(path, skipped, seen)
        elif path.is_file():
            yield path


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise SourceChangedError(folder)
    return folder


def _copy_once(source: Path, target: Path, copies: dict[tuple[int, int], Path]) -> int:
    """Copy a file, or give its copy a second name as well; returns the bytes that this took.

    Each night pins the files that it carries from: copied by every name, a backup would have them twice.
    """
    try:
        status = source.stat()
    except FileNotFoundError:
        raise SourceChangedError(source) from None
    known = (status.st_dev, status.st_ino)
    if known in copies:
        with suppress(OSError):
            os.link(copies[known], target)
            return 0
    copies[known] = target
    return _copy(source, target)


def _copy(source: Path, target: Path) -> int:
    """Copy a file with its mode and times, sharing blocks where the file system can; returns its size."""
    try:
        read = source.open("rb")
    except FileNotFoundError:
        raise SourceChangedError(source) from None
    with read, target.open("xb") as written:
        try:
            fcntl.ioctl(written, _FICLONE, read.fileno())
        except OSError as error:
            if error.errno not in _NO_CLONE:
                raise
            shutil.copyfileobj(read, written, 1 << 20)
            written.flush()
        status = os.fstat(read.fileno())
        os.fchmod(written.fileno(), status.st_mode & 0o7777)
        os.fsync(written.fileno())
        os.utime(written.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
        return os.fstat(written.fileno()).st_size


def _keep_modes(root: Path, target: Path) -> None:
    """Give each folder of the copy the mode and times of its source; the innermost first."""
    for folder, _, _ in os.walk(target, topdown=False):
        source = root / Path(folder).relative_to(target)
        try:
            shutil.copystat(source, folder)
        except FileNotFoundError:
            raise SourceChangedError(source) from None
        fsync(Path(folder))
