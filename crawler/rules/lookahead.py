"""Look-ahead: the pages of a deep seller that are asked for before their turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from crawler.models.api import PAGE_SIZE
from crawler.models.page import Page
from crawler.models.seller import Ending, SellerProgress

Mode = Literal["off", "history", "gallop"]

_PAGES_LEFT_TO_READ_IN_TURN = 4
"""Between so few pages the end is not searched for any further: in turn they cost no page too many."""

_NIGHTLY_LOSS_DIVISOR = 25
"""A page one 25th before the last known is tried first: few sellers lose more than that in a night."""

_FULL_PAGES_BEFORE_LEAPS = 4
"""Full pages beyond the last known after which a seller's growth is followed in leaps."""


@dataclass(frozen=True, slots=True)
class LookaheadRule:
    """Which sellers are read ahead, none of fewer than `min_pages` pages.

    `depths`: how many full pages each had in its last snapshot.
    """

    mode: Mode = "off"
    min_pages: int = 10
    max_pages: int = 10**9
    depths: Mapping[str, int] = field(default_factory=dict)

    def of(self, seller: SellerProgress) -> Ahead | None:
        """A seller's look-ahead, where it is time for one; stretches are read in turn."""
        if seller.stretches:
            return None
        if self.mode == "off":
            return Ahead(seller, 0, 0, gallop=False) if seller.early_pages else None
        depth = self.depths.get(seller.seller_id, 0)
        gallop = self.mode == "gallop"
        is_known = depth >= self.min_pages and seller.last_page_full
        may_gallop = gallop and seller.last_page_full and seller.next_page > self.min_pages
        if not (is_known or may_gallop or seller.early_pages):
            return None
        # No jump goes beyond the limit: with a depth there all pages would be read in turn.
        return Ahead(seller, self.max_pages, min(depth, self.max_pages) if is_known else 0, gallop=gallop)


class Ahead:
    """Which pages of one seller may be in flight at once.

    A full page is known to exist once a later one differs from it: past its end an API may repeat its
    last page for ever. Up to the last page known to exist all are free to be asked for. How far
    that is, jumps find out, one at a time: towards the `depth` known from its last snapshot, of which one
    at most misses; or, to `gallop`, each twice as far as the one before, and then between the last hit
    and the first miss.

    `early` are pages and failures that came before their turn, by page number; `nulls` the numbers of pages
    whose `data` was null. No page from `_end` on is wanted.
    """

    def __init__(self, seller: SellerProgress, limit: int, depth: int, *, gallop: bool) -> None:
        self.seller = seller
        self._limit = limit
        self._depth = depth
        self._gallop = gallop
        self._jumps: dict[int, int | None] = {}
        self._jump: int | None = None
        self._floor = 0
        self._end = self._failed_at = inf
        self._cursor = seller.next_page
        self.in_flight: set[int] = set()
        self.early: dict[int, Page | Ending] = {}
        self.nulls: set[int] = set()
        for page in (seller.early_pages or {}).values():
            self.came_early(page)
        seller.early_pages = None

    def ask(self) -> int | None:
        """The page to ask for now, from then on in flight; None while that depends on what is in flight."""
        page_num = self._choose()
        if page_num is not None:
            self.in_flight.add(page_num)
        return page_num

    def landed(self, page_num: int) -> None:
        """Note that a request is no longer in flight."""
        self.in_flight.discard(page_num)
        if self._jump == page_num:
            self._jump = None

    def wants(self, page_num: int) -> bool:
        """Whether a page that is in flight is still of use."""
        return page_num <= self._failed_at

    def failed_early(self, page_num: int, ending: Ending) -> None:
        """Keep how asking for a page ended its seller, until the page's turn comes."""
        self.early[page_num] = ending
        self._failed_at = min(self._failed_at, page_num)
        self._end = min(self._end, page_num)

    def came_early(self, page: Page) -> None:
        """Keep a page until its turn comes."""
        count = page.row_count or 0
        if page.row_count is None:
            self.nulls.add(page.page_num)
        else:
            self.early[page.page_num] = page
        if count < PAGE_SIZE:
            self._end = min(self._end, page.page_num + (count > 0))
        self._compare(page, count)

    def _choose(self) -> int | None:
        turn = self.seller.next_page
        if turn not in self.in_flight and turn not in self.early:
            return turn
        if self._end < turn:
            self._end = inf
        jump = self._next_jump(turn - 1)
        if jump is not None:
            self._jump = jump
            return jump
        self._cursor = max(self._cursor, turn)
        while self._cursor <= min(self._floor, self._limit, self._end - 1):
            if self._is_free(self._cursor):
                return self._cursor
            self._cursor += 1
        return None

    def _is_free(self, page_num: int) -> bool:
        return not (page_num in self.in_flight or page_num in self.early or page_num in self.nulls)

    def _next_jump(self, read: int) -> int | None:
        """The next jump, with so many pages read in turn, all of them full."""
        if self._jump is not None:
            return None
        if self._end == inf:
            page_num = self._towards_depth(read) or self._leap(read)
        else:
            page_num = self._between(read) if self._gallop else None
        if page_num is None or not read + 1 < page_num <= self._limit:
            return None
        return page_num if self._is_free(page_num) else None

    def _towards_depth(self, read: int) -> int | None:
        depth, known = self._depth, max(read + 1, self._floor)
        rungs = (depth - max(2, depth // _NIGHTLY_LOSS_DIVISOR), depth, depth + 1) if depth else ()
        return next((rung for rung in rungs if rung > known and rung not in self._jumps), None)

    def _leap(self, read: int) -> int | None:
        """Twice as far as the last page known, or as the growth since its last snapshot."""
        furthest = max([read, *self._jumps])
        if self._depth and read - self._depth < _FULL_PAGES_BEFORE_LEAPS:
            return None
        return min(self._limit, furthest + (furthest - self._depth))

    def _between(self, read: int) -> int | None:
        low = max(read, self._floor)
        return int(low + self._end) // 2 if self._end - low > _PAGES_LEFT_TO_READ_IN_TURN else None

    def _compare(self, page: Page, count: int) -> None:
        """Learn from a page that came before its turn how far the list goes."""
        fingerprint = page.fingerprint if count >= PAGE_SIZE else None
        if fingerprint in self.seller.fingerprints:
            self._end = min(self._end, self.seller.next_page)
        for other, known in self._jumps.items():
            if fingerprint is not None and fingerprint == known:
                self._end = min(self._end, min(other, page.page_num) + 1)
        if page.page_num > self._floor:
            self._jumps[page.page_num] = fingerprint
        self._raise_floor()

    def _raise_floor(self) -> None:
        later: set[int | None] = set()
        for page_num in sorted(self._jumps, reverse=True):
            fingerprint = self._jumps[page_num]
            if fingerprint is not None and later - {fingerprint} and page_num < self._end:
                self._floor = max(self._floor, page_num)
                break
            later.add(fingerprint)
        self._jumps = {n: fingerprint for n, fingerprint in self._jumps.items() if n > self._floor}
