"""The best videos that a crawl date has so far, where its run is to end with them (`--top`)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress
from typing import Any

from crawler.models.api import SORT_COLUMNS
from crawler.nightly.opened import Opened
from crawler.rules.top import Top
from crawler.store.layout import StagedFolder
from crawler.store.parts import deduplicated


def best_so_far(opened: Opened, size: int) -> Top:
    """The best videos of listed sellers among the pages that the journal has."""
    top, night = Top(size), opened.night
    opened.segments.flush()
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
