"""How many pages a seller with so many videos costs."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from crawler.models.api import MAX_PAGE_NUM, PAGE_SIZE
from crawler.models.seller import StopRule


@dataclass(frozen=True, slots=True)
class Tariff:
    """What ends a seller; `probe` is the share of all credits that is spent on pages after short ones."""

    stop: StopRule = StopRule.SHORT
    max_pages: int = MAX_PAGE_NUM
    probe: float = 0.0

    def pages(self, videos: int) -> int:
        """Pages of a seller that has so many videos."""
        full, rest = divmod(max(0, videos), PAGE_SIZE)
        end = full + 2 if rest and self.stop is StopRule.EMPTY else full + 1
        return min(self.max_pages, end)

    def with_probes(self, credits_spent: float, sellers: int) -> float:
        """What such a sum grows to by probes: one a seller at most."""
        if self.stop is StopRule.EMPTY or self.probe <= 0:
            return credits_spent
        most = credits_spent + sellers
        return most if self.probe >= 1 else min(most, credits_spent / (1 - self.probe))

    def expected(self, videos: int, factor: float) -> float:
        """Expected pages once the videos have grown by a factor; a fraction of a video is a chance."""
        more = videos * (factor - 1)
        whole = floor(more)
        chance = more - whole
        return (1 - chance) * self.pages(videos + whole) + chance * self.pages(videos + whole + 1)
