"""One run at a time: a lock that the operating system releases when its process dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from crawler.errors import DataLockedError
from crawler.store.files import make_private_folder, open_private, told_as_output_error

_PAUSES = (0.02, 0.05, 0.1, 0.1, 0.0)
"""Seconds between tries to take the lock."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a data folder, as its lock file names it; None where it does not."""

    run_id: str | None
    pid: int | None

    def __str__(self) -> str:
        return "another run" if self.pid is None else f"run {self.run_id} (process {self.pid})"


@contextmanager
def hold_lock(data: Path, run_id: str) -> Iterator[None]:
    """Hold `<data>/state/lock` for as long as the block runs.

    Raises `DataLockedError`, naming the holder, where another process has it.
    """
    path = data / "state" / "lock"
    with told_as_output_error(str(path)):
        make_private_folder(path.parent)
        handle = open_private(path)
    try:
        if not _taken(handle):
            raise DataLockedError(
                f"{data} is held by {_holder(handle)}; wait for it to end, or stop it with SIGTERM"
            )
        with told_as_output_error(str(path)):
            os.ftruncate(handle, 0)
            os.pwrite(handle, orjson.dumps({"pid": os.getpid(), "run_id": run_id}), 0)
        yield
    finally:
        os.close(handle)


def holder_of(data: Path) -> Holder | None:
    """Who holds the data folder now; None where nobody does, or there is no such folder.

    Raises `OSError` where the lock file cannot be opened.
    """
    try:
        handle = os.open(data / "state" / "lock", os.O_RDONLY | os.O_CLOEXEC)
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


def _taken(handle: int) -> bool:
    """Take the lock; tried for a while, since `holder_of` takes it for an instant as well."""
    for pause in _PAUSES:
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
