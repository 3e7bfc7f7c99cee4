"""Checksums of what the databases under `state/` hold, and the repair of a single flipped bit by them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from zlib import crc32

_POLYNOMIAL = 0xEDB88320
"""That of CRC-32, its lowest bit first."""
_INTEGER_BYTES = (1, 2, 3, 4, 6, 8)
"""The widths in which SQLite stores integers."""


def row_checksum(values: Iterable[object]) -> int:
    """CRC-32 of a row's values: integers, finite numbers, texts and None, as SQLite gives them back."""
    return crc32("\0".join(map(str, values)).encode(errors="surrogateescape"))


def with_checksum(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row as it is stored: its values, and their checksum as the last column."""
    return (*values, row_checksum(values))


def page_checksum(seller_id: str, page_num: int, body: bytes) -> int:
    """CRC-32 of a page's body, and of what it is the answer to."""
    return crc32(body, crc32(f"{seller_id}\0{page_num}".encode(errors="surrogateescape")))


def corrected(stored: Sequence[Any]) -> tuple[Any, ...] | None:
    """The row (its checksum last) that has this checksum and differs in one bit; None where there is none."""
    *values, checksum = stored
    if not isinstance(checksum, int):
        return None
    if (row_checksum(values) ^ checksum).bit_count() <= 1:
        return with_checksum(tuple(values))
    for place, value in enumerate(values):
        for other in _one_bit_away(value):
            candidate = (*values[:place], other, *values[place + 1 :])
            if row_checksum(candidate) == checksum:
                return (*candidate, checksum)
    return None


def with_bit_flipped_back(content: bytes, checksum: int) -> bytes | None:
    """The content that has this CRC-32 and differs in one bit; None where no such content exists.

    Of content that is damaged elsewise one in 2**32 / bits is taken for such: check it by another checksum.
    """
    wanted, difference = crc32(content) ^ checksum, _POLYNOMIAL
    # Each step is by how much the checksum differs where the next bit from the end does.
    for place in range(8 * len(content) - 1, -1, -1):
        if difference == wanted:
            flipped = bytearray(content)
            flipped[place // 8] ^= 1 << place % 8
            return bytes(flipped)
        difference = (difference >> 1) ^ (_POLYNOMIAL if difference & 1 else 0)
    return None


def _one_bit_away(value: object) -> Iterator[object]:
    if isinstance(value, str):
        for flipped in _flipped(value.encode(errors="surrogateescape")):
            yield flipped.decode(errors="surrogateescape")
    elif isinstance(value, int):
        yield from _integers_one_bit_away(value)
    elif isinstance(value, float):
        for flipped in _flipped(struct.pack(">d", value)):
            yield struct.unpack(">d", flipped)[0]
        # SQLite stores a real number without a fraction as an integer.
        if value.is_integer() and abs(value) < 2.0**47:
            yield from map(float, _integers_one_bit_away(int(value)))


def _integers_one_bit_away(value: int) -> Iterator[int]:
    for width in _INTEGER_BYTES:
        if -(1 << (8 * width - 1)) <= value < 1 << (8 * width - 1):
            for flipped in _flipped(value.to_bytes(width, signed=True)):
                yield int.from_bytes(flipped, signed=True)


def _flipped(content: bytes) -> Iterator[bytes]:
    """The content with each of its bits flipped in turn."""
    number = int.from_bytes(content)
    for bit in range(8 * len(content)):
        yield (number ^ (1 << bit)).to_bytes(len(content))
