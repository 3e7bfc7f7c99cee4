"""A copy of the data folder: under the lock, or beside a run that copies its own databases.

What is copied fits together: where anything was published while it was copied, the copy is begun anew. The
ledger is never older than a page, so a run in the copy asks for nothing again that the copy has.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM
from types import FrameType

from crawler.models.errors import DataLockedError, InputError, InterruptedRunError, OutputError
from crawler.nightly.world import World
from crawler.store.copying import SourceChangedError, copy_folder, published_state
from crawler.store.failpoints import reached
from crawler.store.files import fsync, make_private_file, remove
from crawler.store.layout import BackupRequest, RunFolder, half_backup, half_backups
from crawler.store.lock import Holder, hold_lock, holder_of

_TICK_S = 0.1
_PATIENCE_S = 30
"""Seconds that a run may take to answer, as copying its databases does, before the request is left anew."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What was copied; `run` is the run that was under way, if one was."""

    files: int
    bytes: int
    run: Holder | None
    cut_off: list[Path]


def back_up(data: Path, target: Path, world: World, say: Callable[[str], None]) -> Backup:
    """Copy a data folder to a new one; `say` tells what is waited for.

    The copy has its name once it is whole. Raises `InputError` where the target cannot be one, `OutputError`
    where it cannot be written or the run under way refuses, `InterruptedRunError` where a signal came. Then
    nothing of it is left.
    """
    _require_apart(data, target)
    name = world.run_id(world.now(), "-backup")
    half = half_backup(target, name)
    cut_off = half_backups(target)
    try:
        with _signals_raised(), _errors_of(target):
            files, size, run = _copied(data, half, name, say)
            reached("backup.copied")
            half.rename(target)
            fsync(target.parent)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return Backup(files, size, run, cut_off)


def _require_apart(data: Path, target: Path) -> None:
    whole, own = target.resolve(), data.resolve()
    if whole.is_relative_to(own):
        raise InputError(f"{target} lies in {data}, which is to be copied: name a folder outside it")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is there already: name a folder that is not, such as {target}-2")
    if not target.parent.is_dir():
        raise InputError(f"{target.parent} is no folder: make it, or mount the disk that it is on")


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Let a signal end the block by an `InterruptedRunError`, so that what is half-made goes."""
    wanted = [n for n in (SIGINT, SIGTERM, SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]

    def stop(number: int, _frame: FrameType | None) -> None:
        put_back()
        raise InterruptedRunError(number)

    def put_back() -> None:
        for number, handler in earlier.items():
            signal.signal(number, handler)

    earlier = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield
    finally:
        put_back()


@contextmanager
def _errors_of(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"no backup was made: {target} cannot be written: {error.strerror or error}; make room or "
            "correct the permissions, then run backup again"
        ) from error


def _copied(data: Path, half: Path, name: str, say: Callable[[str], None]) -> tuple[int, int, Holder | None]:
    """Copy under the lock, or once the run that has it answers; what does not fit together is undone."""
    said = None
    while True:
        run: Holder | None = None
        try:
            with hold_lock(data, name):
                before, size = published_state(data), copy_folder(data, half, {}, None)
                # Nights may be compacted beside it.
                if published_state(data) == before:
                    return *size, None
        except DataLockedError:
            run = holder_of(data)
        except SourceChangedError:
            pass
        if run is not None and (copied := _beside(data, half, name, run)) is not None:
            return *copied, run
        if run is not None and said != str(run):
            said = str(run)
            say(f"waiting until {said} crawls, or ends")
        shutil.rmtree(half, ignore_errors=True)


def _beside(data: Path, half: Path, name: str, run: Holder) -> tuple[int, int] | None:
    """Copy beside a run; None where it ended or published meanwhile, or is not crawling."""
    request = BackupRequest(data, name)
    try:
        before = published_state(data)
        if not _is_answered(data, request, run):
            return None
        own = dict(request.copies())
        reached("backup.answered")
        left_out = None if run.run_id is None else RunFolder(data, run.run_id).folder
        size = copy_folder(data, half, own, left_out)
        return size if published_state(data) == before else None
    except SourceChangedError:
        return None
    finally:
        for path in (request.request, request.answer, request.refusal):
            remove(path)


def _is_answered(data: Path, request: BackupRequest, run: Holder) -> bool:
    """Leave a request, and wait for the run's answer; False where it ended, or did not answer for long."""
    waited_until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < waited_until and holder_of(data) == run:
        # A run that begins takes away what it finds here.
        with suppress(FileNotFoundError):
            make_private_file(request.request)
        time.sleep(_TICK_S)
        if request.refusal.exists():
            raise OutputError(f"no backup was made: {request.refusal.read_text()}")
        if request.answer.exists():
            return True
    return False
