"""The operator's own command: the report on its standard input, in an environment without secrets."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from crawler.notify.posting import DeliveryError

_KEPT_BYTES = 4096
_SHOWN = 200
_GRACE_S = 1.0
_LAST_WORDS_S = 0.2


async def run_program(words: Sequence[str], given: bytes, environ: Mapping[str, str], seconds: float) -> None:
    """Run a command to its end. Raises `DeliveryError` where it fails, or takes longer than `seconds`.

    What it prints on standard output is dropped; of standard error the last line is told.
    """
    printed = bytearray()
    async with _read_end(printed) as stderr:
        stdin = _fed(given)
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=stdin, stdout=DEVNULL, stderr=stderr, env=dict(environ), start_new_session=True
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DeliveryError(f"it cannot be started: {reason}") from None
        finally:
            os.close(stdin)
        try:
            async with asyncio.timeout(seconds):
                code = await process.wait()
        except TimeoutError:
            raise DeliveryError(f"it did not end within {seconds:g} s, and was ended") from None
        finally:
            await _end(process)
    if code:
        said = _last_line(printed)
        raise DeliveryError(f"it ended with {code}" + (f": {said}" if said else ""))


@asynccontextmanager
async def _read_end(printed: bytearray) -> AsyncIterator[int]:
    """Give a descriptor to write to, and keep the last of what is written; who else holds it, is left alone.

    A pipe of asyncio's own would stay open for as long as any child of the command has it.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = os.pipe()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", 0)
    )
    draining = asyncio.create_task(_drain(reader, printed))
    try:
        yield theirs
    finally:
        os.close(theirs)
        try:
            await asyncio.wait([draining], timeout=_LAST_WORDS_S)
        finally:
            draining.cancel()
            transport.close()


def _fed(given: bytes) -> int:
    """A descriptor to read it from. Who does not read it holds up a daemon thread, and nothing else."""
    theirs, ours = os.pipe()

    def feed() -> None:
        with suppress(OSError), os.fdopen(ours, "wb", 0) as pipe:
            left = memoryview(given)
            while left:
                left = left[pipe.write(left) :]

    threading.Thread(target=feed, name="feed", daemon=True).start()
    return theirs


async def _drain(reader: asyncio.StreamReader, printed: bytearray) -> None:
    while chunk := await reader.read(_KEPT_BYTES):
        printed += chunk
        del printed[:-_KEPT_BYTES]


async def _end(process: Process) -> None:
    """End the command and all that it has started; nothing where it has ended by itself."""
    if process.returncode is not None:
        return
    try:
        _signal(process, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                await process.wait()
    finally:
        if process.returncode is None:
            _signal(process, signal.SIGKILL)


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _last_line(printed: bytearray) -> str:
    lines = printed.decode(errors="backslashreplace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    return "".join(c for c in last if c.isprintable())[:_SHOWN]
