"""Which journal a run goes on with, what it takes over from a snapshot, and what it must refuse."""

from __future__ import annotations

from pathlib import Path

from crawler import events
from crawler.history.review import plan_of
from crawler.history.takeover import PublishedDate
from crawler.models.errors import CrawlerError, InputError
from crawler.nightly.dates import late_from_in
from crawler.nightly.left_by_workers import take_in
from crawler.nightly.night import Night, Notes
from crawler.nightly.replace_guard import ReplaceGuard, build, give_up_lost, slices
from crawler.nightly.suspicion import why_held
from crawler.sellers.listing import missing
from crawler.store.journal import Journal
from crawler.store.ledger import Ledger
from crawler.store.ledger_records import FINISHED
from crawler.store.repair import repair
from crawler.store.snapshot import NOBODY, HeldBackError


def require_journal(night: Night, ledger: Ledger, generation: int) -> None:
    """Raise `InputError` where pages of the crawl date were paid for, but their journal is gone."""
    crawl_date, layout = night.crawl_date, night.layout
    spent = ledger.spent_by_runs(crawl_date)
    path = layout.journal(crawl_date, max(1, generation))
    if not spent or (generation > 1 and layout.journal(crawl_date, generation - 1).exists()):
        return
    if generation:
        with Journal(path) as journal:
            if journal.meta("source") is not None:
                return
    day = ledger.date(crawl_date)
    finished = day is not None and day.latest.exit_code in FINISHED
    state = "is finished and its journal was pruned" if finished else f"has lost its journal {path}"
    raise InputError(
        f"crawl date {crawl_date} {state}: restore it, or pay again with --fresh ({spent} credits were spent)"
    )


def has_begun(path: Path) -> bool:
    """Whether a journal is there that a run has begun to use.

    Raises `CrawlerError` where it cannot be read.
    """
    if not path.exists():
        return False
    with Journal(path) as journal:
        return journal.meta("source") is not None or journal.has_pages or journal.sellers.has_endings


def usable_generation(night: Night, run_id: str, notes: Notes, generation: int) -> int:
    """The generation of the journal that a `--fresh` crawl goes on with; a new one where it cannot.

    Raises `InputError` where the other sellers of the date could not be kept.
    """
    if not generation:
        return generation
    path = night.layout.journal(night.crawl_date, generation)
    try:
        _require_usable(night, path, notes)
    except CrawlerError as error:
        notes.add(events.JOURNAL_REPLACED(crawl_date=night.crawl_date, reason=error))
    else:
        return generation
    # Refused before anything is changed, where the rest of the date could not be kept.
    published_before(night)
    try:
        _publish_earlier(night, f"{run_id}-previous", notes, path)
    except CrawlerError as error:
        notes.add(events.EARLIER_UNPUBLISHED(reason=error))
    return generation + 1


def _require_usable(night: Night, path: Path, notes: Notes) -> None:
    """Repair a journal; raise `CrawlerError` where it is gone, or its pages are sorted in another way."""
    if not has_begun(path):
        raise InputError(f"{path} is lost")
    with Journal(path) as journal:
        repaired = str(repair(journal))
        journal.require(sort=night.run.sort, order=night.run.order)
    if repaired:
        notes.add(events.JOURNAL_REPAIRED(path=path, repairs=repaired))


def _publish_earlier(night: Night, run_id: str, notes: Notes, path: Path) -> None:
    """Before a date is crawled anew, publish what an earlier, killed run of it paid for."""
    with Journal(path) as journal:
        segments = night.world.staging(journal, night.settings.output.keep_raw)
        # Before all else: until then its workers may still send.
        if recovered := take_in(segments, night.crawl_date, night.run.qps, night.world.sleep):
            notes.add(recovered)
        if reasons := why_held(journal):
            notes.add(events.EARLIER_IMPLAUSIBLE(reason=" ".join(reasons)))
            return
        is_changed = journal.meta("published_mark") != journal.mark()
        if is_changed and journal.has_pages and ReplaceGuard(journal, night.data, night.crawl_date).is_ours:
            late_from = late_from_in(night.run, night.crawl_date, night.world.now())
            plan = plan_of(night.settings, run_id, night.crawl_date, NOBODY, None, late_from)
            try:
                build(night.world, segments, lambda: plan, lambda: give_up_lost(night, journal, notes))
            except HeldBackError as held:
                notes.add(events.EARLIER_IMPLAUSIBLE(reason=" ".join(held.counts.reasons)))


def published_before(night: Night) -> PublishedDate | None:
    """The snapshot of the crawl date that a new journal is to take over; None where there is none.

    Raises `InputError` where it cannot be used, or has sellers beyond the list, sorted in another way.
    """
    crawl_date, sorting = night.crawl_date, night.sorting
    published = PublishedDate.found(night.data, crawl_date)
    if published is None or published.sorting in {"", sorting}:
        return published
    others = sum(len(missing(ids, slices(night.listed.ids))) for ids in published.with_rows())
    if others:
        was, now = _as_flags(published.sorting), _as_flags(sorting)
        raise InputError(
            f"crawl date {crawl_date} was crawled with {was}, not {now}, and {others} of its sellers are not "
            f"in the list: use {was}, or a list with all of its sellers"
        )
    return published


def _as_flags(sorting: str) -> str:
    sort, _, order = sorting.partition(" ")
    return f"--sort {sort} --order {order}"
