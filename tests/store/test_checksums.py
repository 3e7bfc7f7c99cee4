"""The checksum of a stored row, and the repair of one flipped bit by it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from random import Random
from zlib import crc32

import pytest

from crawler.store.checksums import (
    corrected,
    page_checksum,
    row_checksum,
    with_bit_flipped_back,
    with_checksum,
)

ROW = with_checksum((7, "7495000000000000007", None, -3, 123456.0, 0.25, "Zoë", 1 << 62))


def test_a_stored_row_has_the_checksum_of_what_was_written() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(
            "CREATE TABLE t (a INTEGER, b TEXT, c TEXT, d INTEGER, e REAL, f REAL, g TEXT, h INTEGER, i "
            "INTEGER)"
        )
        db.execute("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", ROW)
        *values, checksum = db.execute("SELECT * FROM t").fetchone()
        assert row_checksum(values) == checksum


@pytest.mark.parametrize("place", [0, 1, 3, 4, 5, 6, 7, 8])
def test_one_flipped_bit_is_corrected(place: int) -> None:
    rng = Random(place)
    value = ROW[place]
    if isinstance(value, str):
        content = bytearray(value.encode())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        damaged: object = content.decode(errors="surrogateescape")
    elif isinstance(value, float):
        damaged = float(int(value) ^ 64) if value.is_integer() else -value
    else:
        damaged = value ^ 1
    assert damaged != value
    assert corrected((*ROW[:place], damaged, *ROW[place + 1 :])) == ROW


def test_more_damage_than_one_bit_is_not_corrected() -> None:
    assert corrected(ROW) == ROW
    assert corrected(("8", *ROW[1:])) is None
    assert corrected((*ROW[:1], "another seller", *ROW[2:])) is None
    assert corrected((*ROW[:-1], "no number")) is None


def test_a_page_checksum_covers_seller_number_and_body() -> None:
    checksums = {page_checksum(s, n, b) for s in ("1", "2") for n in (1, 2) for b in (b"{}", b"[]")}
    assert len(checksums) == 8


def test_the_bit_that_was_flipped_is_found_by_the_checksum() -> None:
    rng = Random(1)
    content = rng.randbytes(500)
    for place in (0, 7, 8, 1999, 3999):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        assert with_bit_flipped_back(bytes(damaged), crc32(content)) == content
        damaged[250] ^= 3
        assert with_bit_flipped_back(bytes(damaged), crc32(content)) is None
