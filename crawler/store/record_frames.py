"""Records of a worker as bytes, for a file or the wire: its driver writes them to the date's journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from struct import Struct
from typing import Any

import pyarrow as pa

from crawler.models.page import NO_NOTES, Gap, Match, Page, PageNotes, last_id_hash
from crawler.models.seller import Ending, SellerStatus, StopReason
from crawler.store.records import Record

_SIZES = Struct("<IQ")
"""How long the header is, and how long the bodies are before they are compressed."""
_CODEC = pa.Codec("lz4")
_MOST_BODIES = 1 << 30
"""Bytes of bodies in a frame: a damaged size must not take all memory."""


def encode(records: Sequence[Record]) -> bytes:
    """A frame: what is known of the records in JSON, then the bodies of their pages."""
    pages = [record.page for record in records if record.page is not None]
    bodies = b"".join(page.body for page in pages)
    # Not orjson: a message of an error may hold lone surrogates.
    header = json.dumps([_plain(record) for record in records], separators=(",", ":")).encode()
    return _SIZES.pack(len(header), len(bodies)) + header + _CODEC.compress(bodies, asbytes=True)


def decode(frame: bytes) -> list[Record]:
    """The records of a frame, without the IDs and values of pages. Raises `ValueError` where it is none."""
    try:
        header_size, size = _SIZES.unpack_from(frame)
        begin = _SIZES.size + header_size
        if size > _MOST_BODIES:
            raise ValueError(f"{size} bytes of bodies")  # noqa: TRY301 - all that is wrong ends alike
        header = json.loads(frame[_SIZES.size : begin])
        bodies = _CODEC.decompress(frame[begin:], size, asbytes=True)
        records, place = [], 0
        for plain in header:
            record, place = _record(plain, bodies, place)
            records.append(record)
        if place != size:
            raise ValueError(f"{size - place} bytes of bodies are of no page")  # noqa: TRY301 - as above
    except Exception as error:  # noqa: BLE001 - whatever damage does
        raise ValueError(f"no frame of records: {type(error).__name__}: {error}") from None
    return records


def _plain(record: Record) -> list[Any]:
    page, ending, notes = record.page, record.ending, record.notes
    return [
        record.seller_id,
        record.run_id,
        record.credits,
        None
        if page is None
        else [
            page.page_num,
            len(page.body),
            page.row_count,
            page.fingerprint,
            page.received_at,
            page.request_id,
            page.total,
            page.last_value,
            last_id_hash(page),
            page.rejected,
        ],
        None
        if ending is None
        else [ending.status, ending.stop_reason, ending.error, ending.retriable, ending.kind],
        None if notes is NO_NOTES else _plain_notes(notes),
    ]


def _plain_notes(notes: PageNotes) -> list[Any]:
    match = notes.match
    return [
        [[*gap] for gap in notes.gaps],
        notes.repaired_beyond,
        None if match is None else [match.source.isoformat(), match.rows, match.carried],
    ]


def _record(plain: list[Any], bodies: bytes, place: int) -> tuple[Record, int]:
    seller_id, run_id, cost, of_page, of_ending, of_notes = plain
    page = None
    if of_page is not None:
        number, size, count, fingerprint, received_at, request_id, total, last, last_hash, rejected = of_page
        body = bodies[place : place + size]
        if len(body) != size:
            raise ValueError("its bodies are cut off")
        place += size
        page = Page(
            seller_id,
            number,
            body,
            count,
            fingerprint,
            received_at,
            request_id,
            total,
            last,
            stored_last_id_hash=last_hash,
            rejected=rejected,
        )
    ending = None
    if of_ending is not None:
        status, reason, error, retriable, kind = of_ending
        ending = Ending(SellerStatus(status), StopReason(reason), error, retriable, kind)
    return Record(seller_id, run_id, cost, page, ending, _notes(of_notes)), place


def _notes(plain: list[Any] | None) -> PageNotes:
    if plain is None:
        return NO_NOTES
    gaps, beyond, match = plain
    found = None if match is None else Match(date.fromisoformat(match[0]), match[1], match[2])
    return PageNotes(tuple(Gap(*gap) for gap in gaps), beyond, found)
