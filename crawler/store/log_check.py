"""What SQLite silently leaves out of a damaged write-ahead log: all that follows a bad checksum."""

from __future__ import annotations

import struct
import sys
from array import array
from pathlib import Path

from crawler.store.layout import log_of

_MAGIC = 0x377F0682
_HEADER, _FRAME = 32, 24
_WORD = 0xFFFFFFFF


def unread_commits(database: Path) -> int:
    """How many commits in a database's log cannot be read any more; 0 where there is no log.

    Also counted is a commit that a power loss tore: it had never returned. Raises `OSError`.
    """
    try:
        log = log_of(database).read_bytes()
    except FileNotFoundError:
        return 0
    if len(log) < _HEADER:
        return 0
    magic, _, page_size = struct.unpack_from(">III", log)
    order = "big" if magic & 1 else "little"
    salts, state = log[16:24], _checksum(log[:24], order, (0, 0))
    is_readable = magic & ~1 == _MAGIC and struct.pack(">II", *state) == log[24:_HEADER]
    if not is_readable:
        salts = log[_HEADER + 8 : _HEADER + 16]
    if not 512 <= page_size <= 65_536:
        return 1
    unread = 0
    for begin in range(_HEADER, len(log) - _FRAME - page_size + 1, _FRAME + page_size):
        head = log[begin : begin + _FRAME]
        if is_readable:
            if head[8:16] != salts:
                # What follows is left of an earlier round of the log.
                break
            state = _checksum(head[:8], order, state)
            state = _checksum(log[begin + _FRAME : begin + _FRAME + page_size], order, state)
            is_readable = struct.pack(">II", *state) == head[16:]
        is_commit = head[4:8] != bytes(4)
        unread += not is_readable and is_commit and head[8:16] == salts
    return unread


def _checksum(content: bytes, order: str, state: tuple[int, int]) -> tuple[int, int]:
    """SQLite's checksum of a log, going on from the one before."""
    words = array("I", content)
    if order != sys.byteorder:
        words.byteswap()
    one, two = state
    pairs = iter(words)
    for first, second in zip(pairs, pairs, strict=True):
        one = (one + first + two) & _WORD
        two = (two + second + one) & _WORD
    return one, two
