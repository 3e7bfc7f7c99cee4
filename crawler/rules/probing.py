"""Which short pages are followed by one request more (`--probe`), and what such requests found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crawler.models.page import Page
from crawler.models.seller import SellerProgress
from crawler.rules.paging import PagingRule


@dataclass(slots=True)
class ProbeCounts:
    """Pages asked for beyond a short one, and the rows that they held: the short-page rule loses these."""

    sent: int = 0
    rows_found: int = 0

    def add(self, page: Page) -> None:
        """Count a page beyond a short one."""
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

    def count(self, progress: SellerProgress, page: Page, paging: PagingRule) -> None:
        """Count a page that came, with `progress` as it was before."""
        if progress.probing:
            self.probes.add(page)
        elif paging.is_after_rejects(progress):
            self.after_rejects.add(page)
