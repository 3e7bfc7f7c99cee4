"""One run at a time: a lock that the operating system releases when its process dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from crawler.models.errors import DataLockedError
from crawler.store.files import make_private_folder, open_private, output_errors
from crawler.store.guard import Guard
from crawler.store.layout import Layout

_PAUSES = (0.02, 0.05, 0.1, 0.1, 0.0)
"""Seconds between tries to take the lock."""

_LONG_PAUSES = (*[0.1] * 50, 0.0)
"""The same where whoever has it is about to notice that its lock file is gone, and to stop."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a data folder, as its lock file names it; None where it does not."""

    run_id: str | None
    pid: int | None

    def __str__(self) -> str:
        return "another run" if self.pid is None else f"run {self.run_id} (process {self.pid})"


@contextmanager
def hold_lock(data: Path, run_id: str) -> Iterator[Guard]:
    """Hold `<data>/state/lock` for as long as the block runs; gives the guard that watches it.

    `state/` is locked as well: where the file was removed, whoever held it may not have noticed yet.

    Raises `DataLockedError`, naming the holder, where another process has it.
    """
    path = Layout(data).lock
    with output_errors(str(path)):
        make_private_folder(path.parent)
        handle = open_private(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _taken(handle, _PAUSES):
            raise _held(data, _holder(handle))
        if not _taken(folder, _LONG_PAUSES):
            raise _held(data, Holder(None, None))
        with output_errors(str(path)):
            if os.fstat(handle).st_nlink > 1:
                _replace(data, handle)
            os.ftruncate(handle, 0)
            os.pwrite(handle, orjson.dumps({"pid": os.getpid(), "run_id": run_id}), 0)
        guard = Guard(data)
        guard.watch(path)
        yield guard
    finally:
        os.close(handle)
        os.close(folder)


def _replace(data: Path, handle: int) -> None:
    """Put a new lock file, opened under the same descriptor, in the place of one that has a second name.

    What the second name shows is not ours to overwrite.
    """
    path = Layout(data).lock
    path.unlink()
    fresh = open_private(path)
    os.dup2(fresh, handle, inheritable=False)
    os.close(fresh)
    if not _taken(handle, _PAUSES):
        raise _held(data, _holder(handle))


def _held(data: Path, holder: Holder) -> DataLockedError:
    return DataLockedError(f"{data} is held by {holder}; wait for it to end, or stop it with SIGTERM")


def holder_of(data: Path) -> Holder | None:
    """Who holds the data folder now; None where nobody does, or there is no such folder.

    Raises `OSError` where the lock file cannot be opened.
    """
    try:
        handle = os.open(Layout(data).lock, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        # Shared, so that those who only look do not take each other for a run.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(handle)
    else:
        return None
    finally:
        os.close(handle)


def _taken(handle: int, pauses: Sequence[float]) -> bool:
    """Take a lock; tried for a while, since `holder_of` takes it for an instant as well."""
    for pause in pauses:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(pause)
        else:
            return True
    return False


def _holder(handle: int) -> Holder:
    try:
        content = orjson.loads(os.pread(handle, 4096, 0))
        return Holder(str(content["run_id"]), int(content["pid"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return Holder(None, None)
