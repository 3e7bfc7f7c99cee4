"""What a crawl goes by besides the list: earlier snapshots, and the best videos of the date so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import compress
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from crawler import events
from crawler.engine.seller import Policies
from crawler.history.carrying import CarryMatcher, CarryRule, digest_of
from crawler.history.snapshots import History
from crawler.models.api import PAGE_SIZE, SORT_COLUMNS
from crawler.nightly.night import Notes
from crawler.nightly.opening import Opened
from crawler.rules.best_first import Top
from crawler.sellers.listing import SellerList
from crawler.store.layout import StagedFolder
from crawler.store.parts import deduplicated

_T = TypeVar("_T")


def policies_of(opened: Opened) -> Policies:
    """Policies that compare first pages with the last snapshot, where sellers may be carried."""
    night, run = opened.night, opened.night.run
    if not run.carry_forward or run.top is not None:
        return Policies()
    rule = CarryRule(night.crawl_date, run.max_age, run.audit)
    found = CarryMatcher(opened.journal, night.data, rule, night.sorting)
    for warning in found.warnings:
        opened.notes.add(warning)
    return Policies(known_first_page=found.known_first_page, digest_of=digest_of)


def best_so_far(opened: Opened, size: int) -> Top:
    """The best videos of listed sellers among the pages that the journal has (`--top`)."""
    top, night = Top(size), opened.night
    opened.store.segments.flush()
    names = ("seller_id", "video_id", SORT_COLUMNS[night.run.sort])
    folder = StagedFolder(night.data, f"{opened.run_id}-top").folder
    for sellers, pieces in deduplicated(opened.journal, folder):
        known = [seller.seller_id for seller in sellers]
        listed = set(compress(known, night.listed.contains(known)))
        for kept in pieces:
            columns = kept.columns(names)
            rows: Iterator[Any] = zip(*(columns[name].to_pylist() for name in names), strict=True)
            top.add(((s, video), value or 0.0) for s, video, value in rows if s in listed)
    return top


def advised(history: History, notes: Notes, read: Callable[[], _T], otherwise: _T) -> _T:
    """What `read` makes of earlier snapshots; where that fails it is noted: no night depends on it."""
    try:
        found = read()
    except Exception as error:  # noqa: BLE001 - whatever damage does to statistics
        notes.add(events.HISTORY_UNUSED(reason=f"{type(error).__name__}: {error}"))
        return otherwise
    for warning in history.warnings:
        notes.add(warning)
    return found


def depths(history: History, listed: SellerList, min_pages: int) -> dict[str, int]:
    """How many full pages each seller had, of those with at least so many."""
    videos = history.videos(listed.ids, is_end_certain=True)
    is_deep = pc.greater_equal(videos, pa.scalar(min_pages * PAGE_SIZE, pa.int64()))
    pages: Any = pc.divide(videos.filter(is_deep), pa.scalar(PAGE_SIZE, pa.int64()))
    return dict(zip(listed.ids.filter(is_deep).to_pylist(), pages.to_pylist(), strict=True))


def deepest_first(history: History, fresh: SellerList, unknown_pages: int) -> SellerList:
    """The deepest first, so that no seller is left to be read page after page when all else is done.

    One that was never read may be deep: it counts as `unknown_pages` deep.
    """
    known = history.videos(fresh.ids)
    if known.null_count == len(fresh):
        return fresh
    depth: Any = pc.divide(known, pa.scalar(PAGE_SIZE, pa.int64()))
    order = pc.sort_indices(pc.negate(pc.fill_null(depth, pa.scalar(unknown_pages, pa.int64()))))
    return replace(fresh, ids=fresh.ids.take(order))
