"""Next page or stop: the decision after each page of a seller."""

from __future__ import annotations

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
    """When a seller ends: contract, promise 4.

    `min_value`: a seller also ends once its rows are worth less, by what the API sorts by.
    """

    stop: StopRule = StopRule.SHORT
    max_pages: int = MAX_PAGE_NUM
    min_value: float | None = None

    def after(self, progress: SellerProgress, page: Page) -> Step | Ending:
        """Decide what follows `page`, with `progress` as it was before the page came.

        A repeated page ends its seller before its length is looked at: under `StopRule.EMPTY` an API
        that repeats its short last page would otherwise never end.
        """
        if page.row_count is None and self._expects_rows(progress) and not progress.null_seen:
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
        """How a seller ends by a limit, whose last page read was that one."""
        if self.min_value is not None and last_value is not None and last_value < self.min_value:
            return Ending(SellerStatus.PARTIAL, StopReason.MIN_VALUE)
        return Ending(SellerStatus.PARTIAL, StopReason.MAX_PAGES) if read >= self.max_pages else None

    def is_after_rejects(self, progress: SellerProgress) -> bool:
        """Whether the next page is asked for only because the last one, a short page, held rejects."""
        return progress.last_page_rejected and not progress.last_page_full and self.stop is StopRule.SHORT

    @staticmethod
    def _expects_rows(progress: SellerProgress) -> bool:
        """Whether a page without `data` comes as a surprise, which is asked for once more."""
        return not progress.pages or progress.last_page_full or progress.last_page_rejected

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
