"""The frontier: which seller's page is asked for next."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from crawler.models.page import Page
from crawler.models.seller import SellerProgress, Strategy
from crawler.rules.spread import Spread


class Frontier:
    """Sellers not begun, and sellers begun whose next page nobody has in hand.

    Sellers not begun are drawn from their iterator one at a time, so that a list of millions costs
    nothing here. Depth-first finishes what is begun before it begins another; breadth-first reads one
    page of every seller before the second page of any.

    `spread` are some of the fresh sellers, for `take_spread`.
    """

    def __init__(
        self,
        fresh: Iterable[str],
        begun: Iterable[SellerProgress],
        strategy: Strategy,
        spread: Iterable[str] = (),
    ) -> None:
        self._fresh: Iterator[str] = iter(fresh)
        self._spread = Spread(spread)
        self._begun = deque(begun)
        self._depth_first = strategy is Strategy.DEPTH_FIRST
        self._dry = False

    def take(self) -> SellerProgress | None:
        """Give the seller whose page is next; None where every seller has ended or is in hand."""
        if self._depth_first:
            return self._take_begun() or self._take_fresh()
        return self._take_fresh() or self._take_begun()

    def take_spread(self) -> SellerProgress | None:
        """Give a seller before its turn, from another part of the list; None where all were taken."""
        seller_id = self._spread.take()
        return None if seller_id is None else SellerProgress(seller_id)

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
        return self._dry and not self._begun

    def _take_begun(self) -> SellerProgress | None:
        return self._begun.popleft() if self._begun else None

    def _take_fresh(self) -> SellerProgress | None:
        for seller_id in self._fresh:
            if self._spread.in_turn(seller_id):
                return SellerProgress(seller_id)
        self._dry = True
        return None
