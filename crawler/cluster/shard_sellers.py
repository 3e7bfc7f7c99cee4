"""A shard as plain values: how far each of its sellers has come, without the bodies of its pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import date
from typing import Any

from crawler.models.page import Gap, KnownFirstPage, Match, Page
from crawler.models.seller import PageRange, SellerProgress
from crawler.rules.shards import Shard

Readings = tuple[list[Gap], dict[int, int]]
"""The gaps of a seller that are not repaired, and the fingerprints of pages."""

_NAMES = tuple(
    each.name
    for each in fields(SellerProgress)
    # Hashes of IDs are of one process; the hash that is stored serves in their place.
    if each.name not in {"id_hashes", "fingerprints", "early_pages", "stretches"}
)
_PAGE_NAMES = (
    "page_num",
    "row_count",
    "fingerprint",
    "total",
    "last_value",
    "stored_last_id_hash",
    "rejected",
)


def as_plain(seller: SellerProgress, depth: int) -> dict[str, Any]:
    """A seller as it travels; `depth`: how many full pages it had, 0 where it is not read ahead."""
    plain: dict[str, Any] = {name: getattr(seller, name) for name in _NAMES}
    plain["fingerprints"] = sorted(seller.fingerprints)
    early = (seller.early_pages or {}).values()
    plain["early"] = [[getattr(page, name) for name in _PAGE_NAMES] for page in early]
    plain["stretches"] = [[*pages] for pages in seller.stretches]
    plain["depth"] = depth
    return plain


def of_plain(plain: dict[str, Any]) -> tuple[SellerProgress, int]:
    """A seller as it came, and its depth."""
    known = {name: plain[name] for name in _NAMES}
    seller = SellerProgress(**known, fingerprints={*plain["fingerprints"]})
    pages = (_page(seller.seller_id, values) for values in plain["early"])
    seller.early_pages = {page.page_num: page for page in pages} or None
    seller.stretches = tuple(PageRange(*pages) for pages in plain["stretches"])
    return seller, plain["depth"]


def plain_first_pages(shard: Shard) -> list[list[Any]]:
    """What earlier snapshots have of first pages that are still to be read."""
    unread = (i for i, seller in shard.sellers.items() if seller.next_page == 1 and i in shard.first_pages)
    found = ((seller_id, *shard.first_pages[seller_id]) for seller_id in unread)
    return [[i, digest, match.source.isoformat(), match.rows, match.carried] for i, digest, match in found]


def first_pages_of(plain: Iterable[Sequence[Any]]) -> dict[str, KnownFirstPage]:
    """The same as it came, by seller."""
    return {
        seller_id: KnownFirstPage(digest, Match(date.fromisoformat(source), rows, carried))
        for seller_id, digest, source, rows, carried in plain
    }


def plain_repair(seller_id: str, readings: Readings) -> list[Any]:
    """What a seller's gaps are repaired by; only pages before the last gap are compared."""
    gaps, fingerprints = readings
    last = max(gap.page_num for gap in gaps)
    before = [[page_num, value] for page_num, value in fingerprints.items() if page_num < last]
    return [seller_id, [[*gap] for gap in gaps], before]


def repairs_of(plain: Iterable[Sequence[Any]]) -> dict[str, Readings]:
    """The same as it came, by seller."""
    return {i: ([Gap(*gap) for gap in gaps], dict(fingerprints)) for i, gaps, fingerprints in plain}


def _page(seller_id: str, values: list[Any]) -> Page:
    known = dict(zip(_PAGE_NAMES, values, strict=True))
    return Page(seller_id, body=b"", received_at=0, request_id="", **known)
