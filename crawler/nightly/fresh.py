"""Which journal a `--fresh` crawl goes on with, and what becomes of one that cannot be used any further."""

from __future__ import annotations

from pathlib import Path

from crawler.models.errors import CrawlerError
from crawler.nightly.building import build, give_up_lost
from crawler.nightly.night import Night, Notes
from crawler.nightly.replace_guard import ReplaceGuard
from crawler.nightly.resumable import published_before, require_usable
from crawler.store.journal import Journal
from crawler.store.publishing import NOBODY, SnapshotPlan


def usable_generation(night: Night, run_id: str, notes: Notes, generation: int) -> int:
    """The generation of the journal that a `--fresh` crawl goes on with; a new one where it cannot.

    Raises `InputError` where the other sellers of the date could not be kept.
    """
    if not generation:
        return generation
    path = night.layout.journal(night.crawl_date, generation)
    try:
        if repaired := require_usable(path, sort=night.run.sort, order=night.run.order):
            notes.add(f"{path} was damaged: {repaired}")
    except CrawlerError as error:
        notes.add(
            f"the journal of {night.crawl_date} cannot be used any further, a new one is begun: {error}"
        )
    else:
        return generation
    # Refused before anything is changed, where the rest of the date could not be kept.
    published_before(night.data, night.crawl_date, night.listed, night.sorting)
    try:
        _publish_former(night, f"{run_id}-former", notes, path)
    except CrawlerError as error:
        notes.add(f"what the crawl before had paid for last is not published: {error}")
    return generation + 1


def _publish_former(night: Night, run_id: str, notes: Notes, path: Path) -> None:
    """Before a date is crawled anew, publish what an earlier, killed run of it paid for."""
    with Journal(path) as former:
        changed = former.meta("published_mark") != former.reader.mark()
        replace_guard = ReplaceGuard(former, night.data, night.crawl_date)
        if changed and former.has_pages and replace_guard.is_ours:
            replace_guard.announce(run_id)
            segments = night.world.staging(former)
            plan = SnapshotPlan(night.data, run_id, night.crawl_date, NOBODY, None)
            then = "the next run of this date reads them in full"
            build(night.world, segments, lambda: plan, lambda: give_up_lost(night, former, notes, then))
