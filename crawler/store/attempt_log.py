"""The log of one worker's attempt: an append-only file of frames beside the date's journal.

A worker writes it, and nothing else of the data folder; the driver reads it. What a killed worker wrote last
may be cut off: reading ends at the first frame that is not whole.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from struct import Struct
from zlib import crc32

from crawler.store.failpoints import reached
from crawler.store.files import fsync, make_private_folder, output_errors

_HEAD = Struct("<II")
"""The length of a frame, and its CRC-32."""


class AttemptLog:
    """Writes frames; a context manager. Raises `OutputError` where it cannot, or where the file is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with output_errors(str(path)):
            make_private_folder(path.parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._handle = os.open(path, flags, 0o600)
            # Else power loss could take the name of a file whose frames are durable.
            fsync(path.parent)
            fsync(path.parent.parent)
        self._size = 0

    def append(self, frame: bytes) -> int:
        """Write a frame; it is durable when this returns the size of the file.

        Where that fails the file ends with its last whole frame, or takes no further one.
        """
        content = _HEAD.pack(len(frame), crc32(frame)) + frame
        reached("attempt.append")
        with output_errors(str(self._path)):
            # After what is no whole frame nothing would be read.
            if os.fstat(self._handle).st_size != self._size:
                raise OSError(errno.EIO, "it does not end where it was last written")
            try:
                written = 0
                while written < len(content):
                    written += os.write(self._handle, content[written:])
                reached("attempt.written")
                os.fsync(self._handle)
            except OSError:
                os.ftruncate(self._handle, self._size)
                raise
        reached("attempt.durable")
        self._size += len(content)
        return self._size

    def close(self) -> None:
        """Write no more."""
        os.close(self._handle)


def frames_from(path: Path, offset: int, up_to: int | None = None) -> Iterator[tuple[bytes, int]]:
    """Each whole frame from an offset on, with the offset after it; up to a size, where one is given.

    Raises `OutputError` where the file cannot be read; one that is not there has no frames.
    """
    with output_errors(str(path)), suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(offset)
        while up_to is None or offset < up_to:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                return
            length, checksum = _HEAD.unpack(head)
            # Zeros, which power loss may leave for what was not written yet, have the right checksum.
            if not length or length > os.fstat(file.fileno()).st_size - offset:
                return
            frame = file.read(length)
            if len(frame) < length or crc32(frame) != checksum:
                return
            offset += _HEAD.size + length
            yield frame, offset


def damage_after(path: Path, offset: int) -> str:
    """What is wrong after the last whole frame, in words; empty where a kill or power loss leaves it so.

    These cut off the end alone: what is followed by a whole frame, or is as long as it says, was changed.
    """
    with output_errors(str(path)), path.open("rb") as file:
        file.seek(offset)
        rest = file.read()
    is_whole = _length_at(rest, 0) is not None
    if is_whole or any(_is_frame(rest, place) for place in range(1, len(rest) - _HEAD.size)):
        return f"from byte {offset} on {len(rest)} bytes have changed: their pages are asked for again"
    return ""


def _length_at(content: bytes, place: int) -> int | None:
    """How long a frame says that it is; None where its end is not there."""
    if place + _HEAD.size > len(content):
        return None
    length: int = _HEAD.unpack_from(content, place)[0]
    return length if 0 < length <= len(content) - place - _HEAD.size else None


def _is_frame(content: bytes, place: int) -> bool:
    if (length := _length_at(content, place)) is None:
        return False
    begin = place + _HEAD.size
    return bool(crc32(content[begin : begin + length]) == _HEAD.unpack_from(content, place)[1])
