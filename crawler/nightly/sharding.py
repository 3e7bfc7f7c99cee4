"""Cutting what was chosen into shards, by how many pages each seller is expected to have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa

from crawler.history.snapshots import History
from crawler.models.api import PAGE_SIZE
from crawler.models.seller import SellerProgress, Strategy
from crawler.nightly.choosing import Rules
from crawler.nightly.opening import Opened
from crawler.rules.shards import Shard, cut, dealt, pages_a_shard

_LOOKED_UP = 100_000
_UNKNOWN_PAGES = 3
"""Pages that a seller without a history is expected to have."""


def shards_of(opened: Opened, rules: Rules, slots: int, numbers: Iterator[int]) -> Iterator[Shard]:
    """The sellers of a frontier, in its order, for so many workers: made as they are asked for."""
    sellers, run = _drained(rules), opened.night.run
    if run.strategy is Strategy.BREADTH_FIRST:
        pieces: Iterable[list[SellerProgress]] = dealt(sellers, slots)
    else:
        expected = partial(_expected_pages, opened)
        ids = opened.night.listed.ids
        parts = (ids.slice(start, _LOOKED_UP) for start in range(0, len(ids), _LOOKED_UP))
        pages = sum(sum(expected(part)) for part in parts)
        size = pages_a_shard(pages, slots, opened.night.settings.qps)
        pieces = cut(sellers, lambda ids: expected(pa.array(ids, pa.string())), size)
    depths = rules.policies.lookahead.depths
    for number, piece in zip(numbers, pieces, strict=False):
        known = {s.seller_id: depths[s.seller_id] for s in piece if s.seller_id in depths}
        yield Shard(number, {seller.seller_id: seller for seller in piece}, known)


def _drained(rules: Rules) -> Iterator[SellerProgress]:
    while (seller := rules.frontier.take()) is not None:
        yield seller


def _expected_pages(opened: Opened, ids: pa.Array[Any]) -> list[int]:
    """How many pages each seller is expected to have, as the last snapshot that knows it says."""
    try:
        videos = History(opened.night.data, opened.night.crawl_date).videos(ids).to_pylist()
    except Exception:  # noqa: BLE001 - no night depends on statistics
        videos = [None] * len(ids)
    return [_UNKNOWN_PAGES if count is None else count // PAGE_SIZE + 1 for count in videos]
