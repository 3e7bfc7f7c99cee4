"""Building a snapshot, also where rows that it was to carry turn out to be lost meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from crawler.history.carried import PinnedRows
from crawler.models.errors import CarriedRowsLostError
from crawler.nightly.night import Night, Notes
from crawler.nightly.world import World
from crawler.store.journal import Journal
from crawler.store.publishing import RowCounts, SnapshotPlan
from crawler.store.segments import SegmentWriter

_BUILDS = 4
"""Attempts to build a snapshot: each but the last may find damage in a file that rows are carried from."""


def build(
    world: World, segments: SegmentWriter, plan: Callable[[], SnapshotPlan], on_lost: Callable[[], object]
) -> RowCounts:
    """Build and publish a snapshot; where carried rows are lost, `on_lost` is called, and it is tried again.

    Raises `OutputError`; the former snapshot is then whole and still there.
    """
    for _ in range(_BUILDS - 1):
        try:
            return world.publish(segments, plan())
        except CarriedRowsLostError:
            on_lost()
    return world.publish(segments, plan())


def give_up_lost(night: Night, journal: Journal, notes: Notes, then: str) -> int:
    """Let sellers go on whose rows can no longer be carried; returns how many.

    `then` says in the note what becomes of them.
    """
    carried = PinnedRows(journal, night.data, night.crawl_date)
    for damage in carried.damages:
        notes.add(f"{damage}: no rows are carried from it")
    if carried.kept:
        notes.add(
            f"{len(carried.kept)} sellers keep the carried rows that {night.crawl_date} was published with"
        )
    lost = carried.lost
    if lost:
        journal.carried.give_up(lost)
        inside = sum(night.listed.contains(lost))
        text = f"rows of {len(lost)} sellers were to be carried from there: {then}"
        if inside < len(lost):
            text += f" ({len(lost) - inside} of them are not in the list and keep their first page only)"
        notes.add(text)
    return len(lost)
