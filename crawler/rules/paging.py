"""Next page or stop: the decision after each page of a seller, and when a short one is probed (`--probe`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from crawler.models.api import MAX_PAGE_NUM, PAGE_SIZE
from crawler.models.page import Page
from crawler.models.seller import Ending, SellerProgress, SellerStatus, StopReason, StopRule


class Step(Enum):
    """What a seller that goes on does next."""

    NEXT_PAGE = auto()
    ASK_AGAIN = auto()


@dataclass(frozen=True, slots=True)
class PagingRule:
    """When a seller ends; also once its rows are worth less than `min_value`, by what the API sorts by."""

    stop: StopRule = StopRule.SHORT
    max_pages: int = MAX_PAGE_NUM
    min_value: float | None = None

    def after(self, progress: SellerProgress, page: Page) -> Step | Ending:
        """Decide what follows `page`, with `progress` as it was before the page came.

        A repeated page ends its seller before its length is looked at: under `StopRule.EMPTY` an API
        that repeats its short last page would otherwise never end.
        """
        expects_rows = not progress.pages or progress.last_page_full or progress.last_page_rejected
        if page.row_count is None and expects_rows and not progress.null_seen:
            return Step.ASK_AGAIN
        count = page.row_count or 0
        if count == 0:
            return _complete(StopReason.SHORT_PAGE if progress.probing else StopReason.EMPTY_PAGE)
        if page.fingerprint in progress.fingerprints:
            return _complete(StopReason.REPEATED_PAGE)
        if count < PAGE_SIZE and self.stop is StopRule.SHORT and not progress.probing and not page.rejected:
            return _complete(StopReason.SHORT_PAGE)
        return self._limit(page.page_num, page.last_value) or Step.NEXT_PAGE

    def _limit(self, read: int, last_value: float | None) -> Ending | None:
        if self.min_value is not None and last_value is not None and last_value < self.min_value:
            return Ending(SellerStatus.PARTIAL, StopReason.MIN_VALUE)
        return Ending(SellerStatus.PARTIAL, StopReason.MAX_PAGES) if read >= self.max_pages else None

    def allows(self, progress: SellerProgress) -> bool:
        """Whether the seller's next page may be asked for at all."""
        return progress.next_page <= self.max_pages

    def ended(self, progress: SellerProgress) -> Ending | None:
        """How a seller ends that needs no further page: a run may have stopped before it could tell."""
        if progress.last_page_empty:
            return _complete(StopReason.EMPTY_PAGE)
        is_short = progress.pages > 0 and not progress.last_page_full and not progress.probing
        if is_short and self.stop is StopRule.SHORT and not progress.last_page_rejected:
            return _complete(StopReason.SHORT_PAGE)
        return self._limit(progress.next_page - 1, progress.last_value)


def _complete(reason: StopReason) -> Ending:
    return Ending(SellerStatus.COMPLETE, reason)


@dataclass(slots=True)
class ProbeCounts:
    """Pages asked for beyond a short one, and the rows that they held: the short-page rule loses these."""

    sent: int = 0
    rows_found: int = 0

    def add(self, page: Page) -> None:
        """Count such a page."""
        self.sent += 1
        self.rows_found += page.row_count or 0


class ShortPageProbes:
    """Spends `share` of all credits, as counted by `spent`, on the page after a short one.

    `probes` counts these pages, `after_rejects` those asked for because the short page had rejects.
    """

    def __init__(self, share: float = 0.0, spent: Callable[[], int] = lambda: 0) -> None:
        self._share = share
        self._spent = spent
        self._begun = 0
        self.probes = ProbeCounts()
        self.after_rejects = ProbeCounts()

    def begin(self) -> bool:
        """Count a probe, where one more is within the share."""
        is_within = self._begun + 1 <= self._share * (self._spent() + 1)
        self._begun += is_within
        return is_within

    def count(self, progress: SellerProgress, page: Page, stop: StopRule) -> None:
        """Count a page that came, with `progress` as it was before."""
        if progress.probing:
            self.probes.add(page)
        elif progress.last_page_rejected and not progress.last_page_full and stop is StopRule.SHORT:
            self.after_rejects.add(page)
