"""Durable files: whole or not there at all."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crawler.models.errors import OutputError

_LISTING_SECONDS = 0.05
"""Seconds between a reader's opening of a folder and its listing, at most: mostly microseconds."""

_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def output_errors(what: str) -> Iterator[None]:
    """Turn an `OSError` into an `OutputError` that says what could not be written, where, and why."""
    try:
        yield
    except OSError as error:
        is_link = error.errno == errno.ELOOP
        cause = "it is a symbolic link, which is not followed" if is_link else error.strerror or error
        if isinstance(error.filename, str) and error.filename != what:
            cause = f"{cause} ({error.filename})"
        repair = "put a file of its own in its place" if is_link else "make room or repair the permissions"
        raise OutputError(
            f"cannot write {what}: {cause}; {repair}, "
            "then run the same command again: nothing that was paid for is lost"
        ) from error


def make_private_folder(folder: Path) -> None:
    """Make a folder its owner's alone; what a link leads to is left as it is. Raises `OSError`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=_PRIVATE_FOLDER)
    if folder.is_symlink():
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _tighten(handle, _PRIVATE_FOLDER)
    finally:
        os.close(handle)


def make_private_file(path: Path) -> None:
    """Make a file its owner's alone, new or not. Raises `OSError`, also where it is no regular file."""
    os.close(open_private(path))


def open_private(path: Path) -> int:
    """Open such a file to read and write; returns its descriptor. Raises as `make_private_file` does."""
    # Non-blocking: a pipe in its place would be waited on for ever.
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(path, flags, _PRIVATE_FILE)
    try:
        _require_regular(handle, path)
        _tighten(handle, _PRIVATE_FILE)
    except BaseException:
        os.close(handle)
        raise
    return handle


def tighten_tree(root: Path) -> None:
    """Take from everything below a folder, itself included, what others may do with it.

    No link is followed. Left as they are: files with a second name, which others may read by that, and what
    belongs to another user.
    """
    for folder, _, names in os.walk(root):
        _tighten_path(Path(folder), _PRIVATE_FOLDER)
        for name in names:
            _tighten_path(Path(folder, name), _PRIVATE_FILE)


def _tighten_path(path: Path, mode: int) -> None:
    with suppress(OSError):
        found = path.lstat()
        is_linked = stat.S_ISREG(found.st_mode) and found.st_nlink > 1
        if found.st_mode & 0o077 and not stat.S_ISLNK(found.st_mode) and not is_linked:
            path.chmod(mode)


def _require_regular(handle: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))


def _tighten(handle: int, mode: int) -> None:
    if stat.S_IMODE(os.fstat(handle).st_mode) & 0o077:
        with suppress(PermissionError):
            os.fchmod(handle, mode)


def fsync(path: Path) -> None:
    """Make a file's content, or a folder's entries, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_tree(root: Path) -> None:
    """Make everything below a folder durable, and its folders' entries."""
    for folder, _, names in os.walk(root):
        for name in names:
            fsync(Path(folder, name))
        fsync(Path(folder))


def write_whole(path: Path, content: bytes | memoryview, *, private: bool = False) -> None:
    """Write a file so that a crash leaves the old content or this one; `private`: for its owner alone."""
    if private:
        make_private_folder(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    # Where something has this name, a link perhaps, it is not written to.
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as file:
            if private:
                os.fchmod(file.fileno(), _PRIVATE_FILE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_new(path: Path, content: str) -> bool:
    """Write a file where nothing has its name, else return False; leaves no half one. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = path.open("x", encoding="utf-8")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return True


def replace_volatile(path: Path, content: bytes) -> None:
    """Replace a file as a whole, for its owner alone; its folder must be there, and nothing is synced.

    Only one process may do so at a time. What has either name, a link perhaps, is not written to.
    """
    new = path.with_name(f".{path.name}")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE_FILE)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    new.replace(path)


def link_if_there(source: Path, target: Path) -> None:
    """Give a file a second name, or make a copy where the file system has none.

    What is no file, is not there or cannot be read is left out.
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


def swap_in(staged: Path, live: Path) -> None:
    """Put the folder `staged` in the place of `live`; what was live is then at `staged`, or gone.

    Where the system can exchange two names in one call, a reader sees the old folder or the new one.
    Elsewhere the old one is moved aside first: a reader may find nothing for that instant, but never a
    mixture.
    """
    live.parent.mkdir(parents=True, exist_ok=True)
    # A dangling link is in the way of a rename as well.
    if not os.path.lexists(live):
        staged.rename(live)
    elif not _exchange(staged, live):
        aside = staged.with_name(f"{staged.name}.previous")
        live.rename(aside)
        staged.rename(live)
        remove(aside)
    fsync(live.parent)


def exchange(staged: Path, live: Path) -> None:
    """Exchange two folders in one call, durably. Raises `OutputError` where the system has none for it."""
    if not _exchange(staged, live):
        raise OutputError(
            f"{live} cannot be exchanged for a new folder in one step on this system: nothing was changed"
        )
    fsync(live.parent)
    fsync(staged.parent)


def withdraw(live: Path, aside: Path) -> None:
    """Move a folder out of its readers' sight, durably; nothing where there is none."""
    if os.path.lexists(live):
        live.rename(aside)
        fsync(live.parent)


def remove(path: Path) -> None:
    """Remove a folder with all that is in it, or a file, or a link; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_replaced(path: Path, replaced: Path, wait: Callable[[float], None] = time.sleep) -> None:
    """Remove a staged folder, in which `replaced` lies now if something was exchanged for new content.

    That is only once no reader who had opened it is about to list it: it would look empty to them.
    """
    if replaced.exists():
        wait(_LISTING_SECONDS)
    remove(path)


def free_bytes(folder: Path) -> int:
    """Bytes that an ordinary user can still write below the nearest folder that exists."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one system call; False where there is none."""
    if sys.platform != "linux":
        return False
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}:
        return False
    raise OSError(code, os.strerror(code), str(other))
