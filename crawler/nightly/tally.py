"""How the listed sellers have ended, counted from the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import compress, islice, repeat
from typing import Any

from crawler.models.seller import SellerStatus, StopReason
from crawler.report.run_report import MAX_FAILURES, Counts, Failure
from crawler.sellers.listing import SellerList
from crawler.store.journal import Journal
from crawler.store.records import SellerSummary

_CHUNK = 8192


@dataclass(frozen=True, slots=True)
class Tally:
    """Listed sellers as the report counts them; `pending` holds those that the journal does not know."""

    pending: SellerList
    counts: Counts


def count(journal: Journal, listed: SellerList, reason: StopReason | None) -> Tally:
    """Count the listed sellers; `reason` is why those that have not ended stopped."""
    known = Counter[str]()
    pending = listed.without(_counted(journal.sellers.known(), known))
    strangers = known.total() - (len(listed) - len(pending))
    sums = _Sums(reason, certain_above=None if len(pending) else 0.0)
    summaries = journal.reader.summaries()
    while chunk := list(islice(summaries, _CHUNK)):
        inside = listed.contains([seller.seller_id for seller in chunk]) if strangers else repeat(True)
        for seller in compress(chunk, inside):
            sums.add(seller)
    sums.statuses[SellerStatus.PENDING] += len(pending)
    if reason is not None:
        sums.stops[reason] += len(pending)
    sellers = {
        "total": len(listed),
        **{status.value: sums.statuses[status] for status in SellerStatus},
        "not_listed": strangers,
        "kept": sums.kept,
    }
    stops = {str(stop): number for stop, number in (+sums.stops).most_common()}
    drift = {"overlap": sums.overlap, "gaps": sums.gaps, "sellers": sums.drifted}
    counts = Counts(sellers, stops, sums.failures, sums.certain_above, drift)
    return Tally(pending, with_list(counts, listed))


def with_list(counts: Counts, listed: SellerList) -> Counts:
    """Counts with what the list says beside its sellers; equal lists of sellers may differ in that."""
    beside = {"bad_ids_skipped": listed.bad_count, "repeated_in_list": listed.repeated}
    return replace(counts, sellers=counts.sellers | beside)


@dataclass(slots=True)
class _Sums:
    """What is summed up over the listed sellers that the journal knows.

    Every video worth more than `certain_above` is in the journal, by what the API sorts by; None where that
    cannot be said of all sellers. `overlap`: rows that came again as lists changed. `gaps`: those that are
    not repaired, `drifted`: sellers that have some. `kept`: sellers that failed, and keep the rows of their
    crawl before.
    """

    reason: StopReason | None
    certain_above: float | None
    statuses: Counter[str] = field(default_factory=Counter)
    stops: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    overlap: int = 0
    gaps: int = 0
    drifted: int = 0
    kept: int = 0

    def add(self, seller: SellerSummary) -> None:
        self.statuses[seller.status] += 1
        stopped = seller.stop_reason or self.reason
        if stopped is not None:
            self.stops[stopped] += 1
        # What is certain of a seller, and what slipped through, depends on the rows that are published.
        shown = seller.shown
        unread = shown.status is not SellerStatus.COMPLETE or shown.is_carried
        if unread and self.certain_above is not None:
            most = None if shown.base is not None else shown.max_remaining_value
            self.certain_above = None if most is None else max(self.certain_above, most)
        self.overlap += shown.overlap
        self.gaps += shown.drift
        self.drifted += shown.drift > 0
        self.kept += seller.status is SellerStatus.FAILED and shown.attempt is not None
        if seller.status is SellerStatus.FAILED and len(self.failures) < MAX_FAILURES:
            self.failures.append(Failure(seller.seller_id, seller.missing, seller.error))


def _counted(arrays: Iterable[Any], count: Counter[str]) -> Iterator[Any]:
    for array in arrays:
        count["sellers"] += len(array)
        yield array
