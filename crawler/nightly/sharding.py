"""Cutting what was chosen into shards, by how many pages each seller is expected to have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crawler.history.snapshots import History
from crawler.models.api import PAGE_SIZE
from crawler.models.seller import SellerProgress, Strategy
from crawler.nightly.choosing import Rules
from crawler.nightly.opening import Opened
from crawler.rules.shards import Shard, cut, dealt, pages_a_shard, shard_of

_UNKNOWN_PAGES = 3
"""Pages that a seller without a history is expected to have."""


def shards_of(opened: Opened, rules: Rules, slots: int, numbers: Iterator[int]) -> Iterator[Shard]:
    """The sellers of a frontier, in its order, for so many workers.

    A shard is made when it is asked for; that may read snapshots, so not on the event loop.
    """
    sellers, run = _drained(rules), opened.night.run
    if run.strategy is Strategy.BREADTH_FIRST:
        pieces: Iterable[list[SellerProgress]] = dealt(sellers, slots)
    else:
        expected = partial(_expected_pages, History(run.data, opened.night.crawl_date))
        pages = pc.sum(expected(opened.night.listed.ids)).as_py() or 0
        size = pages_a_shard(pages, slots, opened.night.settings.qps)
        pieces = cut(sellers, lambda ids: expected(pa.array(ids, pa.string())).to_pylist(), size)
    depths, known_first_page = rules.policies.lookahead.depths, rules.policies.known_first_page
    for number, piece in zip(numbers, pieces, strict=False):
        yield shard_of(number, piece, depths, known_first_page)


def _drained(rules: Rules) -> Iterator[SellerProgress]:
    while (seller := rules.frontier.take()) is not None:
        yield seller


def _expected_pages(history: History, ids: pa.Array[Any]) -> Any:
    """An Arrow array: how many pages each seller had in the last snapshot that knows it, or may have."""
    try:
        videos = history.videos(ids)
    except Exception:  # noqa: BLE001 - no night depends on statistics
        videos = pa.nulls(len(ids), pa.int64())
    size, one, unknown = (pa.scalar(value, pa.int64()) for value in (PAGE_SIZE, 1, _UNKNOWN_PAGES))
    pages: Any = pc.add(pc.divide(videos, size), one)
    return pc.fill_null(pages, unknown)
