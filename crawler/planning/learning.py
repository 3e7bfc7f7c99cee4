"""How a forecaster learns from the snapshots: growth, credits a page, chances, and how deep sellers are."""

from __future__ import annotations

from datetime import date
from math import sqrt

from crawler.history.figures import Pair, all_ids, costs_per_page, last_seen, pairs
from crawler.history.snapshots import History
from crawler.history.unchanged import UnchangedSellers
from crawler.models.seller import Strategy
from crawler.options import Settings
from crawler.planning.detours import Detours, jumps
from crawler.planning.estimates import Chances, chance, cost_per_page, growth
from crawler.planning.forecast import Forecaster
from crawler.planning.known import KnownSeller, known_sellers, with_today
from crawler.planning.spread import spread
from crawler.planning.tariff import Tariff
from crawler.planning.today import Today

_UNSEEN = (0.9, 0.1, 0.5)
"""Chances to be unchanged where no night shows them: after a night unchanged, after one changed, of all."""


def learned(
    settings: Settings,
    history: History,
    unchanged: UnchangedSellers,
    crawl_date: date,
    today: dict[str, Today],
) -> Forecaster:
    """A forecaster by all sellers that the snapshots know, listed or not."""
    run = settings.run
    snapshots = history.sellers()
    compared = pairs(snapshots, unchanged.left_out)
    tariff = Tariff(run.stop, run.max_pages, run.probe)
    rates = [(pair.after / pair.before - 1) / pair.days for pair in compared]
    errors = [sqrt(pair.scatter) / pair.before / pair.days for pair in compared]
    unrest = [pair.scatter / pair.squares / pair.days for pair in compared]
    rate, cost = growth(rates, errors), cost_per_page(costs_per_page(snapshots))
    everyone = all_ids(snapshots)
    ids = [str(seller_id) for seller_id in everyone.to_pylist()]
    earlier = known_sellers(last_seen(snapshots, crawl_date, everyone))
    known = [
        with_today(seller._replace(unchanged=unchanged.unchanged.get(seller_id)), today.get(seller_id))
        for seller_id, seller in zip(ids, earlier, strict=True)
    ]
    alone = Forecaster(tariff, rate, 0.0, cost, spread([], []))
    ends = [pages for s in known if s.videos is not None and (pages := alone.pages(s)) is not None]
    begun = [with_today(KnownSeller(), today[seller_id]) for seller_id in today.keys() - set(ids)]
    cuts = [s.cut for s in [*known, *begun] if s.cut is not None]
    mean = sum(unrest) / len(unrest) if unrest else 0.0
    whole = spread(ends, cuts, run.max_pages)
    detours = _detours(settings, ends, compared)
    return Forecaster(tariff, rate, mean, cost, whole, _chances(unchanged), detours)


def _detours(settings: Settings, ends: list[float], compared: list[Pair]) -> Detours:
    run = settings.run
    reads_ahead = run.strategy is Strategy.DEPTH_FIRST and run.top is None and run.min_value is None
    if run.lookahead == "off" or not reads_ahead:
        return Detours()
    least, gallops = run.lookahead_pages, run.lookahead == "gallop"
    shrunk = max((pair.shrunk / pair.deep for pair in compared if pair.deep), default=1.0)
    return Detours(least, shrunk, gallops, jumps(ends, least))


def _chances(unchanged: UnchangedSellers) -> Chances | None:
    """The chances that sellers are unchanged; None where no two snapshots show it, or it does not matter."""
    if not unchanged.shares[None]:
        return None
    found = {
        before: chance([s.rate for s in shares], [s.error for s in shares], unseen)
        for (before, shares), unseen in zip(unchanged.shares.items(), _UNSEEN, strict=True)
    }
    return Chances(found[True], found[False], found[None])
