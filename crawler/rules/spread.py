"""Sellers spread over a list, to be asked before their turn when the first ones say too little."""

from __future__ import annotations

from collections.abc import Iterable


class Spread:
    """A few of a frontier's new sellers; each is taken once, before its turn or in turn."""

    def __init__(self, seller_ids: Iterable[str] = ()) -> None:
        self._left = dict.fromkeys(seller_ids)
        self._taken: set[str] = set()

    def take(self) -> str | None:
        """Give a seller before its turn; None where all were taken."""
        if not self._left:
            return None
        seller_id = next(iter(self._left))
        del self._left[seller_id]
        self._taken.add(seller_id)
        return seller_id

    def in_turn(self, seller_id: str) -> bool:
        """Note that it is a seller's turn; False where it was taken before."""
        self._left.pop(seller_id, None)
        return seller_id not in self._taken


def spread_places(length: int, count: int) -> list[int]:
    """Some places of a list, evenly apart; any first few of them lie far apart as well."""
    count = min(length, count)
    places = [(2 * number + 1) * length // (2 * count) for number in range(count)]
    return [places[number] for first in range(4) for number in range(3 - first, count, 4)]
