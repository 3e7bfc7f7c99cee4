"""What a budget reaches by each strategy, on the pages of the last snapshots."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heapreplace
from math import inf

from crawler.models.api import MAX_PAGE_NUM, SortField
from crawler.models.seller import Strategy
from crawler.options import RunSettings
from crawler.planning.forecast import Forecast, Tariff
from crawler.planning.freshest_plan import Tonight, bought
from crawler.planning.inputs import PlanInputs

PageValues = Callable[[SortField], "dict[str, array[float]]"]
"""What each page of each seller was worth, by what the API sorts by."""
_SHARED = (SortField.VIEWS, SortField.SALES, SortField.GMV)


@dataclass(frozen=True, slots=True)
class Reach:
    """What a strategy reaches with so many credits; None where that is not known."""

    credits: int | None = None
    sellers_complete: int | None = None
    sellers_seen: int | None = None
    share_of_views: float | None = None
    share_of_sales: float | None = None
    share_of_gmv: float | None = None


def reaches(
    run: RunSettings,
    inputs: PlanInputs,
    page_values: PageValues,
    total: Forecast,
    left: int | None,
    tonight: Tonight | None = None,
) -> dict[str, Reach]:
    """What each strategy reaches with the credits that are `left`, or without a limit, by its name.

    `freshest` is among them where it is known what it finds `tonight`, or nothing is known of any seller.
    """
    if not any(seller.is_known for seller in inputs.sellers):
        return {strategy.value: Reach() for strategy in Strategy}
    read, costs, ends = _stock(run, inputs)
    values: dict[SortField, list[Sequence[float]]] = {}
    for sort in SortField:
        by_seller = page_values(sort)
        values[sort] = [by_seller.get(seller_id, ()) for seller_id in inputs.ids]
    pages = _affordable(sum(costs) - sum(read), inputs, total, left)
    reached = {
        Strategy.DEPTH_FIRST: depth_first(read, costs, pages),
        Strategy.BREADTH_FIRST: breadth_first(read, costs, pages),
        Strategy.BEST_FIRST: best_first(read, costs, _guided(values[run.sort], inputs), pages),
    }
    worth = {sort: _worth(values[sort], inputs) for sort in SortField}
    found = {
        strategy.value: Reach(
            _spent_at_most(total, left),
            sum(is_end and have >= cost for is_end, have, cost in zip(ends, at, costs, strict=True)),
            sum(have > 0 for have in at),
            *(share(at, worth[sort]) for sort in _SHARED),
        )
        for strategy, at in reached.items()
    }
    if tonight is not None:
        credits_ = _spent_at_most(total, left)
        budget = None if left is None else round(left / inputs.forecaster.cost_per_page.mean)
        reach = _freshest(tonight, inputs.ids, values, budget, run.max_age)
        found[Strategy.FRESHEST.value] = replace(reach, credits=credits_)
    return found


def _freshest(
    tonight: Tonight,
    ids: Sequence[str],
    values: Mapping[SortField, list[Sequence[float]]],
    pages: int | None,
    max_age: int,
) -> Reach:
    """What `freshest` reaches of listed sellers with so many pages; `credits` is left out."""
    read = bought(tonight, pages, max_age)

    def shown(sort: SortField) -> float | None:
        total = sum(map(sum, values[sort]))
        if not 0 < total < inf:
            return None
        return sum(map(read.value, ids, values[sort])) / total

    complete = sum(seller_id in read.complete for seller_id in ids)
    seen = sum(seller_id in read.whole or seller_id in read.pages for seller_id in ids)
    return Reach(None, complete, seen, *map(shown, _SHARED))


def _stock(run: RunSettings, inputs: PlanInputs) -> tuple[list[int], list[int], list[bool]]:
    """Of each listed seller: pages it has, where it ended, and whether that is its end, not `--max-pages`."""
    read, costs, ends = list[int](), list[int](), list[bool]()
    uncut = Tariff(run.stop, MAX_PAGE_NUM)
    for seller_id, seller, has_ended in zip(inputs.ids, inputs.sellers, inputs.ended, strict=True):
        pages = inputs.forecaster.pages(seller)
        if inputs.is_carried(seller):
            whole = 1
        elif seller.videos is not None:
            whole = uncut.pages(seller.videos)
        else:
            whole = (seller.cut or 0) + 1 if pages is None else max(1, round(pages))
        cost, today = min(whole, run.max_pages), inputs.today.get(seller_id)
        has = 0 if today is None else min(cost, today.pages)
        read.append(cost if has_ended else has)
        costs.append(cost)
        ends.append(pages is not None and whole <= run.max_pages)
    return read, costs, ends


def _affordable(rest: int, inputs: PlanInputs, total: Forecast, left: int | None) -> int:
    """How many of the `rest` pages the budget pays for: each counts as what it costs tonight."""
    if left is None:
        return rest
    if total.expected:
        return min(rest, round(left * rest / total.expected))
    return round(left / inputs.forecaster.cost_per_page.mean)


def _guided(values: list[Sequence[float]], inputs: PlanInputs) -> list[Sequence[float]]:
    """Values to go by: an unknown seller's first page counts as first pages do on average."""
    firsts = [pages[0] for pages in values if len(pages)]
    mean = sum(firsts) / len(firsts) if firsts else 0.0
    return [pages if s.is_known else (mean,) for pages, s in zip(values, inputs.sellers, strict=True)]


def _worth(values: list[Sequence[float]], inputs: PlanInputs) -> list[Sequence[float]]:
    """What each credit brings: the first one of a seller that is carried brings all."""
    by_seller = zip(values, inputs.sellers, strict=True)
    return [(sum(pages),) if inputs.is_carried(seller) else pages for pages, seller in by_seller]


def _spent_at_most(total: Forecast, left: int | None) -> int | None:
    """Credits that a run spends: what it wants, or what it may."""
    if left is None:
        return total.expected
    if total.expected is not None:
        return min(left, total.expected)
    return left if left <= total.low else None


def depth_first(read: Sequence[int], costs: Sequence[int], budget: int) -> list[int]:
    """Pages that each seller has once the budget is spent on one after another, from `read` up to `costs`."""
    reached = []
    for have, cost in zip(read, costs, strict=True):
        bought = min(budget, max(0, cost - have))
        reached.append(have + bought)
        budget -= bought
    return reached


def breadth_first(read: Sequence[int], costs: Sequence[int], budget: int) -> list[int]:
    """As `depth_first`, but one page of every seller before the next page of any."""
    reached = list(read)
    going = [number for number, (have, cost) in enumerate(zip(read, costs, strict=True)) if have < cost]
    while going and budget > 0:
        for number in going[:budget]:
            reached[number] += 1
        budget -= len(going)
        going = [number for number in going if reached[number] < costs[number]]
    return reached


def best_first(
    read: Sequence[int], costs: Sequence[int], values: Sequence[Sequence[float]], budget: int
) -> list[int]:
    """As `depth_first`, but the next page is always the one worth most; one without a value is worth 0."""
    reached = list(read)

    def entry(number: int) -> tuple[float, int]:
        pages, place = values[number], reached[number]
        return -pages[place] if place < len(pages) else 0.0, number

    heap = [entry(number) for number, cost in enumerate(costs) if reached[number] < cost]
    heapify(heap)
    while heap and budget > 0:
        number = heap[0][1]
        reached[number] += 1
        budget -= 1
        if reached[number] < costs[number]:
            heapreplace(heap, entry(number))
        else:
            heappop(heap)
    return reached


def share(reached: Sequence[int], values: Sequence[Sequence[float]]) -> float | None:
    """What share of all value lies on the pages that were reached; None where it is 0 or no number."""
    total = sum(map(sum, values))
    if not 0 < total < inf:
        return None
    return sum(sum(pages[:count]) for pages, count in zip(values, reached, strict=True)) / total
