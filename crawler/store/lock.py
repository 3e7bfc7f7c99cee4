"""One run at a time: a lock that the operating system releases when its process dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from crawler.errors import DataLockedError
from crawler.store.files import told_as_output_error


@contextmanager
def hold_lock(data: Path, run_id: str) -> Iterator[None]:
    """Hold `<data>/state/lock` for as long as the block runs.

    Raises `DataLockedError`, naming the holder, where another process has it.
    """
    path = data / "state" / "lock"
    with told_as_output_error(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataLockedError(
                f"{data} is held by {_holder(handle)}; wait for it to end, or stop it with SIGTERM"
            ) from None
        with told_as_output_error(str(path)):
            os.ftruncate(handle, 0)
            os.pwrite(handle, orjson.dumps({"pid": os.getpid(), "run_id": run_id}), 0)
        yield
    finally:
        os.close(handle)


def _holder(handle: int) -> str:
    try:
        told = orjson.loads(os.pread(handle, 4096, 0))
        return f"run {told['run_id']} (process {told['pid']})"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "another run"
