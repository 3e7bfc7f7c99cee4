"""The K best videos over all sellers, and when they are certain."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest
from math import inf

from crawler.models.page import Page


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
        """Note a page's videos; of one that came before, the later value stands."""
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
