"""What a budget reaches by each strategy, on the pages of the last snapshots."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from crawler.models.api import MAX_PAGE_NUM, SortField
from crawler.models.seller import Strategy
from crawler.options import Settings
from crawler.planning.forecast import Forecast
from crawler.planning.known import KnownSeller
from crawler.planning.outlook import Outlook
from crawler.planning.strategies import best_first, breadth_first, depth_first, share
from crawler.planning.tariff import Tariff

PageValues = Callable[[SortField], "dict[str, array[float]]"]
"""What each page of each seller was worth, by what the API sorts by."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What a strategy reaches with so many credits; None where that is not known."""

    credits: int | None = None
    sellers_complete: int | None = None
    sellers_seen: int | None = None
    share_of_views: float | None = None
    share_of_sales: float | None = None
    share_of_gmv: float | None = None


class _Stock(NamedTuple):
    """The listed sellers in their order: pages that each has already, and where it ended when last read.

    `ends`: whether that is its own end, rather than where `--max-pages` cuts it off.
    """

    read: list[int]
    costs: list[int]
    ends: list[bool]


def reaches(
    settings: Settings, outlook: Outlook, page_values: PageValues, total: Forecast, left: int | None
) -> dict[str, Reach]:
    """What each strategy reaches with the credits that are `left`, or without a limit, by its name."""
    if not any(seller.is_known for seller in outlook.sellers):
        return {strategy.value: Reach() for strategy in Strategy}
    stock = _stock(settings, outlook)
    by_sort = {sort: _in_order(outlook.ids, page_values(sort)) for sort in SortField}
    guided = _guided(by_sort[settings.run.sort], outlook.sellers)
    pages = _affordable(stock, outlook, total, left)
    reached = {
        Strategy.DEPTH_FIRST: depth_first(stock.read, stock.costs, pages),
        Strategy.BREADTH_FIRST: breadth_first(stock.read, stock.costs, pages),
        Strategy.BEST_FIRST: best_first(stock.read, stock.costs, guided, pages),
    }
    worth = {sort: _worth(values, outlook) for sort, values in by_sort.items()}
    return {
        strategy.value: Reach(
            _at_most(total, left),
            sum(ends and have >= cost for ends, have, cost in zip(stock.ends, at, stock.costs, strict=True)),
            sum(have > 0 for have in at),
            *(share(at, worth[sort]) for sort in (SortField.VIEWS, SortField.SALES, SortField.GMV)),
        )
        for strategy, at in reached.items()
    }


def _in_order(ids: list[str], values: dict[str, array[float]]) -> list[Sequence[float]]:
    return [values.get(seller_id, ()) for seller_id in ids]


def _stock(settings: Settings, outlook: Outlook) -> _Stock:
    stock, max_pages = _Stock([], [], []), settings.run.max_pages
    uncut = Tariff(settings.run.stop, MAX_PAGE_NUM)
    for seller_id, seller, has_ended in zip(outlook.ids, outlook.sellers, outlook.ended, strict=True):
        pages = outlook.forecaster.pages(seller)
        if seller.videos is not None:
            whole = uncut.pages(seller.videos)
        else:
            whole = (seller.cut or 0) + 1 if pages is None else max(1, round(pages))
        today = outlook.today.get(seller_id)
        whole = 1 if outlook.is_carried(seller) else whole
        cost = min(whole, max_pages)
        read = 0 if today is None else min(cost, today.pages)
        stock.read.append(cost if has_ended else read)
        stock.costs.append(cost)
        stock.ends.append(pages is not None and whole <= max_pages)
    return stock


def _affordable(stock: _Stock, outlook: Outlook, total: Forecast, left: int | None) -> int:
    """Pages of the last snapshots that the budget pays for: each counts as what it costs tonight."""
    rest = sum(stock.costs) - sum(stock.read)
    if left is None:
        return rest
    if total.expected:
        return min(rest, round(left * rest / total.expected))
    return round(left / outlook.forecaster.cost_per_page.mean)


def _worth(values: list[Sequence[float]], outlook: Outlook) -> list[Sequence[float]]:
    """What each credit brings: the first one of a seller that is carried brings all."""
    by_seller = zip(values, outlook.sellers, strict=True)
    return [(sum(pages),) if outlook.is_carried(seller) else pages for pages, seller in by_seller]


def _guided(values: list[Sequence[float]], sellers: list[KnownSeller]) -> list[Sequence[float]]:
    """Values to go by: an unknown seller's first page counts as first pages do on average."""
    firsts = [pages[0] for pages in values if len(pages)]
    mean = sum(firsts) / len(firsts) if firsts else 0.0
    return [pages if seller.is_known else (mean,) for pages, seller in zip(values, sellers, strict=True)]


def _at_most(total: Forecast, left: int | None) -> int | None:
    """Credits that a run spends: what it wants, or what it may."""
    if total.expected is not None:
        return total.expected if left is None else min(left, total.expected)
    is_short = left is not None and left <= total.low
    return left if is_short else None
