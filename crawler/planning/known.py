"""What is known of one seller before a night: from snapshots, and from what the crawl date has already."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from crawler.models.seller import SellerStatus, StopReason, StopRule
from crawler.options import RunSettings
from crawler.store.journal import Journal
from crawler.store.layout import Layout
from crawler.store.records import SellerSummary


@dataclass(frozen=True, slots=True)
class Today:
    """What the crawl date's journal has of a seller: pages read, and whether no more are asked for."""

    pages: int
    ended: bool


class KnownSeller(NamedTuple):
    """What is known of a seller: its `videos` when it was last read to its end, `age` days ago.

    Or else after how many pages it was `cut` off, more being left; or else what it cost to be `refused`.
    `paid`: pages that the crawl date has of it already, more being left. `unchanged`: whether its first
    page was the same as before when that was last compared. `may_carry`: whether it costs one credit
    tonight if it is again.
    """

    videos: int | None = None
    age: int | None = None
    cut: int | None = None
    refused: int | None = None
    paid: int = 0
    unchanged: bool | None = None
    may_carry: bool = False

    @property
    def is_known(self) -> bool:
        """Whether anything is known."""
        return (self.videos, self.cut, self.refused) != (None, None, None)

    def with_today(self, today: Today | None) -> KnownSeller:
        """The seller where it has not ended: the pages it has today are paid for, and it has more."""
        if today is None or not today.pages:
            return self
        cut = max(self.cut or 0, today.pages) if self.videos is None else None
        return self._replace(paid=today.pages, cut=cut)


def read_today(run: RunSettings, crawl_date: date) -> dict[str, Today]:
    """What the crawl date's journal has of each seller that tonight's run would go on with."""
    path = Layout(run.data).latest_journal(crawl_date)
    if not path.exists():
        return {}
    with Journal(path, only_read=True) as journal:
        settled = {seller_id for some in journal.sellers.settled() for seller_id in some.to_pylist()}
        return {
            s.seller_id: Today(
                s.pages, s.pages >= run.max_pages or (s.seller_id in settled and _stays_ended(run, s))
            )
            for s in journal.reader.summaries()
            if not run.fresh or s.is_renewing
        }


def _stays_ended(run: RunSettings, seller: SellerSummary) -> bool:
    """Whether tonight's settings ask for no more of a seller that ended before."""
    if seller.status is SellerStatus.FAILED:
        return not (run.retry_failed or run.fresh)
    if seller.stop_reason is StopReason.SHORT_PAGE and run.stop is StopRule.EMPTY:
        return False
    if seller.stop_reason is StopReason.CARRIED and not run.carry_forward:
        return False
    return seller.status is SellerStatus.COMPLETE
