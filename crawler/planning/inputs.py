"""What a plan is made from: what is known of each listed seller, and a forecaster of their costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from math import sqrt
from statistics import fmean
from typing import Any

import pyarrow as pa

from crawler.history.carrying import CarryRule
from crawler.history.figures import Pair, all_ids, costs_per_page, last_seen, pairs
from crawler.history.snapshots import History
from crawler.history.unchanged import UnchangedSellers
from crawler.models.seller import SellerStatus, StopReason, StopRule, Strategy
from crawler.options import RunSettings
from crawler.planning.estimates import Chances, chance, cost_per_page, growth, spread
from crawler.planning.forecast import Detours, Forecaster, KnownSeller, Tariff, Today, jumps
from crawler.store.journal import Journal
from crawler.store.layout import Layout
from crawler.store.records import SellerSummary

_UNSEEN = {True: 0.9, False: 0.1, None: 0.5}
"""Chances to be unchanged where no night shows them: after a night unchanged, after one changed, of all."""
_LIKELY = 0.5


@dataclass(frozen=True, slots=True)
class PlanInputs:
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
                yield seller.with_today(self.today.get(seller_id))

    def is_carried(self, seller: KnownSeller) -> bool:
        """Whether a seller is more likely carried than not."""
        chances = self.forecaster.chances
        return seller.may_carry and chances is not None and chances[seller.unchanged].mean >= _LIKELY


def read_inputs(run: RunSettings, history: History, ids: pa.Array[Any], crawl_date: date) -> PlanInputs:
    """What the snapshots and the date's own journal say of the listed sellers."""
    today = _read_today(run, crawl_date)
    unchanged = UnchangedSellers(history, f"{run.sort} {run.order}", compares=run.carry_forward)
    may_carry: set[str] = set()
    if run.carry_forward:
        may_carry = unchanged.may_carry(CarryRule(crawl_date, run.max_age, run.audit))
        may_carry -= {seller_id for seller_id, has in today.items() if has.pages}
    sellers = {
        seller_id: seller._replace(may_carry=seller_id in may_carry)
        for seller_id, seller in _known(history, unchanged, ids, crawl_date)
    }
    forecaster, shares = _learned(run, history, unchanged, crawl_date, today), unchanged.shares
    followed = max(len(shares[True]), len(shares[False]))
    return PlanInputs([*sellers], [*sellers.values()], today, forecaster, len(shares[None]), followed)


def _known(
    history: History, unchanged: UnchangedSellers, ids: pa.Array[Any], crawl_date: date
) -> Iterator[tuple[str, KnownSeller]]:
    """What the snapshots say of each seller of an array."""
    seen = last_seen(history.sellers(), crawl_date, ids).to_pylist()
    for seller_id, row in zip(map(str, ids.to_pylist()), seen, strict=True):
        yield seller_id, KnownSeller(**row, unchanged=unchanged.unchanged.get(seller_id))


def _read_today(run: RunSettings, crawl_date: date) -> dict[str, Today]:
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


def _learned(
    run: RunSettings, history: History, unchanged: UnchangedSellers, crawl_date: date, today: dict[str, Today]
) -> Forecaster:
    """A forecaster by all sellers that the snapshots know, listed or not."""
    snapshots = history.sellers()
    compared = pairs(snapshots, unchanged.left_out)
    tariff = Tariff(run.stop, run.max_pages, run.probe)
    rates = [(pair.after / pair.before - 1) / pair.days for pair in compared]
    errors = [sqrt(pair.scatter) / pair.before / pair.days for pair in compared]
    unrest = [pair.scatter / pair.squares / pair.days for pair in compared]
    rate, cost = growth(rates, errors), cost_per_page(costs_per_page(snapshots))
    everyone = dict(_known(history, unchanged, all_ids(snapshots), crawl_date))
    known = [seller.with_today(today.get(seller_id)) for seller_id, seller in everyone.items()]
    alone = Forecaster(tariff, rate, 0.0, cost, spread([], []))
    ends = [pages for s in known if s.videos is not None and (pages := alone.pages(s)) is not None]
    begun = [KnownSeller().with_today(today[seller_id]) for seller_id in today.keys() - everyone.keys()]
    cuts = [s.cut for s in [*known, *begun] if s.cut is not None]
    of_seller, costs = fmean(unrest) if unrest else 0.0, spread(ends, cuts, run.max_pages)
    detours = _detours(run, ends, compared)
    return Forecaster(tariff, rate, of_seller, cost, costs, _chances(unchanged), detours)


def _detours(run: RunSettings, ends: list[float], compared: list[Pair]) -> Detours:
    reads_ahead = run.strategy is Strategy.DEPTH_FIRST and run.top is None and run.min_value is None
    if run.lookahead == "off" or not reads_ahead:
        return Detours()
    shrunk = max((pair.shrunk / pair.deep for pair in compared if pair.deep), default=1.0)
    min_pages = run.lookahead_pages
    return Detours(min_pages, shrunk, run.lookahead == "gallop", jumps(ends, min_pages))


def _chances(unchanged: UnchangedSellers) -> Chances | None:
    """The chances that sellers are unchanged; None where no two snapshots show it, or it does not matter."""
    if not unchanged.shares[None]:
        return None
    return {
        before: chance([s.rate for s in shares], [s.error for s in shares], _UNSEEN[before])
        for before, shares in unchanged.shares.items()
    }
