"""How the listed sellers stand, counted from the journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from crawler.models.seller import SellerStatus, StopReason
from crawler.report.run_report import FAILURES_TOLD
from crawler.sellers.listing import SellerList
from crawler.store.journal import Journal, SellerSummary

_CHUNK = 8192


@dataclass(slots=True)
class Tally:
    """Listed sellers by status and stop reason; `pending` holds those that the journal does not know.

    Every video worth more than `certain_above` is in the
    journal, by what the API sorts by; None where that cannot be said of all sellers. `overlap`: rows that
    came again as lists changed. `drift`: gaps that are not repaired, `drifted`: sellers that have some.
    `not_listed`: sellers of the date that are not in the list. `kept`: listed ones that failed, and keep the
    rows of their crawl before.
    """

    pending: SellerList
    statuses: Counter[str] = field(default_factory=Counter)
    stops: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, Any]] = field(default_factory=list)
    certain_above: float | None = 0.0
    overlap: int = 0
    drift: int = 0
    drifted: int = 0
    not_listed: int = 0
    kept: int = 0


def count(journal: Journal, listed: SellerList, reason: StopReason | None) -> Tally:
    """Count the listed sellers; `reason` is why those that have not ended stopped."""
    known = Counter[str]()
    pending = listed.without(_counted(journal.known(), known))
    strangers = known.total() - (len(listed) - len(pending))
    tally = Tally(pending, certain_above=None if len(pending) else 0.0, not_listed=strangers)
    summaries = journal.summaries()
    while chunk := list(islice(summaries, _CHUNK)):
        for seller in _listed(chunk, listed) if strangers else chunk:
            _add(tally, seller, reason)
    tally.statuses[SellerStatus.PENDING] += len(tally.pending)
    if reason is not None:
        tally.stops[reason] += len(tally.pending)
    return tally


def _counted(arrays: Iterable[Any], count: Counter[str]) -> Iterator[Any]:
    for array in arrays:
        count["sellers"] += len(array)
        yield array


def _listed(sellers: list[SellerSummary], listed: SellerList) -> Iterator[SellerSummary]:
    inside = listed.contains([seller.seller_id for seller in sellers])
    return (seller for seller, is_listed in zip(sellers, inside, strict=True) if is_listed)


def _add(tally: Tally, seller: SellerSummary, reason: StopReason | None) -> None:
    tally.statuses[seller.status] += 1
    stopped = seller.stop_reason or reason
    if stopped is not None:
        tally.stops[stopped] += 1
    # What is certain of a seller, and what slipped through, is told by the rows that are published.
    shown = seller.shown
    unread = shown.status is not SellerStatus.COMPLETE or shown.is_carried
    if unread and tally.certain_above is not None:
        tally.certain_above = None if shown.bound is None else max(tally.certain_above, shown.bound)
    tally.overlap += shown.overlap
    tally.drift += shown.drift
    tally.drifted += shown.drift > 0
    tally.kept += seller.status is SellerStatus.FAILED and shown.attempt is not None
    if seller.status is SellerStatus.FAILED and len(tally.failures) < FAILURES_TOLD:
        tally.failures.append({"seller": seller.seller_id, "page": seller.missing, "reason": seller.error})
