"""One run at a time: a lock that the system releases when its process dies, and the guard of open files."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from crawler.models.errors import DataLockedError, DisplacedError, OutputError
from crawler.store.files import make_private_folder, open_private, output_errors
from crawler.store.layout import Layout

_PAUSES = (0.02, 0.05, 0.1, 0.1, 0.0)
"""Seconds between tries to take the lock."""
_LONG_PAUSES = (*[0.1] * 50, 0.0)
"""The same where whoever has it is about to notice that its lock file is gone, and to stop."""

_EXCHANGE_PAUSES = (*[0.05] * 600, 0.0)
"""The same for the lock of exchanges."""


class Uptime(NamedTuple):
    """How long this machine has been up, in seconds, and what differs once it was started again."""

    boot: str
    seconds: float


def uptime() -> Uptime | None:
    """For how long this machine has been up, whatever its clock says; None where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # A container may count from another moment.
        namespace = Path("/proc/self/ns/time").readlink()
        return Uptime(f"{boot} {namespace}", time.clock_gettime(time.CLOCK_BOOTTIME))
    except (OSError, AttributeError):
        return None


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a data folder, as its lock file names it; None where it does not."""

    run_id: str | None = None
    pid: int | None = None

    def __str__(self) -> str:
        return "another run" if self.pid is None else f"run {self.run_id} (process {self.pid})"


class Guard:
    """Knows the files that a run holds open; calling it makes sure that they are still at their paths.

    Each must stay open for as long as it is watched: its inode could be given to another file otherwise.
    """

    def __init__(self, data: Path, free_for_s: float = 0.0) -> None:
        self.free_for_s = free_for_s
        """For how long nobody had held the lock; 0 where that is not known."""
        self._data = data
        self._data_identity = _identity_at(data)
        self._files: dict[Path, tuple[int, int]] = {}

    def __call__(self) -> None:
        """Raise `DisplacedError` where a watched file is no longer at its path."""
        for path, identity in self._files.items():
            if _identity_at(path) != identity:
                raise DisplacedError(
                    f"{path} is no longer the file that this run uses: {self._data} was moved, or its state "
                    "was removed, while the run went on; nothing more was sent, and nothing was published. "
                    "If it was moved, what was paid for is in it: move it back, or name its new place by "
                    "--data, and run again. What was removed is lost"
                )

    def watch(self, *paths: Path) -> None:
        """Watch files that are open now; those that are not there are left out."""
        found = {path: _identity_at(path) for path in paths}
        self._files |= {path: identity for path, identity in found.items() if identity is not None}

    @property
    def is_data_in_place(self) -> bool:
        """Whether the data folder is the one that the run began in."""
        return _identity_at(self._data) == self._data_identity


@contextmanager
def hold_lock(data: Path, run_id: str, uptime: Callable[[], Uptime | None] = uptime) -> Iterator[Guard]:
    """Hold `<data>/state/lock` for as long as the block runs; gives the guard that watches it.

    `state/` is locked as well: where the file was removed, whoever held it may not have noticed yet.
    Raises `DataLockedError`, naming the holder, where another process has it.
    """
    mine = {"pid": os.getpid(), "run_id": run_id}
    path = Layout(data).lock
    with output_errors(str(path)):
        make_private_folder(path.parent)
        handle = open_private(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not _taken(handle, _PAUSES):
            raise _held(data, _holder(handle))
        if not _taken(folder, _LONG_PAUSES):
            raise _held(data, Holder())
        with output_errors(str(path)):
            if os.fstat(handle).st_nlink > 1:
                _replace(data, handle)
            guard = Guard(data, _free_for_s(handle, uptime()))
            _write(handle, mine)
        guard.watch(path)
        yield guard
        with suppress(OSError):
            _write(handle, {**mine, "released": [*(uptime() or ())]})
    finally:
        os.close(handle)
        os.close(folder)


@contextmanager
def exchange_lock(data: Path) -> Iterator[None]:
    """Be the only one who exchanges published files for as long as the block runs, which is an instant.

    The folder of digests is locked. Raises `OutputError` where another process has it for half a minute.
    """
    folder = Layout(data).digests
    with output_errors(str(folder)):
        make_private_folder(folder)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with _locked(handle, _EXCHANGE_PAUSES) as is_taken:
        if not is_taken:
            raise OutputError(
                f"{folder} is locked by another process, which exchanges published files: end it, then run "
                "the same command again; nothing was changed"
            )
        yield


@contextmanager
def compact_lock(data: Path) -> Iterator[None]:
    """Be the only one who compacts. Raises `DataLockedError` where another process does."""
    path = Layout(data).compact_lock
    with output_errors(str(path)):
        make_private_folder(path.parent)
        handle = open_private(path)
    with _locked(handle, _PAUSES) as is_taken:
        if not is_taken:
            raise DataLockedError(f"{data} is being compacted by another process; wait for it to end")
        yield


@contextmanager
def _locked(handle: int, pauses: Sequence[float]) -> Iterator[bool]:
    """Lock what is open, and close it; False where another process has it. One that dies gives it back."""
    try:
        yield _taken(handle, pauses)
    finally:
        os.close(handle)


def _replace(data: Path, handle: int) -> None:
    """Put a new lock file under the descriptor of one with a second name, which is not ours to overwrite."""
    path = Layout(data).lock
    path.unlink()
    fresh = open_private(path)
    os.dup2(fresh, handle, inheritable=False)
    os.close(fresh)
    if not _taken(handle, _PAUSES):
        raise _held(data, _holder(handle))


def _write(handle: int, content: dict[str, Any]) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, orjson.dumps(content), 0)


def _free_for_s(handle: int, now: Uptime | None) -> float:
    """Seconds since the lock was released; 0 where its holder was killed, or that was before a start."""
    try:
        released = Uptime(*orjson.loads(os.pread(handle, 4096, 0))["released"])
        return 0.0 if now is None or now.boot != released.boot else now.seconds - released.seconds
    except (KeyError, TypeError, ValueError):
        return 0.0


def _held(data: Path, holder: Holder) -> DataLockedError:
    return DataLockedError(f"{data} is in use by {holder}; wait for it to end, or stop it with SIGTERM")


def holder_of(data: Path) -> Holder | None:
    """Who holds the data folder; None for nobody. Raises `OSError` where the lock file cannot be opened."""
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
    except (KeyError, TypeError, ValueError):
        return Holder()


def _identity_at(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
