"""Shards: how a list is cut into pieces of work, and what is left of a piece as pages come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import ceil

from crawler.models.api import PAGE_SIZE
from crawler.models.page import NO_NOTES, KnownFirstPage, Page, PageNotes
from crawler.models.seller import Ending, PageRange, SellerProgress, SellerStatus

SHARDS_A_WORKER = 16
"""Many more shards than workers: the last ones to end leave little for the others to wait for."""
_SHORTEST_S = 10.0
"""Seconds that a shard is to last at least: its last seller keeps its worker from using its whole share."""
_MOST_PAGES = 10_000
"""So that what the driver knows of the shards under way stays small, however long the list is."""
_REPAIR_PAGES = 4
"""Pages of a seller with gaps that are expected to be read again."""
_LOOKED_UP = 65_536
"""Sellers that are looked up together: each time the snapshots are read."""


def pages_a_shard(pages: int, workers: int, qps: float) -> int:
    """How many pages a shard is to have, of so many in all that are read at a rate."""
    fewest = _SHORTEST_S * qps / workers
    wanted = max(fewest, pages / (SHARDS_A_WORKER * workers))
    return ceil(min(pages / workers, wanted, _MOST_PAGES)) or 1


def cut(
    sellers: Iterable[SellerProgress],
    expected_pages: Callable[[Sequence[str]], Sequence[int]],
    size: int,
) -> Iterator[list[SellerProgress]]:
    """Sellers in their order, in shards of about `size` expected pages; a deeper one has its own."""
    rest, shard, pages = iter(sellers), list[SellerProgress](), 0
    while some := list(islice(rest, _LOOKED_UP)):
        counts = expected_pages([seller.seller_id for seller in some])
        for seller, count in zip(some, counts, strict=True):
            if shard and pages + count > size:
                yield shard
                shard, pages = [], 0
            shard.append(seller)
            pages += count
    if shard:
        yield shard


def dealt(sellers: Iterable[SellerProgress], count: int) -> list[list[SellerProgress]]:
    """Sellers dealt out to so many shards, one after the other: each gets of all parts of the list."""
    shards: list[list[SellerProgress]] = [[] for _ in range(count)]
    for number, seller in enumerate(sellers):
        shards[number % count].append(seller)
    return [shard for shard in shards if shard]


def shard_of(
    number: int,
    sellers: Iterable[SellerProgress],
    depths: Mapping[str, int],
    known_first_page: Callable[[str], KnownFirstPage | None],
) -> Shard:
    """A shard of sellers, with what is known of these alone."""
    by_id = {seller.seller_id: seller for seller in sellers}
    known = {seller_id: depths[seller_id] for seller_id in by_id if seller_id in depths}
    # Of those that are begun it is compared already.
    unread = (seller_id for seller_id, seller in by_id.items() if seller.next_page == 1)
    first_pages = {i: first for i in unread if (first := known_first_page(i)) is not None}
    return Shard(number, by_id, known, first_pages)


def shards_to_repair(
    sellers: Sequence[str], workers: int, qps: float, numbers: Iterable[int]
) -> Iterator[Shard]:
    """Ended sellers with gaps, in shards for so many workers."""
    size = pages_a_shard(_REPAIR_PAGES * len(sellers), workers, qps)
    pieces = cut(map(SellerProgress, sellers), lambda ids: [_REPAIR_PAGES] * len(ids), size)
    for number, piece in zip(numbers, pieces, strict=False):
        yield Shard(number, {seller.seller_id: seller for seller in piece}, is_repair=True)


@dataclass(slots=True)
class Shard:
    """Some sellers that one worker reads at a time; `sellers` are those that are not read to their end.

    Where it `is_repair`, all of them are, and pages around their gaps are read again.

    `depths`: how many full pages each had, of those that are read ahead. `first_pages`: what an earlier
    snapshot has of those that may be carried. `tries`: attempts that were begun;
    `unanswered`: of these, how many ended since nobody answered them. `pages`: how many came. `drifted`:
    sellers that are complete, but for gaps.
    """

    number: int
    sellers: dict[str, SellerProgress]
    depths: dict[str, int] = field(default_factory=dict)
    first_pages: dict[str, KnownFirstPage] = field(default_factory=dict)
    tries: int = 0
    unanswered: int = 0
    pages: int = 0
    is_done: bool = False
    is_repair: bool = False
    drifted: list[str] = field(default_factory=list)

    def received(self, page: Page, notes: PageNotes = NO_NOTES) -> bool:
        """Note a page that is durable; True where its seller has no page left to read in a stretch."""
        self.pages += 1
        seller = self.sellers.get(page.seller_id)
        if seller is None or self.is_repair:
            return False
        seller.drifted |= bool(notes.gaps)
        if seller.stretches:
            return self._received_of_stretch(seller, page)
        if page.page_num != seller.next_page:
            bare = replace(page, body=b"")
            seller.early_pages = {**(seller.early_pages or {}), page.page_num: bare}
            return False
        seller.received(page)
        while seller.early_pages and (early := seller.early_pages.pop(seller.next_page, None)):
            seller.received(early)
        return False

    def ended(self, seller_id: str, ending: Ending) -> None:
        """Note that a seller needs no further page."""
        seller = self.sellers.pop(seller_id, None)
        if seller is not None and seller.drifted and ending.status is SellerStatus.COMPLETE:
            self.drifted.append(seller_id)

    def _received_of_stretch(self, seller: SellerProgress, page: Page) -> bool:
        is_last = page.listed < PAGE_SIZE
        left = tuple(_left(seller.stretches, page.page_num, is_last=is_last))
        if not left:
            del self.sellers[seller.seller_id]
            return True
        if left != seller.stretches:
            fresh = SellerProgress(seller.seller_id, next_page=left[0].first, stretches=left)
            self.sellers[seller.seller_id] = fresh
        return False


def _left(stretches: Sequence[PageRange], page_num: int, *, is_last: bool) -> Iterator[PageRange]:
    """What is left of some pages without one of them, and without all after it where it is the last."""
    for first, last in stretches:
        if page_num < first:
            if not is_last:
                yield PageRange(first, last)
        elif last is not None and last < page_num:
            yield PageRange(first, last)
        else:
            if first < page_num:
                yield PageRange(first, page_num - 1)
            if not is_last and (last is None or page_num < last):
                yield PageRange(page_num + 1, last)
