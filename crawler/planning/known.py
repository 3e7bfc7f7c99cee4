"""What is known of one seller before a night."""

from __future__ import annotations

from typing import Any, NamedTuple

from crawler.planning.today import Today


class KnownSeller(NamedTuple):
    """What is known of a seller: its `videos` when it was last read to its end, `age` days ago.

    Or else after how many pages it was `cut` off, more being left; or else what it cost to be `refused`.
    `paid`: pages that the crawl date has of it already, more being left. `unchanged`: whether its first
    page was the same as before when that was last compared. `may_carry`: whether it costs one credit
    tonight if it is again.
    """

    videos: int | None = None
    age: int | None = None
    cut: int | None = None
    refused: int | None = None
    paid: int = 0
    unchanged: bool | None = None
    may_carry: bool = False

    @property
    def is_known(self) -> bool:
        """Whether anything is known."""
        return (self.videos, self.cut, self.refused) != (None, None, None)


def known_sellers(seen: Any) -> list[KnownSeller]:
    """What snapshots know of sellers, one by one, from the table of `last_seen`."""
    return [KnownSeller(**row) for row in seen.to_pylist()]


def with_today(seller: KnownSeller, today: Today | None) -> KnownSeller:
    """A seller that has not ended: the pages it has today are paid for, and it has more."""
    if today is None or not today.pages:
        return seller
    cut = max(seller.cut or 0, today.pages) if seller.videos is None else None
    return seller._replace(paid=today.pages, cut=cut)
