"""Which pages each strategy reads with a budget, and what share of the value lies on them."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heapreplace
from math import inf


def depth_first(read: Sequence[int], costs: Sequence[int], budget: int) -> list[int]:
    """Pages that each seller has once a budget is spent on one seller after another.

    Sellers are in the list's order; `read` is what each has already, `costs` where each ends.
    """
    reached = list(read)
    for number, (have, cost) in enumerate(zip(read, costs, strict=True)):
        if budget <= 0:
            break
        bought = min(budget, max(0, cost - have))
        reached[number] += bought
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
