"""What is known of one seller before a night."""

from __future__ import annotations

from typing import NamedTuple


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
