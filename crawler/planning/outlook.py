"""What is known before a night: of each listed seller, and what a forecast of them is made by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from crawler.history.carrying import CarryRule
from crawler.history.figures import last_seen
from crawler.history.snapshots import History
from crawler.history.unchanged import UnchangedSellers
from crawler.options import Settings
from crawler.planning.forecast import Forecaster
from crawler.planning.known import KnownSeller, known_sellers, with_today
from crawler.planning.learning import learned
from crawler.planning.today import Today

_LIKELY = 0.5


@dataclass(frozen=True, slots=True)
class Outlook:
    """The listed `sellers` in their order, with their `ids`, and the `forecaster` of their costs.

    `today` is what the crawl date has already. `compared_nights`: for how many nights it is known who was
    unchanged, and for how many of these (`followed_nights`) also what they followed on.
    """

    ids: list[str]
    sellers: list[KnownSeller]
    today: dict[str, Today]
    forecaster: Forecaster
    compared_nights: int
    followed_nights: int

    @property
    def ended(self) -> list[bool]:
        """Whether each seller has ended for this date."""
        return [seller_id in self.today and self.today[seller_id].ended for seller_id in self.ids]

    def left(self) -> Iterator[KnownSeller]:
        """The sellers that have not ended."""
        for seller_id, seller, has_ended in zip(self.ids, self.sellers, self.ended, strict=True):
            if not has_ended:
                yield with_today(seller, self.today.get(seller_id))

    def is_carried(self, seller: KnownSeller) -> bool:
        """Whether a seller is more likely carried than not."""
        chances = self.forecaster.chances
        return seller.may_carry and chances is not None and chances.of(seller.unchanged).mean >= _LIKELY


def outlook(
    settings: Settings, history: History, ids: pa.Array[Any], crawl_date: date, today: dict[str, Today]
) -> Outlook:
    """What the snapshots and the date's own journal say of the listed sellers."""
    run = settings.run
    unchanged = UnchangedSellers(history, f"{run.sort} {run.order}", compares=run.carry_forward)
    may_carry: set[str] = set()
    if run.carry_forward:
        may_carry = unchanged.may_carry(CarryRule(crawl_date, run.max_age, run.audit))
        may_carry -= {seller_id for seller_id, has in today.items() if has.pages}
    listed = list(map(str, ids.to_pylist()))
    known = known_sellers(last_seen(history.sellers(), crawl_date, ids))
    sellers = [
        seller._replace(unchanged=unchanged.unchanged.get(seller_id), may_carry=seller_id in may_carry)
        for seller_id, seller in zip(listed, known, strict=True)
    ]
    forecaster = learned(settings, history, unchanged, crawl_date, today)
    shares = unchanged.shares
    followed = max(len(shares[True]), len(shares[False]))
    return Outlook(listed, sellers, today, forecaster, len(shares[None]), followed)
