"""Copying what is published to a place: when it is tried again, and when it is given up.

Open it first. The copying itself is done by a process of its own (`__main__`), which cannot hold up a run.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crawler import events
from crawler.copies.job import Job, Message
from crawler.copies.parts import Part, published_parts
from crawler.copies.places import Place
from crawler.copies.remembered import Remembered
from crawler.models.errors import CopyError
from crawler.options import OutputSettings
from crawler.settings.key import may_hold_key
from crawler.store.failpoints import reached

_TICK_S = 0.1
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0
_LINE = 65_536


@dataclass(slots=True)
class Copied:
    """What came of copying to a place: parts and bytes that were sent, objects that were removed there.

    `left` are parts that are not there yet, `damages` what of the parts here is damaged, `fault` why it was
    given up; `is_stopped`: a stop was asked for.
    """

    place: Place
    parts: list[str] = field(default_factory=list)
    bytes: int = 0
    removed: int = 0
    left: list[str] = field(default_factory=list)
    damages: list[str] = field(default_factory=list)
    fault: str = ""
    is_stopped: bool = False

    def figures(self) -> dict[str, Any]:
        """The same for `report.json`."""
        return {
            "place": self.place.address,
            "copied": self.parts,
            "bytes": self.bytes,
            "removed": self.removed,
            "left": self.left,
            "damages": self.damages,
            "error": self.fault or None,
        }


class Sending:
    """Copies to a place, once; `is_stopping` says whether to leave off."""

    def __init__(
        self,
        data: Path,
        run_id: str,
        place: Place,
        limits: OutputSettings,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._data, self._run_id, self._place, self._limits = data, run_id, place, limits
        self._is_stopping = is_stopping
        self._remembered = Remembered(data)
        self._parts, damages = published_parts(data)
        self._copied = Copied(place, damages=damages)
        self._failed = 0
        self._deadline = 0.0
        self._fault = Message()

    def run(self, *, always: bool = False) -> Copied:
        """Copy what the place lacks, as far as is known here; `always`: ask the place, whatever is known.

        Raises `OutputError` where what was copied cannot be remembered.
        """
        if self._is_stopping():
            self._copied.is_stopped = True
        elif always or self._left():
            self._begin_part()
            while not self._attempt() and self._may_try_again():
                pass
        self._copied.left = [part.name for part in self._left()]
        return self._copied

    def _left(self) -> list[Part]:
        return self._remembered.left(self._place, self._parts)

    def _begin_part(self) -> None:
        self._failed, self._deadline = 0, time.monotonic() + self._limits.timeout

    def _attempt(self) -> bool:
        """Let a process copy; returns whether it has come to its end."""
        # The place must know this folder again, whatever happens meanwhile.
        self._remembered.keep()
        left = {part.name for part in self._left()}
        job = Job(
            "copy",
            self._place,
            self._data.absolute(),
            self._remembered.dataset,
            self._run_id,
            self._limits.grace,
            self._parts,
            [part.name for part in self._parts if part.name not in left],
        )
        self._fault = Message(fault="the copying process was ended")
        with _process(job) as process:
            for message in _lines(process, self._is_over):
                self._take(message)
        return process.returncode == 0

    def _take(self, message: Message) -> None:
        if message.fault:
            self._fault = message
        elif message.damage:
            self._copied.damages.append(message.damage)
        elif message.part:
            fingerprint = next(part.fingerprint for part in self._parts if part.name == message.part)
            self._remembered.note(self._place, message.part, fingerprint)
            reached("copy.remembered")
            if message.sent is not None:
                self._copied.parts.append(message.part)
                self._copied.bytes += message.sent
            self._begin_part()
        self._copied.removed += message.removed

    def _may_try_again(self) -> bool:
        """Wait for the next attempt; False where there is none, which is noted with its cause."""
        self._failed += 1
        wait = min(_FIRST_WAIT_S * 2 ** (self._failed - 1), _LONGEST_WAIT_S)
        reason = self._fault.fault
        if not (self._is_over() or self._fault.is_final or self._failed >= self._limits.attempts):
            events.COPY_RETRIED(place=self._place.address, reason=reason, wait_s=wait).log()
            until = time.monotonic() + wait
            while time.monotonic() < until and not self._is_over():
                time.sleep(_TICK_S)
        if self._is_stopping():
            self._copied.is_stopped = True
        elif time.monotonic() >= self._deadline:
            limit = f"{self._limits.timeout:g} s (output.timeout)"
            self._copied.fault = f"a night was not there after {limit}: {reason}"
        elif self._fault.is_final or self._failed >= self._limits.attempts:
            self._copied.fault = reason
        else:
            return True
        return False

    def _is_over(self) -> bool:
        return self._is_stopping() or time.monotonic() >= self._deadline


def probe(place: Place, data: Path, run_id: str, timeout_s: float) -> str:
    """Write and remove a small object at a place; returns what that shows.

    Raises `CopyError` where it fails or takes too long.
    """
    deadline, fault = time.monotonic() + timeout_s, f"no answer within {timeout_s:g} s"
    job = Job("probe", place, data.absolute(), Remembered(data).dataset, run_id, 0)
    with _process(job) as process:
        for message in _lines(process, lambda: time.monotonic() >= deadline):
            fault = message.fault
    if process.returncode != 0:
        raise CopyError(f"{place} cannot be used: {fault}")
    return "can be written"


@contextmanager
def _process(job: Job) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does a job; killed where it still runs at the end of the block."""
    root = str(Path(__file__).parents[2])
    environ = {name: value for name, value in os.environ.items() if not may_hold_key(name, value)}
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environ.get("PYTHONPATH"))))
    process = subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-P", "-m", __package__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ,
        # Signals of a terminal are for the run, which then ends this one.
        start_new_session=True,
    )
    assert process.stdin is not None  # noqa: S101 - asked for above
    assert process.stdout is not None  # noqa: S101 - as well
    try:
        with suppress(BrokenPipeError):
            process.stdin.write(job.as_line())
            process.stdin.flush()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()


def _lines(process: subprocess.Popen[bytes], is_over: Callable[[], bool]) -> Iterator[Message]:
    """What the process says, until it ends or `is_over`."""
    assert process.stdout is not None  # noqa: S101 - asked for where it was started
    begun, poll = b"", select.poll()
    poll.register(process.stdout, select.POLLIN)
    while not is_over():
        if not poll.poll(_TICK_S * 1000):
            continue
        said = os.read(process.stdout.fileno(), _LINE)
        if not said:
            process.wait()
            return
        *lines, begun = (begun + said).split(b"\n")
        yield from map(Message.read, lines)
