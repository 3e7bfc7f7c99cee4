"""Best-first: each next credit goes to the page with the most to gain. Also: when the K best are certain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush, nlargest, nsmallest
from math import exp, inf, log

from crawler.models.api import PAGE_SIZE
from crawler.models.page import Page
from crawler.models.seller import SellerProgress
from crawler.rules.order import Spread

_MAX_EXPONENT = 8.0
_MIN_SCALE, _MAX_SCALE = 0.5, 2.0
"""How far a page may differ from last night's before its difference says nothing of the next page."""


def predicted_total(page_num: int, total: float, last_value: float) -> float:
    """What the page after a full one is worth, by the decline on that page itself.

    Values fall by a power of their rank (Zipf): its exponent is what makes a page of this `total` end
    with `last_value`. Never above ten times `last_value`, since the rows are sorted.
    """
    if last_value <= 0:
        return 0.0
    exponent = _exponent(page_num, round(total / last_value, 3))
    first = page_num * PAGE_SIZE
    return last_value * sum(exp(-exponent * log((first + k) / first)) for k in range(1, PAGE_SIZE + 1))


@lru_cache(maxsize=65_536)
def _exponent(page_num: int, ratio: float) -> float:
    """The exponent for which a page's total is `ratio` times its last value, by bisection."""
    last = page_num * PAGE_SIZE
    ranks = [log((last - k) / last) for k in range(PAGE_SIZE)]
    low, high = 0.0, _MAX_EXPONENT
    for _ in range(20):
        middle = (low + high) / 2
        powers = sum(exp(-middle * rank) for rank in ranks)
        low, high = (middle, high) if powers < ratio else (low, middle)
    return low


class BestFirst(Spread):
    """A frontier that gives the seller whose next page is expected to bring the most.

    A seller not seen yet is worth what its first page was in `history` (sums by page, the first page
    first) or, unknown there, what first pages of such sellers have brought so far; until one has, they
    go before all others. With `by_max_remaining_value` a seller is worth the most that its next row can be.
    """

    def __init__(
        self,
        fresh: Iterable[str],
        begun: Iterable[SellerProgress],
        history: Mapping[str, Sequence[float]] | None = None,
        *,
        by_max_remaining_value: bool = False,
        spread: Iterable[str] = (),
    ) -> None:
        super().__init__(spread)
        self._history = history or {}
        self._by_max_remaining_value = by_max_remaining_value
        self._count = 0
        self._heap: list[tuple[float, int, SellerProgress]] = []
        self._known: list[tuple[float, int, str]] = []
        # Without a history a list of millions need not be held here.
        self._unknown = iter(self._split(fresh) if self._history else fresh)
        self._next_unknown = next(self._unknown, None)
        self._firsts = self._first_total = 0.0
        for seller in begun:
            self.put_back(seller)

    def _take_in_order(self) -> SellerProgress | None:
        while (seller_id := self._take_new()) is not None:
            if self.is_left(seller_id):
                return SellerProgress(seller_id)
        return heappop(self._heap)[2] if self._heap else None

    def _take_new(self) -> str | None:
        """Take the seller not begun that is next; None where one that is begun is, or nobody."""
        begun = -self._heap[0][0] if self._heap else -1.0
        known = -self._known[0][0] if self._known else -1.0
        unknown = -1.0 if self._next_unknown is None else self._worth_of_unknown()
        if self._next_unknown is not None and unknown >= max(begun, known):
            seller_id, self._next_unknown = self._next_unknown, next(self._unknown, None)
            return seller_id
        return heappop(self._known)[2] if self._known and known >= begun else None

    def _split(self, fresh: Iterable[str]) -> list[str]:
        """Set apart the sellers that last night knew; returns the others."""
        unknown = []
        for number, seller_id in enumerate(fresh):
            pages = self._history.get(seller_id)
            if pages is None:
                unknown.append(seller_id)
            else:
                # Below 0, or no number at all, it would never be taken.
                self._known.append((-max(0.0, pages[0]) if pages else 0.0, number, seller_id))
        heapify(self._known)
        return unknown

    def best_known(self, count: int) -> list[str]:
        """New sellers that the history knows, those first that are asked first."""
        return [seller_id for _, _, seller_id in nsmallest(count, self._known)]

    def put_back(self, seller: SellerProgress) -> None:
        """See `Frontier`."""
        self._count += 1
        heappush(self._heap, (-self.gain(seller), self._count, seller))

    def learn(self, page: Page) -> None:
        """Note what a page brought."""
        if page.page_num == 1 and page.seller_id not in self._history:
            self._firsts += 1
            self._first_total += page.total

    def gain(self, seller: SellerProgress) -> float:
        """What the seller's next page is expected to bring."""
        if not seller.pages:
            return self._worth_of_unknown()
        if self._by_max_remaining_value or seller.last_value is None:
            return max(0.0, seller.max_remaining_value)
        most = PAGE_SIZE * max(0.0, seller.last_value)
        pages = self._history.get(seller.seller_id)
        if pages is None or seller.pages >= len(pages):
            # Of sellers with p full pages about p in p + 1 have a row more: sizes fall by a power.
            likely = 0.5 if pages is not None else seller.pages / (seller.pages + 1)
            predicted = predicted_total(seller.pages, max(0.0, seller.total), seller.last_value)
            return min(most, likely * predicted)
        before = pages[seller.pages - 1]
        scale = min(_MAX_SCALE, max(_MIN_SCALE, seller.total / before)) if before > 0 else 1.0
        return max(0.0, min(most, pages[seller.pages] * scale))

    @property
    def empty(self) -> bool:
        """Whether `take` has nothing to give."""
        return not (self._heap or self._known) and self._next_unknown is None

    def _worth_of_unknown(self) -> float:
        if self._by_max_remaining_value or not self._firsts:
            return inf
        return max(0.0, self._first_total / self._firsts)


class Top:
    """Keeps the K best videos seen; `threshold` is what the K-th best is worth, -inf before there are K.

    The rows of a seller come in descending order, so once no seller hides a better one the K are
    certain (compare Fagin's threshold algorithm).
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._best: dict[tuple[str, str], float] = {}
        self.threshold = -inf

    def learn(self, page: Page) -> None:
        """Note a page's videos; of one that came before, the later value counts."""
        if page.rejected:
            # Values are those of the rows that are kept, and nothing says which these are.
            return
        rows = zip(page.ids, page.values, strict=True)
        self.add(((page.seller_id, video_id), value) for video_id, value in rows)

    def add(self, videos: Iterable[tuple[tuple[str, str], float]]) -> None:
        """Note videos, each by seller and video ID with its value."""
        changed = False
        for key, value in videos:
            if value > self.threshold or key in self._best:
                self._best[key] = value
                changed = True
        if changed and len(self._best) >= self._size:
            best = nlargest(self._size, self._best.items(), key=lambda item: item[1])
            self._best = dict(best)
            self.threshold = best[-1][1]
