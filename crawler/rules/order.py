"""The frontier: which seller's page is asked for next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable

from crawler.models.page import Page
from crawler.models.seller import SellerProgress, Strategy


def spread_places(length: int, count: int) -> list[int]:
    """Some places of a list, evenly apart; any first few of them lie far apart as well."""
    count = min(length, count)
    places = [(2 * number + 1) * length // (2 * count) for number in range(count)]
    return [places[number] for first in range(4) for number in range(3 - first, count, 4)]


class Spread(ABC):
    """A few new sellers, spread over the list; each is taken once, before its turn or in turn."""

    def __init__(self, seller_ids: Iterable[str] = ()) -> None:
        self._left = dict.fromkeys(seller_ids)
        self._taken: set[str] = set()
        self._first: deque[str] = deque()

    def ask_first(self, seller_ids: Iterable[str]) -> None:
        """Have these new sellers asked before all others."""
        self._first.extend(seller_ids)

    def take(self) -> SellerProgress | None:
        """Give the seller whose page is next; None where every seller has ended or is in hand."""
        while self._first:
            seller_id = self._first.popleft()
            if self.is_left(seller_id):
                return self._take_early(seller_id)
        return self._take_in_order()

    def take_spread(self) -> SellerProgress | None:
        """Give a seller before its turn, from another part of the list; None where all were taken."""
        return self._take_early(next(iter(self._left))) if self._left else None

    @abstractmethod
    def _take_in_order(self) -> SellerProgress | None: ...

    def _take_early(self, seller_id: str) -> SellerProgress:
        self._left.pop(seller_id, None)
        self._taken.add(seller_id)
        return SellerProgress(seller_id)

    def is_left(self, seller_id: str) -> bool:
        """Note that it is a seller's turn; False where it was taken before."""
        self._left.pop(seller_id, None)
        return seller_id not in self._taken


class Frontier(Spread):
    """Sellers not begun, and sellers begun whose next page nobody has in hand.

    Sellers not begun are drawn from their iterator one at a time: a list of millions costs nothing here.
    Depth-first finishes what is begun before it begins another; breadth-first reads one page of every
    seller before the second page of any.
    """

    def __init__(
        self,
        fresh: Iterable[str],
        begun: Iterable[SellerProgress],
        strategy: Strategy,
        spread: Iterable[str] = (),
    ) -> None:
        super().__init__(spread)
        self._fresh = iter(fresh)
        self._begun = deque(begun)
        self._depth_first = strategy is Strategy.DEPTH_FIRST
        self._is_fresh_over = False

    def _take_in_order(self) -> SellerProgress | None:
        if self._depth_first and self._begun:
            return self._begun.popleft()
        for seller_id in self._fresh:
            if self.is_left(seller_id):
                return SellerProgress(seller_id)
        self._is_fresh_over = True
        return self._begun.popleft() if self._begun else None

    def put_back(self, seller: SellerProgress) -> None:
        """Take back a seller whose next page is still to be asked for."""
        if self._depth_first:
            self._begun.appendleft(seller)
        else:
            self._begun.append(seller)

    def learn(self, page: Page) -> None:
        """Note what a page brought: of no use here."""

    @property
    def empty(self) -> bool:
        """Whether `take` has nothing to give (True only once the fresh sellers were seen to end)."""
        return self._is_fresh_over and not self._begun
